from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.sae_runs import results_of, smoke

IDEAS = (
    "ratio_ranked_orthogonal_sae",
    "hierarchical_orthogonal_sae",
    "sparsity_guided_orthogonal_sae",
    "frequency_consistency_sae",
)
BLOCK = re.compile(
    r"^(\S+)\n```python\n<<<<<<< SEARCH\n(.*?)=======\n(.*?)>>>>>>> REPLACE\n```", re.M | re.S
)
SAE_RECORDINGS = (
    "frequency_consistency_sae",
    "hierarchical_orthogonal_sae",
    "ratio_ranked_orthogonal_sae",
    "sparsity_guided_orthogonal_sae",
)


@pytest.mark.parametrize("name", IDEAS)
def test_recorded_edits_fit(project: Path, name: str) -> None:
    """Scripted edits fit the template or are mended in their step, and bring what controls set."""
    files = {path.name: path.read_text() for path in (project / "templates" / "sae").glob("*.py")}
    recording = (project / "ideas" / "recordings" / f"{name}.jsonl").read_text().splitlines()
    refused: set[str] = set()
    for line in (json.loads(line) for line in recording):
        blocks = BLOCK.findall(line["reply"]) if line["purpose"] in {"edit", "plot"} else []
        after = dict(files)
        for file, search, replace in blocks:
            if after[file].count(search) != 1:
                refused.add(line["step"])
                break
            after[file] = after[file].replace(search, replace)
        else:
            files = after
            refused -= {line["step"]} if blocks else set()
    assert not refused
    compile(files["experiment.py"], "experiment.py", "exec")
    idea = json.loads((project / "ideas" / f"{name}.json").read_text())
    for key in (key for control in idea["Controls"] for key in control["set"]):
        assert f"    {key}: " in files["experiment.py"]


@pytest.mark.slow
def test_processes_change_no_bit(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """Seeds spread over two processes give the bits that one process gives."""
    for run, threads in (("run_0", 1), ("run_1", 2)):
        done = smoke(sae_python, template, smoke_data, run, threads=threads)
        assert (done.returncode, done.stderr) == (0, "")
    assert results_of(template, "run_0") == results_of(template, "run_1")


@pytest.mark.slow
def test_a_process_that_fails_is_heard(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """A crash in one of several processes ends the run, with the traceback of the code's line."""
    script = template / "experiment.py"
    script.write_text(script.read_text().replace("        return {}\n", "        return 1 / 0\n"))
    done = smoke(sae_python, template, smoke_data, threads=2)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "ended early" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_frontier_and_counts(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """Half and twice the k are measured beside k, and tokens and epochs are what was trained on."""
    assert smoke(sae_python, template, smoke_data).returncode == 0
    results = results_of(template, "run_0")
    frontier = results["frontier results"]["final_info"]
    assert frontier["l0_at_half_k"] == 2.0
    assert frontier["l0_at_double_k"] > 5.0
    assert frontier["fvu_at_double_k"] < frontier["fvu_at_half_k"]
    training = results["training results for layer 0"]["final_info"]
    assert training["tokens_seen"] == 60 * 192
    assert training["epochs"] == pytest.approx(60 * 192 / (240 * 31))
    lines = (template / "run_0/metrics.jsonl").read_text().splitlines()
    curve = [line for line in map(json.loads, lines) if (line["repeat"], line["k"]) == (1, 5)]
    assert len(curve) >= 20
    assert curve[-1]["tokens"] == 60 * 192
    assert curve[-1]["fvu"] < curve[0]["fvu"]
