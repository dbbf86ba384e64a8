"""A runs folder whose ideas are run by the launcher's double, for tests of the queue."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_scientist.inputs.ideas import parse_idea
from ai_scientist.queue.entries import QueueState
from ai_scientist.queue.store import Queue
from ai_scientist.records import Idea
from tests.doors import PROJECT
from tests.waiting import PATIENCE_S

DOUBLE = Path(__file__).resolve().parent / "queue_double"
WORDS = [
    f"{a}{b}" for a in ("sparse", "dead", "loss", "code", "gate", "norm") for b in "abcdefghij"
]


def idea_content(name: str, **double: Any) -> dict[str, Any]:
    """Return an idea of its own words; `double` says what the launcher's double does with it."""
    words = random.Random(name).choices(WORDS, k=40)
    return {
        "Name": name,
        "Title": " ".join(words[:6]),
        "Experiment": " ".join(words),
        "Double": double,
    }


def make_idea(name: str, **double: Any) -> Idea:
    """Return such an idea, read at the door."""
    return parse_idea(idea_content(name, **double), name)


@dataclass(frozen=True)
class BatchPlace:
    """Folders of one test, and the processes it starts on them."""

    folder: Path

    @property
    def runs(self) -> Path:
        """The runs folder."""
        return self.folder / "runs"

    @property
    def queue(self) -> Queue:
        """Its queue."""
        return Queue(self.runs)

    def write_ideas(self, *contents: dict[str, Any] | str) -> Path:
        """Write one file per idea, a text as it is, and return their folder."""
        ideas = self.folder / "ideas"
        ideas.mkdir(exist_ok=True)
        for number, content in enumerate(contents):
            if isinstance(content, str):
                (ideas / f"{number:02d}.json").write_text(content)
                continue
            content["Double"] |= {
                "trace": str(self.folder / "trace"), "locks": str(self.folder / "locks"),
            }  # fmt: skip
            (ideas / f"{number:02d}.json").write_text(json.dumps(content))
        return ideas

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start a batch in the background."""
        return subprocess.Popen(
            [sys.executable, str(DOUBLE / "batch.py"), str(DOUBLE), str(self.runs), *options],
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "error"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def batch(self, *options: str) -> tuple[int, str]:
        """Run a batch to its end; return its exit code and what it printed."""
        process = self.start(*options)
        printed, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, printed

    def states(self) -> dict[str, QueueState]:
        """Return where every idea stands."""
        return {item.id: item.state.state for item in self.queue.items()}

    def trace(self) -> list[tuple[float, int, str, str, str, tuple[str, ...]]]:
        """Return (time, process, idea, run, began or ended, GPUs), in the order of writing."""
        path = self.folder / "trace"
        lines = path.read_text().splitlines() if path.exists() else []
        rows = [json.loads(line) for line in lines]
        return [(row[0], row[1], row[2], row[3], row[4], tuple(row[5:])) for row in rows]

    def ended(self) -> list[str]:
        """Return `idea/run` of every run that came to its end, sorted."""
        return sorted(f"{row[2]}/{row[3]}" for row in self.trace() if row[4] == "ended")
