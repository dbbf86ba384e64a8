"""The gates refuse an edit that means, runs or changes nothing, before any run is paid for."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ai_scientist.execution.bench import make_bench
from ai_scientist.execution.laboratory import Bench, Laboratory
from ai_scientist.execution.local import LocalExecutor
from ai_scientist.inputs.ideas import parse_idea
from ai_scientist.inputs.templates import load_template
from ai_scientist.judging.changes import describe_seed_only_change
from ai_scientist.judging.gates import Gates, check_comparable, check_lint, check_measuring
from ai_scientist.machine.slots import SlotPool
from ai_scientist.records import Code, Execution, GateReport, Limits, RunRequest
from ai_scientist.run_folder.workspace import create_run_folder
from ai_scientist.sandbox.choice import choose_sandbox
from ai_scientist.testing import MemoryJournal

RATE = 'CONFIG = {"rate": 0.1, "epochs": 40}'
FASTER = ('"rate": 0.1', '"rate": 0.2')
UNUSED = ("STARTS = [", "SHAPE = 3\nSTARTS = [")


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> LocalExecutor:
    """Runs on this machine, in the strongest sandbox it has."""
    probe = tmp_path_factory.mktemp("probe")
    return LocalExecutor(choose_sandbox(allow_unsandboxed=True, probe_folder=probe))


@pytest.fixture(scope="module")
def bench(
    project: Path, tmp_path_factory: pytest.TempPathFactory, executor: LocalExecutor
) -> Bench:
    """A template that runs in no time, under the tests' own interpreter."""
    template = load_template(project / "tests" / "fixtures" / "bowl")
    cache, python = tmp_path_factory.mktemp("cache"), Path(sys.executable)
    return make_bench(template, "full", executor=executor, cache=cache, report=print, python=python)


class WatchedBy:
    """An executor that notes what it is given."""

    def __init__(self, ran: list[str], executor: LocalExecutor) -> None:
        self._ran, self._executor = ran, executor

    def run(self, request: RunRequest) -> Execution:
        """Note the key and run it."""
        self._ran.append(request.key.rpartition("/")[2])
        return self._executor.run(request)


class Judged:
    """Puts edits of an experiment through the gates."""

    def __init__(
        self, folder: Path, bench: Bench, executor: LocalExecutor, cache: Path | None = None
    ) -> None:
        idea = parse_idea({"Name": "a", "Title": "A", "Experiment": "x"}, "here")
        run_folder = create_run_folder(folder / "runs", idea, bench.template, {})
        self.journal = MemoryJournal()
        self.ran: list[str] = []
        laboratory = Laboratory(
            run_folder,
            journal=self.journal,
            executor=WatchedBy(self.ran, executor),
            bench=bench,
            limits=Limits(),
            cache=cache or folder / "cache",
            report=print,
        )
        self.gates = Gates(laboratory, self.journal)
        commit = run_folder.git("rev-parse", "HEAD").strip()
        self.source = run_folder.read(commit, "experiment.py")
        self.old = Code(commit=commit, files={"experiment.py": self.source})
        self.count = 0

    def edit(self, *changes: tuple[str, str], smoke_invariant: str | None = None) -> GateReport:
        """Judge the experiment with some texts replaced by others."""
        text = self.source
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.count += 1
        new_code = Code(commit=self.old.commit, files={"experiment.py": text})
        step = f"run_1/edit_{self.count}"
        return self.gates.judge(step, self.old, new_code, smoke_invariant=smoke_invariant)


@pytest.fixture
def judged(tmp_path: Path, bench: Bench, executor: LocalExecutor) -> Judged:
    """A new folder and its gates."""
    return Judged(tmp_path, bench, executor)


def refusal(report: GateReport) -> tuple[str, str]:
    """The gate that refused, and why."""
    assert report.refused is not None, report.checks
    return report.refused.gate, report.refused.detail


def test_a_real_change_passes_every_gate(judged: Judged) -> None:
    """An edit that changes what is computed may run, and is repeated from the journal for free."""
    report = judged.edit(FASTER)
    assert [check.verdict for check in report.checks] == ["passed"] * len(report.checks)
    assert report.checks[-1].gate == "has an effect"
    assert 0.05 < report.seconds < 100
    assert report.lines_ran is not None
    assert "2 of 2 smoke metrics moved: bowl/loss" in report.checks[-1].detail
    judged.count -= 1
    before = dict(judged.journal.results)
    again = judged.edit(FASTER)
    assert again == report
    assert judged.journal.results == before


