"""When what happens in a training: rates, refreshes of the dead latents, resamplings. Frozen.

A schedule that could never act is refused before the first step, for a run that silently leaves
something out is measured as if it had it.
"""

from __future__ import annotations

from typing import Protocol

from contract import stop

NO_RESAMPLING_AFTER = 0.7
"""Share of the steps after which no latent is drawn anew: what is drawn late stays untrained."""
REFRESHES = 100
"""How often in a training the set of dead latents is brought up to date."""


class Timing(Protocol):
    """What schedules read of the configuration."""

    architecture: str
    training_tokens: int
    batch_size: int
    warmup_share: float
    decay_share: float
    dead_after_tokens: int
    auxiliary_coefficient: float
    auxiliary_latents: int
    resamplings: int


def count_steps(config: Timing) -> int:
    """Return how many batches the training tokens are."""
    return config.training_tokens // config.batch_size


def learning_factor(config: Timing, number: int) -> float:
    """Return the factor of the learning rate at a step: linear warm-up, flat, linear decay to 0."""
    steps = count_steps(config)
    up = (number + 1) / max(1.0, steps * config.warmup_share)
    down = (steps - number) / max(1.0, steps * config.decay_share)
    return min(1.0, up, down)


def steps_between_refreshes(config: Timing) -> int:
    """Return after how many steps the set of dead latents is brought up to date."""
    return max(1, count_steps(config) // REFRESHES)


def resampling_steps(config: Timing) -> list[int]:
    """Return after which steps dead latents are drawn anew."""
    count, last = config.resamplings, int(count_steps(config) * NO_RESAMPLING_AFTER)
    return [last * (number + 1) // count for number in range(count)]


def check_schedules(config: Timing) -> None:
    """End with a sentence when something that is scheduled could never act."""
    for problem in (_no_steps(config), _idle_auxiliary(config), _idle_resampling(config)):
        if problem:
            stop(problem)


def _no_steps(config: Timing) -> str:
    if count_steps(config):
        return ""
    return (
        f"training_tokens is {config.training_tokens} and batch_size {config.batch_size}: "
        "nothing would be trained"
    )


def _idle_auxiliary(config: Timing) -> str:
    """Say why the loss of the dead latents can never be other than 0, if it cannot."""
    if config.architecture == "standard" or not config.auxiliary_coefficient:
        return ""
    off = "auxiliary_coefficient = 0 says that none is wanted"
    if config.auxiliary_latents < 1:
        return (
            f"auxiliary_coefficient is {config.auxiliary_coefficient:g} and auxiliary_latents "
            f"{config.auxiliary_latents}: the auxiliary loss could never act; {off}"
        )
    every = steps_between_refreshes(config)
    last = (count_steps(config) - 1) // every * every * config.batch_size
    if last > config.dead_after_tokens:
        return ""
    return (
        f"dead_after_tokens is {config.dead_after_tokens} and the last look for dead latents "
        f"comes after {last} tokens: none could be found, and the auxiliary loss could never act; "
        f"{off}"
    )


def _idle_resampling(config: Timing) -> str:
    """Say why the first resampling would find no dead latent, if it would not."""
    if not config.resamplings:
        return ""
    first = resampling_steps(config)[0] * config.batch_size
    if first > config.dead_after_tokens:
        return ""
    return (
        f"the first of {config.resamplings} resamplings comes after {first} tokens and "
        f"dead_after_tokens is {config.dead_after_tokens}: no latent could be dead by then; use "
        "fewer resamplings or a smaller dead_after_tokens"
    )
