"""The launcher on the digits idea with scripted replies, and what it left."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.digits_runs import IDEA, lines_of
from tests.doors import launch_scientist

SET_UP = "    request = read_request(Config(), PROFILES)"
RATE = "    learning_rate: float = 0.1"
DONE = "All is measured: {{run_1 vs run_0: test_loss}}.\n\nALL_COMPLETED"


def block(search: str, replace: str) -> str:
    """One SEARCH/REPLACE block on experiment.py."""
    lines = ("experiment.py", "```python", "<<<<<<< SEARCH", search, "=======", replace)
    return "\n".join([*lines, ">>>>>>> REPLACE", "```", ""])


def change(search: str, replace: str, title: str = "a change") -> str:
    """A whole reply with one edit."""
    return f"I change it.\n\nRUN: {title}\n\n{block(search, replace)}"


def at_start(code: str) -> str:
    """An edit that runs `code` in the experiment's main, and changes what it computes."""
    lines = "".join(f"\n    {line}" for line in code.strip().splitlines())
    return change(SET_UP, SET_UP + lines) + block(RATE, "    learning_rate: float = 0.07")


@dataclass
class Outcome:
    """What a launch left."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        """report.json."""
        content: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return content

    @property
    def notes(self) -> str:
        """notes.txt."""
        return (self.folder / "notes.txt").read_text()

    def events(self) -> list[dict[str, Any]]:
        """The lines of the journal."""
        return lines_of(self.folder / "events.jsonl")

    def calls(self) -> list[dict[str, Any]]:
        """The lines of calls.jsonl."""
        return lines_of(self.folder / "calls.jsonl")

    def attempts(self) -> list[dict[str, Any]]:
        """Every attempt, in the order of their names."""
        return [
            json.loads(p.read_text()) for p in sorted((self.folder / "attempts").glob("*.json"))
        ]


Edits = Sequence[str | dict[str, Any] | tuple[str, Any]]
Launch = Callable[..., Outcome]


def recording_of(edits: Edits) -> list[dict[str, Any]]:
    """Recording lines: a plan, the edits at their steps, and what follows the loop.

    An edit is the reply of the next step of run_1, or (step, reply). A mapping scripts faults.
    """
    lines: list[dict[str, Any]] = [{"purpose": "plan", "step": "plan", "reply": "1. One change."}]
    plots = [edit for edit in edits if isinstance(edit, tuple) and edit[0].startswith("plot")]
    for number, edit in enumerate([edit for edit in edits if edit not in plots], 1):
        step, reply = edit if isinstance(edit, tuple) else (f"run_1/edit_{number}", edit)
        faults = reply if isinstance(reply, dict) else {"reply": reply}
        lines.append({"purpose": "edit", "step": step, **faults})
    for step, reply in plots or [("plot/edit_1", "ALL_COMPLETED")]:
        lines.append({"purpose": "plot", "step": step, "reply": reply})
    for step in ("plot/notes", *(f"run_{number}/interpret" for number in range(1, 11))):
        lines.append({"purpose": "interpret", "step": step, "reply": "It is drawn."})
    return lines


def launch_scripted(folder: Path, edits: Edits, *options: str) -> Outcome:
    """Launch the label smoothing idea with scripted replies, or what `options` name instead."""
    runs = folder / "runs"
    if not any(option.startswith("--idea=") for option in options):
        recording = write_recording(folder / "recording.jsonl", recording_of(edits))
        options = (f"--idea={IDEA}", f"--model=recorded:{recording}", *options)
    paper = () if "--approve=writeup" in options else ("--no-writeup",)
    done = launch_scientist(f"--runs-dir={runs}", *paper, *options)
    folders = list(runs.iterdir()) if runs.is_dir() else [runs]
    return Outcome(done.returncode, done.stdout, done.stderr, folders[0])


def write_recording(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    """Write a recording."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def resume(outcome: Outcome, code: int = 0) -> Outcome:
    """Go on with a run folder until the launcher ends, with `code`, and return what came of it."""
    done = launch_scientist(f"--resume={outcome.folder}")
    assert done.returncode == code, done.stderr
    return Outcome(done.returncode, done.stdout, done.stderr, outcome.folder)
