"""What each gate says of what it is given, without running anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from ai_scientist.execution.observation import Observation
from ai_scientist.judging.gates import (
    check_comparable,
    check_identical,
    check_lint,
    check_meaning,
    check_measuring,
    compare_smoke,
    describe_changed_lines,
)
from ai_scientist.judging.rehearsals import code_sha256
from ai_scientist.records import Code, MetricSpec, Results, Run

SPECS = {"seconds": MetricSpec(name="seconds", volatile=True), "loss": MetricSpec(name="loss")}


def seen(**metrics: float) -> Observation:
    """One rehearsal with these metrics below `d/`; without any it failed."""
    results = Results(metrics={f"d/{name}": value for name, value in metrics.items()})
    return Observation(
        key="run_1/edit_1/smoke",
        cause="exit",
        returncode=0,
        seconds=1.0,
        gpu_hours=0.0,
        started_at="",
        sandbox_tier="none",
        peak_memory_gb=0.1,
        log_tail="",
        results=results if metrics else None,
    )


def run(name: str, **metrics: float) -> Run:
    """A run with these metrics below `d/`."""
    results = Results(metrics={f"d/{key}": value for key, value in metrics.items()})
    return Run(name=name, title=name, results=results)


# --- has an effect -------------------------------------------------------------------------------


def test_what_moved_is_what_differs_and_is_steady() -> None:
    """Only metrics that two runs of the same code agree on can move, on both sides."""
    before = [seen(loss=1.0, noise=1.0, acc=0.5), seen(loss=1.0, noise=2.0, acc=0.5)]
    after = [seen(loss=0.9, noise=1.0, acc=0.5), seen(loss=0.9, noise=1.0, acc=0.5)]
    effect = compare_smoke(before, after, SPECS)
    assert effect.moved == {"d/loss": (1.0, 0.9)}
    assert effect.steady == {"d/acc": 0.5, "d/loss": 0.9}
    assert effect.describe() == "1 of 2 smoke metrics moved: d/loss 1 -> 0.9"
    assert effect.example() == "d/acc = 0.5"
    assert not compare_smoke(after, before, SPECS).steady.keys() & {"d/noise"}


def test_equal_is_what_has_the_same_value() -> None:
    """Numbers are compared by value, whatever object holds them."""
    first, second = seen(loss=float("1.5")), seen(loss=float("1.5"))
    assert compare_smoke([first, second], [second, first], SPECS).steady == {"d/loss": 1.5}
    assert not compare_smoke([first], [first, second], SPECS).steady  # once is no comparison


def test_what_is_called_volatile_decides_nothing() -> None:
    """A metric that the template calls volatile is no effect, whatever it does."""
    before, after = [seen(loss=1.0, seconds=1.0)] * 2, [seen(loss=1.0, seconds=2.0)] * 2
    effect = compare_smoke(before, after, SPECS)
    assert (effect.moved, effect.steady) == ({}, {"d/loss": 1.0})


def test_a_renamed_metric_is_no_effect() -> None:
    """What only one side measures is not compared; without results nothing is."""
    assert not compare_smoke([seen(loss=1.0)] * 2, [seen(cost=1.0)] * 2, SPECS).moved
    assert not compare_smoke([seen()], [seen(loss=1.0)], SPECS).steady


def test_at_most_three_moved_metrics_are_shown() -> None:
    """The words name three and count all."""
    before, after = seen(a=1, b=1, c=1, d=1), seen(a=2, b=2, c=2, d=2)
    words = compare_smoke([before] * 2, [after] * 2, SPECS).describe()
    assert words == "4 of 4 smoke metrics moved: d/a 1 -> 2; d/b 1 -> 2; d/c 1 -> 2"


# --- meaningful ----------------------------------------------------------------------------------

SAME = [
    ("x = 1", "x = 1  # one"),
    ("x = 1", "\n\nx  =  1\n"),
    ('def f():\n    "old"\n    return 1', 'def f():\n    "new"\n    return 1'),
    ('class A:\n    "old"\n    x = 1', 'class A:\n    "new"\n    x = 1'),
    ('"a module"\nx = 1', "x = 1"),
    ('def f():\n    "only words"', "def f():\n    pass"),
]
DIFFERENT = [
    ("x = 1", "x = 2"),
    ("x = 1", "x = 1\ny = 2"),
    ('x = "a"', 'x = "b"'),
    ('f("a")', 'f("b")'),
    ("x = (", "x = 1"),  # nobody knows what the old one meant
    ("def f():\n    3", "def f():\n    4"),
]


@pytest.mark.parametrize(("old", "new"), SAME)
def test_layout_comments_and_docstrings_mean_nothing(old: str, new: str) -> None:
    """An edit after which Python does the same is refused."""
    check = check_meaning({"experiment.py": old}, {"experiment.py": new})
    assert (check.gate, check.verdict) == ("meaningful", "refused")
    assert "means the same to Python" in check.detail


@pytest.mark.parametrize(("old", "new"), DIFFERENT)
def test_every_other_change_means_something(old: str, new: str) -> None:
    """Values, statements and texts that are used are changes."""
    check = check_meaning({"experiment.py": old}, {"experiment.py": new})
    assert (check.gate, check.verdict) == ("meaningful", "passed")


def test_a_picture_is_no_experiment() -> None:
    """A change of plot.py alone is not one of the experiment; no change at all is told as such."""
    old = {"experiment.py": "x = 1", "plot.py": "y = 1"}
    assert check_meaning(old, {**old, "plot.py": "y = 2"}).verdict == "refused"
    assert check_meaning(old, dict(old)).detail == "no file differs"
    changed = {"experiment.py": "x = 2", "plot.py": "y = 1"}
    assert check_meaning(old, changed).verdict == "passed"


def test_code_is_known_by_what_runs() -> None:
    """The hash of a code is that of its files but plot.py, whatever commit it lies on."""
    one = Code(commit="a", files={"experiment.py": "x", "plot.py": "y"})
    assert code_sha256(one) == code_sha256(
        Code(commit="b", files={"plot.py": "z", "experiment.py": "x"})
    )
    assert code_sha256(one) != code_sha256(Code(commit="a", files={"experiment.py": "y"}))
    other_name = Code(commit="a", files={"other.py": "x", "plot.py": "y"})
    assert code_sha256(one) != code_sha256(other_name)


# --- lint ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\ny = (\n", "a.py, line 2: '(' was never closed"),
        ("x = 1\nprint(lr)", "a.py, line 2: undefined name 'lr'"),
        ("def f():\n    print(x)\n    x = 1\nx = 2", "local variable 'x'"),
        ("x = 1\nreturn x", "a.py, line 2: 'return' outside function"),
        ("x = 1\0", "a.py, line None: source code string cannot contain null bytes"),
    ],
)
def test_what_cannot_run_is_refused_with_its_line(source: str, words: str) -> None:
    """Syntax errors and names that do not exist need no run, in any file."""
    check = check_lint({}, {"fine.py": "x = 1", "a.py": source})
    assert (check.gate, check.verdict) == ("runs", "refused")
    assert words in check.detail


def test_style_is_not_judged() -> None:
    """Unused imports and names are the coder's own business."""
    check = check_lint({}, {"a.py": "import os\n\ndef f():\n    x = 1\n"})
    assert (check.gate, check.verdict) == ("lint", "passed")


