"""What is told before the first paid call."""

from __future__ import annotations

from ai_scientist.inputs.settings import Settings
from ai_scientist.preflight import describe_plan
from ai_scientist.records import Code, Limits, Profile


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
