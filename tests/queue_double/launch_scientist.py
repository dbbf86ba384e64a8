"""Stands in for the launcher in tests of the queue: same arguments, same files, same exit codes.

What it does is in its idea, under "Double": runs, seconds (each), until (the file that a run lasts
until, for some), gpus, think_s, exit, error, wait_at, die_after. Each of its runs is an effect of
the real journal, made under a real slot, and leaves a line in `trace`, so that a test sees what
ran, where, when and how often.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from ai_scientist.errors import ScientistError
from ai_scientist.machine.slots import SlotPool
from ai_scientist.run_folder.journal import FolderJournal, FolderLock, write_json


def main() -> int:
    """Run the idea, or go on with it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--idea", type=Path, required=True)
    parser.add_argument("--runs-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    options, _ = parser.parse_known_args()
    idea = json.loads(options.idea.read_text())
    double = {"runs": 1, "seconds": 0.05, "gpus": 0, "think_s": 0.0, "exit": 0} | idea["Double"]
    folder: Path = options.run_dir
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "settings.json", {"limits": {"max_runs": double["runs"]}})
    with FolderLock(folder):
        journal = FolderJournal(folder / "events.jsonl")
        for number in range(1, double["runs"] + 1):
            step = f"run_{number}"
            if double.get("wait_at") == number and not any((folder / "inbox").glob("*")):
                (folder / "inbox").mkdir(exist_ok=True)
                print("waiting: a person decides on the edit", file=sys.stderr)
                return 3
            journal.effect(f"{step}/edit_1/call_1", partial(think, double))
            run = partial(execute, idea["Name"], step)
            run = partial(submit, folder, step) if "slurm" in double else run
            journal.effect(f"{step}/execution_1", partial(run, double))
            journal.effect(f"{step}/record", dict)
            if double.get("die_after") == number and not (folder / "died").exists():
                (folder / "died").touch()
                os.kill(os.getpid(), 9)
        write_json(folder / "report.json", {"stop": "run limit", "reason": double.get("error", "")})
    if double["exit"] == 2:
        print(f"error: {double['error']}\nhint: mend it", file=sys.stderr)
    return int(double["exit"])


def think(double: dict[str, object]) -> dict[str, object]:
    """Cost time and money, as a model does."""
    time.sleep(float(str(double["think_s"])))
    return {"prompt_tokens": 10, "cost_usd": 0.25}


def execute(name: str, step: str, double: dict[str, object]) -> dict[str, object]:
    """Hold a slot for as long as the idea says, and leave a line about it."""
    pool = SlotPool(
        Path(str(double["locks"])),
        gpus=tuple(double.get("devices", ())),
        cores=8,  # type: ignore
    )
    with pool.acquire(int(str(double["gpus"]))) as gpus:
        began = time.time()
        note(double, [name, step, "began", *gpus])
        last(step, double)
        note(double, [name, step, "ended", *gpus])
    return {"gpu_hours": len(gpus) * (time.time() - began) / 3600, "seconds": time.time() - began}


def last(step: str, double: dict[str, Any]) -> None:
    """Take as long as a run takes."""
    if step in double.get("until", {}):
        while not Path(double["until"][step]).exists():
            time.sleep(0.02)
    else:
        time.sleep(float(double["seconds"]))


def submit(folder: Path, step: str, double: dict[str, object]) -> dict[str, object]:
    """Make the run a Slurm job on the cluster whose folder the idea names."""
    from ai_scientist.execution.slurm.executor import SlurmExecutor
    from ai_scientist.execution.slurm.options import SlurmOptions
    from tests.slurm_cluster import Cluster
    from tests.slurm_runs import slurm_request

    cluster = Cluster(Path(str(double["slurm"])))
    executor = SlurmExecutor(cluster.client, SlurmOptions(), devices=cluster.devices)
    key = f"{step}/execution_1"
    seconds = float(str(double["seconds"]))
    execution = executor.run(slurm_request(folder / ".staging", key, seconds=seconds))
    return {"cause": str(execution.cause), "seconds": execution.seconds}


def note(double: dict[str, object], words: list[str]) -> None:
    """Append one line, whole."""
    trace = os.open(str(double["trace"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(trace, (json.dumps([time.time(), os.getpid(), *words]) + "\n").encode())
    os.close(trace)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except ScientistError as problem:
        print(f"error: {problem.message}", file=sys.stderr)
        sys.exit(2)
