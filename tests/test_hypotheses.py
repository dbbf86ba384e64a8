from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ai_scientist.errors import ReplyError
from ai_scientist.judging.deviations import deviations
from ai_scientist.judging.hypotheses import contenders, digest, finalist, judge, parse_hypotheses
from ai_scientist.notes.facts import facts
from ai_scientist.records import (
    Attempt,
    AttemptKind,
    Control,
    Guard,
    Hypothesis,
    Idea,
    Judgement,
    MetricSpec,
    Results,
    Run,
    Study,
    Verdict,
)

UP = Hypothesis(metric="gain", direction="increase", min_effect=0.1)
BASE = (1.0, 1.1, 0.9, 1.0)
BETTER = (1.52, 1.61, 1.38, 1.5)
FRONTIER = {
    "l0": MetricSpec(name="l0", matched=0.1),
    "gain": MetricSpec(name="gain", at_matched="gain_at_matched_l0"),
    "dead": MetricSpec(name="dead", at_matched="dead_at_matched_l0"),
    "gain_at_matched_l0": MetricSpec(name="gain_at_matched_l0"),
    "dead_at_matched_l0": MetricSpec(name="dead_at_matched_l0"),
}


def results(**values: float | tuple[float, ...]) -> Results:
    """Return results; a tuple is a value per seed."""
    seeds = {name: v for name, v in values.items() if isinstance(v, tuple)}
    means = {n: sum(v) / len(v) if isinstance(v, tuple) else v for n, v in values.items()}
    return Results(metrics=means, seeds=seeds)


def verdict(
    runs: Mapping[str, Run],
    hypothesis: Hypothesis = UP,
    metrics: Mapping[str, MetricSpec] | None = None,
    fresh: Mapping[str, Run] | None = None,
    **idea: object,
) -> tuple[Verdict, str]:
    """Judge one hypothesis and return the verdict with its reason."""
    study = Study(
        folder=Path(),
        idea=Idea(name="i", title="I", experiment="E", **idea),  # type: ignore[arg-type]
        runs=runs,
        hypotheses=(hypothesis,),
        metrics=metrics or {},
    )
    judged: Judgement = judge(study, fresh or {})[0]
    return judged.verdict, judged.reason


def two(base: Results, run: Results, **more: object) -> dict[str, Run]:
    """Return a baseline and one run."""
    return {
        "run_0": Run(name="run_0", title="Baseline", results=base),
        "run_1": Run(name="run_1", title="Variant", results=run, **more),  # type: ignore[arg-type]
    }


def test_the_finalist_decides_what_was_predicted_first() -> None:
    """Control arms go to the run that is best in the first prediction that some run can decide."""
    runs = two(results(gain=BASE, cost=3.0), results(gain=BETTER, cost=2.0))
    runs["run_2"] = Run(name="run_2", title="Cheaper", results=results(gain=BASE, cost=1.0))
    runs["run_3"] = replace(runs["run_2"], name="run_3", confounded=("depth",))
    cheaper = Hypothesis(metric="cost", direction="decrease")
    nowhere = Hypothesis(metric="speed", direction="increase")
    assert finalist((UP, cheaper), runs, {}) == "run_1"
    assert finalist((cheaper, UP), runs, {}) == "run_2"
    assert finalist((nowhere, cheaper), runs, {}) == "run_2"
    assert finalist((nowhere,), runs, {}) is None


