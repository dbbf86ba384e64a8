"""A baseline that was measured once serves every idea that asks for no more than it measured."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ai_scientist.execution.bench import make_bench
from ai_scientist.execution.laboratory import Bench, Laboratory
from ai_scientist.execution.local import LocalExecutor
from ai_scientist.execution.observation import Observation
from ai_scientist.inputs.ideas import parse_idea
from ai_scientist.inputs.templates import load_template
from ai_scientist.records import Limits
from ai_scientist.run_folder.workspace import create_run_folder
from ai_scientist.sandbox.tiers import LimitsOnly
from ai_scientist.testing import MemoryJournal

PROBING = "bowl/probe"
SECTION = "absorption evaluation"
DESCRIBED = """
[metrics.probe]
evaluation = "probing"
[metrics.absorbed]
evaluation = "absorption"
[metrics.letters]
evaluation = "absorption"
"""
MEASURING = """
    asked = os.environ.get("AI_SCIENTIST_EVALUATIONS", "").split()
    info = {"bowl": {"means": means, "config": config}}
    if "probing" in asked:
        means["probe"] = time.perf_counter()
    if "absorption" in asked:
        info["absorption evaluation"] = {
            "measured": {"hook": "here"},
            "means": {"absorbed": 0.5},
            "per_seed": {"absorbed": [0.5]},
        }
        info["not run"] = {"absorption evaluation/letters": "none"}
"""


class Measuring:
    """Measures the untouched code of one template for ideas of different evaluations."""

    def __init__(self, folder: Path, bench: Bench) -> None:
        self.folder, self.bench = folder, bench
        self.said: list[str] = []
        self.count = 0

    def run_0(self, *evaluations: str, seed: int = 0) -> tuple[Observation, Path]:
        """What a new idea of these evaluations sees as its baseline, and the folder of it."""
        self.count += 1
        idea = parse_idea({"Name": "a", "Title": "A", "Experiment": "x"}, "here")
        runs = self.folder / f"runs_{self.count}"
        run_folder = create_run_folder(runs, idea, self.bench.template, {})
        laboratory = Laboratory(
            run_folder,
            journal=MemoryJournal(),
            executor=LocalExecutor(LimitsOnly()),
            bench=replace(self.bench, evaluations=evaluations),
            limits=Limits(),
            cache=self.folder / "cache",
            report=self.said.append,
        )
        commit = run_folder.git("rev-parse", "HEAD").strip()
        seen = laboratory.run("run_0/execution_1", commit, "run_0", seed=seed, cached=True)
        assert seen.failure is None, seen.problem
        laboratory.keep(seen.key, "run_0", run_folder.run("run_0"))
        return seen, run_folder.run("run_0") / "final_info.json"


@pytest.fixture
def measuring(tmp_path: Path, project: Path) -> Measuring:
    """A template with two evaluations, whose numbers differ from one execution to the next."""
    template = shutil.copytree(project / "tests" / "fixtures" / "bowl", tmp_path / "bowl")
    described = template / "template.toml"
    text = described.read_text().replace(
        "[profiles.full]", '[profiles.full]\nevaluations = ["probing", "absorption"]'
    )
    described.write_text(text + DESCRIBED)
    script = template / "experiment.py"
    text = script.read_text().replace("    os.makedirs", f"{MEASURING}    os.makedirs")
    script.write_text(
        text.replace('{"bowl": {"means": means, "config": config}}, file', "info, file")
    )
    bench = make_bench(
        load_template(template),
        "full",
        executor=LocalExecutor(LimitsOnly()),
        cache=tmp_path / "cache",
        report=print,
        python=Path(sys.executable),
    )
    return Measuring(tmp_path, bench)


def test_a_baseline_serves_every_idea_that_asks_for_less(measuring: Measuring) -> None:
    """Measured with all evaluations once, it is taken for some of them and for none."""
    first, _ = measuring.run_0("probing", "absorption")
    for evaluations in (("absorption", "probing"), ("probing",), ()):
        seen, _ = measuring.run_0(*evaluations)
        assert seen.started_at == first.started_at
    assert measuring.said == 3 * ["run_0: measured before on this machine, taken from there"]


def test_a_baseline_that_measured_less_is_not_taken(measuring: Measuring) -> None:
    """Another evaluation or another seed is measured; the closest of those that serve is taken."""
    without, _ = measuring.run_0()
    probed, _ = measuring.run_0("probing")
    other, _ = measuring.run_0("probing", seed=1)
    both, _ = measuring.run_0("absorption", "probing")
    assert measuring.said == []
    assert len({one.started_at for one in (without, probed, other, both)}) == 4
    assert measuring.run_0()[0].started_at == without.started_at
    assert measuring.run_0("probing")[0].started_at == probed.started_at
    assert measuring.run_0("absorption")[0].started_at == both.started_at


def test_evaluations_may_read_what_came_later(measuring: Measuring) -> None:
    """Where the input folders changed, a baseline serves only ideas that ask for no evaluation."""
    measuring.bench = replace(measuring.bench, inputs_sha256="before")
    before, _ = measuring.run_0("probing")
    assert measuring.run_0("probing")[0].started_at == before.started_at
    measuring.bench = replace(measuring.bench, inputs_sha256="after")
    assert measuring.run_0()[0].started_at == before.started_at
    after, _ = measuring.run_0("probing")
    assert after.started_at != before.started_at
    assert measuring.run_0("probing")[0].started_at == after.started_at


def test_only_what_an_idea_asks_for_is_taken(measuring: Measuring) -> None:
    """run_0 holds the metrics that its runs will hold, in its file as in its results."""
    everything, whole = measuring.run_0("probing", "absorption")
    assert everything.results is not None
    assert everything.results.metrics[f"{SECTION}/absorbed"] == 0.5
    seen, file = measuring.run_0("probing")
    assert seen.results is not None
    assert seen.results.metrics == {
        path: value for path, value in everything.results.metrics.items() if SECTION not in path
    }
    assert seen.results.metrics[PROBING] == everything.results.metrics[PROBING]
    assert (seen.results.measured, seen.results.not_run) == ({}, {})
    written, before = json.loads(file.read_text()), json.loads(whole.read_text())
    assert written == {"bowl": before["bowl"]}


def test_a_stored_baseline_serves_them_too(measuring: Measuring) -> None:
    """What lies in the template's folder is taken as what this machine has measured is."""
    first, _ = measuring.run_0("probing", "absorption")
    stored = measuring.bench.template.folder / "baselines" / "full" / "complete"
    stored.mkdir(parents=True)
    shutil.move(measuring.folder / "cache" / "baselines", stored / "executions")
    seen, _ = measuring.run_0("probing")
    assert seen.started_at == first.started_at
    assert measuring.said == ["run_0: stored with the template as complete, taken from there"]


@pytest.mark.parametrize(
    "left", ["", "[1", "[]", "{}", '{"evaluations": 3}', '{"evaluations": [[]]}']
)
def test_a_damaged_baseline_is_measured_anew(measuring: Measuring, left: str) -> None:
    """What cannot be read serves nobody, and ends nothing."""
    first, _ = measuring.run_0()
    (observation,) = (measuring.folder / "cache" / "baselines").glob("*/observation.json")
    observation.write_text(left)
    assert measuring.run_0()[0].started_at != first.started_at
    assert measuring.said == []
