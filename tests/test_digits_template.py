from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ai_scientist.inputs.ideas import read_ideas
from ai_scientist.inputs.templates import load_template
from tests.waiting import PATIENCE_S


@pytest.fixture
def digits(tmp_path: Path, project: Path) -> Path:
    """A copy of the template, as a run folder holds it."""
    return Path(shutil.copytree(project / "templates" / "digits", tmp_path / "digits"))


def _run(
    python: Path, folder: Path, *command: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    given = {f"AI_SCIENTIST_{name}": value for name, value in variables.items()}
    return subprocess.run(
        [str(python), "-W", "error", *command],
        cwd=folder,
        env={"PATH": os.defpath, "OMP_NUM_THREADS": "1", **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def _results(folder: Path, run: str) -> Any:
    return json.loads((folder / run / "final_info.json").read_text())["digits"]


@pytest.mark.parametrize("profile", ["smoke", "small"])
def test_deterministic_under_a_seed(digits_python: Path, digits: Path, profile: str) -> None:
    """The same seed gives the same bits, another seed others; only the time may differ."""
    for run, seed in (("run_0", "7"), ("run_1", "7"), ("run_2", "8")):
        done = _run(
            digits_python, digits, "experiment.py", f"--out_dir={run}", PROFILE=profile, SEED=seed
        )
        assert (done.returncode, done.stderr) == (0, "")
    same, again, other = (_results(digits, f"run_{i}")["final_info_dict"] for i in range(3))
    for values in (same, again, other):
        values.pop("seconds")
    assert same == again
    assert same != other
    assert len(set(same["test_loss"])) == len(same["test_loss"]) > 1
    assert {path.name for path in (digits / "run_0").iterdir()} == {
        "final_info.json",
        "metrics.jsonl",
    }


def test_means_and_errors_follow_from_the_seeds(digits_python: Path, digits: Path) -> None:
    """Each mean and standard error is that of the listed values, and required metrics are there."""
    _run(digits_python, digits, "experiment.py", "--out_dir=run_0", PROFILE="small")
    info = _results(digits, "run_0")
    for metric, values in info["final_info_dict"].items():
        mean = sum(values) / len(values)
        error = (sum((value - mean) ** 2 for value in values) / 4 / 5) ** 0.5
        assert info["means"][metric] == pytest.approx(mean)
        assert info["stderrs"][metric] == pytest.approx(error)
    metrics = load_template(digits).metrics
    assert set(metrics) == set(info["means"])
    assert info["means"]["test_accuracy"] > 0.9


def test_overrides_reach_the_configuration(digits_python: Path, digits: Path) -> None:
    """Defaults, profile and overrides end up resolved in the results, in that order."""
    overrides = json.dumps({"epochs": 2, "learning_rate": 1})
    _run(digits_python, digits, "experiment.py", PROFILE="smoke", OVERRIDES=overrides)
    config = _results(digits, "run_0")["config"]
    assert (config["epochs"], config["learning_rate"]) == (2, 1)  # overridden
    assert config["train_images"] == 200  # the profile's
    assert config["momentum"] == 0.9  # the default
    lines = (digits / "run_0" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"PROFILE": "large"}, "AI_SCIENTIST_PROFILE is 'large'; this script has smoke, small"),
        ({"SEED": "-1"}, "AI_SCIENTIST_SEED is '-1'; it must be a whole number"),
        ({"OVERRIDES": '{"hiden": 3}'}, "names 'hiden'; the configuration has hidden, epochs"),
        ({"OVERRIDES": '{"epochs": true}'}, "sets 'epochs' to True; it must be of type int"),
        ({"OVERRIDES": "[3]"}, "must be a JSON object; it is '[3]'"),
        ({"OVERRIDES": "{"}, "is not JSON"),
    ],
)
def test_wrong_requests_are_refused(
    digits_python: Path, digits: Path, variables: dict[str, str], sentence: str
) -> None:
    """A request that makes no sense ends in one sentence, before anything is written."""
    done = _run(digits_python, digits, "experiment.py", **variables)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (digits / "run_0").exists()


def test_plots_show_every_run(digits_python: Path, digits: Path) -> None:
    """plot.py draws all run_<number> folders without a warning and ignores others."""
    _run(digits_python, digits, "experiment.py", PROFILE="smoke")
    for name in ("run_2", "run_10", "run_x"):
        shutil.copytree(digits / "run_0", digits / name)
    (digits / "run_x" / "final_info.json").write_text("not JSON")
    done = _run(digits_python, digits, "plot.py")
    assert (done.returncode, done.stderr) == (0, "")
    drawn = {path.name: path.stat().st_size for path in digits.glob("*.png")}
    assert set(drawn) == {"test_metrics.png", "training_loss.png"}
    assert min(drawn.values()) > 10_000


def test_description_matches_the_folder(project: Path) -> None:
    """template.toml loads, names its frozen files, and the shipped idea fits the template."""
    template = load_template(project / "templates" / "digits")
    assert template.frozen == ("contract.py", "data.py", "evaluation.py")
    assert set(template.profiles) == {"smoke", "small"}
    assert template.primary_metric in template.metrics
    (idea,) = read_ideas(project / "ideas" / "label_smoothing_digits.json")
    assert idea.template == template.name
    assert {hypothesis.metric for hypothesis in idea.hypotheses} <= set(template.metrics)