def test_a_run_that_lost_stays_beaten() -> None:
    """Whoever is the finalist in the end was a contender from its own run on.

    A later run may make an earlier prediction undecidable, and so another one decisive.
    """
    drawn, chosen, let_go = random.Random(0), 0, 0
    hypotheses = (
        Hypothesis(metric="total_loss", direction="decrease"),
        Hypothesis(metric="gain", direction="increase", against="run_2"),
        Hypothesis(metric="gain", direction="increase"),
    )
    for _ in range(600):
        runs = {}
        for number in range(7):
            values = {"gain_at_matched_l0": drawn.randrange(4)} if drawn.random() < 0.7 else {}
            values |= {"gain": drawn.randrange(9), "l0": drawn.choice((2, 3))}
            if number == 0 or drawn.random() < 0.7:
                values["total_loss"] = drawn.randrange(1, 20)
            config = {"penalty": float(number > 0 and drawn.random() < 0.5)}
            runs[f"run_{number}"] = Run(
                name=f"run_{number}",
                title="V",
                results=replace(results(**values), config=config),
                confounded=("depth",) if number and drawn.random() < 0.2 else (),
            )
        asked = drawn.sample(hypotheses, 2)
        best = finalist(asked, runs, FRONTIER)
        chosen += best is not None
        for count in range(int(best[-1]) + 1 if best else 8, 8):
            left = contenders(asked, dict(list(runs.items())[:count]), FRONTIER)
            assert best in left
            let_go += len(left - {""}) < count - 1
    assert chosen > 200
    assert let_go > 200


def test_confirmed_needs_seeds() -> None:
    """The same effect is confirmed with seeds and undecided with one."""
    assert verdict(two(results(gain=BASE), results(gain=BETTER)))[0] is Verdict.CONFIRMED
    decided, reason = verdict(two(results(gain=1.0), results(gain=1.5)))
    assert decided is Verdict.UNDECIDED
    assert "one seed, noise not measured" in reason


def test_what_a_template_says_of_a_name_holds_for_each_data_set() -> None:
    """Its noise counts in notes and verdict alike, also where two paths end in the name."""
    base, run = (Results(metrics={"a/gain": gain, "b/gain": 1.0}) for gain in (1.0, 9.0))
    specs = {"gain": MetricSpec(name="gain", noise=0.1)}
    said = verdict(two(base, run), replace(UP, metric="a/gain"), specs)
    assert said[0] is Verdict.CONFIRMED
    assert "template noise" in said[1]
    assert "template noise" in facts(two(base, run)["run_1"], two(base, run)["run_0"], specs)


def test_refuted_in_the_other_direction_or_too_small() -> None:
    """A distinguishable fall refutes, and so does an interval wholly below the smallest effect."""
    assert verdict(two(results(gain=BETTER), results(gain=BASE)))[0] is Verdict.REFUTED
    small = tuple(value + 0.01 + 0.001 * i for i, value in enumerate(BASE))
    decided, reason = verdict(two(results(gain=BASE), results(gain=small)))
    assert decided is Verdict.REFUTED
    assert "upper end" in reason
    noisy = (1.3, 0.8, 1.2, 0.9)
    assert verdict(two(results(gain=BASE), results(gain=noisy)))[0] is Verdict.UNDECIDED


def test_the_best_control_is_the_one_to_beat() -> None:
    """A placebo arm that gains as much takes the confirmation away; a missing one forbids it."""
    control = (Control(name="uniform", overrides={"w": 1}),)
    runs = two(results(gain=BASE), results(gain=BETTER))
    assert verdict(runs, controls=control) == (
        Verdict.NOT_TESTABLE,
        "Controls not run (uniform).",
    )
    same = results(gain=(1.5, 1.62, 1.4, 1.49))
    runs = two(results(gain=BASE), results(gain=BETTER), arms={"uniform": same})
    decided, reason = verdict(runs, controls=control)
    assert decided is not Verdict.CONFIRMED
    assert "run_1/uniform" in reason
    weak = two(results(gain=BASE), results(gain=BETTER), arms={"uniform": results(gain=BASE)})
    assert verdict(weak, controls=control)[0] is Verdict.CONFIRMED


