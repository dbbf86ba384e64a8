"""What the program itself costs: start-up, the time between a reply and its run, prompt sizes.

    help      wall time of `launch_scientist.py --help`
    own time  from a reply's arrival to the start of its run, gates aside
    a run     processor time of supervisor, sandbox and clean-up beside the process itself
    prompts   tokens of the edit prompt of run 10 over that of run 2

Takes a ten-run idea on the digits template, with scripted replies over the real path.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ai_scientist.execution.local import LocalExecutor
from ai_scientist.records import RunLimits, RunRequest
from ai_scientist.sandbox.choice import choose_sandbox
from benchmarks.form import Row, finish, parser

PROJECT = Path(__file__).resolve().parent.parent
RUNS = 10


def main() -> int:
    """Measure, report, and return the exit code."""
    options = parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run_folder = run_idea(Path(folder))
        rows = [
            Row("--help", measure_help(), "s", goal=0.5, note="median of 5"),
            Row(
                "own time per run",
                statistics.median(own_times(run_folder)),
                "s",
                goal=0.2,
                note="from reply to run, gates aside; median of 10",
            ),
            measure_run(Path(folder) / "run"),
            Row("edit prompt, run 10 over run 2", prompt_growth(run_folder), goal=1.10),
        ]
    return finish(rows, options)


def measure_help(times: int = 5) -> float:
    """Return the median wall time of --help, in seconds."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        command = [sys.executable, str(PROJECT / "launch_scientist.py"), "--help"]
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def measure_run(staging: Path, times: int = 5) -> Row:
    """Return the processor time that an execution takes beside its process, at the least.

    Not wall time, and the least of several, so that a busy machine decides little.
    """
    (staging / "source").mkdir(parents=True)
    (staging / "source" / "experiment.py").write_text("")
    sandbox = choose_sandbox(allow_unsandboxed=True, probe_folder=staging)
    executor, command = LocalExecutor(sandbox), (sys.executable, "experiment.py")
    request = RunRequest(
        key="run_1/execution_0", staging=staging, out_name="run_1", command=command,
        environment={}, readable=(), limits=RunLimits(timeout_s=30),
    )  # fmt: skip
    costs = []
    for number in range(times):
        before = processor_time_s()
        executor.run(replace(request, key=f"run_1/execution_{number}"))
        between = processor_time_s()
        subprocess.run(command, check=True, cwd=staging / "source")
        costs.append((between - before) - (processor_time_s() - between))
    note = f"of processor time, sandbox {sandbox.tier}; least of {times}"
    return Row("supervising a run", min(costs), "s", goal=0.15, note=note)


def processor_time_s() -> float:
    """Return the processor time of this process and of all that it has waited for."""
    return sum(os.times()[:4])


def run_idea(folder: Path) -> Path:
    """Run an idea of ten runs with scripted replies and return its run folder."""
    recording = folder / "recording.jsonl"
    recording.write_text("".join(json.dumps(line) + "\n" for line in replies()))
    command = [
        sys.executable,
        str(PROJECT / "launch_scientist.py"),
        "--idea=label_smoothing_digits",
        f"--model=recorded:{recording}",
        f"--runs-dir={folder / 'runs'}",
        "--no-writeup",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=PROJECT)
    return next((folder / "runs").iterdir())


def replies() -> list[dict[str, Any]]:
    """Return a recording in which each run moves the learning rate."""
    lines = [{"purpose": "plan", "step": "plan", "reply": "Ten learning rates."}]
    rates = ["0.1", *(f"0.{number}" for number in range(11, 11 + RUNS))]
    for number in range(1, RUNS + 1):
        old, new = rates[number - 1], rates[number]
        edit = [
            f"RUN: rate {new}\n\nexperiment.py\n```python\n<<<<<<< SEARCH",
            f"    learning_rate: float = {old}\n=======\n    learning_rate: float = {new}",
            ">>>>>>> REPLACE\n```",
        ]
        lines.append({"purpose": "edit", "step": f"run_{number}/edit_1", "reply": "\n".join(edit)})
    lines.append({"purpose": "interpret", "step": f"run_{RUNS}/interpret", "reply": "Done."})
    lines.append({"purpose": "plot", "step": "plot/edit_1", "reply": "ALL_COMPLETED"})
    lines.append({"purpose": "interpret", "step": "plot/notes", "reply": "Drawn."})
    return lines


def own_times(run_folder: Path) -> list[float]:
    """Return, for each run, the seconds from the reply to its run that no gate took."""
    events = [json.loads(line) for line in (run_folder / "events.jsonl").read_text().splitlines()]
    at = {line["key"]: datetime.fromisoformat(line["time"]) for line in events if "key" in line}
    taken = []
    for number in range(1, RUNS + 1):
        capsule = json.loads((run_folder / f"run_{number}" / "run.json").read_text())
        started = datetime.fromisoformat(capsule["started_at"])
        gates = sum(check["seconds"] for check in capsule["checks"])
        waited = (started - at[f"run_{number}/edit_1/call_1"]).total_seconds()
        taken.append(waited - gates)
    return taken


def prompt_growth(run_folder: Path) -> float:
    """Return the prompt tokens of run 10's edit over those of run 2's."""
    calls = [json.loads(line) for line in (run_folder / "calls.jsonl").read_text().splitlines()]
    size = {call["step"]: call["prompt_tokens"] for call in calls if call["purpose"] == "edit"}
    return float(size[f"run_{RUNS}/edit_1"] / size["run_2/edit_1"])


if __name__ == "__main__":
    sys.exit(main())
