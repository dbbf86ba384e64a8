"""What all runs and ideas share on disk, and its cap.

    CACHE/data/NAME/        what a template's prepare script made: text, activations, probes, …
    CACHE/baselines/NAME/   executions of untouched code, or its rehearsals

An entry is named by a hash of all that determines it, appears whole or not at all, and can be made
again. Its folder's time is its last use, and who uses it holds a shared lock on that folder: beyond
the cap the entry that was not used for longest goes first, and one in use stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

SHARED = ("data", "baselines")
GB = 1e9


class Use:
    """A shared lock on an entry, as long as this object lives."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)


def use(entry: Path) -> Use | None:
    """Mark an entry as used now, and keep it from being removed; None where there is none."""
    try:
        descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    held = Use(descriptor)
    with contextlib.suppress(OSError):  # a file system without locks, or a folder of someone else
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(entry)
    return held if _is_still(entry, descriptor) else None


def trim(cache: Path, cap_gb: float, report: Callable[[str], None]) -> None:
    """Remove entries, least recently used first, until all together take at most `cap_gb`."""
    entries = []
    for entry in (entry for kind in SHARED for entry in _folders(cache / kind)):
        with contextlib.suppress(FileNotFoundError):  # another launcher trims as well
            entries.append((entry.stat().st_mtime, measure(entry)[0], entry))
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries):
        if total <= cap_gb * GB:
            break
        if _remove(entry):
            total -= size
            report(f"shared caches: removed {entry.name}, {in_units(size)}, unused for longest")
    report(f"shared caches: {in_units(total)} of {cap_gb:g} GB in {cache}")
    if total > cap_gb * GB:
        report("shared caches: what is in use takes more than --cache-gb allows, and stays")


def _remove(entry: Path) -> bool:
    """Remove an entry that nobody uses; tell whether it is gone."""
    try:
        descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        aside = entry.with_name(f".{entry.name}.{os.getpid()}.removed")
        entry.rename(aside)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    shutil.rmtree(aside, ignore_errors=True)
    return True


def _is_still(entry: Path, descriptor: int) -> bool:
    """Tell whether the folder we opened was not removed before it was locked."""
    try:
        return os.path.samestat(entry.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _folders(place: Path) -> list[Path]:
    try:
        found = sorted(place.iterdir())
    except OSError:
        return []
    return [
        path
        for path in found
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
    ]


def measure(path: Path) -> tuple[int, float]:
    """Return the bytes that a tree takes on disk and its newest time; links count themselves."""
    state = path.lstat()
    size, newest = state.st_blocks * 512, state.st_mtime
    if not stat.S_ISDIR(state.st_mode):
        return size, newest
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(path, followlinks=False):
        for name in (*folders, *names):
            try:
                state = Path(place, name).lstat()
            except OSError:
                continue
            if (state.st_dev, state.st_ino) not in seen:
                seen.add((state.st_dev, state.st_ino))
                size += state.st_blocks * 512
                newest = max(newest, state.st_mtime)
    return size, newest


def in_units(size: float) -> str:
    """Write 1234567 as `1.2 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
