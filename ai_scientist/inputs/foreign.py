"""What an AI-Scientist v1 template counts on: its own baseline, and data beside its folder.

ROOT/data/                        read as ../../data (run_0) or as ../../../data (other runs)
ROOT/templates/NAME/run_0/        results of the untouched code, made by whoever brought it
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from ai_scientist.errors import InputError, ResultError
from ai_scientist.records import Results, Template
from ai_scientist.results.reading import read_results

GIVEN = "run_0"
MAX_FILE_BYTES = 20_000_000
MAX_TOTAL_BYTES = 100_000_000


def has_given_baseline(template: Template) -> bool:
    """Tell whether a foreign template comes with the results of its untouched code."""
    return template.foreign and (template.folder / GIVEN / "final_info.json").is_file()


def read_given_baseline(template: Template) -> Results:
    """Return the results in a template's run_0/. Raises InputError for the person."""
    path = template.folder / GIVEN / "final_info.json"
    try:
        return read_results(path, template.metrics)
    except ResultError as error:
        raise InputError(
            f"{path}: {error.message}",
            hint="mend the file, or remove it and the baseline is measured here",
        ) from None


def copy_given_baseline(template: Template, destination: Path) -> None:
    """Copy what a template's run_0/ holds, its plots read more than final_info.json."""
    source = template.folder / GIVEN
    for name in side_files(source):
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, destination / name)


def data_beside(template: Template) -> Path | None:
    """Return the data folder that a foreign template shares with its neighbors, if there is one."""
    data = template.folder.parent.parent / "data"
    return data if template.foreign and data.is_dir() else None


def place_data(staging: Path, data: Path | None) -> tuple[Path, ...]:
    """Link shared data to where relative paths lead from staging/source; return the links."""
    if data is None:
        return ()
    places = (staging.parent / "data", staging.parent.parent / "data")
    for place in places:
        if not place.is_symlink():
            place.symlink_to(data)
    return places


def side_files(folder: Path) -> Iterator[str]:
    """Yield the plain files below `folder` that are small enough for git, in order."""
    total = 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.suffix == ".log":
            continue
        size = path.stat().st_size
        if size <= MAX_FILE_BYTES and total + size <= MAX_TOTAL_BYTES:
            total += size
            yield path.relative_to(folder).as_posix()