def test_deviations_from_what_was_fixed_are_listed() -> None:
    """Other hypotheses, other settings, missing controls, missing seeds: a sentence each."""
    runs = two(results(gain=BASE), results(gain=BETTER), confounded=("a/config/width",))
    idea = Idea(name="i", title="I", experiment="E", hypotheses=(UP,))
    kept = Study(folder=Path(), idea=idea, runs=two(*[results(gain=BASE)] * 2), hypotheses=(UP,))
    assert deviations(kept) == ()
    strayed = Study(
        folder=Path(),
        idea=replace(idea, controls=(Control(name="uniform", overrides={"w": 1}),)),
        runs=runs,
        hypotheses=(replace(UP, min_effect=0.5),),
        settings={"seeds_per_run": 3},
    )
    unstated = replace(
        kept,
        hypotheses=(),
        attempts=(
            Attempt(
                step="run_1/confirmation/seed_1001",
                run="run_1",
                kind=AttemptKind.CRASHED,
                reason="it ended with status 1",
            ),
        ),
    )
    assert deviations(unstated) == (
        "No hypothesis was fixed before the first edit, so nothing is confirmed or refuted.",
        "The confirmation on fresh seeds failed (run_1/confirmation/seed_1001), so the hypotheses "
        "are judged by the runs that the winner was chosen by.",
    )
    assert deviations(strayed) == (
        "The idea states other hypotheses now than were fixed before the first edit; the fixed "
        "ones are judged.",
        "run_1 also changed width, which the idea does not mean to vary.",
        "The control arm uniform was declared and has no result.",
        "run_1 has 1 of 3 seeds.",
    )


def test_seeds_that_change_nothing_confirm_nothing() -> None:
    """Three runs of a template that ignores its seed are one run, made three times."""
    said = verdict(two(results(gain=(1.0,) * 3), results(gain=(2.0,) * 3)))
    assert said[0] is Verdict.UNDECIDED
    assert "seeds change nothing" in said[1]


def test_a_reason_prints_the_digits_that_its_error_supports() -> None:
    """Values, difference and detectable effect have the decimals of the error's two digits."""
    runs = two(results(gain=(1.0, 1.3, 0.8, 1.1)), results(gain=(1.5, 1.62, 1.4, 1.49)))
    reason = verdict(runs)[1]
    numbers = re.findall(r"(?<![\w.])-?\d+\.\d+", reason.partition(", p")[0])
    assert len(numbers) == 4
    assert {len(number.partition(".")[2]) for number in numbers} == {len("098")}, reason


def test_guards_are_part_of_the_prediction() -> None:
    """An effect paid for with dead latents is not confirmed."""
    guard = (Guard(metric="dead", direction="increase", limit=0.05, kind="absolute"),)
    held = two(
        results(gain=BASE, dead=(0.1, 0.11, 0.1, 0.1)),
        results(gain=BETTER, dead=(0.12, 0.12, 0.13, 0.12)),
    )
    assert verdict(held, guards=guard)[0] is Verdict.CONFIRMED
    paid = two(
        results(gain=BASE, dead=(0.1, 0.11, 0.1, 0.1)),
        results(gain=BETTER, dead=(0.3, 0.32, 0.31, 0.3)),
    )
    decided, reason = verdict(paid, guards=guard)
    assert decided is Verdict.REFUTED
    assert "paid for" in reason
    unmeasured = two(results(gain=BASE), results(gain=BETTER))
    assert verdict(unmeasured, guards=guard)[0] is Verdict.NOT_TESTABLE


@pytest.mark.parametrize(
    ("base", "run", "hypothesis", "words"),
    [
        (results(other=1.0), results(gain=1.0), UP, "has no gain"),
        (results(gain=1.0), results(other=1.0), UP, "No run after run_0 measured it"),
        (results(gain=0.0), results(gain=0.0), UP, "at the floor"),
        (
            Results(metrics={"final_loss": 2.0, "loss_terms/mse": 2.0}),
            Results(metrics={"final_loss": 1.0, "loss_terms/mse": 0.9, "loss_terms/new": 0.1}),
            Hypothesis(metric="final_loss", direction="decrease"),
            "changed its terms",
        ),
        (
            Results(metrics={"final_loss": 2.0}, config={"config/l1_penalty": 0.04}),
            Results(metrics={"final_loss": 1.0}, config={"config/l1_penalty": 0.01}),
            Hypothesis(metric="final_loss", direction="decrease"),
            "changed its terms",
        ),
    ],
)
def test_what_cannot_be_tested_is_said(
    base: Results, run: Results, hypothesis: Hypothesis, words: str
) -> None:
    """No verdict is made up where the metric, the baseline or the comparison is missing."""
    decided, reason = verdict(two(base, run), hypothesis)
    assert decided is Verdict.NOT_TESTABLE
    assert words in reason


