from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ai_scientist import cli
from ai_scientist.queue.entries import QueueState
from ai_scientist.queue.store import Queue
from tests.doors import LONGEST_S
from tests.waiting import wait_until

WORDS = (
    "a strong smoothing before anything else is tried, on few images and with care",
    "does the calibration of a tiny classifier profit when its targets are softened a little",
)


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_folder_is_named_before_or_after_the_action(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """`queue list --runs-dir DIR` is `queue --runs-dir DIR list`."""
    Queue(tmp_path).pause()
    words = ["--runs-dir", str(tmp_path)]
    queue = ["queue", *words, "resume"] if place == "before" else ["queue", "resume", *words]
    assert cli.main(queue) == 0
    assert "going on" in capsys.readouterr().out
    assert not Queue(tmp_path).paused


@pytest.mark.slow
def test_a_batch_of_the_real_launcher(tmp_path: Path, project: Path, digits_python: Path) -> None:
    """Two digits ideas, the batch killed by -9 half-way: both are done, nothing is paid twice."""
    shipped = json.loads((project / "ideas" / "label_smoothing_digits.json").read_text())
    ideas, runs = tmp_path / "ideas", tmp_path / "runs"
    ideas.mkdir()
    for number, words in enumerate(WORDS):
        idea = {**shipped, "Name": f"smooth_{number}", "Title": words, "Experiment": words}
        idea["Implementation_Plan"] = words.upper()
        idea.pop("Technical_Details", None)  # it would make the launcher ask what is not recorded
        (ideas / f"{number}.json").write_text(json.dumps(idea))
    (ideas / "middle.json").write_text("no idea")
    recording = project / "ideas" / "recordings" / "label_smoothing_digits.jsonl"
    command = [
        sys.executable, "launch_scientist.py", "--ideas", str(ideas), "--runs-dir", str(runs),
        "--model", f"recorded:{recording}", "--workers", "2", "--no-writeup",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    batch = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.DEVNULL)

    def first_run() -> bool:
        assert batch.poll() is None, "the batch ended before its first run"
        return any("run_1/record" in path.read_text() for path in runs.glob("*/events.jsonl"))

    wait_until(first_run, what="a first run")
    batch.kill()
    batch.wait()
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=LONGEST_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout  # for the one that is no idea
    assert "middle.json, line 1" in done.stdout
    assert {item.state.state for item in Queue(runs).items()} == {QueueState.DONE}
    folders = list(runs.glob("*_smooth_*"))
    assert len(folders) == 2
    for folder in folders:
        lines = (folder / "events.jsonl").read_text().splitlines()
        keys = [json.loads(line).get("key") for line in lines]
        counts = Counter(key for key in keys if key)
        assert set(counts.values()) == {1}
        assert json.loads((folder / "report.json").read_text())["valid_runs"] == 3