@pytest.mark.parametrize(
    ("changes", "gate", "words"),
    [
        ([(RATE, f"{RATE}  # a tenth")], "meaningful", "same to Python"),
        ([UNUSED], "has an effect", "they ran, so what they compute is not used"),
        (
            [("    return value -", "    if False:\n        value = 0\n    return value -")],
            "has an effect",
            "changed lines: 18-19; of these, lines 19 never ran",
        ),
        ([("SEED = 1", "SEED = 2")], "has an effect", "seeds or shuffling"),
    ],
)
def test_an_edit_without_effect_is_refused_with_evidence(
    judged: Judged, changes: list[tuple[str, str]], gate: str, words: str
) -> None:
    """A comment, an unused variable, dead code, another seed: each is named for what it is."""
    name, detail = refusal(judged.edit(*changes))
    assert name == gate
    assert words in detail


def test_a_default_that_is_overridden_is_shown_to_move_nothing(judged: Judged) -> None:
    """A default that is overridden where it is used moves no configuration value and no metric."""
    gate, detail = refusal(judged.edit(('"epochs": 40', '"epochs": 50')))
    assert gate == "has an effect"
    assert "no value of the resolved configuration moved" in detail


def test_each_code_is_rehearsed_twice_and_remembered(judged: Judged) -> None:
    """No code is rehearsed a third time, also not by who takes the folder up again."""
    judged.edit(FASTER)
    assert sorted(judged.ran) == ["smoke_new_0", "smoke_new_1", "smoke_old_0", "smoke_old_1"]
    judged.ran.clear()
    judged.gates, judged.count = Gates(judged.gates.laboratory, judged.journal), 0
    first, second = judged.edit(FASTER), judged.edit(FASTER)
    assert judged.ran == []
    assert [one.verdict for one in second.checks] == [one.verdict for one in first.checks]
    assert second.lines_ran == first.lines_ran


def with_lock(bench: Bench) -> Bench:
    """The same bench as if its environment had been built from a lock."""
    lock = bench.template.folder / "requirements.lock"
    return replace(bench, template=replace(bench.template, lock=lock))


def changed_bowl(bench: Bench, folder: Path, name: str, old: str, new: str) -> Bench:
    """The bench of a copy of its template in which one file says something else."""
    shutil.copytree(bench.template.folder, folder)
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return replace(bench, template=replace(load_template(folder), lock=bench.template.lock))


def test_the_untouched_code_is_rehearsed_once_on_a_machine(
    tmp_path: Path, bench: Bench, executor: LocalExecutor
) -> None:
    """Ideas on one template share its rehearsals, unless what could move a bit is another."""
    new, old = ["smoke_new_0", "smoke_new_1"], ["smoke_old_0", "smoke_old_1"]
    locked = with_lock(bench)
    smoke = replace(bench.template.profiles["smoke"], cpu_threads=2)
    threads = replace(locked.template, profiles={**locked.template.profiles, "smoke": smoke})
    cache, copy = tmp_path / "cache", tmp_path / "copy"

    def ran_in(name: str, bench: Bench) -> list[str]:
        judged = Judged(tmp_path / name, bench, executor, cache)
        assert judged.edit(FASTER).checks[-1].verdict == "passed"
        return sorted(judged.ran)

    assert ran_in("first", locked) == new + old
    assert ran_in("second", locked) == new
    assert ran_in("packages", replace(locked, versions={"numpy": "2"})) == new + old
    assert ran_in("threads", replace(locked, template=threads)) == new + old
    other = changed_bowl(locked, copy, "evaluation.py", "def loss", "SCALE = 1\n\n\ndef loss")
    assert ran_in("files", other) == new + old
    assert ran_in("no lock", bench) == ran_in("no lock again", bench) == new + old
    kept = list(cache.rglob("rehearsals.json"))
    assert len(kept) == 4  # the untouched code's; of what a model wrote, nothing
    for path in kept:
        path.write_text("damaged")
    assert ran_in("damaged", locked) == new + old
    assert ran_in("mended", locked) == new


