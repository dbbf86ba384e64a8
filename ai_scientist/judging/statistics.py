"""Is a difference more than noise? n is always training seeds, never latents or documents.

| values per seed            | test                                            | noise            |
|----------------------------|-------------------------------------------------|------------------|
| the same number, >= 2 each | paired t over seeds                             | measured         |
| different numbers, >= 2    | Welch's t                                       | measured         |
| >= 2 on one side, 1 other  | t with that side's spread for both              | measured         |
| 1 and 1, template's noise  | normal, sd = sqrt(2) x the template's           | template noise   |
| 1 and 1                    | none: the sign alone, and these words beside it | one seed, noise  |
|                            |                                                 | not measured     |

Seeds that all give the same number on each side measured nothing, as with a template that ignores
its seed: they count as one and one, and the words are `noise not measurable`.

With several variants tried, the p-value of the one that is reported is multiplied by their number
(Holm's first step), and the words say so.
"""

from __future__ import annotations

import math
import statistics as stdlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from ai_scientist.records import MetricSpec, Results
from ai_scientist.results.tables import Style, format_number, format_percent

ALPHA = 0.05
POWER = 0.8
NOISE_NOT_MEASURED = "one seed, noise not measured"
NOISE_NOT_MEASURABLE = "seeds change nothing, noise not measurable"
TEMPLATE_NOISE = "template noise"
MEASURED = "measured"
DRAWN_AT_ONCE = 1_000_000
"""Values that a bootstrap holds at a time: 8 MB, whatever is resampled."""

