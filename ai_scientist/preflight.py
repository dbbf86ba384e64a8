"""Before the first paid call: what is missing for the end, and what the whole may cost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Protocol

from ai_scientist.errors import InputError
from ai_scientist.inputs.foreign import has_given_baseline
from ai_scientist.inputs.settings import Settings
from ai_scientist.records import Code, Profile, Results, Template
from ai_scientist.writeup.latex import missing_tools

CHARACTERS_PER_TOKEN = 3.5
EDIT_PROMPT_CHARACTERS = 16_000
"""Rules of the edit format, the idea, the plan and the results, beside the code itself."""
EDITS_PER_RUN = 1.5
REPLY_TOKENS = 1_200
PAPER_CALLS = 20
PAPER_PROMPT_TOKENS = 9_000


class Priced(Protocol):
    """A model client that can tell what a number of tokens costs."""

    def estimate_cost_usd(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return USD, or None when the price is unknown."""
        ...


def describe_plan(
    code: Code, profile: Profile, settings: Settings, model: Priced, *, controls: int = 0
) -> Iterator[str]:
    """Yield the lines of the preflight: upper bounds and what this machine lacks.

    `controls` is the number of the idea's control arms.
    """
    limits = settings.limits
    edits = int(EDITS_PER_RUN * limits.max_runs) + 2
    written = sum(len(text) for text in code.files.values())
    prompt = int(edits * (written + EDIT_PROMPT_CHARACTERS) / CHARACTERS_PER_TOKEN)
    calls = edits
    if settings.writeup:
        prompt += PAPER_CALLS * PAPER_PROMPT_TOKENS
        calls += PAPER_CALLS
    cost = model.estimate_cost_usd(prompt, calls * REPLY_TOKENS)
    money = "price of this model unknown" if cost is None else f"about ${cost:.2f}"
    cap = "no cap" if limits.max_cost_usd is None else f"cap ${limits.max_cost_usd:g}"
    yield (
        f"estimate for {limits.max_runs} runs: {calls} model calls, {prompt:,} prompt tokens, "
        f"{money} ({cap})"
    )
    if profile.gpus:
        executions = most_executions(settings, controls)
        yield f"at most {most_gpu_hours(executions, profile, settings):.1f} GPU-hours"
    missing = missing_tools() if settings.writeup else []
    if missing:
        yield (
            f"no {', '.join(missing)} on this machine: the paper will be its sources; "
            "scripts/setup-tex.sh installs what is needed"
        )


def most_executions(settings: Settings, controls: int) -> int:
    """Return how often experiment.py may run: baseline, loop, control arms and fresh seeds."""
    seeds = settings.seeds_per_run
    loop = settings.limits.max_executions + seeds - 1  # the last run may begin just below the cap
    arms = controls * seeds
    return settings.baseline_seeds + loop + arms + settings.confirm_best * (2 + controls)


def most_gpu_hours(executions: int, profile: Profile, settings: Settings) -> float:
    """Return the GPU-hours that so many executions take when each lasts as long as it may."""
    limits = settings.limits
    longest_s = min(limits.run_timeout_s, profile.run_timeout_s or limits.run_timeout_s)
    hours = executions * longest_s * profile.gpus / 3600
    return hours if limits.max_gpu_hours is None else min(hours, limits.max_gpu_hours)


def describe_unknown_noise(baseline: Results, template: Template, settings: Settings) -> str:
    """Say that nothing these runs measure can decide a hypothesis; empty where something can."""
    stated = any(spec.noise for spec in template.metrics.values())
    if stated or any(len(set(values)) > 1 for values in baseline.seeds.values()):
        return ""
    if not template.honours_seed:
        cause, remedy = "seeds change nothing", "a `noise` in template.toml states it"
    elif max(settings.baseline_seeds, settings.seeds_per_run, settings.confirm_best) > 1:
        return ""
    else:
        cause, remedy = "one seed", "--baseline-seeds 5 --seeds-per-run 5 measure it"
    return f"{cause} and no noise stated: no hypothesis can be decided; {remedy}"


def describe_missing_baseline(template: Template, settings: Settings) -> str:
    """Say what it costs to measure a foreign template's run_0; empty where that is not needed."""
    if not template.foreign or has_given_baseline(template):
        return ""
    profile, runs = next(iter(template.profiles.values())), settings.baseline_seeds
    each = " each" if runs > 1 else ""
    gpu = f", {most_gpu_hours(runs, profile, settings):.1f} GPU-hours" if profile.gpus else ""
    return (
        f"template `{template.name}` brings no results of its own (run_0/final_info.json): its "
        f"untouched experiment.py has to be run first, {runs} time{'s' if runs > 1 else ''}, at "
        f"most {settings.limits.run_timeout_s:g} s{each}{gpu}, and no model call"
    )


def agree_to_measure(template: Template, settings: Settings) -> bool:
    """Ask the person before a foreign template's missing run_0 is measured; False: no need to.

    Raises InputError for the person when nobody is there to answer, and for any answer but yes.
    """
    cost = describe_missing_baseline(template, settings)
    if not cost:
        return False
    if not sys.stdin.isatty():
        raise InputError(
            cost, hint=f"--yes measures it; or put its results at {template.folder}/run_0/"
        )
    if input(f"{cost}. Measure it? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise InputError(
            f"template `{template.name}` has no run_0, and it was not to be measured",
            hint=f"put the results of its untouched experiment.py at {template.folder}/run_0/",
        )
    return True