def test_rehearsals_made_before_still_show_what_differs_from_itself(
    tmp_path: Path, bench: Bench, executor: LocalExecutor
) -> None:
    """Untouched code is taken with its comparison with itself, and none that failed is taken."""
    locked, cache = with_lock(bench), tmp_path / "cache"
    clock = ("experiment.py", "Random(SEED +", "Random(time.perf_counter_ns() +")
    noisy = changed_bowl(locked, tmp_path / "noisy", *clock)
    for name, rehearsals in (("a", 4), ("b", 2)):
        judged = Judged(tmp_path / name, noisy, executor, cache)
        assert judged.edit(FASTER).checks[-1].verdict == "not decidable"
        assert len(judged.ran) == rehearsals
    crash = ("experiment.py", "STARTS[1]", "STARTS[9]")
    broken = changed_bowl(locked, tmp_path / "broken", *crash)
    for name in ("c", "d"):
        judged = Judged(tmp_path / name, broken, executor, cache)
        assert judged.edit(("STARTS[9]", "STARTS[1]")).checks[-1].verdict == "not decidable"
        assert len(judged.ran) == 4


def test_the_rehearsals_of_an_edit_share_the_cores(tmp_path: Path, bench: Bench) -> None:
    """Rehearsals on one thread go on two at a time on two cores, however many threads a run has."""
    pool = SlotPool(tmp_path / "locks", cores=2)
    both = threading.Barrier(2, timeout=60)

    @contextmanager
    def acquire(gpus: int, threads: int) -> Iterator[tuple[str, ...]]:
        with pool.acquire(gpus, threads) as lent:
            both.wait()
            yield lent

    sandbox = choose_sandbox(allow_unsandboxed=True, probe_folder=tmp_path)
    wide = replace(bench, profile=replace(bench.profile, cpu_threads=2))
    judged = Judged(tmp_path, wide, LocalExecutor(sandbox, acquire=acquire))
    assert judged.edit(FASTER).refused is None
    assert len(judged.ran) == 4


def test_without_a_smoke_profile_nothing_is_decided(
    tmp_path: Path, bench: Bench, executor: LocalExecutor
) -> None:
    """What cannot be rehearsed may run: its verdicts say that nobody knows."""
    profiles = {"full": bench.profile}
    bare = replace(bench, template=replace(bench.template, profiles=profiles))
    judged = Judged(tmp_path, bare, executor)
    report = judged.edit(FASTER)
    assert report.refused is None
    assert [(one.gate, one.verdict) for one in report.checks[-2:]] == [
        ("runs", "not decidable"),
        ("has an effect", "not decidable"),
    ]
    assert judged.ran == []


def test_a_crash_in_the_rehearsal_comes_back_with_its_traceback(judged: Judged) -> None:
    """What fails in the smoke profile is repairable, and its log is handed on."""
    report = judged.edit(("STARTS[1]", "STARTS[9]"))
    gate, detail = refusal(report)
    assert gate == "runs"
    assert "smoke" in detail
    assert report.repairable
    assert "IndexError" in report.log_tail


def test_a_name_that_does_not_exist_needs_no_run(judged: Judged) -> None:
    """An undefined name is found by reading the code."""
    gate, detail = refusal(judged.edit(("STARTS[1]", "START[1]")))
    assert gate == "runs"
    assert "START" in detail
    assert not judged.journal.results["run_1/edit_1/gates"]["log_tail"]


def test_a_syntax_error_is_told_with_its_line(judged: Judged) -> None:
    """Text that is no Python is refused by its line."""
    assert "line" in check_lint({}, {"experiment.py": "x = (\n"}).detail


def test_the_coders_reason_lets_one_run_decide(judged: Judged) -> None:
    """SMOKE-INVARIANT makes the verdict `not decidable`, which is never `has an effect`."""
    report = judged.edit(UNUSED, smoke_invariant="it acts after epoch ten")
    assert report.refused is None
    assert report.checks[-1].verdict == "not decidable"
    assert "epoch ten" in report.checks[-1].detail


