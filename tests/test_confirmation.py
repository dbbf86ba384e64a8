"""Control arms and fresh seeds: where they run."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ai_scientist.execution.bench import make_bench
from ai_scientist.execution.laboratory import Laboratory
from ai_scientist.execution.local import LocalExecutor
from ai_scientist.inputs.ideas import parse_idea
from ai_scientist.inputs.templates import load_template
from ai_scientist.machine.slots import SlotPool
from ai_scientist.records import Control, Limits, Results, Run
from ai_scientist.run_folder.workspace import create_run_folder
from ai_scientist.sandbox.tiers import LimitsOnly
from ai_scientist.steps.confirmation import Confirmation
from ai_scientist.steps.workbench import FolderWorkbench
from ai_scientist.testing import MemoryJournal
from tests.waiting import PATIENCE_S


def test_each_gpu_runs_an_arm_of_its_own(tmp_path: Path, project: Path) -> None:
    """Two GPUs carry two arms at once, and each arm has one of them."""
    template = load_template(
        Path(shutil.copytree(project / "tests" / "fixtures" / "bowl", tmp_path / "bowl"))
    )
    pool = SlotPool(tmp_path / "locks", gpus=("0", "1"))
    both, lent = threading.Barrier(2), list[tuple[str, ...]]()

    @contextmanager
    def acquire(gpus: int, threads: int) -> Iterator[tuple[str, ...]]:
        with pool.acquire(gpus, threads) as slots:
            both.wait(PATIENCE_S / 4)
            lent.append(slots)
            yield slots

    executor = LocalExecutor(LimitsOnly(), acquire=acquire)
    cache = tmp_path / "cache"
    bench = make_bench(
        template, "full", executor=executor, cache=cache, report=print, python=Path(sys.executable)
    )
    bench = replace(bench, profile=replace(bench.profile, gpus=1), gpus=2)
    idea = parse_idea({"Name": "a", "Title": "A", "Experiment": "x"}, "here")
    folder = create_run_folder(tmp_path / "runs", idea, template, {})
    journal = MemoryJournal()
    laboratory = Laboratory(
        folder, journal=journal, executor=executor, bench=bench, limits=Limits(),
        cache=cache, report=print,
    )  # fmt: skip
    workbench = FolderWorkbench(
        idea=idea, journal=journal, laboratory=laboratory, seeds_per_run=1,
        repair=lambda step, text, problems: text, examine=lambda *about: "",
        cost_of=lambda step: None, report=print,
    )  # fmt: skip
    folder.write({"notes.txt": ""})
    commit = folder.commit("Begin the notes", ["notes.txt"])
    best = Run(name="run_1", title="V", results=Results(metrics={}), commit=commit)
    controls = [Control(name=name, overrides={}) for name in ("uniform", "shuffled")]
    tried = Confirmation(workbench, laboratory, journal, "best").run_controls(best, controls)
    assert set(tried.arms) == {"uniform", "shuffled"}
    assert sorted(lent) == [("0",), ("1",)]
    assert laboratory.gpu_hours > 0
