"""The capsule of a run: all that a reader needs to know how its numbers came about."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ai_scientist.execution.laboratory import Bench
from ai_scientist.execution.observation import Observation
from ai_scientist.judging.gates import MAIN_FILE, check_comparable, check_measuring
from ai_scientist.judging.matching import check_matched
from ai_scientist.machine.hardware import describe_hardware
from ai_scientist.records import Check, Idea, Results, Run
from ai_scientist.results.reading import combine, config_diff


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a run comes from: its code, and what led to it."""

    name: str
    title: str
    commit: str
    diff: str
    """To the last valid run; empty for the baseline."""
    seeds: tuple[int, ...] = (0,)
    checks: tuple[Check, ...] = ()
    """What the gates said of its edit."""
    step: str = ""
    cost_usd: float | None = None


def make_capsule(
    origin: Origin,
    observations: Sequence[Observation],
    *,
    bench: Bench,
    idea: Idea,
    earlier: Sequence[Run],
) -> Run:
    """Return the run that `observations`, one for each seed, are of.

    Its configuration is compared with the first of the `earlier` runs and with the last.
    """
    results = combine([seen.results for seen in observations if seen.results])
    baseline = _results_of(earlier, 0, results)
    against_baseline = config_diff(baseline, results)
    comparable, confounded = check_comparable(against_baseline, idea.varies)
    touched = [name for seen in observations for name in seen.frozen_touched]
    known = earlier[0].measured_with if earlier else ""
    measuring = check_measuring(bench.measuring_key, known, touched)
    return Run(
        name=origin.name,
        title=origin.title,
        results=results,
        commit=origin.commit,
        diff_sha256=hashlib.sha256(origin.diff.encode()).hexdigest(),
        command=("python", MAIN_FILE, f"--out_dir={origin.name}"),
        profile=bench.profile.name,
        seeds=origin.seeds,
        config_diff_baseline=against_baseline,
        config_diff_previous=config_diff(_results_of(earlier, -1, results), results),
        confounded=confounded,
        checks=(
            *origin.checks,
            comparable,
            *measuring,
            *check_matched(results, baseline, bench.template.metrics),
        ),
        measured_with=bench.measuring_key,
        versions=bench.versions,
        hardware=describe_hardware(),
        sandbox_tier=observations[0].sandbox_tier,
        started_at=observations[0].started_at,
        seconds=sum(seen.seconds for seen in observations),
        gpu_hours=sum(seen.gpu_hours for seen in observations),
        exit_cause=observations[-1].cause,
        step=origin.step,
        cost_usd=origin.cost_usd,
    )


def _results_of(earlier: Sequence[Run], place: int, own: Results) -> Results:
    """Return an earlier run's results; of the first run, which has none before it, its own."""
    return earlier[place].results if earlier else own
