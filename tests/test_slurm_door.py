"""The main job with its runs as jobs of a real Slurm, killed in the middle and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.doors import LONGEST_S
from tests.slurm_cluster import running_cluster
from tests.waiting import wait_until


@pytest.mark.slow
def test_an_idea_whose_runs_are_slurm_jobs(
    tmp_path: Path, project: Path, digits_python: Path
) -> None:
    """Each run is a job in its own sandbox, and a killed launcher's runs are not made twice."""
    runs = tmp_path / "runs"
    with running_cluster() as cluster:
        environment = {**os.environ, **cluster.environment, "OMP_NUM_THREADS": "1"}
        environment["PATH"] = os.environ["PATH"]
        door = [sys.executable, "launch_scientist.py"]
        begin = [
            *door, "--idea=label_smoothing_digits", "--model=recorded", "--no-writeup",
            f"--run-dir={runs / 'one'}", "--executor=slurm", "--slurm=time=5,mem=1000",
        ]  # fmt: skip
        launcher = subprocess.Popen(
            begin, cwd=project, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        events = runs / "one" / "events.jsonl"
        wait_until(
            lambda: events.exists() and "run_1/execution_1" in events.read_text(),
            what="a first run",
        )
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
        resumed = subprocess.run(
            [*door, f"--resume={runs / 'one'}"], cwd=project, env=environment,
            capture_output=True, text=True, timeout=LONGEST_S, check=False,
        )  # fmt: skip
        assert resumed.returncode == 0, resumed.stderr + resumed.stdout[-2000:]
    report = json.loads((runs / "one" / "report.json").read_text())
    assert report["valid_runs"] == 3
    keys = [json.loads(line).get("key") for line in events.read_text().splitlines()]
    assert max(Counter(key for key in keys if key).values()) == 1
    capsule = json.loads((runs / "one" / "run_1" / "run.json").read_text())
    assert capsule["sandbox_tier"].startswith("bubblewrap")
