"""What is told before the first paid call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ai_scientist.inputs.settings import Settings
from ai_scientist.inputs.templates import load_template
from ai_scientist.preflight import describe_plan, describe_unknown_noise, most_gpu_hours
from ai_scientist.records import Code, Limits, MetricSpec, Profile, Results


class Unpriced:
    """A model client that knows no prices."""

    def estimate_cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Know nothing."""
        return None


def test_the_most_gpu_hours_are_those_of_all_executions() -> None:
    """Baseline seeds, a last run of several seeds, control arms and fresh seeds count as well."""
    code = Code(commit="c", files={"experiment.py": "x = 1"})
    profile = Profile(name="full", gpus=2, run_timeout_s=1800)
    limits = Limits(max_executions=2, max_gpu_hours=None)
    plain = Settings(limits=limits, writeup=False)
    noisy = Settings(
        limits=limits, writeup=False, baseline_seeds=3, seeds_per_run=2, confirm_best=2
    )
    told = [
        list(describe_plan(code, profile, settings, Unpriced(), controls=controls))[-1]
        for settings, controls in ((plain, 0), (noisy, 1))
    ]
    hours = [1 + 2, 3 + (2 + 1) + 2 + 2 * 3]  # each execution holds two GPUs for half an hour
    assert told == [f"at most {one:.1f} GPU-hours" for one in hours]


def test_that_nothing_can_be_decided_is_told(project: Path) -> None:
    """One seed decides nothing, unless more are asked for or the template states its noise."""
    template = load_template(project / "templates" / "digits")
    one = Results(metrics={"loss": 1.0}, seeds={"loss": (1.0,)})
    several = replace(one, seeds={"loss": (0.9, 1.1)})
    stated = replace(template, metrics={"loss": MetricSpec(name="loss", noise=0.1)})
    told = describe_unknown_noise(one, template, Settings())
    assert told.startswith("one seed and no noise stated: no hypothesis can be decided")
    assert "--seeds-per-run 5" in told
    assert not describe_unknown_noise(several, template, Settings())
    assert not describe_unknown_noise(one, stated, Settings())
    for asked in (Settings(seeds_per_run=2), Settings(baseline_seeds=2), Settings(confirm_best=2)):
        assert not describe_unknown_noise(one, template, asked)
        told = describe_unknown_noise(one, replace(template, honours_seed=False), asked)
        assert told.startswith("seeds change nothing")


def test_full_may_take_the_hours_that_measuring_takes(project: Path) -> None:
    """Two hours are no bound of the profile: whoever measures everything may give a run more."""
    full = load_template(project / "templates" / "sae").profiles["full"]
    given = Settings(limits=Limits(run_timeout_s=36_000, max_gpu_hours=None))
    assert most_gpu_hours(1, full, given) == 10
    assert most_gpu_hours(1, full, Settings()) == 2
