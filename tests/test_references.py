from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.digits_runs import NEW, finish
from tests.doors import PROJECT, ai_scientist

SCRIPT = """
import json, os, sys
from pathlib import Path

out = Path(sys.argv[1].removeprefix("--out_dir="))
asked = json.loads(os.environ["AI_SCIENTIST_OVERRIDES"])
if asked["family"] == "nothing":
    sys.exit("error: there is no family 'nothing'")
number = asked.get("number", 0)
about = {"family": asked["family"], "name": asked["family"], "of": 1}
if "source" in asked:
    source = Path(asked["source"])
    names = (source / "names").read_text().split()
    about |= {"name": names[number], "source": f"{source}/{number}", "of": len(names)}
    about["sparsity"] = (source / "weights").read_text()
means = {"test_loss": 0.5, "test_accuracy": 0.9 + number / 100, "train_loss": 0.1}
out.mkdir(exist_ok=True)
content = {"digits": {"means": means}, "reference": {"config": about}}
(out / "final_info.json").write_text(json.dumps(content))
"""


def _baseline(template: Path, cache: Path, *options: str) -> subprocess.CompletedProcess[str]:
    variables = {"AI_SCIENTIST_CACHE": str(cache)}
    return ai_scientist("template", "baseline", template, *options, **variables)


@pytest.fixture
def referring(tmp_path: Path) -> Path:
    """The template digits with a script that measures references."""
    template = tmp_path / "templates" / "digits"
    shutil.copytree(PROJECT / "templates" / "digits", template)
    (template / "references.py").write_text(SCRIPT)
    described = template / "template.toml"
    text = described.read_text().replace(
        "[template]\n", '[template]\nreferences = "references.py"\n'
    )
    described.write_text(text.replace("frozen = [", 'frozen = ["references.py", '))
    return template


def _source(folder: Path, *names: str) -> Path:
    """Make a folder that the script takes for one of trained SAEs by these names."""
    folder.mkdir(parents=True)
    (folder / "names").write_text("\n".join(names))
    (folder / "weights").write_text("different L0: 9, not 5")
    return folder


@pytest.mark.slow
def test_a_reference_takes_no_other_place(
    referring: Path, tmp_path: Path, fresh_cache: Path
) -> None:
    """A reference replaces itself alone: no baseline, and no reference from somewhere else."""
    ours = _source(tmp_path / "ours", "trainer_0", "default")
    theirs = _source(tmp_path / "theirs", "trainer_0")
    stored = referring / "baselines" / "smoke"
    smoke = "--profile=smoke"
    assert _baseline(referring, fresh_cache, smoke).returncode == 0
    for _ in range(2):
        done = _baseline(referring, fresh_cache, smoke, f"--sae={ours}")
        assert done.returncode == 2
        assert f"{stored}/default holds the untouched code" in done.stderr
        assert (stored / "default" / "executions").is_dir()
        about = json.loads((stored / "trainer_0" / "run.json").read_text())["reference"]
        assert about["source"] == f"{ours}/0"
    for option, wanted in ((f"--sae={theirs}", f"{theirs}/0"), ("--name=trainer_0", "untouched")):
        done = _baseline(referring, fresh_cache, smoke, option)
        assert done.returncode == 2
        assert f"{stored}/trainer_0 holds {ours}/0" in done.stderr
        assert wanted in done.stderr
        kept = json.loads((stored / "trainer_0" / "run.json").read_text())
        assert kept["reference"]["source"] == f"{ours}/0"


def test_a_cut_source_says_so(referring: Path, tmp_path: Path, fresh_cache: Path) -> None:
    """A source of more SAEs than are measured is told with both numbers, at its start."""
    (referring / "references.py").write_text(f"{SCRIPT}\nif number:\n    sys.exit('enough')\n")
    many = _source(tmp_path / "many", *(f"trainer_{number}" for number in range(101)))
    done = _baseline(referring, fresh_cache, "--profile=smoke", f"--sae={many}")
    assert f"{many} holds 101 SAEs, and only the first 100 are measured" in done.stdout
    assert "enough" in done.stderr


@pytest.mark.slow
def test_what_a_template_stores_is_used(referring: Path, tmp_path: Path, fresh_cache: Path) -> None:
    """A stored baseline becomes run_0; references that can be compared stand beside the runs."""
    template = referring
    saes = _source(tmp_path / "saes", "trained_0", "trained_1")
    measured = _baseline(template, fresh_cache, "--profile=small")
    assert measured.returncode == 0, measured.stderr
    beside = _baseline(template, fresh_cache, "--profile=small", "--family=tree", f"--sae={saes}")
    assert beside.returncode == 0, beside.stderr
    stored = template / "baselines" / "small"
    assert {path.name for path in stored.iterdir()} == {"default", "tree", "trained_0", "trained_1"}
    old = shutil.copytree(stored / "tree", stored / "old") / "run.json"
    old.write_text(old.read_text().replace('"measured_with": "', '"measured_with": "0'))
    unknown = _baseline(template, fresh_cache, "--profile=small", "--family=nothing")
    assert unknown.returncode == 2
    assert "there is no family 'nothing'" in unknown.stderr
    folder = tmp_path / "run"
    options = (*NEW, f"--template={template}", f"--run-dir={folder}", "--no-writeup")
    code, errors = finish(*options, "--max-runs=1", cache=fresh_cache)
    assert code == 0, errors
    capsule = json.loads((folder / "run_0" / "run.json").read_text())
    assert (
        capsule["started_at"] == json.loads((stored / "default/run.json").read_text())["started_at"]
    )
    found = {path.stem for path in (folder / "references").iterdir()}
    assert found == {"tree", "trained_0", "trained_1"}
    notes = (folder / "notes.txt").read_text()
    assert "Reference tree (a reference, no run): test_loss = 0.5000" in notes
    assert "Reference trained_1 (a reference, no run; different L0: 9, not 5)" in notes
    calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    edits = [json.dumps(call["prompt"]) for call in calls if call["purpose"] == "edit"]
    assert edits
    assert all("(tree) | " in prompt and "| a reference, no run" in prompt for prompt in edits)
