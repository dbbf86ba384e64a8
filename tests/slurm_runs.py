"""Executions for a real Slurm: a small experiment that says what it saw of its node."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ai_scientist.records import Execution, RunLimits, RunRequest

EXPERIMENT = """
import glob, json, os, pathlib, sys, time
gpus = sorted(glob.glob("/dev/nvidia[0-9]"))
seen = {"gpus": gpus, "visible": os.environ["CUDA_VISIBLE_DEVICES"]}
pathlib.Path("run_1/final_info.json").write_text(json.dumps(seen))
print("began", flush=True)
end = time.monotonic() + float(os.environ["SECONDS_TO_SLEEP"])
while time.monotonic() < end and not os.path.exists("enough"):
    time.sleep(0.05)
"""


def slurm_request(
    folder: Path, key: str, *, seconds: float = 0.2, gpus: int = 1, timeout_s: float = 600
) -> RunRequest:
    """Return a request, staged as the laboratory stages one; again, with what is there."""
    staging = staging_of(folder, key)
    (staging / "source").mkdir(parents=True, exist_ok=True)
    (staging / "source" / "experiment.py").write_text(EXPERIMENT)
    return RunRequest(
        key=key,
        staging=staging,
        out_name="run_1",
        command=(sys.executable, "experiment.py", "--out_dir=run_1"),
        environment={"SECONDS_TO_SLEEP": str(seconds), "OMP_NUM_THREADS": "1"},
        readable=(),
        limits=RunLimits(timeout_s=timeout_s, memory_gb=0.5),
        gpus=gpus,
    )


def staging_of(folder: Path, key: str) -> Path:
    """Return the staging folder of a request."""
    return folder / key.replace("/", ".")


def has_begun(folder: Path, key: str) -> bool:
    """Whether an experiment has said that it began."""
    log = staging_of(folder, key) / "stdout.log"
    return log.exists() and "began" in log.read_text()


def end(folder: Path, key: str) -> None:
    """Let an experiment end before its seconds are over."""
    (staging_of(folder, key) / "source" / "enough").touch()


def result(execution: Execution) -> dict[str, Any]:
    """Return what the experiment wrote."""
    path = execution.stdout.parent / "source" / "run_1" / "final_info.json"
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def submissions(request: RunRequest) -> int:
    """Return how many jobs were submitted for a request."""
    number: int = json.loads((request.staging / "job.json").read_text())["number"]
    return number
