from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.doors import PROJECT, ai_scientist

V1 = PROJECT / "tests" / "fixtures" / "v1"


def command(
    *arguments: object, cwd: Path = PROJECT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m ai_scientist template …`."""
    return ai_scientist("template", *arguments, cwd=cwd, **variables)


def check(folder: Path, *options: object) -> tuple[dict[str, str], dict[str, str]]:
    """Kind -> where and problem of the defects, and of the notes, that `template check` finds."""
    done = command("check", folder, "--json", *options)
    found: list[dict[str, Any]] = json.loads(done.stdout)["defects"]
    defects, notes = (
        {one["kind"]: f"{one['where']}: {one['problem']}" for one in found if one["severity"] == s}
        for s in ("defect", "note")
    )
    assert done.returncode == int(bool(defects)), done.stderr
    return defects, notes


def defects(folder: Path, *options: object) -> dict[str, str]:
    """Only the defects."""
    return check(folder, *options)[0]


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A copy of the digits template."""
    return Path(shutil.copytree(PROJECT / "templates" / "digits", tmp_path / "digits"))


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """AI-Scientist's templates/ with data/ beside it."""
    return Path(shutil.copytree(V1, tmp_path / "theirs")) / "templates"


def change(file: str, old: str, new: str) -> Callable[[Path], None]:
    """Return what makes one change to a file of a template."""

    def apply(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))

    return apply


def add(file: str, content: str) -> Callable[[Path], None]:
    """Return what adds a file."""

    def apply(folder: Path) -> None:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(content)

    return apply


READ: dict[str, tuple[Callable[[Path], None], str]] = {
    "unreadable": (change("template.toml", "honours_seed", "honors_seed"), "honors_seed"),
    "syntax": (change("experiment.py", "import time", "import time time"), "experiment.py, line"),
    "lock": (change("requirements.lock", "numpy==", "numpy>="), "does not pin one version"),
    "run_folder": (add("runs/old.txt", ""), "runs/: starts with `run`"),
    "reserved_name": (add("notes.txt", ""), "notes.txt: is a name"),
    "unguarded": (add("losses.py", ""), "losses.py: is neither editable nor frozen"),
    "no_required_metric": (
        change("template.toml", "required = true", "required = false"),
        "a run without a result would be valid",
    ),
    "no_primary_metric": (
        change("template.toml", 'primary_metric = "test_accuracy"', ""),
        "primary_metric is None",
    ),
    "no_direction": (
        change("template.toml", 'direction = "increase"', 'direction = "none"'),
        "test_accuracy has no direction",
    ),
    "no_stand_in": (
        change("template.toml", "[metrics.test_loss]", '[metrics.test_loss]\nat_matched = "gone"'),
        "test_loss has at_matched = 'gone', and no metric is called so",
    ),
    "outside_path": (
        change("experiment.py", "import time", 'import time\n\nCORPUS = "../corpus.txt"'),
        "reads `../corpus.txt`, outside the folder",
    ),
}
# All of these are found without running anything: a lock that does not pin stops the check.
STOP = change("requirements.lock", "numpy==", "numpy>=")


@pytest.mark.parametrize("kind", READ)
def test_defects_found_by_reading(digits: Path, kind: str) -> None:
    """Each thing that is wrong in a template's files is named with its place."""
    breaks, words = READ[kind]
    breaks(digits)
    if kind not in {"unreadable", "syntax", "lock"}:
        STOP(digits)
    found = defects(digits)
    assert words in found.pop(kind)
    assert set(found) <= {"lock"}


RUN: dict[str, tuple[Callable[[Path], None], str]] = {
    "fails": (
        change("experiment.py", "repeats: int = 5", "repeats: int = 1 // 0"),
        "ZeroDivisionError",
    ),
    "not_deterministic": (
        change("experiment.py", "default_rng([request.seed, repeat])", "default_rng()"),
        "differ in 3: digits/test_accuracy",
    ),
    "ignores_seed": (
        change("experiment.py", "[request.seed, repeat]", "[0, repeat]"),
        "another AI_SCIENTIST_SEED changes no metric",
    ),
    "wrong_result": (
        change("template.toml", "[metrics.test_loss]", "[metrics.loss_on_test]"),
        "required metric 'loss_on_test' in final_info.json is missing",
    ),
    "no_result": (
        change("contract.py", '"final_info.json")', '"final.json")'),
        "ended without writing final_info.json",
    ),
    "writes_elsewhere": (
        change("experiment.py", "import time\n", 'import time\nopen("evaluation.py", "a")\n'),
        "writes the frozen evaluation.py: OSError",
    ),
    "plot": (change("plot.py", 'savefig("', 'savefig("/nowhere/'), "FileNotFoundError"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUN)
def test_defects_found_by_rehearsing(digits: Path, kind: str) -> None:
    """What only shows when a template runs is found in seconds and told in words."""
    breaks, words = RUN[kind]
    breaks(digits)
    found = defects(digits)
    assert words in found.pop(kind)
    assert not found


@pytest.mark.slow
def test_a_new_template_works(tmp_path: Path) -> None:
    """What `template new` writes has no defect by its own test, and comes with an idea."""
    made = command("new", tmp_path / "tides")
    assert made.returncode == 0, made.stderr
    test = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tmp_path / "tides" / "test_template.py")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert test.returncode == 0, test.stdout
    from ai_scientist.inputs.ideas import read_ideas

    (idea,) = read_ideas(tmp_path / "tides" / "ideas.json")
    assert (idea.template, idea.varies) == ("tides", ("hidden",))
    again = command("new", tmp_path / "tides")
    assert again.returncode == 2
    assert "is there already\nhint:" in again.stderr
    assert command("new", tmp_path / "My Tides").returncode == 2


def test_baseline_is_measured_and_stored(digits: Path) -> None:
    """`template baseline` leaves final_info.json with seeds and a capsule of the same profile."""
    done = command("baseline", digits, "--profile=smoke", "--seeds=2", "--name=here")
    assert done.returncode == 0, done.stderr
    place = digits / "baselines" / "smoke" / "here"
    info = json.loads((place / "final_info.json").read_text())
    capsule = json.loads((place / "run.json").read_text())
    assert "test_loss" in json.dumps(info)
    assert (capsule["profile"], capsule["seeds"], capsule["provenance"]) == (
        "smoke",
        [0, 1],
        "measured",
    )
    change("experiment.py", "repeats: int = 5", "repeats: int = 1 // 0")(digits)
    failed = command("baseline", digits, "--profile=smoke")
    assert failed.returncode == 2
    assert "ZeroDivisionError" in failed.stderr


@pytest.mark.parametrize(("options", "asked"), [((), "None"), (("--complete",), "'probing'")])
def test_a_baseline_may_be_complete(digits: Path, options: tuple[str, ...], asked: str) -> None:
    """`--complete` measures all that the profile can; without it, what every run measures."""
    change("template.toml", "[profiles.small]", '[profiles.small]\nevaluations = ["probing"]')(
        digits
    )
    asking = (
        "import os\nimport time\n\n"
        f'assert os.environ.get("AI_SCIENTIST_EVALUATIONS") == {asked.replace(chr(39), chr(34))}\n'
    )
    change("experiment.py", "import time\n", asking)(digits)
    done = command("baseline", digits, "--profile=small", *options)
    assert done.returncode == 0, done.stderr


def test_a_profile_reads_its_input_folders(digits: Path, tmp_path: Path) -> None:
    """`check` and `baseline` hand a profile the folders that the environment names, as runs do."""
    inputs = '[profiles.small]\ninputs = ["TEXTS/in"]'
    change("template.toml", "[profiles.small]", inputs)(digits)
    change("template.toml", "[profiles.smoke]", '[profiles.smoke]\ninputs = ["TEXTS/in"]')(digits)
    reading = (
        "import json\nimport os\nimport time\nfrom pathlib import Path\n\n"
        'TEXTS = json.loads(os.environ["AI_SCIENTIST_INPUTS"])["TEXTS/in"]\n'
        'assert Path(TEXTS, "part.jsonl").read_text()\n'
    )
    change("experiment.py", "import time\n", reading)(digits)
    without = command("baseline", digits, "--profile=small")
    assert without.returncode == 2
    assert "reads the folder TEXTS/in, and TEXTS is not set" in without.stderr
    (tmp_path / "texts" / "in").mkdir(parents=True)
    (tmp_path / "texts" / "in" / "part.jsonl").write_text("{}\n")
    named = {"TEXTS": str(tmp_path / "texts")}
    done = command("baseline", digits, "--profile=small", **named)
    assert done.returncode == 0, done.stderr
    done = command("check", digits, **named)
    assert done.returncode == 0, done.stdout


FOREIGN: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "shared_data": (
        {},
        {"unsorted_runs": "os.listdir", "no_baseline": "run_0/", "shows_plots": ""},
    ),
    "given_baseline": (
        {"placeholder": "has no `CONCLUSIONS HERE`"},
        {"missing_figure": "epidemic_plot_run_0.png", "shows_plots": "show()"},
    ),
    "odd_shapes": ({}, {"no_config": "holds no `config`"}),
    "runs_folder": ({"run_folder": "runs/", "plot": "runs/final_info.json"}, {}),
    "fixed_out_dir": ({"writes_elsewhere": "Read-only file system: 'run_0'"}, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOREIGN)
def test_traps_of_foreign_templates(theirs: Path, digits_python: Path, name: str) -> None:
    """Each known trap of AI-Scientist v1 templates is named, by reading or by running."""
    broken, noted = FOREIGN[name]
    found, notes = check(theirs / name, f"--python={digits_python}", "--run")
    assert set(found) == set(broken)
    for kind, words in {**broken, **noted}.items():
        assert words in {**found, **notes}[kind]


def test_shared_data_that_is_missing(theirs: Path) -> None:
    """A relative data path without its data folder is a defect that says where it belongs."""
    shutil.rmtree(theirs.parent / "data")
    found = defects(theirs / "shared_data")
    assert f"it stands for {theirs.parent / 'data'}, and there is none" in found["outside_path"]
    assert "no interpreter was named" in found["no_interpreter"]


def test_defects_are_told_in_words(digits: Path) -> None:
    """A person reads a line and a hint for each defect, and a last line that counts them."""
    STOP(digits)
    done = command("check", "digits", cwd=digits.parent)
    assert done.returncode == 1
    first, hint, last = done.stdout.splitlines()
    assert re.match(r"defect: requirements.lock, line \d+: `numpy>=", first)
    assert hint.startswith("  hint: name==version")
    assert last == "digits: 1 defects, 0 notes"


def test_a_template_that_is_not_there_is_bad_input() -> None:
    """A wrong name is no defect: exit 2, with the names there are."""
    done = command("check", "digit")
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no template `digit`\nhint: known: digits, ")


@pytest.mark.slow
def test_shipped_templates_have_no_defect() -> None:
    """What we ship passes what we ask of others."""
    assert defects(PROJECT / "templates" / "digits") == {}
    assert defects(PROJECT / "templates" / "sae") == {}
