"""Hypotheses between runs at different L0: matched ones, and what is read off frontiers."""

from __future__ import annotations

from ai_scientist.judging.matching import check_matched
from ai_scientist.records import Control, Guard, Hypothesis, MetricSpec, Results, Run, Verdict
from tests.test_hypotheses import BASE, BETTER, FRONTIER, results, two, verdict


def test_runs_that_are_not_matched_are_not_compared() -> None:
    """A gain at another L0 decides nothing, of a run or of its control; L0 itself may be predicted.

    Where another run is matched, that one is judged.
    """
    specs = {"l0": MetricSpec(name="l0", matched=0.1)}
    base, near, far = (results(gain=g, l0=n) for g, n in ((BASE, 2.0), (BETTER, 2.1), (9.0, 3.0)))
    runs = two(base, far)
    decided, reason = verdict(runs, metrics=specs)
    assert decided is Verdict.NOT_TESTABLE
    assert "beside run_0, l0 is 3 against 2, more than 10% off" in reason
    runs["run_2"] = Run(name="run_2", title="Matched", results=near)
    decided, reason = verdict(runs, metrics=specs)
    assert decided is Verdict.CONFIRMED
    assert reason.startswith("run_2")
    control = (Control(name="plain", overrides={"w": 0}),)
    armed = two(base, near, arms={"plain": results(gain=BASE, l0=1.0)})
    decided, reason = verdict(armed, metrics=specs, controls=control)
    assert decided is Verdict.NOT_TESTABLE
    assert "beside run_1/plain, l0 is 2.100 against 1" in reason
    sparser = Hypothesis(metric="l0", direction="increase")
    assert verdict(two(base, far), sparser, metrics=specs)[0] is not Verdict.NOT_TESTABLE


def read_off(gain: float | tuple[float, ...], *, l0: float, dead: float = 0.1) -> Results:
    """Return results whose own gain tells nothing, with what was read off at the same L0."""
    return results(
        gain=5 * l0, l0=l0, dead=0.1 * l0, gain_at_matched_l0=gain, dead_at_matched_l0=dead
    )


def test_unmatched_runs_are_compared_by_what_was_read_off() -> None:
    """What stands for a metric between unmatched runs decides, and for guards too, in words.

    A guard on what is matched there holds; a rival for which nothing was read off decides nothing.
    """
    runs = two(read_off(BASE, l0=2.0), read_off(BETTER, l0=3.0))
    decided, reason = verdict(runs, metrics=FRONTIER)
    assert decided is Verdict.CONFIRMED
    assert "run_1 1.5025, run_0 1.0000: difference 0.5025 ± 0.0085" in reason
    assert "gain_at_matched_l0 was compared, since beside run_0, l0 is 3 against 2" in reason
    guards = (Guard(metric="l0", direction="increase", limit=0.01, kind="relative"),)
    assert verdict(runs, metrics=FRONTIER, guards=guards)[0] is Verdict.CONFIRMED
    dead = Guard(metric="dead", direction="increase", limit=0.05, kind="absolute")
    assert verdict(runs, metrics=FRONTIER, guards=(dead,))[0] is Verdict.CONFIRMED
    dying = two(read_off(BASE, l0=2.0), read_off(BETTER, l0=3.0, dead=0.3))
    assert "It was paid for: dead" in verdict(dying, metrics=FRONTIER, guards=(dead,))[1]
    other = (Guard(metric="gain_at_matched_l0", direction="decrease", limit=1, kind="absolute"),)
    decided, reason = verdict(runs, metrics=FRONTIER, guards=other)
    assert decided is Verdict.NOT_TESTABLE
    assert "was not measured where both are matched" in reason
    lacking = two(read_off(BASE, l0=2.0), results(gain=BETTER, l0=3.0))
    decided, reason = verdict(lacking, metrics=FRONTIER)
    assert decided is Verdict.NOT_TESTABLE
    assert "run_1 cannot be compared" in reason
    control = (Control(name="plain", overrides={"w": 0}),)
    armed = two(
        read_off(BASE, l0=2.0),
        read_off(BETTER, l0=2.0),
        arms={"plain": read_off(BETTER, l0=1.0)},
    )
    decided, reason = verdict(armed, metrics=FRONTIER, controls=control)
    assert decided is Verdict.REFUTED
    assert "run_1/plain" in reason


def test_an_unmatched_run_says_what_was_read_off() -> None:
    """The finding of a run at another L0 gives the values at the same one, where both have them."""
    base, run = read_off(BASE, l0=2.0), read_off(BETTER, l0=3.0)
    (found,) = check_matched(run, base, FRONTIER)
    assert found.verdict == "finding"
    assert "l0 is 3 against 2" in found.detail
    assert found.detail.endswith(
        "read off where they are: gain_at_matched_l0 1.502 against 1, "
        "dead_at_matched_l0 0.1000 against 0.1000"
    )
    assert "read off" not in check_matched(results(gain=1.0, l0=3.0), base, FRONTIER)[0].detail
    assert check_matched(base, base, FRONTIER) == []
