"""What the gates cost: seconds per accepted edit, and their share of an idea's wall time.

    python -m benchmarks.gates [RUN_DIR] [--json FILE]

Without RUN_DIR the recorded digits idea is run first. Refused edits count too: their gates are part
of the cost, and so is waiting for cores that other ideas hold. Goal: under 10% of the wall time
where a run takes 60 s or more, else at most 6 s for each accepted edit.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.form import Row, finish, parser

PROJECT = Path(__file__).resolve().parent.parent
LONG_RUN_S = 60.0
GOAL_SHARE_PERCENT = 10.0
GOAL_S = 6.0


def main() -> int:
    """Measure, report, and return the exit code."""
    doors = parser(__doc__)
    doors.add_argument("run_dir", nargs="?", type=Path)
    options = doors.parse_args()
    if options.run_dir:
        figures = measure(options.run_dir)
    else:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(run_digits(Path(folder)))
    long = figures["median_run_s"] >= LONG_RUN_S
    per_edit, share = figures["gates_s_per_accepted_edit"], 100 * figures["share"]
    rows = [
        Row("gates per accepted edit", per_edit, "s", goal=None if long else GOAL_S),
        Row("gates, share of the idea", share, "%", goal=GOAL_SHARE_PERCENT if long else None),
        Row("accepted edits", figures["accepted_edits"]),
        Row("median run", figures["median_run_s"], "s"),
        Row("the whole idea", figures["idea_s"], "s"),
        Row(
            "rehearsals",
            figures["rehearsals"],
            note="the first idea on a machine makes two more than others",
        ),
        Row("median rehearsal", figures["median_rehearsal_s"], "s"),
    ]
    return finish(rows, options)


def run_digits(folder: Path) -> Path:
    """Run the recorded digits idea and return its run folder."""
    command = [
        sys.executable,
        str(PROJECT / "launch_scientist.py"),
        "--idea=label_smoothing_digits",
        "--model=recorded",
        f"--runs-dir={folder}",
        "--no-writeup",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=PROJECT)
    return next(path for path in folder.iterdir() if path.is_dir())


def measure(run_dir: Path) -> dict[str, float]:
    """Return the figures of one run folder."""
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    judged = [line["result"] for line in events if str(line.get("key", "")).endswith("/gates")]
    gates_s = sum(seconds_of(one) for one in judged)
    runs: list[dict[str, Any]] = [
        json.loads(path.read_text())
        for path in run_dir.glob("run_*/run.json")
        if path.parent.name != "run_0"
    ]
    report = json.loads((run_dir / "report.json").read_text())
    rehearsals_s = seconds_of_rehearsals(judged, since=min(line["time"] for line in events))
    return {
        "accepted_edits": float(len(runs)),
        "median_run_s": statistics.median(run["seconds"] for run in runs),
        "gates_s": gates_s,
        "gates_s_per_accepted_edit": gates_s / len(runs),
        "idea_s": float(report["seconds"]),
        "share": gates_s / float(report["seconds"]),
        "rehearsals": float(len(rehearsals_s)),
        "median_rehearsal_s": statistics.median(rehearsals_s),
    }


def seconds_of_rehearsals(judged: list[dict[str, Any]], since: str) -> list[float]:
    """Return what each rehearsal took, those aside that another idea had made before `since`."""
    pairs = {code: pair for one in judged for code, pair in one["rehearsed"].items()}
    made = [one for pair in pairs.values() for one in pair]
    return [float(one["seconds"]) for one in made if one["started_at"] >= since]


def seconds_of(judgement: dict[str, Any]) -> float:
    """Return what one judgement took."""
    return sum(float(check["seconds"]) for check in judgement["checks"])


if __name__ == "__main__":
    sys.exit(main())