Outcome = Literal["higher", "lower", "not distinguishable", "identical"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One metric of a run seen against a base: delta = run - base."""

    base: float
    """Mean of the base over its seeds."""
    value: float
    """Mean of the run over its seeds."""
    delta: float
    relative: float | None
    """delta / |base|; None when the base is zero."""
    n: int
    """Training seeds: of each side when paired, else of the smaller side."""
    paired: bool
    noise: str
    verdict: Outcome
    standard_error: float | None = None
    """Of delta."""
    interval: tuple[float, float] | None = None
    """95% confidence interval of delta."""
    p_value: float | None = None
    """Two-sided, multiplied by the number of variants tried."""
    minimum_detectable_effect: float | None = None
    """The delta found with 80% power at the 5% level, in the metric's unit."""
    multiplicity: str = ""

    @property
    def noise_known(self) -> bool:
        """Whether anything but the sign may be concluded."""
        return self.noise not in (NOISE_NOT_MEASURED, NOISE_NOT_MEASURABLE)

    def describe(self, base: str = "", *, style: Style = "text") -> str:
        """Say it as prose does, ready for the name of the base to follow, or with it.

        `4.1% lower than`, `not distinguishable from`, `identical to`. With one seed on each side
        and no noise stated: `4.1% lower (one seed, noise not measured) than`.
        """
        if self.verdict == "identical":
            return f"identical to {base}".strip()
        if self.verdict == "not distinguishable":
            return f"not distinguishable from {base}".strip()
        size = (
            format_number(abs(self.delta), self.standard_error, style=style)
            if self.relative is None
            else format_percent(abs(self.relative), style=style)
        )
        remark = "" if self.noise == MEASURED else f" ({self.noise})"
        return f"{size} {self.verdict}{remark} than {base}".strip()


def compare(
    base: Results, run: Results, path: str, *, spec: MetricSpec | None = None, n_tried: int = 1
) -> Comparison:
    """Compare metric `path` of `run` against `base`; `n_tried` variants led to this `run`.

    Raises KeyError when one of them has no such metric.
    """
    seeds_a, mean_a = _values(run, path)
    seeds_b, mean_b = _values(base, path)
    delta = mean_a - mean_b
    paired = len(seeds_a) == len(seeds_b) > 1
    noise, error, freedom = _noise(seeds_a, seeds_b, spec)
    p_value = _p_value(delta, error, freedom)
    if p_value is not None:
        p_value = min(1.0, p_value * n_tried)
    verdict: Outcome
    if delta == 0 and (seeds_a == seeds_b or len(seeds_a) == len(seeds_b) == 1):
        verdict = "identical"
    elif p_value is not None and p_value >= ALPHA:
        verdict = "not distinguishable"
    else:
        verdict = "higher" if delta > 0 else "lower"
    reach = None if error is None else error * critical_value(freedom)
    return Comparison(
        base=mean_b,
        value=mean_a,
        delta=delta,
        relative=delta / abs(mean_b) if mean_b else None,
        n=min(len(seeds_a), len(seeds_b)),
        paired=paired,
        noise=noise,
        verdict=verdict,
        standard_error=error,
        interval=None if reach is None else (delta - reach, delta + reach),
        p_value=p_value,
        minimum_detectable_effect=None if error is None else error * _noncentrality(freedom),
        multiplicity=""
        if n_tried < 2
        else f"the best of {n_tried} variants tried"
        + ("" if p_value is None else f", p-value multiplied by {n_tried}"),
    )


def bootstrap_interval(
    values: Sequence[float], *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the mean of `values` measured within one model.

    It says how well this model was measured, not how far another training seed would differ.
    """
    import numpy as np

    if not values:
        raise ValueError("no values to resample")
    numbers = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    # In blocks: an evaluation may list each of a hundred thousand latents.
    block = max(1, DRAWN_AT_ONCE // len(numbers))
    means = np.concatenate(
        [
            numbers[rng.integers(0, len(numbers), size=(min(block, left), len(numbers)))].mean(
                axis=1
            )
            for left in range(resamples, 0, -block)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _values(results: Results, path: str) -> tuple[tuple[float, ...], float]:
    seeds = results.seeds.get(path, ())
    return (
        (seeds, stdlib.fmean(seeds))
        if len(seeds) > 1
        else (
            (results.metrics[path],),
            results.metrics[path],
        )
    )


def _noise(
    a: Sequence[float], b: Sequence[float], spec: MetricSpec | None
) -> tuple[str, float | None, float]:
    """Return where the noise comes from, the standard error of a - b, and degrees of freedom."""
    if constant := max(len(a), len(b)) > 1 and len(set(a)) == len(set(b)) == 1:
        a, b = a[:1], b[:1]
    if len(a) == len(b) > 1:
        spread = stdlib.stdev(x - y for x, y in zip(a, b, strict=True))
        return MEASURED, spread / math.sqrt(len(a)), len(a) - 1
    if len(a) > 1 and len(b) > 1:
        var_a, var_b = stdlib.variance(a) / len(a), stdlib.variance(b) / len(b)
        below = var_a**2 / (len(a) - 1) + var_b**2 / (len(b) - 1)
        freedom = (var_a + var_b) ** 2 / below if below else len(a) + len(b) - 2.0
        return MEASURED, math.sqrt(var_a + var_b), freedom
    if max(len(a), len(b)) > 1:
        many = a if len(a) > 1 else b
        return MEASURED, stdlib.stdev(many) * math.sqrt(1 + 1 / len(many)), len(many) - 1
    if spec is not None and spec.noise:
        return TEMPLATE_NOISE, spec.noise * math.sqrt(2), math.inf
    return NOISE_NOT_MEASURABLE if constant else NOISE_NOT_MEASURED, None, math.inf


def _p_value(delta: float, error: float | None, freedom: float) -> float | None:
    if error is None:
        return None
    if error == 0:
        return 0.0 if delta else 1.0
    from scipy import stats

    statistic = abs(delta) / error
    tail = stats.norm.sf(statistic) if math.isinf(freedom) else stats.t.sf(statistic, freedom)
    return float(2 * tail)


@cache
def critical_value(freedom: float) -> float:
    """Return Student's t beyond which 5% lie on both sides, for so many degrees of freedom."""
    from scipy import stats

    if math.isinf(freedom):
        return float(stats.norm.ppf(1 - ALPHA / 2))
    return float(stats.t.ppf(1 - ALPHA / 2, freedom))


@cache
def _noncentrality(freedom: float) -> float:
    """Return the effect, in standard errors, that a two-sided test finds with 80% power."""
    from scipy import optimize, stats

    critical = critical_value(freedom)
    if math.isinf(freedom):
        return critical + float(stats.norm.ppf(POWER))
    return float(
        optimize.brentq(
            lambda shift: float(stats.nct.sf(critical, freedom, shift)) - POWER, 0.01, 40 * critical
        )
    )
