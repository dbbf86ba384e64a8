"""The one form of all benchmarks: a figure, its unit, its goal, and whether it was met.

    python -m benchmarks.NAME [--json FILE]     one benchmark alone; exit code 1: a goal is missed
    python -m benchmarks [NAME …]               several, into one table: see `__main__.py`

A benchmark is a module of this folder with a `main` that ends in `return finish(rows, options)`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table.

    `goal` is a bound on `figure`, both in `unit` ("" for plain numbers and ratios); without one
    no promise is made. Without a figure nothing was measured here, and `note` says why.
    """

    name: str
    figure: float | None
    unit: str = ""
    goal: float | None = None
    bound: Literal["at most", "at least"] = "at most"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal or a figure. NaN meets nothing."""
        if self.goal is None or self.figure is None:
            return None
        return self.figure <= self.goal if self.bound == "at most" else self.figure >= self.goal

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return name, figure, goal, verdict and note as they are shown."""
        goal = "" if self.goal is None else f"{self.bound} {with_unit(self.goal, self.unit)}"
        figure = "not run" if self.figure is None else with_unit(self.figure, self.unit)
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        return self.name, figure, goal, verdict, self.note

    def as_json(self) -> dict[str, object]:
        """Return the row as it is stored."""
        return vars(self) | {"met": self.met}


def with_unit(value: float, unit: str) -> str:
    """Write a figure with four significant digits, a share as a percentage."""
    if unit == "%":
        return f"{value:.3g}%"
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{digits} {unit}".rstrip()


def parser(about: str | None) -> argparse.ArgumentParser:
    """Return the parser of a benchmark, for it to add options of its own."""
    summary = (about or "").strip().partition("\n")[0]
    made = argparse.ArgumentParser(description=summary)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    return made


def finish(rows: Sequence[Row], options: argparse.Namespace) -> int:
    """Print the rows, write them where `--json` says, and return 1 when a goal is missed."""
    print(table([row.cells() for row in rows]))
    if options.json:
        content = [row.as_json() for row in rows]
        options.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return int(any(row.met is False for row in rows))


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells in columns; a figure stands at the right of its column."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:>{width}}" if place == 1 else f"{cell:{width}}"
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
