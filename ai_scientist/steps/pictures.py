"""What the pictures of a plotting script show: their runs, and words of which size."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from ai_scientist.records import Finding, Json

PRINTED_IN = (6.2, 4.4)
"""Largest width and height at which the paper prints a figure."""
LEAST_PT = 5.0
LARGEST_NOTES = 2_000_000


class _Note(BaseModel):
    """What watched_plot.py says of one picture; the script that it watches may write it as well."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)
    read: list[Annotated[str, Field(pattern=r"^run_[0-9]{1,6}$")]]
    words: list[str]
    smallest_pt: float | None
    width_in: float = Field(ge=0.01)
    height_in: float = Field(ge=0.01)


def read_notes(path: Path, names: Collection[str], script: str) -> dict[str, Json]:
    """Return picture -> {"runs", "printed_pt"} from the notes that watched_plot.py left.

    A run is shown where its name or the label that `script` gives it is among the picture's words;
    where no run is, all whose files had been read count. `printed_pt` is the size of the smallest
    words on paper. Empty where a note is none.
    """
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_NOTES:
            return {}
        notes = TypeAdapter(dict[str, _Note]).validate_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    labels = run_labels(script)
    return {name: _shown(notes[name], labels) for name in names if name in notes}


def _shown(note: _Note, labels: Mapping[str, str]) -> Json:
    words = set(note.words)
    said = set(re.findall(r"\brun_\d+\b", "\n".join(note.words)))
    named = {run for run in note.read if run in said or labels.get(run) in words}
    scale = min(PRINTED_IN[0] / note.width_in, PRINTED_IN[1] / note.height_in)
    printed = None if note.smallest_pt is None else round(note.smallest_pt * scale, 2)
    return {"runs": sorted(named or note.read, key=_number), "printed_pt": printed}


def _number(run: str) -> int:
    return int(run.rpartition("_")[2])


def run_labels(script: str) -> dict[str, str]:
    """Return run -> label from the dictionary literals of a plotting script."""
    try:
        dictionaries = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Dict)]
    except (SyntaxError, ValueError, RecursionError):
        return {}
    return {
        key.value: " ".join(value.value.split())
        for dictionary in dictionaries
        for key, value in zip(dictionary.keys, dictionary.values, strict=True)
        if isinstance(key, ast.Constant)
        and isinstance(value, ast.Constant)
        and isinstance(key.value, str)
        and isinstance(value.value, str)
        and re.fullmatch(r"run_\d+", key.value)
    }


def objections(shown: Mapping[str, Json], runs: Collection[str]) -> list[Finding]:
    """Return what a reader of the pictures would miss, worded for the coder and for people."""
    found = [
        Finding(
            kind="illegible_labels",
            detail=f"`{name}`: its smallest words are printed at {facts['printed_pt']:g} pt, and"
            f" {LEAST_PT:g} pt is the least; make the figure smaller or its words larger",
            where=name,
        )
        for name, facts in shown.items()
        if facts["printed_pt"] is not None and facts["printed_pt"] < LEAST_PT
    ]
    seen = {run for facts in shown.values() for run in facts["runs"]}
    missing = [run for run in runs if run not in seen] if shown else []
    if missing:
        detail = f"no picture shows {', '.join(missing)}"
        found.append(Finding(kind="run_not_in_plots", detail=detail, where="plot.py"))
    return found
