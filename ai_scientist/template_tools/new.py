"""`template new`: a working template to start from."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ai_scientist.errors import InputError
from ai_scientist.run_folder.journal import write_json

LEFT_OUT = ("__pycache__", "baselines", "run_*", "*.png", "ideas.json", "test_template.py")
DESCRIPTION = re.compile(r'^description = ".*"$', re.MULTILINE)
TEST = '''"""The template works: read, rehearsed, reseeded and drawn, without a defect."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_template_has_no_defect() -> None:
    """`template check` finds nothing wrong."""
    folder = Path(__file__).resolve().parent
    command = [sys.executable, "-m", "ai_scientist", "template", "check", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
'''


def new_template(folder: Path, source: Path) -> list[Path]:
    """Write a working template into the new `folder`, a copy of `source`, and return its files.

    It comes with a first idea (ideas.json) and a test (test_template.py); runs get neither.
    Raises InputError for the person when the name cannot be one or the folder is there.
    """
    name = folder.name
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise InputError(
            f"`{name}` cannot name a template", hint="use small letters, digits and underscores"
        )
    if folder.exists():
        raise InputError(f"{folder} is there already", hint="choose another name, or remove it")
    try:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error}") from None
    described = folder / "template.toml"
    fresh = f'description = "{name}: say in one line what is trained and measured."'
    described.write_text(DESCRIPTION.sub(fresh, described.read_text(), count=1))
    write_json(folder / "ideas.json", [_first_idea(name)])
    (folder / "test_template.py").write_text(TEST)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _first_idea(name: str) -> dict[str, object]:
    return {
        "Name": f"{name}_wider_layer",
        "Title": "Does a Wider Hidden Layer Generalize Better?",
        "Experiment": "Double `hidden`, then halve it, and compare both with the baseline.",
        "Template": name,
        "Varies": ["hidden"],
        "Hypotheses": [{"metric": "test_loss", "direction": "decrease", "min_effect": 0.005}],
    }
