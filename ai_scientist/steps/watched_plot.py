"""Run a plotting script and note what each picture shows. Runs in the experiments' environment.

Usage: python watched_plot.py plot.py

Needs the standard library; without matplotlib the script is run as it is. Writes watched.json:
picture -> the runs whose files had been read when it was saved, its words, the size of the smallest
ones, and the figure's own size.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

NOTES = "watched.json"
RUN = re.compile(r"(?:^|[/\\])(run_\d+)[/\\]")
MAX_WORDS = 400


def note_files(read: set[str]) -> None:
    """Add each run to `read` whose files this process opens from now on."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
            read.update(RUN.findall(os.fspath(arguments[0])))

    sys.addaudithook(hook)


def note_pictures(figure_class: Any, read: set[str], notes: dict[str, Any]) -> None:
    """Make the figures of `figure_class` leave a note when they are saved."""
    save = figure_class.savefig

    @functools.wraps(save)
    def savefig(figure: Any, fname: Any, *arguments: Any, **keywords: Any) -> Any:
        saved = save(figure, fname, *arguments, **keywords)
        if isinstance(fname, (str, os.PathLike)):
            notes[Path(fname).name] = describe(figure, read)
        return saved

    figure_class.savefig = savefig


def describe(figure: Any, read: set[str]) -> dict[str, Any]:
    """Return what a saved figure shows."""
    text_class = importlib.import_module("matplotlib.text").Text
    words = [t for t in figure.findobj(text_class) if t.get_visible() and t.get_text().strip()]
    width, height = (float(inches) for inches in figure.get_size_inches())
    return {
        "read": sorted(read),
        "words": [" ".join(t.get_text().split()) for t in words[:MAX_WORDS]],
        "smallest_pt": min((float(t.get_fontsize()) for t in words), default=None),
        "width_in": width,
        "height_in": height,
    }


def main(script: str) -> None:
    """Run `script` as the main program; the notes are written even when it fails."""
    read: set[str] = set()
    notes: dict[str, Any] = {}
    note_files(read)
    with contextlib.suppress(ImportError):  # else it draws with something nobody here knows
        note_pictures(importlib.import_module("matplotlib.figure").Figure, read, notes)
    sys.argv = [script]
    code = compile(Path(script).read_bytes(), script, "exec")
    try:
        exec(code, {"__name__": "__main__", "__file__": script, "__builtins__": __builtins__})
    finally:
        Path(NOTES).write_text(json.dumps(notes), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
