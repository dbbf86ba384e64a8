"""The recorded ideas of the sae template, launched as a person launches them, in the rehearsal."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doors import PROJECT
from tests.sae_runs import results_of
from tests.test_sae_training import SAE_RECORDINGS

ASKED = ("--profile=smoke", "--model=recorded", "--max-runs=3", "--confirm-best=0", "--no-writeup")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SAE_RECORDINGS)
def test_each_recording_makes_three_runs_that_differ(
    sae_python: Path, tmp_path: Path, name: str
) -> None:
    """Of each recording three edits pass all gates, run, and move what is measured."""
    folder = tmp_path / "run"
    command = ("launch_scientist.py", f"--idea={name}", *ASKED, f"--run-dir={folder}", "--yes")
    done = subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((folder / "report.json").read_text())
    assert report["valid_runs"] == 3
    assert report["failed_executions"] == 0
    results = [results_of(folder, f"run_{number}") for number in range(4)]
    measured = [
        {name: section.get("final_info") for name, section in result.items()} for result in results
    ]
    assert all(one != other for one, other in itertools.combinations(measured, 2))
    notes = (folder / "notes.txt").read_text()
    assert all(f"## Run {number}:" in notes for number in (1, 2, 3))
