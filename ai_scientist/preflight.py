"""Before the first paid call: what is missing for the end, and what the whole may cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ai_scientist.inputs.settings import Settings
from ai_scientist.records import Code, Profile
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


def describe_plan(code: Code, profile: Profile, settings: Settings, model: Priced) -> Iterator[str]:
    """Yield the lines of the preflight: upper bounds and what this machine lacks."""
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
        longest = min(limits.run_timeout_s, profile.run_timeout_s or limits.run_timeout_s)
        hours = limits.max_executions * longest * profile.gpus / 3600
        capped = hours if limits.max_gpu_hours is None else min(hours, limits.max_gpu_hours)
        yield f"at most {capped:.1f} GPU-hours"
    missing = missing_tools() if settings.writeup else []
    if missing:
        yield (
            f"no {', '.join(missing)} on this machine: the paper will be its sources; "
            "scripts/setup-tex.sh installs what is needed"
        )
