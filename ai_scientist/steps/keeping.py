"""What of a run stays: in git, and of the trained models when the experiments are over.

Experiments that keep what they trained leave it in a folder `sae/` of what they write:

    run_3/sae/  run_3/seed_1/sae/  run_3/arm_NAME/sae/  attempts/KEY/sae/
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

from ai_scientist.inputs.foreign import side_files
from ai_scientist.protocols import Journal
from ai_scientist.records import Json
from ai_scientist.run_folder.journal import FolderJournal
from ai_scientist.run_folder.workspace import RunFolder
from ai_scientist.sandbox.leftovers import remove_tree

KEPT = "keep"
"""Key of the effect that ends the experiments: of what they trained, it keeps some."""
REMOVED = "trained_removed"
"""Kind of the note that a folder of trained models is gone."""
MAX_TRACKED_BYTES = 20_000_000
TRAINED = "sae"
DEPTH = 4
"""Folders between the run folder's top and a `sae/`, at most."""

Keep = Literal["best", "all", "none"]


def keep_trained(
    folder: RunFolder, journal: FolderJournal, keep: Keep, runs: Collection[str]
) -> Json:
    """Remove what is not kept: with `best` all but what `runs` trained, without their arms.

    Returns {"kept": folders, "removed": folders, "freed_bytes"}, what went before counted too. One
    effect: a folder that is resumed later removes nothing again.
    """

    def perform() -> Json:
        remove_trained(folder, journal, keep, runs)
        kept = [place.relative_to(folder.path) for place in trained_folders(folder.path)]
        removed = list(journal.notes(REMOVED))
        return {
            "keep": keep,
            "kept": sorted(place.as_posix() for place in kept),
            "removed": sorted(one["folder"] for one in removed),
            "freed_bytes": sum(one["bytes"] for one in removed),
        }

    return journal.effect(KEPT, perform)


def remove_trained(folder: RunFolder, journal: Journal, keep: Keep, runs: Collection[str]) -> None:
    """Remove what is not kept, should these runs be the ones. Harmless to repeat."""
    for place in sorted(trained_folders(folder.path)):
        name = place.relative_to(folder.path).as_posix()
        if not is_kept(name, keep, runs):
            remove_models(place, name, journal)


def remove_models(place: Path, name: str, journal: Journal) -> None:
    """Remove a folder of trained models, and note it under the name it has in the run folder."""
    if place.is_dir() and not place.is_symlink():
        freed = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        remove_tree(place)
        journal.note(REMOVED, {"folder": name, "bytes": freed})


def trained_folders(top: Path) -> Iterator[Path]:
    """Yield the folders of trained models below the runs and attempts of a run folder."""
    todo = [(path, 1) for kind in ("run_*", "attempts") for path in top.glob(kind)]
    while todo:
        place, depth = todo.pop()
        if place.is_symlink() or not place.is_dir():
            continue
        if place.name == TRAINED:
            yield place
        elif depth < DEPTH:
            todo += [(path, depth + 1) for path in place.iterdir()]


def is_kept(name: str, keep: Keep, runs: Collection[str]) -> bool:
    """Tell whether `run_3/sae` or `run_3/seed_1/sae` stays."""
    run, *between, _ = name.split("/")
    own = not between or (len(between) == 1 and between[0].startswith("seed_"))
    return keep == "all" or (keep == "best" and run in runs and own)


def kept_in_git(folder: RunFolder, run: str, *, everything: bool = False) -> list[str]:
    """Return the files of a run that plots and readers need; logs and weights stay outside git.

    `everything` keeps what is small: nobody knows which files a foreign plot.py reads.
    """
    place = folder.run(run)
    if everything:
        return [f"{run}/{name}" for name in side_files(place)]
    return [
        f"{run}/{name}"
        for name in ("final_info.json", "run.json", "metrics.jsonl")
        if (place / name).is_file() and (place / name).stat().st_size <= MAX_TRACKED_BYTES
    ]
