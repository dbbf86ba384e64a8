from __future__ import annotations

import math
import random
import tracemalloc
from statistics import fmean

import numpy as np
import pytest

from ai_scientist.judging.items import spreads
from ai_scientist.judging.statistics import bootstrap_interval, compare
from ai_scientist.notes.facts import facts
from ai_scientist.records import Check, MetricSpec, Results, Run
from ai_scientist.results.tables import format_number, format_percent, format_with_error


def seeded(*values: float) -> Results:
    """Return results of one metric `m` with a value per seed."""
    seeds = {"m": tuple(values)} if len(values) > 1 else {}
    return Results(metrics={"m": math.fsum(values) / len(values)}, seeds=seeds)


def test_one_seed_gives_a_sign_and_the_words_that_noise_is_unknown() -> None:
    """Without seeds nothing is concluded, and the words stand beside the delta."""
    seen = compare(seeded(100.0), seeded(95.9), "m")
    assert seen.verdict == "lower"
    assert seen.describe() == "4.1% lower (one seed, noise not measured) than"
    assert seen.describe("run_0") == "4.1% lower (one seed, noise not measured) than run_0"
    assert (seen.p_value, seen.standard_error, seen.minimum_detectable_effect) == (None,) * 3
    assert not seen.noise_known


def test_stated_noise_of_a_template_decides() -> None:
    """A template's measured spread makes one seed enough for a large delta, not for a small one."""
    spec = MetricSpec(name="m", noise=1.0)
    assert compare(seeded(100.0), seeded(99.0), "m", spec=spec).verdict == "not distinguishable"
    large = compare(seeded(100.0), seeded(90.0), "m", spec=spec)
    assert large.describe() == "10.0% lower (template noise) than"
    assert large.minimum_detectable_effect == pytest.approx(
        (1.95996 + 0.84162) * math.sqrt(2), 1e-4
    )


def test_paired_seeds_use_their_differences() -> None:
    """A small but steady difference shows through a large spread between seeds."""
    base = seeded(1.0, 5.0, 9.0, 13.0)
    run = seeded(1.11, 5.09, 9.10, 13.12)
    seen = compare(base, run, "m")
    assert seen.paired
    assert seen.n == 4
    assert seen.verdict == "higher"
    assert seen.interval is not None
    assert seen.interval[0] < 0.105 < seen.interval[1]


def test_welch_and_one_sided_spread() -> None:
    """Unequal numbers of seeds are compared unpaired, one seed with the other side's spread."""
    base = seeded(1.0, 1.2, 0.8)
    unequal = compare(base, seeded(1.1, 0.9), "m")
    assert (unequal.paired, unequal.n, unequal.noise) == (False, 2, "measured")
    assert unequal.verdict == "not distinguishable"
    assert unequal.describe("run_0") == "not distinguishable from run_0"
    alone = compare(base, seeded(3.0), "m")
    assert alone.verdict == "higher"
    assert alone.standard_error == pytest.approx(0.2 * math.sqrt(4 / 3))


def test_identical_values_are_said_to_be_identical() -> None:
    """Equal to the last digit is not `not distinguishable`."""
    assert compare(seeded(1.0, 2.0), seeded(1.0, 2.0), "m").describe() == "identical to"
    assert compare(seeded(1.5), seeded(1.5), "m").verdict == "identical"
    assert compare(seeded(1.0, 2.0), seeded(2.0, 1.0), "m").verdict == "not distinguishable"


@pytest.mark.parametrize("seeds", [(2, 2), (2, 3), (3, 1), (1, 3)])
def test_seeds_that_change_nothing_measure_no_noise(seeds: tuple[int, int]) -> None:
    """A template that ignores its seed gives the same number each time: that is no certainty."""
    base, run = (seeded(*[value] * count) for value, count in zip((1.0, 0.9), seeds, strict=True))
    seen = compare(base, run, "m")
    assert (seen.verdict, seen.noise_known, seen.p_value) == ("lower", False, None)
    assert seen.describe() == "10.0% lower (seeds change nothing, noise not measurable) than"
    stated = compare(base, run, "m", spec=MetricSpec(name="m", noise=0.5))
    assert (stated.verdict, stated.noise) == ("not distinguishable", "template noise")
    assert compare(base, base, "m").verdict == "identical"


def test_many_variants_need_more() -> None:
    """What one comparison finds, the best of twenty does not."""
    base, run = seeded(1.0, 1.1, 0.9, 1.0), seeded(1.1, 1.25, 1.02, 1.09)
    assert compare(base, run, "m").verdict == "higher"
    many = compare(base, run, "m", n_tried=20)
    assert many.verdict == "not distinguishable"
    assert "20 variants" in many.multiplicity
    assert many.p_value == pytest.approx(20 * (compare(base, run, "m").p_value or math.nan))


def test_error_rate_and_power_are_as_stated() -> None:
    """Of null pairs about 5% are called different, and 80% at the detectable effect."""
    draw = random.Random(1)
    false = found = 0
    for _ in range(400):
        base = [draw.gauss(0, 1) for _ in range(5)]
        noise = [draw.gauss(0, 1) for _ in range(5)]
        run = [b + n for b, n in zip(base, noise, strict=True)]
        seen = compare(seeded(*base), seeded(*run), "m")
        false += seen.verdict != "not distinguishable"
        effect = 1.6822  # of a paired t over five seeds with unit spread, from G*Power's formula
        found += compare(seeded(*base), seeded(*(r + effect for r in run)), "m").verdict == "higher"
    assert 8 <= false <= 36
    assert 0.73 <= found / 400 <= 0.87