def test_confounded_runs_decide_nothing_and_variants_are_counted() -> None:
    """A run with other settings is left out; with several variants the reason says how many."""
    runs = two(results(gain=BASE), results(gain=BETTER), confounded=("config/k",))
    assert "outside the idea's Varies" in verdict(runs)[1]
    runs["run_2"] = Run(name="run_2", title="B", results=results(gain=BETTER))
    runs["run_3"] = Run(name="run_3", title="C", results=results(gain=BASE))
    assert "2 variants tried" in verdict(runs)[1]


def test_fresh_seeds_chose_nothing() -> None:
    """What is judged on them counts as one variant, and is compared with nothing but them."""
    close = tuple(value + gain for value, gain in zip(BASE, (0.2, 0.3, 0.05, 0.25), strict=True))
    runs = two(results(gain=BASE, cost=BASE), results(gain=BASE, cost=(0.5, 0.6, 0.4, 0.5)))
    for name in ("run_2", "run_3"):
        runs[name] = Run(name=name, title="V", results=results(gain=BASE, cost=BASE))
    runs["run_2"] = replace(runs["run_2"], results=results(gain=close, cost=BASE))
    again = results(gain=tuple(value - 0.1 for value in close), cost=BASE, late=close)
    fresh = {
        "run_0": replace(runs["run_0"], results=results(gain=(0.9, 1.0, 0.8, 0.9), late=BASE)),
        "run_2": replace(runs["run_2"], results=again),
    }
    decided, reason = verdict(runs, fresh=fresh)
    assert "the best of 3 variants tried" in verdict(runs)[1]
    assert (verdict(runs)[0], decided) == (Verdict.UNDECIDED, Verdict.CONFIRMED)
    assert reason.startswith("On fresh seeds: run_2 1.1")
    assert "variants" not in reason
    other = verdict(runs, replace(UP, metric="cost", direction="decrease"), fresh=fresh)
    assert other[1].startswith("run_1 0.5")
    assert "the best of 3 variants tried" in other[1]
    assert verdict(runs, replace(UP, metric="late"))[0] is Verdict.NOT_TESTABLE
    assert verdict(runs, replace(UP, metric="late"), fresh=fresh)[0] is Verdict.CONFIRMED


def test_proposed_hypotheses_are_read_and_hashed() -> None:
    """A JSON block is read, names are resolved, and any change changes the hash."""
    reply = 'I expect:\n```json\n[{"metric": "d/gain", "direction": "increase"}]\n```\n'
    (one,) = parse_hypotheses(reply, ["d/gain", "d/dead"])
    assert one == Hypothesis(metric="gain", direction="increase", proposed_by="model")
    assert digest([one]) == digest([one])
    assert digest([one]) != digest([UP])


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("none", "No JSON list"),
        ("[]", "between 1 and"),
        ('[{"metric": "gian", "direction": "increase"}]', "nearest are: 'gain'"),
        ('[{"metric": "gain", "direction": "up"}]', "direction"),
        ('[{"metric": "gain", "direction": "increase", "min_effect": -1}]', "min_effect"),
        ('[{"metric": "gain", "direction": "increase", "min_effect": NaN}]', "min_effect"),
        ("[1]", "Hypothesis 1"),
        ("[" * 100_000, "No JSON list"),
        (
            '[{"metric": "gain", "direction": "increase"},'
            ' {"metric": "gain", "direction": "decrease"}]',
            "again",
        ),
    ],
)
def test_a_bad_proposal_is_told_to_the_model(reply: str, words: str) -> None:
    """What cannot be used comes back with what to write instead."""
    with pytest.raises(ReplyError) as caught:
        parse_hypotheses(reply, ["d/gain", "d/dead"])
    assert words in caught.value.message
