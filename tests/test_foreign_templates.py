from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.doors import LONGEST_S, PROJECT

V1 = PROJECT / "tests" / "fixtures" / "v1"
PLAN = [
    {"purpose": "plan", "step": "plan", "reply": "1. One change, then stop."},
    {"purpose": "hypotheses", "step": "hypotheses/try_1", "reply": "[]"},
    {"purpose": "hypotheses", "step": "hypotheses/try_2", "reply": "[]"},
    {"purpose": "hypotheses", "step": "hypotheses/try_3", "reply": "[]"},
]
END = [
    {"purpose": "edit", "step": "run_2/edit_1", "reply": "Measured.\n\nALL_COMPLETED"},
    {"purpose": "plot", "step": "plot/edit_1", "reply": "The plots are good.\n\nALL_COMPLETED"},
    # Asked again where the template's pictures leave out a run, or fail: they stay as they are.
    *(
        {"purpose": "plot", "step": f"plot/edit_{number}", "reply": "Good.\n\nALL_COMPLETED"}
        for number in range(2, 6)
    ),
    {"purpose": "interpret", "step": "plot/notes", "reply": "The picture shows both runs."},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """AI-Scientist's own layout, as a person has it: templates/ and data/ side by side."""
    return Path(shutil.copytree(V1, tmp_path / "theirs"))


def edit(old: str, new: str) -> dict[str, str]:
    """The recorded reply that makes one change to experiment.py."""
    block = f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE"
    reply = f"RUN: one change\n\nexperiment.py\n```python\n{block}\n```\n"
    return {"purpose": "edit", "step": "run_1/edit_1", "reply": reply}


def launch(
    root: Path, template: str, change: dict[str, str], *options: str, answer: str | None = None
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run one idea on a foreign template and return how it ended, and its run folder.

    With an `answer` there is a terminal at which it is typed.
    """
    recording, idea, folder = root / "replies.jsonl", root / "idea.json", root / "made"
    recording.write_text("".join(json.dumps(line) + "\n" for line in (*PLAN, change, *END)))
    # An AI-Scientist idea as it is: no key of ours.
    given = {"Name": "one_change", "Title": "One Change", "Experiment": "Change one thing."}
    idea.write_text(json.dumps({**given, "Interestingness": 6, "Feasibility": 9, "novel": True}))
    command = (
        f"--idea={idea}", f"--template=templates/{template}", f"--model=recorded:{recording}",
        f"--run-dir={folder}", "--no-writeup", *options,
    )  # fmt: skip
    return call(root, *command, answer=answer), folder


def call(
    folder: Path, *options: str, cache: Path | None = None, answer: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the launcher in a folder, with an answer typed at a terminal, or with no terminal."""
    keyboard, terminal = os.openpty()
    try:
        os.write(keyboard, f"{answer}\n".encode())
        return subprocess.run(
            [sys.executable, str(PROJECT / "launch_scientist.py"), *options],
            cwd=folder,
            env={
                **os.environ,
                "AI_SCIENTIST_CACHE": str(cache or folder / "cache"),
                "OMP_NUM_THREADS": "1",
            },
            stdin=subprocess.DEVNULL if answer is None else terminal,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
        )
    finally:
        os.close(keyboard)
        os.close(terminal)


def capsule(folder: Path, run: str) -> Any:
    """What run.json says."""
    return json.loads((folder / run / "run.json").read_text())


@pytest.mark.slow
def test_shared_data_is_found_and_the_baseline_measured(root: Path, digits_python: Path) -> None:
    """Paths that expect ROOT/results/EXP/IDEA lead to ROOT/data; a missing run_0 is measured."""
    change = edit("step_size = 0.1", "step_size = 0.05")
    done, folder = launch(root, "shared_data", change, f"--python={digits_python}", "--yes")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "brings no results of its own" in done.stdout
    assert [capsule(folder, run)["provenance"] for run in ("run_0", "run_1")] == ["measured"] * 2
    assert (folder / "loss.png").stat().st_size > 5000
    assert (folder / "run_1" / "final_info_numbers_2.json").is_file()  # plot.py reads them
    notes = (folder / "notes.txt").read_text()
    assert notes.startswith("# Title: One Change\n# Experiment description: Change one thing.")
    assert not (folder / "data").exists()


def test_a_missing_baseline_is_measured_only_when_a_person_says_so(root: Path) -> None:
    """What it costs is said first; where nobody can answer, or says no, nothing is begun."""
    change, python = edit("width = 3", "width = 4"), "--python=/bin/true"
    cost = "untouched experiment.py has to be run first, 2 times, at most 60 s each"
    options = (python, "--baseline-seeds=2", "--run-timeout=60")
    nobody, folder = launch(root, "odd_shapes", change, *options)
    error, hint = nobody.stderr.splitlines()
    assert nobody.returncode == 2
    assert error.startswith("error: template `odd_shapes` brings no results of its own")
    assert cost in error
    assert hint.startswith("hint: --yes measures it; or put its results at ")
    refused, _ = launch(root, "odd_shapes", change, *options, answer="")
    assert refused.returncode == 2
    assert cost in refused.stdout
    assert "Measure it? [y/N]" in refused.stdout
    assert "error: template `odd_shapes` has no run_0, and it was not to be" in refused.stderr
    assert not folder.exists()
    agreed, _ = launch(root, "odd_shapes", change, *options, answer="y")
    assert "is no Python interpreter that works" in agreed.stderr
    assert folder.exists()


@pytest.mark.slow
def test_given_results_are_the_baseline(root: Path, digits_python: Path) -> None:
    """run_0 of a template is read as given, with what plot.py needs; plt.show() does not stop."""
    change = edit("contacts = 0.3", "contacts = 0.2")
    done, folder = launch(root, "given_baseline", change, f"--python={digits_python}")
    assert done.returncode == 0, done.stderr + done.stdout
    assert [capsule(folder, run)["provenance"] for run in ("run_0", "run_1")] == [
        "given",
        "measured",
    ]
    theirs = root / "templates" / "given_baseline" / "run_0" / "final_info.json"
    assert (folder / "run_0" / "final_info.json").read_bytes() == theirs.read_bytes()
    assert {path.name for path in folder.glob("*.png")} == {
        "epidemic_curve_run_0.png",
        "epidemic_curve_run_1.png",
    }
    assert "provenance: given" in (folder / "notes.txt").read_text()


@pytest.mark.slow
def test_odd_shapes_are_read(root: Path, digits_python: Path) -> None:
    """Dictionaries within `means`, bare numbers and NaN become metrics, or reasons for none."""
    change = edit("width = 3", "width = 4")
    done, folder = launch(root, "odd_shapes", change, f"--python={digits_python}", "--yes")
    assert done.returncode == 0, done.stderr + done.stdout
    notes = (folder / "notes.txt").read_text()
    assert "params" in notes
    assert "not a finite number" in notes


@pytest.mark.slow
def test_a_folder_that_is_no_run_spoils_no_run(root: Path, digits_python: Path) -> None:
    """A folder `runs/` stops the template's own plot.py: that is told, and the runs stay valid."""
    script = (root / "templates" / "runs_folder" / "experiment.py").read_text()
    measured = next(line for line in script.splitlines() if "1.0 / 3" in line)
    change = edit(measured, measured.replace("1.0 / 3", "1.0 / 4"))
    done, folder = launch(root, "runs_folder", change, f"--python={digits_python}", "--yes")
    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads((folder / "report.json").read_text())
    assert report["valid_runs"] == 1
    assert "runs/final_info.json" in json.dumps(report["plots"])


@pytest.mark.slow
def test_a_run_that_changed_nothing_names_the_lines_that_never_ran(root: Path) -> None:
    """Without a rehearsal and without coverage, the run itself tells which changed lines ran."""
    bare = root / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    change = edit("width = 3", "width = 3\nif width > 5:\n    width = 9")
    options = (f"--python={bare}/bin/python", "--max-executions=1", "--yes")
    done, folder = launch(root, "odd_shapes", change, *options)
    assert done.returncode == 1, done.stderr + done.stdout
    (kept,) = (folder / "attempts").glob("*.json")
    attempt = json.loads(kept.read_text())
    assert attempt["kind"] == "no_result"
    assert (
        "identical to run_0's; changed lines: 7-8; of these, lines 8 never ran"
        in (attempt["reason"])
    )
    assert not list(folder.rglob(".lines_ran"))


def test_no_interpreter_is_chosen_silently(root: Path) -> None:
    """A template without a lock needs --python: exit 2, naming the option, before any run."""
    change = edit("width = 3", "width = 4")
    for options, problem in (
        ((), "no interpreter was named for it\nhint: --python PATH"),
        (("--python=/nowhere/python",), "is no Python interpreter that works"),
    ):
        shutil.rmtree(root / "made", ignore_errors=True)
        done, _ = launch(root, "odd_shapes", change, "--yes", *options)
        assert done.returncode == 2
        assert problem in done.stderr


def test_a_broken_given_baseline_is_named(root: Path, digits_python: Path) -> None:
    """A run_0 that cannot be read stops the idea with the file's place, instead of a traceback."""
    final = root / "templates" / "given_baseline" / "run_0" / "final_info.json"
    final.write_text("{")
    done, _ = launch(root, "given_baseline", edit("a", "b"), f"--python={digits_python}")
    assert done.returncode == 2
    assert f"error: {final}: final_info.json is not valid JSON" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_their_ideas_run_as_a_batch(root: Path, digits_python: Path) -> None:
    """`--ideas seed_ideas.json` queues ideas that name no template, and --python reaches each."""
    template = root / "templates" / "shared_data"
    recording = root / "replies.jsonl"
    change = edit("step_size = 0.1", "step_size = 0.05")
    recording.write_text("".join(json.dumps(line) + "\n" for line in (*PLAN, change, *END)))
    options = (
        f"--ideas={template / 'seed_ideas.json'}", "--template=./templates/shared_data",
        f"--model=recorded:{recording}", f"--python={digits_python}", "--no-writeup",
        "--runs-dir=made",
    )  # fmt: skip
    assert call(root, *options).returncode == 2
    done = call(root, *options, answer="y")
    assert done.returncode == 0, done.stderr + done.stdout
    (folder,) = (root / "made").glob("*_small_steps")
    assert json.loads((folder / "report.json").read_text())["valid_runs"] == 1


@pytest.mark.slow
def test_a_template_named_by_its_path_is_found_again(root: Path, digits_python: Path) -> None:
    """--resume works from another folder, and with another interpreter than the first."""
    change = edit("width = 3", "width = 4")
    failed, folder = launch(root, "odd_shapes", change, "--python=/bin/true", "--yes")
    assert failed.returncode == 2
    options = (f"--resume={folder}", f"--python={digits_python}")
    done = call(Path("/"), *options, cache=root / "cache")
    assert done.returncode == 0, done.stderr + done.stdout
    assert json.loads((folder / "report.json").read_text())["valid_runs"] == 1