def test_the_coders_reason_counts_once_for_each_run(judged: Judged) -> None:
    """What was let through on the coder's word is not let through for the same run again."""
    assert judged.edit(UNUSED, smoke_invariant="it acts later").refused is None
    _, detail = refusal(judged.edit(UNUSED, smoke_invariant="it acts later still"))
    assert "SMOKE-INVARIANT was taken once for run_1" in detail
    other = Gates(judged.gates.laboratory, judged.journal)  # as after a kill
    old, new = judged.old, Code(commit="", files={"experiment.py": ""})
    assert other.judge("run_1/edit_1", old, new).refused is None
    assert other.judge("run_1/edit_2", old, new).refused is not None


def test_a_code_that_fails_in_one_of_two_rehearsals_may_not_run(judged: Judged) -> None:
    """The two rehearsals are the comparison of a code with itself: one of them is no evidence."""
    begin = 'if __name__ == "__main__":'
    traced = "import sys\n\nassert sys.gettrace() is None\n\n"
    report = judged.edit((begin, traced + begin))
    gate, detail = refusal(report)
    assert gate == "runs"
    assert "in one of 2 rehearsals of the same code" in detail
    assert "AssertionError" in report.log_tail


def test_a_result_that_differs_from_itself_cannot_decide(judged: Judged) -> None:
    """Code that draws from the clock differs from itself: that is no effect."""
    report = judged.edit(("Random(SEED +", "Random(time.perf_counter_ns() +"))
    assert report.refused is None
    assert report.checks[-1].verdict == "not decidable"


def test_configuration_outside_varies_confounds() -> None:
    """Keys the idea did not mean to move are named, those it did are not."""
    moved = {"digits/config/epochs": (40, 50), "digits/config/label_smoothing": (None, 0.1)}
    check, keys = check_comparable(moved, ["label_smoothing"])
    assert keys == ("digits/config/epochs",)
    assert check.verdict == "finding"
    assert check_comparable(moved, ["label_smoothing", "epochs"])[1] == ()


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("seed = 1", "seed = 2", True),
        ("torch.manual_seed(0)", "torch.manual_seed(137)", True),
        ("f(random_state=1)", "f(random_state=2)", True),
        ("f(shuffle=True)", "f(shuffle=False)", True),
        ("n_eval_batches = 20", "n_eval_batches = 40", True),
        ("f(test_size=100)", "f(test_size=200)", True),
        ("seed = 1\neval_tokens = 1", "seed = 2\neval_tokens = 2", True),
        ("batch_size = 1", "batch_size = 2", False),
        ("value_size = 1", "value_size = 2", False),
        ("seed = 1\nlr = 1", "seed = 2\nlr = 2", False),
        ("lr = 1", "lr = 2", False),
        ("x = 1", "x = 1  # seed", False),
    ],
)
def test_a_seed_change_is_told_from_others(old: str, new: str, found: bool) -> None:
    """Only a change that consists of seeds, shuffling or evaluation samples is called that."""
    assert bool(describe_seed_only_change(old, new)) is found


def test_a_frozen_file_that_a_commit_changed_is_restored_for_the_run(judged: Judged) -> None:
    """Whatever came into a commit, what measures is the template's."""
    laboratory = judged.gates.laboratory
    laboratory.folder.write({"evaluation.py": "def loss(_):\n    return 0.0\n"})
    commit = laboratory.folder.commit("touch", ["evaluation.py"])
    seen = laboratory.smoke("touched", commit, {})
    assert seen.frozen_touched == ("evaluation.py",)
    source = laboratory.folder.staging("touched") / "source" / "evaluation.py"
    assert source.read_text() == laboratory.folder.read(judged.old.commit, "evaluation.py")
    assert judged.journal.lines == [
        ("frozen_touched", {"about": "touched", "file": "evaluation.py"})
    ]


def test_what_measures_a_run_has_a_fingerprint(judged: Judged) -> None:
    """Another evaluation, machine or data than the baseline's is a finding; touched files too."""
    key = judged.gates.laboratory.bench.measuring_key
    assert check_measuring(key, key, ()) == check_measuring(key, "", ()) == []
    other, touched = check_measuring(key, "another", ["data.py", "data.py"])
    assert (other.gate, other.verdict) == ("comparable", "finding")
    assert (touched.gate, touched.verdict) == ("frozen", "finding")
    assert "changed data.py" in touched.detail
