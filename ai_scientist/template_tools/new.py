"""`template new` and `template baseline`: a working template to start from, and its own numbers."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ai_scientist.errors import InputError, SetupError
from ai_scientist.inputs.templates import load_template, profile_of
from ai_scientist.records import Attempt, Limits
from ai_scientist.results.files import results_to_final_info
from ai_scientist.run_folder.journal import write_json
from ai_scientist.run_folder.study import run_to_json
from ai_scientist.steps.workbench import FolderWorkbench
from ai_scientist.template_tools.scratch import NO_IDEA, scratch_laboratory

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


def measure_template_baseline(
    folder: Path,
    *,
    profile: str,
    name: str,
    seeds: int,
    cache: Path,
    report: Callable[[str], None],
    python: Path | None = None,
    allow_unsandboxed: bool = False,
) -> Path:
    """Measure a template's untouched code and store it as baselines/PROFILE/NAME/.

    Raises SetupError for the person, with the last lines of the log, when it fails.
    """
    template = load_template(folder)
    profile_of(template, profile)
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or set(name) == {"."}:
        raise InputError(f"`{name}` cannot name a baseline", hint="letters, digits, `_`, `-`, `.`")
    with scratch_laboratory(
        template,
        profile,
        cache=cache,
        report=report,
        python=python,
        limits=Limits(max_gpu_hours=None),
        allow_unsandboxed=allow_unsandboxed,
    ) as scratch:
        workbench = FolderWorkbench(
            idea=NO_IDEA,
            journal=scratch.journal,
            laboratory=scratch.laboratory,
            seeds_per_run=seeds,
            repair=lambda step, prose, problems: prose,
            examine=lambda step, run, title, code: "[]",
            cost_of=lambda step: None,
            report=report,
        )
        run = workbench.measure_baseline(scratch.code, range(seeds))
        if isinstance(run, Attempt):
            last = "\n".join(run.log.strip().splitlines()[-6:])
            raise SetupError(
                f"the untouched template fails: {run.reason}\n{last}",
                hint=f"python -m ai_scientist template check {folder}",
            )
    place = template.folder / "baselines" / profile / name
    write_json(place / "final_info.json", results_to_final_info(run.results))
    write_json(place / "run.json", run_to_json(replace(run, commit="")))
    return place
