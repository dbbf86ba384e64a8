"""Take or remove what an experiment left behind, as if it had meant harm.

Only plain files and folders are taken, within limits; links, pipes, sockets, devices, hard links,
giants, names that no tool shows well, and git's own files stay where they are and are listed.
Nothing here follows a link or recurses, so that neither depth nor loops matter. The processes
that could race with it are dead by then.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ai_scientist.errors import InputError
from ai_scientist.sandbox.tiers import out_folder

LINK, HARD_LINK, NOT_PLAIN, TOO_DEEP = "a link", "a hard link", "not a plain file", "too deep"
ODD_NAME, OF_GIT = "name", "a file of git's"
HARMFUL = (LINK, HARD_LINK, NOT_PLAIN, TOO_DEEP, ODD_NAME, OF_GIT)


@dataclass(frozen=True, kw_only=True)
class CollectionLimits:
    """What one execution may hand over."""

    files: int = 10_000
    total_bytes: int = 20_000_000_000
    """Counted by apparent size, so that a sparse file counts as what its reader would read."""
    depth: int = 16
    name_bytes: int = 200


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What was moved, and what was not."""

    files: int
    total_bytes: int
    left_out: tuple[str, ...] = field(default=())
    """`'path': reason`, the path as Python's repr shows it; at most 100 of them."""


def collect(
    staging: Path,
    out_name: str,
    destination: Path,
    *,
    limits: CollectionLimits | None = None,
) -> Collected:
    """Move the plain files of source/OUT to `destination`, and say what was left out.

    Harmless to repeat: `destination` appears whole, and a second call adds what is still there.
    Raises InputError for the person when OUT is no folder.
    """
    limits = limits or CollectionLimits()
    out = out_folder(staging, out_name)
    if out.is_symlink() or not out.is_dir():
        raise InputError(f"no folder to collect: {out}")
    partial = destination.with_name(f"{destination.name}.partial")
    target = destination if destination.is_dir() else partial
    target.mkdir(parents=True, exist_ok=True)
    left_out: list[str] = []
    files = total = 0
    for path, name, reason in harvest(out, limits):
        size = 0 if reason else path.lstat().st_size
        too_much = files >= limits.files or total + size > limits.total_bytes
        if reason or too_much:
            left_out.append(f"{name!r}: {reason or 'too much for one run'}")
            continue
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        take(path, place)
        files, total = files + 1, total + size
    if target is partial:
        partial.rename(destination)
    return Collected(files=files, total_bytes=total, left_out=tuple(left_out[:100]))


def defuse(folder: Path) -> tuple[str, ...]:
    """Remove what would harm whoever reads or copies `folder` next; return what was removed.

    That is links of both kinds, pipes, sockets, devices, git's files, and what is nested too deeply
    or named oddly.
    """
    removed = []
    limits = CollectionLimits(depth=64)
    for path, name, reason in list(harvest(folder, limits)):
        if reason in HARMFUL:
            remove_tree(path)
            removed.append(f"{name!r}: {reason}")
    return tuple(removed)


def harvest(out: Path, limits: CollectionLimits) -> Iterator[tuple[Path, str, str]]:
    """Yield (path, name below `out`, reason to leave it out or "") of everything but folders."""
    todo = [("", 0)]
    seen = 0
    while todo:
        below, depth = todo.pop()
        folder = out / below
        with contextlib.suppress(OSError):
            folder.chmod(0o755)  # a folder found by lstat, with nobody left to swap it
        try:
            names = sorted(path.name for path in folder.iterdir())
        except OSError as error:
            yield folder, below, f"unreadable ({error.strerror})"
            continue
        for each in names:
            seen += 1
            if seen > 20 * limits.files + 1000:
                yield folder, below, "too many entries; the rest is left out"
                return
            name = f"{below}/{each}" if below else each
            reason, is_folder = examine(folder / each, each, depth, limits)
            if is_folder and not reason:
                todo.append((name, depth + 1))
            else:
                yield folder / each, name, reason


def examine(path: Path, name: str, depth: int, limits: CollectionLimits) -> tuple[str, bool]:
    """Return why one entry cannot be taken ("" if it can), and whether it is a folder."""
    try:
        state = path.lstat()
    except OSError as error:
        return f"unreadable ({error.strerror})", False
    is_folder = stat.S_ISDIR(state.st_mode)
    if stat.S_ISLNK(state.st_mode):
        return LINK, False
    if not is_folder and not stat.S_ISREG(state.st_mode):
        return NOT_PLAIN, False
    if not is_folder and state.st_nlink != 1:
        return HARD_LINK, False
    if is_folder and depth + 1 > limits.depth:
        return TOO_DEEP, True
    if not name.isprintable() or len(os.fsencode(name)) > limits.name_bytes:
        return ODD_NAME, is_folder
    if name.lower().startswith(".git"):
        return OF_GIT, is_folder
    return "", is_folder


def take(path: Path, place: Path) -> None:
    """Move one plain file, without odd modes."""
    path.chmod(0o644)
    try:
        path.replace(place)
    except OSError:  # another file system
        shutil.copyfile(path, place, follow_symlinks=False)
        path.unlink()


def remove_tree(top: Path) -> None:
    """Remove `top` and everything below it, however deep, unreadable or oddly named.

    Subfolders are moved up to `top` before they are emptied, so that no path grows long.
    """
    if top.is_symlink() or not top.is_dir():
        top.unlink(missing_ok=True)
        return
    number = 0
    todo = [top]
    while todo:
        folder = todo.pop()
        folder.chmod(0o700)
        for path in list(folder.iterdir()):
            if not stat.S_ISDIR(path.lstat().st_mode):
                path.unlink()
                continue
            path.chmod(0o700)
            number += 1
            lifted = top / f"\x01{number}"
            todo.append(path.rename(lifted) if folder != top else path)
        if folder != top:
            folder.rmdir()
    top.rmdir()