# --- after the run -------------------------------------------------------------------------------


def test_a_run_that_equals_the_previous_one_is_a_finding() -> None:
    """Every comparable metric the same to the last bit, volatile ones aside."""
    previous = run("run_1", loss=1.0, acc=0.5, seconds=3.0)
    check = check_identical(run("run_2", loss=1.0, acc=0.5, seconds=4.0, new=1.0), previous, SPECS)
    assert (check.gate, check.verdict) == ("differs", "finding")
    assert check.detail == "all 2 comparable metrics are identical to run_1's"


@pytest.mark.parametrize(
    "metrics", [{"loss": 1.0, "acc": 0.6}, {"seconds": 3.0}, {"other": 1.0}, {}]
)
def test_a_run_that_differs_or_cannot_be_compared_is_none(metrics: Mapping[str, float]) -> None:
    """One metric that moved, or none in common, is no finding."""
    previous = run("run_1", loss=1.0, acc=0.5, seconds=3.0)
    check = check_identical(run("run_2", **metrics), previous, SPECS)
    assert (check.gate, check.verdict) == ("differs", "passed")


def test_what_confounds_is_named_with_both_values() -> None:
    """Keys outside `Varies` are listed in order; a key may be given by its whole path."""
    moved = {"d/config/lr": (0.1, 0.2), "d/config/k": (320, 20), "d/config/name": ("a", "b")}
    check, keys = check_comparable(moved, ["d/config/name"])
    assert keys == ("d/config/k", "d/config/lr")
    assert (check.gate, check.verdict) == ("comparable", "finding")
    assert check.detail.endswith("`Varies`: d/config/k: 320 -> 20, d/config/lr: 0.1 -> 0.2")
    check, keys = check_comparable(moved, ["lr", "k", "name"])
    assert (check.gate, check.verdict, check.detail, keys) == ("comparable", "passed", "", ())
    assert check_comparable({}, ())[0].verdict == "passed"


# --- which lines ran -----------------------------------------------------------------------------

OLD = "a = 1\nb = 2\nc = 3\nd = 4\ne = 5\nf = 6\n"
NEW = "a = 1\nb = 7\nc = 8\nd = 9\ne = 5\nf = 0\n"


@pytest.mark.parametrize(
    ("new", "ran", "words"),
    [
        (NEW, [1, 2, 3, 5], ["changed lines: 2-4, 6", "of these, lines 4, 6 never ran"]),
        (
            NEW,
            [1, 2, 3, 4, 5, 6],
            [
                "changed lines: 2-4, 6",
                "they ran, so what they compute is not used, or a later value overrides it",
            ],
        ),
        (NEW, [], ["changed lines: 2-4, 6", "of these, lines 2-4, 6 never ran"]),
        (NEW, None, ["changed lines: 2-4, 6"]),
        (OLD, [1, 2, 3, 4, 5, 6], []),
    ],
)
def test_changed_lines_are_told_with_whether_they_ran(
    new: str, ran: Sequence[int] | None, words: list[str]
) -> None:
    """Neighbors are joined; of lines that nobody watched nothing is said."""
    assert describe_changed_lines(OLD, new, ran) == words


# --- what measures -------------------------------------------------------------------------------


@pytest.mark.parametrize("now", ["a", "c"])
def test_another_way_of_measuring_is_a_finding(now: str) -> None:
    """Only a fingerprint that is known and another is one; frozen files are named once each."""
    (other,) = check_measuring(now, "b", ())
    assert (other.gate, other.verdict) == ("comparable", "finding")
    assert check_measuring("b", "b", ()) == check_measuring("b", "", ()) == []
    (touched,) = check_measuring("b", "b", ["data.py", "a.py", "data.py"])
    assert touched.detail == "the commit changed a.py, data.py; the template's own was run"
