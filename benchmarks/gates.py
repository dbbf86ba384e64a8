"""What the gates cost: seconds per accepted edit, and their share of an idea's wall time.

    python benchmarks/gates.py [RUN_DIR] [--json FILE]

Without RUN_DIR the recorded digits idea is run first. Refused edits count too: their gates are part
of the cost. Goal: under 10% of the wall time where a run takes 60 s or more, else at most 6 s for
each accepted edit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
LONG_RUN_S = 60.0
GOAL_SHARE = 0.10
GOAL_S = 6.0


def main() -> int:
    """Measure, print, and return 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", nargs="?", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.run_dir:
        figures = measure(options.run_dir)
    else:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(run_digits(Path(folder)))
    for name, figure in figures.items():
        print(f"{name:28} {figure:10.3f}")
    long = figures["median_run_s"] >= LONG_RUN_S
    met = figures["share"] < GOAL_SHARE if long else figures["gates_s_per_accepted_edit"] <= GOAL_S
    goal = f"share < {GOAL_SHARE:g}" if long else f"<= {GOAL_S:g} s per accepted edit"
    print(f"goal {goal}: {'met' if met else 'MISSED'}")
    if options.json:
        options.json.write_text(json.dumps(figures | {"met": met}, indent=2))
    return int(not met)


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
    return {
        "accepted_edits": float(len(runs)),
        "median_run_s": statistics.median(run["seconds"] for run in runs),
        "gates_s": gates_s,
        "gates_s_per_accepted_edit": gates_s / len(runs),
        "idea_s": float(report["seconds"]),
        "share": gates_s / float(report["seconds"]),
    }


def seconds_of(judgement: dict[str, Any]) -> float:
    """Return what one judgement took."""
    return sum(float(check["seconds"]) for check in judgement["checks"])


if __name__ == "__main__":
    sys.exit(main())
