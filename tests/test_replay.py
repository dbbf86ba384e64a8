"""A run is made again from its record alone, and compared with what is stored."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ai_scientist.commands.replay import compare
from ai_scientist.records import MetricSpec, Results
from tests.digits_runs import lines_of
from tests.doors import ai_scientist


def replay(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return ai_scientist("replay", *arguments, cwd=cwd, **variables)


@pytest.fixture
def folder(finished_digits: Path, tmp_path: Path) -> Path:
    """A copy of a finished run folder, to tamper with."""
    return Path(shutil.copytree(finished_digits, tmp_path / "copy"))


def change(path: Path, section: str, key: str, value: object) -> None:
    """Change one value of a JSON file, two levels down."""
    content: dict[str, Any] = json.loads(path.read_text())
    content[section][key] = value
    path.write_text(json.dumps(content))


def test_the_same_machine_gives_the_same_bits(folder: Path, tmp_path: Path) -> None:
    """Equal to the last bit, from the commit: what the working tree holds by now is no matter."""
    (folder / "experiment.py").write_text("raise SystemExit('changed since')\n")
    before = sorted(path for path in folder.rglob("*") if ".git" not in path.parts)
    done = replay(str(folder), "run_1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run_1: same: 3 metrics compared" in done.stdout
    assert "same hardware, versions and sandbox" in done.stdout
    assert sorted(path for path in folder.rglob("*") if ".git" not in path.parts) == before


def test_a_replayed_run_reads_its_input_folders(folder: Path, tmp_path: Path) -> None:
    """A run whose profile reads a person's folders gets them again, or says which is missing."""
    described = folder / "template.toml"
    described.write_text(
        described.read_text().replace("[profiles.small]", '[profiles.small]\ninputs = ["TEXTS/in"]')
    )
    git = ("git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run([*git, "commit", "-qam", "Read a folder"], check=True)
    commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    capsule = folder / "run_3" / "run.json"
    capsule.write_text(json.dumps(json.loads(capsule.read_text()) | {"commit": commit}))
    without = replay(str(folder), "run_3", cwd=tmp_path)
    assert without.returncode == 2
    assert "reads the folder TEXTS/in, and TEXTS is not set" in without.stderr
    (tmp_path / "texts" / "in").mkdir(parents=True)
    done = replay(str(folder), "run_3", cwd=tmp_path, TEXTS=str(tmp_path / "texts"))
    assert done.returncode == 0, done.stderr
    assert "run_3: same" in done.stdout


def test_a_result_that_does_not_come_back_is_different(folder: Path, tmp_path: Path) -> None:
    """A stored number nobody can reproduce: exit 1, with both values and what differs beside."""
    place = folder / "run_1" / "final_info.json"
    content = json.loads(place.read_text())
    content["digits"]["means"]["test_loss"] = 0.01
    place.write_text(json.dumps(content))
    change(folder / "run_1" / "run.json", "versions", "numpy", "1.0")
    done = replay(str(folder), "run_1", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "run_1: different: 3 metrics compared, 1 not equal" in done.stdout
    assert "digits/test_loss: 0.01 -> " in done.stdout
    assert "numpy: then 1.0, now " in done.stdout


def test_what_cannot_be_replayed_is_told(folder: Path, tmp_path: Path) -> None:
    """An unknown run, a run without a record, a folder that is none: exit 2 and a hint."""
    (folder / "run_2" / "run.json").unlink()
    for arguments, words in (
        ([str(folder), "run_7"], "it has: run_0, run_1"),
        ([str(folder), "run_2"], "run.json"),
        ([str(tmp_path), "run_1"], "runs/"),
        ([str(folder)], "--model"),
    ):
        done = replay(*arguments, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
        assert words in done.stderr


@pytest.mark.slow
def test_the_whole_loop_is_replayed_without_paying(folder: Path, tmp_path: Path) -> None:
    """The stored replies drive the same loop in a new folder: same runs, same calls, no cost."""
    done = replay(str(folder), "--model", f"--runs-dir={tmp_path / 'runs'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "run_3: same" in done.stdout
    (made,) = [path for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")]
    old, new = (lines_of(one / "calls.jsonl") for one in (folder, made))
    assert [(c["step"], c["reply"]) for c in old] == [(c["step"], c["reply"]) for c in new]
    assert sum(call["cost_usd"] for call in new) == 0


def test_noise_decides_between_chance_and_change() -> None:
    """2√2 deviations of the template's noise, else of the stored error; without both, no excuse."""
    stored = Results(
        metrics={"a/loss": 1.0, "a/score": 5.0, "a/seconds": 3.0}, stderr={"a/loss": 0.1}
    )
    specs = {
        "loss": MetricSpec(name="loss"),
        "score": MetricSpec(name="score", noise=1.0),
        "seconds": MetricSpec(name="seconds", volatile=True),
    }

    def sameness(**now: float) -> str:
        metrics = {**stored.metrics, **{f"a/{name}": value for name, value in now.items()}}
        return compare("run_1", stored, Results(metrics=metrics), specs).sameness

    assert sameness(seconds=99.0) == "same"
    assert sameness(loss=1.28) == "within noise"
    assert sameness(loss=1.29) == "different"
    assert sameness(score=7.8) == "within noise"
    assert sameness(loss=1.1, score=8.0) == "different"
    assert sameness(new=1.0) == "different"
    bare = Results(metrics={"loss": 1.0})
    assert (
        compare("run_1", bare, Results(metrics={"loss": 1.0 + 1e-15}), {}).sameness == "different"
    )
