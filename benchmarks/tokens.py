"""Prompt tokens of an idea, per step, beside what the classic loop would send for the same session.

    python -m benchmarks.tokens [RUN_DIR]

Without RUN_DIR the recorded digits idea is run first. The classic loop is AI-Scientist's: one chat
that grows by every message and reply, with the coder's rules for edits, the whole of the files and,
in each message that follows a run, the full results dictionary; sections are edits, too. Both sides
are counted at four characters per token, from the same calls.jsonl: the same calls, the same
replies. The promise: at most one quarter of the classic loop's; at most 400,000 for the writeup.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.form import Row, finish, parser

PROJECT = Path(__file__).resolve().parent.parent
CHARACTERS_PER_TOKEN = 4
INSTRUCTION = 1_000
"""Characters of a classic message without results: AI-Scientist's are 700 to 2,500."""
LATEX_SKELETON = 12_000
"""Characters of a conference's template.tex with its bibliography, before a section is in it."""


def run_recorded(folder: Path) -> Path:
    """Run the digits idea with recorded replies and return its run folder."""
    command = [sys.executable, "launch_scientist.py", "--idea", "label_smoothing_digits"]
    subprocess.run(
        [*command, "--runs-dir", str(folder)], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL
    )
    return next(folder.glob("*label_smoothing_digits"))


def read_calls(run_dir: Path) -> list[dict[str, object]]:
    """Return the calls that were answered, in order."""
    lines = (run_dir / "calls.jsonl").read_text(encoding="utf-8").splitlines()
    calls = [json.loads(line) for line in lines]
    return [c for c in calls if c["outcome"] == "ok" and c["purpose"] != "preflight"]


def classic_files(run_dir: Path, run: int, *, writing: bool, written: int) -> int:
    """Return the characters of the files that the classic loop's coder sends with a message."""
    code = run_dir / f"run_{run}.py"
    notes = (run_dir / "notes.txt").read_text(encoding="utf-8")
    sections = re.split(r"(?=^## Run \d+)", notes, flags=re.MULTILINE)
    size = len(code.read_text(encoding="utf-8")) if code.exists() else 0
    size += len((run_dir / "plot.py").read_text(encoding="utf-8"))
    size += sum(len(section) for section in sections[: run + 2])
    return size + (LATEX_SKELETON + written if writing else 0)


def classic(run_dir: Path, calls: list[dict[str, object]]) -> dict[str, int]:
    """Return characters per part of the session as the classic loop would send them."""
    sent: dict[str, int] = defaultdict(int)
    rules = max(len(system_of(call)) for call in calls if call["purpose"] == "edit")
    chat = run = written = 0
    for call in calls:
        step = str(call["step"])
        message = INSTRUCTION
        number = re.match(r"run_(\d+)/", step)
        if number and int(number[1]) - 1 != run:
            run = int(number[1]) - 1
        results = run_dir / f"run_{run}" / "final_info.json"
        if results.exists() and not step.startswith("paper/"):
            message += len(results.read_text(encoding="utf-8"))
        writing = step.startswith("paper/")
        files = classic_files(run_dir, run, writing=writing, written=written)
        sent[part_of(step)] += rules + chat + message + files
        chat += message + len(str(call["reply"]))
        written += len(str(call["reply"])) if writing else 0
    return sent


def ours(calls: list[dict[str, object]]) -> dict[str, int]:
    """Return characters per part of the session as they were sent."""
    sent: dict[str, int] = defaultdict(int)
    for call in calls:
        prompt = call["prompt"]
        assert isinstance(prompt, list)
        sent[part_of(str(call["step"]))] += sum(len(m["content"]) for m in prompt)
    return sent


def system_of(call: dict[str, object]) -> str:
    """Return the system message of a call."""
    prompt = call["prompt"]
    assert isinstance(prompt, list)
    return "".join(m["content"] for m in prompt if m["role"] == "system")


def part_of(step: str) -> str:
    """Return the part of the session a step belongs to."""
    return "paper" if step.startswith("paper/") else step.partition("/")[0]


def main() -> int:
    """Measure, report, and return the exit code."""
    doors = parser(__doc__)
    doors.add_argument("run_dir", nargs="?", type=Path)
    options = doors.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run_dir = options.run_dir or run_recorded(Path(scratch))
        calls = read_calls(run_dir)
        new, old = ours(calls), classic(run_dir, calls)
    share = 100 * sum(new.values()) / sum(old.values())
    rows = [Row("of what the classic loop sends", share, "%", goal=25.0)]
    for part, sent in new.items():
        note = f"classic: {old[part] // CHARACTERS_PER_TOKEN:,}"
        goal = 400_000 if part == "paper" else None
        rows.append(Row(part, sent // CHARACTERS_PER_TOKEN, "tokens", goal=goal, note=note))
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
