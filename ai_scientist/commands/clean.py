"""`clean`: what runs and caches take on disk, and the removal of what a person names.

    RUNS_DIR/*/                    run folders
    CACHE/environments/HASH…/      built again when they are needed: minutes
    CACHE/data/… baselines/…       prepared or measured again when they are needed
    CACHE/scratch/… probe/…        what a killed process left

Only entries found in these two roots can be removed. No link is followed: of a link the link itself
is removed, and a root's subfolder that is a link is left alone.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.errors import FolderBusy, InputError
from ai_scientist.machine.shared_cache import in_units, measure
from ai_scientist.records import parse_json, printable
from ai_scientist.run_folder.journal import FolderLock
from ai_scientist.sandbox.leftovers import remove_tree

CACHES = ("environments", "data", "baselines", "scratch", "probe", "literature")
LEFTOVERS = ("scratch", "probe")
DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that can be removed as a whole."""

    name: str
    """As the report shows it: `runs/NAME` or `cache/environments/HASH`."""
    path: Path
    size: int
    """Bytes on disk, each hard-linked file once."""
    age_days: float
    detail: str = ""
    unused: bool = False
    """Nothing in templates/ needs it, or a killed process left it."""


def survey(runs: Path, cache: Path, templates: Path) -> list[Item]:
    """Return everything removable below the two roots, largest first."""
    return sorted([*_runs(runs), *_caches(cache, templates)], key=lambda item: -item.size)


def _runs(root: Path) -> Iterator[Item]:
    for path in _entries(root):
        if path.name.startswith("."):
            continue
        linked = path.is_symlink()
        if linked or (path / "idea.json").is_file() or (path / "events.jsonl").is_file():
            yield _item(f"runs/{path.name}", path, "a link" if linked else _stop(path))


def _stop(folder: Path) -> str:
    try:
        report = parse_json((folder / "report.json").read_bytes())
        return str(report.get("stop", "unfinished"))
    except (OSError, ValueError, AttributeError):
        return "unfinished"


def _caches(root: Path, templates: Path) -> Iterator[Item]:
    needed = {
        hashlib.sha256(lock.read_bytes()).hexdigest()[:16]: lock.parent.name
        for lock in sorted(templates.glob("*/requirements*.lock"))
    }
    for kind in CACHES:
        if (root / kind).is_symlink():
            continue
        for path in _entries(root / kind):
            if path.suffix in {".lock", ".log"}:
                continue  # next to what it belongs to
            detail, unused = "", kind in LEFTOVERS
            if kind == "environments":
                template = needed.get(path.name.partition("-")[0])
                detail, unused = f"of {template}" if template else "of no template", not template
            yield _item(f"cache/{kind}/{path.name}", path, detail, unused=unused)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _item(name: str, path: Path, detail: str, *, unused: bool = False) -> Item:
    size, newest = measure(path)
    age = max(0.0, (time.time() - newest) / DAY_S)
    return Item(name=name, path=path, size=size, age_days=age, detail=detail, unused=unused)


def choose(items: Sequence[Item], names: Sequence[str], *, unused: bool) -> list[Item]:
    """Return the items that were named, and with `unused` those that nothing needs.

    Raises InputError for the person for a name that the report does not show.
    """
    known = {item.name: item for item in items}
    for name in names:
        if name.rstrip("/") not in known:
            raise InputError(
                f"there is nothing called `{name}` to remove",
                hint="names are as `python -m ai_scientist clean` prints them",
            )
    wanted = {name.rstrip("/") for name in names}
    return [item for item in items if item.name in wanted or (unused and item.unused)]


def remove(items: Sequence[Item], tell: Callable[[str], None]) -> int:
    """Remove items and return the bytes they took; what is in use stays, and is told."""
    freed = 0
    for item in items:
        user = in_use(item)
        if user:
            tell(f"kept: {item.name} is in use {user}")
            continue
        remove_tree(item.path)
        if item.name.startswith("cache/"):
            for beside in (".lock", ".log"):
                item.path.with_name(item.path.name + beside).unlink(missing_ok=True)
        freed += item.size
        tell(f"removed: {item.name}")
    return freed


def in_use(item: Item) -> str:
    """Return by whom an item is in use; empty when by nobody."""
    import psutil

    if item.path.is_symlink():
        return ""
    if item.name.startswith("runs/"):
        try:
            with FolderLock(item.path):
                return ""
        except FolderBusy:
            return "by a launcher"
    inside = f"{item.path}{os.sep}"
    for process in psutil.process_iter(["cmdline"]):
        if any(inside in word for word in process.info["cmdline"] or ()):
            return f"by process {process.pid}"
    return ""


def clean(
    runs: Path,
    cache: Path,
    templates: Path,
    *,
    names: Sequence[str] = (),
    unused: bool = False,
    yes: bool = False,
    tell: Callable[[str], None] = print,
    ask: Callable[[str], str] = input,
) -> int:
    """Print the report, or remove what was chosen after asking; return the exit code."""
    items = survey(runs, cache, templates)
    if not names and not unused:
        tell(describe(items, runs, cache))
        return 0
    chosen = choose(items, names, unused=unused)
    if not chosen:
        tell("nothing to remove")
        return 0
    tell(describe(chosen, runs, cache))
    if not yes:
        try:
            answer = ask(f"Remove these {len(chosen)} for good? [y/N] ")
        except EOFError:
            raise InputError("nobody answered, and nothing was removed", hint="--yes") from None
        if answer.strip().lower() not in {"y", "yes"}:
            tell("nothing was removed")
            return 0
    tell(f"freed {in_units(remove(chosen, tell))}")
    return 0


def describe(items: Sequence[Item], runs: Path, cache: Path) -> str:
    """Return the report: a line per item, a sum per root."""
    width = max((len(item.name) for item in items), default=0)
    lines = [
        f"{in_units(item.size):>9}  {item.name:<{width}}  {item.age_days:5.1f} d  {item.detail}"
        + ("  (unused)" if item.unused else "")
        for item in items
    ]
    for prefix, root in (("runs/", runs), ("cache/", cache)):
        total = sum(item.size for item in items if item.name.startswith(prefix))
        lines.append(f"{in_units(total):>9}  in {prefix} = {root}")
    return "\n".join(printable(line.rstrip()) for line in lines)