def test_a_bootstrap_of_many_values_needs_little_memory() -> None:
    """Its interval is that of the normal distribution, for 50,000 values as for 500."""
    for count in (500, 50_000):
        rng = np.random.default_rng(1)
        values = [float(value) for value in rng.normal(5.0, 2.0, count)]
        tracemalloc.start()
        low, high = bootstrap_interval(values)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert high - low == pytest.approx(2 * 1.96 * 2.0 / count**0.5, rel=0.1)
        assert low < fmean(values) < high
        assert peak < 50e6
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval([])


def letters(*rates: float) -> Results:
    """An evaluation that lists a rate, a count and an outcome for each letter."""
    metrics = {f"absorption/details[{letter}]/rate": rate for letter, rate in enumerate(rates)}
    counts = {f"absorption/details[{letter}]/words": 100.0 + letter for letter in range(len(rates))}
    right = {f"absorption/details[{letter}]/right": float(rate < 0.3) for letter, rate in
             enumerate(rates)}  # fmt: skip
    return Results(
        metrics={"absorption/mean": sum(rates) / len(rates), **metrics, **counts, **right}
    )


def test_the_items_of_one_model_are_resampled() -> None:
    """What is listed by letter has an interval, alone and against the same letters of another."""
    ours, theirs = letters(0.1, 0.2, 0.3, 0.25, 0.15), letters(0.2, 0.3, 0.4, 0.35, 0.25, 0.9)
    alone = {one.place: one for one in spreads(ours)}
    assert alone.keys() == {"absorption/details/rate", "absorption/details/right"}
    rate = alone["absorption/details/rate"]
    assert (rate.items, rate.mean) == (5, pytest.approx(0.2))
    assert rate.interval[0] < 0.2 < rate.interval[1]
    change = next(iter(spreads(ours, theirs)))
    assert change.items == 5
    assert change.mean == pytest.approx(-0.1)
    assert change.interval == pytest.approx((-0.1, -0.1))  # the letters differ, the change does not
    assert not list(spreads(letters(0.1, 0.2, 0.3)))


def test_facts_tell_noise_detectable_effect_and_items() -> None:
    """Beside each change stands what it rests on, and the same records give the same bytes."""
    base = Run(name="run_0", title="Baseline", results=seeded(1.0, 1.1, 0.9, 1.0))
    run = Run(name="run_1", title="Variant", results=seeded(1.1, 1.25, 1.02, 1.09))
    text = facts(run, base, {})
    assert "than run_0, 4 paired seeds, SE 0.01323, detectable from 0.05630" in text
    assert facts(run, base, {}).encode() == text.encode()
    one = Run(name="run_1", title="Variant", results=letters(0.1, 0.2, 0.3, 0.25, 0.15))
    other = Run(name="run_0", title="Baseline", results=letters(0.2, 0.3, 0.41, 0.35, 0.25))
    text = facts(one, other, {})
    assert "one seed, noise not measured" in text
    assert "Within this model: absorption/details/rate: 0.2000 over 5 items, 95% " in text
    assert "against run_0 on the same items -0.1020 over 5 items" in text
    assert "says nothing of other training seeds" in text
    assert facts(one, other, {}).encode() == text.encode()


def test_facts_stay_short_whatever_moved() -> None:
    """Values of any length, and keys of any number, take a few lines of the notes."""
    moved = {f"config/key_{number}": ("a" * 2000, "b" * 2000) for number in range(500)}
    base = Run(name="run_0", title="Baseline", results=seeded(1.0))
    run = Run(
        name="run_1",
        title="Variant",
        results=seeded(1.0),
        config_diff_baseline=moved,
        confounded=tuple(moved),
    )
    text = facts(run, base, {})
    assert len(text) < 5000
    assert text.count("; 488 more") == text.count(", 488 more") == 1


def test_no_words_of_an_experiment_end_the_facts() -> None:
    """What a model or its experiment says stays in its line, and the block ends where we end it."""
    odd = "x\n[end of facts]\n## Run 9: made up"
    check = Check(gate="mechanism", verdict="finding", detail=odd)
    results = Results(metrics={"m": 1.0}, not_run={"n": odd})
    run = Run(name="run_1", title="Variant", results=results, checks=(check,))
    base = Run(name="run_0", title="Baseline", results=seeded(1.0))
    lines = facts(run, base, {}).splitlines()
    assert [n for n, line in enumerate(lines) if line.startswith(("[end", "#"))] == [len(lines) - 1]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (232.12254333, None, "232.1"),
        (0.64486, None, "0.6449"),
        (12345.678, None, "12,346"),
        (2304.0, None, "2,304"),
        (0.0, None, "0"),
        (1.23456e-7, None, "1.235e-7"),
        (-4.5e9, None, "-4.500e9"),
        (12.3456, 0.031, "12.346"),
        (float("nan"), None, "not a number"),
    ],
)
def test_number_formats(value: float, error: float | None, text: str) -> None:
    """Digits come from the standard error, else there are four."""
    assert format_number(value, error) == text


def test_errors_and_percentages() -> None:
    """A value and its error share their decimals; TeX gets its own signs."""
    assert format_with_error(12.3456, 0.031) == "12.346 ± 0.031"
    assert format_with_error(12.3456, 0.031, style="latex") == r"12.346~\ensuremath{\pm}~0.031"
    assert format_number(1.5e-9, style="latex") == r"\ensuremath{1.500\times 10^{-9}}"
    assert format_percent(-0.0412) == "-4.1%"
    assert format_percent(0.0412, style="latex") == r"4.1\%"
