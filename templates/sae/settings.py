"""What a configuration may say; what it may not ends the run before its first step. Frozen.

A misspelt word would otherwise train something else, and be reported as what it is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contract import stop

PRECISIONS = ("float32", "bfloat16")
COMPILED = ("never", "always", "on_gpu")
NOT_NEGATIVE = (
    *("l1_coefficient", "auxiliary_coefficient", "auxiliary_latents"),
    *("resamplings", "frontier_repeats", "dead_after_tokens", "warmup_share", "decay_share"),
)


def check_settings(config: Any, stored_tokens: int, architectures: Sequence[str]) -> None:
    """End with a sentence that names the setting, its value and what it must be.

    `architectures` are those that the learner has; none given, any may be meant.
    """
    least = 2 * config.k if config.frontier_repeats else config.k
    for name, fits, wanted in (
        ("architecture", not architectures or config.architecture in architectures,
         f"one of {', '.join(architectures)} (Trainer.architectures lists them)"),
        ("precision", config.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
        ("compiled", config.compiled in COMPILED, f"one of {', '.join(COMPILED)}"),
        ("k", config.k >= 1, "at least 1"),
        ("n_latents", config.n_latents >= least, f"at least {least}, the largest k trained"),
        ("batch_size", 1 <= config.batch_size <= stored_tokens,
         f"from 1 to {stored_tokens}, the tokens that are stored"),
        ("repeats", config.repeats >= 1, "at least 1"),
        ("learning_rate", config.learning_rate > 0, "above 0"),
        *((name, getattr(config, name) >= 0, "at least 0") for name in NOT_NEGATIVE),
    ):  # fmt: skip
        if not fits:
            stop(f"{name} is {getattr(config, name)!r}; it must be {wanted}")
