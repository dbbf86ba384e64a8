from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pytest

from ai_scientist.cli import launch_parser
from ai_scientist.inputs.settings import PROFILES
from ai_scientist.trackers import PACKAGES, allowed_name, mirroring, steps_of
from tests.doors import PROJECT, launch_scientist
from tests.waiting import PATIENCE_S

DOUBLES = PROJECT / "tests" / "tracker_doubles"
BROKEN = """
class SummaryWriter:
    def __init__(self, logdir):
        {what}
"""


def finished_run(folder: Path, name: str, loss: float = 0.5) -> None:
    """Leave what a finished run leaves; run.json comes last."""
    place = folder / name
    place.mkdir(parents=True)
    lines = [
        {"repeat": 0, "epoch": 1, "train_loss": 2.0},
        {"repeat": 0, "epoch": 2, "train_loss": 1.0},
        {"repeat": 1, "epoch": 1, "train_loss": 3.0},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (place / "metrics.jsonl").write_text(text + '["no object"]\n{"train_loss": NaN, "a": "b"}\n{"x')
    (place / "final_info.json").write_text(json.dumps({"digits": {"means": {"test_loss": loss}}}))
    (place / "run.json").write_text("{}")


def mirror(tmp_path: Path, kind: str, modules: Path = DOUBLES) -> subprocess.CompletedProcess[str]:
    """Mirror a run folder in a process that finds `modules`, and print what was reported."""
    script = (
        "import sys, pathlib; from ai_scientist.trackers import mirroring\n"
        "with mirroring(pathlib.Path(sys.argv[1]), sys.argv[2], print): pass\n"
    )
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path / "runs" / "idea"), kind],
        env={**os.environ, "PYTHONPATH": f"{modules}{os.pathsep}{PROJECT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_curves_and_results_become_steps(tmp_path: Path) -> None:
    """Repeats have curves of their own, what is no finite number is passed over, results end it."""
    finished_run(tmp_path, "run_2")
    assert list(steps_of(tmp_path / "run_2")) == [
        ("run_2-repeat_0", 0, {"epoch": 1.0, "train_loss": 2.0}),
        ("run_2-repeat_0", 1, {"epoch": 2.0, "train_loss": 1.0}),
        ("run_2-repeat_1", 0, {"epoch": 1.0, "train_loss": 3.0}),
        ("run_2", 2, {"final/digits/test_loss": 0.5}),
    ]


@pytest.mark.parametrize("kind", ["tensorboard", "wandb", "wandb-online", "mlflow"])
def test_every_tracker_gets_every_finished_run(tmp_path: Path, kind: str) -> None:
    """Finished runs are mirrored once, in order, also over two launches; others are not."""
    folder = tmp_path / "runs" / "idea"
    for name in ("run_0", "run_10", "run_2"):
        finished_run(folder, name)
    (folder / "run_3").mkdir()
    done = mirror(tmp_path, kind)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    place = tmp_path / "runs" / f".{kind.partition('-')[0]}"
    written = {path: path.read_text() for path in place.rglob("*.jsonl")}
    assert len(written) == 9
    assert sum("final/digits/test_loss" in text for text in written.values()) == 3
    assert not [path for path in written if "run_3" in str(path)]
    assert (folder / ".staging" / "tracked").read_text().split() == ["run_0", "run_2", "run_10"]
    finished_run(folder, "run_11")
    assert mirror(tmp_path, kind).returncode == 0
    assert len(list(place.rglob("*.jsonl"))) == 12 if kind != "mlflow" else True
    assert all(path.read_text() == text for path, text in written.items())


@pytest.mark.parametrize("what", ["raise OSError('no space left')", "raise SystemError(1)"])
def test_a_failing_tracker_fails_nothing(tmp_path: Path, what: str) -> None:
    """Whatever a tracker raises is told in a line, and the work goes on."""
    finished_run(tmp_path / "runs" / "idea", "run_0")
    (tmp_path / "tensorboardX.py").write_text(BROKEN.format(what=what))
    done = mirror(tmp_path, "tensorboard", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tracker: given up, the runs go on: ")
    assert done.stdout.count("\n") == 1


def test_a_hanging_tracker_delays_nothing(tmp_path: Path) -> None:
    """While a tracker hangs the block goes on; runs finish while it is stuck."""
    finished_run(tmp_path / "runs" / "idea", "run_0")
    hang = "import time, pathlib; pathlib.Path('stuck').touch(); time.sleep(600)"
    (tmp_path / "tensorboardX.py").write_text(BROKEN.format(what=hang))
    script = (
        "import sys, time; from pathlib import Path; from ai_scientist.trackers import mirroring\n"
        "with mirroring(Path(sys.argv[1]), 'tensorboard', print, patience_s=0.5):\n"
        "    while not Path('stuck').exists(): time.sleep(0.02)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "runs" / "idea")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PROJECT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.stdout == "tracker: tensorboard does not answer; it is left behind\n"


def test_a_missing_package_is_named_before_anything_is_paid(tmp_path: Path) -> None:
    """--tracker with its package missing ends at once with the command that brings it."""
    options = ("--idea=label_smoothing_digits", "--model=recorded", "--tracker=mlflow")
    done = launch_scientist(*options, f"--run-dir={tmp_path / 'made'}")
    assert done.returncode == 2
    assert "error: --tracker mlflow needs the package mlflow" in done.stderr
    assert "hint: .venv/bin/pip install mlflow-skinny sqlalchemy alembic" in done.stderr
    assert not (tmp_path / "made" / "calls.jsonl").exists()


def test_no_tracker_costs_nothing(tmp_path: Path) -> None:
    """Without --tracker no thread starts and nothing is written."""
    with mirroring(tmp_path, "none", print):
        assert list(tmp_path.iterdir()) == []


def test_names_that_a_tracker_refuses() -> None:
    """A metric's name is cut to the characters that are allowed everywhere."""
    assert allowed_name("mcq[arts]/loss (nats)") == "mcq-arts-/loss -nats-"


def test_the_command_line_takes_what_there_is() -> None:
    """Its choices stand there once more, since --help has no time to import these modules."""
    for tracker, profile in zip_longest(["none", *PACKAGES], PROFILES, fillvalue="small"):
        given = launch_parser().parse_args([f"--tracker={tracker}", f"--profile={profile}"])
        assert (given.tracker, given.profile) == (tracker, profile)
