"""What profile `full` takes, by counting: memory, disk, least time. Frozen: edits are undone.

    python footprint.py      prints the table of docs/sae.md

Nothing here is measured. Sizes follow from shapes; times are the arithmetic alone at the peak rates
of an H200 (790 TFLOP/s in bfloat16, 4.3 TB/s), which no program reaches.

Shapes: B tokens of a batch, d width of the residual stream, F latents, V words.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from dictionary import LATENTS_AT_ONCE
from experiment import PROFILES, Config
from own_losses import DOCUMENTS_AT_ONCE, MOST_FACTS, PROBED
from prepare_full import SPLITS, FullSize
from training import points

GB = 1e9
FLOAT, HALF = 4, 2
"""Bytes of a number in float32 and in bfloat16."""
FLOPS_PER_S, BYTES_PER_S = 790e12, 4.3e12
ADAM_BYTES = 28
"""Read and written for each weight by a step: gradient, weight and two moments, a bfloat16 copy."""
WIDE_TENSORS = 7
"""Of size (B, F) in float32 that a step of one SAE holds at most, with all latents dead."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A language model's sizes; those of gemma-2-2b, from its published configuration."""

    layers: int = 26
    d_model: int = 2304
    feed_forward: int = 9216
    queries: int = 8 * 256
    keys: int = 4 * 256
    vocabulary: int = 256_000

    @property
    def layer_weights(self) -> int:
        """Weights of one layer, norms left out."""
        attention = self.d_model * (2 * self.queries + 2 * self.keys)
        return attention + 3 * self.d_model * self.feed_forward

    @property
    def weights(self) -> int:
        """All of them; the embedding serves as output, too."""
        return self.layers * self.layer_weights + self.vocabulary * self.d_model


def count_saes(config: Any) -> int:
    """Return how many SAEs a run trains: each seed at k, the first few at the other values too."""
    frontier = min(config.frontier_repeats, config.repeats)
    return config.repeats + frontier * (len(points(config)) - 1)


def sae_weights(config: Any, d_model: int) -> int:
    """Return how many weights one SAE has."""
    return 2 * d_model * config.n_latents + config.n_latents + d_model


def training_bytes(config: Any, d_model: int) -> int:
    """Return what training holds: weights, gradients and moments of all SAEs of a pass, one step.

    One SAE after the other takes its step, so that only one of them holds what is in between.
    """
    together = count_saes(config) if config.shared_order else 1
    state = 4 * FLOAT * sae_weights(config, d_model) * together
    between = WIDE_TENSORS * FLOAT * config.batch_size * config.n_latents
    copies = 2 * (FLOAT + HALF) * d_model * config.n_latents  # of the weights, while they are used
    return state + between + copies


def measuring_bytes(config: Any, size: FullSize, model: ModelShape) -> int:
    """Return what measuring holds: model, SAEs, held-out activations; logits or pairs of latents.

    Beside logits lie two copies of a split's activations, or the latents of what is clamped.
    """
    held_out = held_out_bytes(size, model)
    saes = FLOAT * sae_weights(config, model.d_model) * count_saes(config)
    beside = max(2 * held_out // len(SPLITS), len(PROBED) * FLOAT * MOST_FACTS * config.n_latents)
    pairs = 6 * FLOAT * config.n_latents**2
    latents = 4 * FLOAT * LATENTS_AT_ONCE
    most = max(logit_bytes(size, model) + beside, pairs + latents)
    return HALF * model.weights + saes + held_out + most


def held_out_bytes(size: FullSize, model: ModelShape) -> int:
    """Return what the activations of the held-out contexts take, on disk and on the GPU."""
    return len(SPLITS) * size.held_out_contexts * size.context * model.d_model * FLOAT


def logit_bytes(size: FullSize, model: ModelShape) -> int:
    """Return what the logits of some documents and their losses take."""
    documents = min(DOCUMENTS_AT_ONCE, size.held_out_contexts)
    return model.vocabulary * documents * size.context * (HALF + 2 * FLOAT)


def preparing_bytes(size: FullSize, model: ModelShape) -> int:
    """Return what prepare.py holds on the GPU: the model, and two chunks of activations."""
    chunk = size.chunk_contexts * size.context * model.d_model
    return HALF * model.weights + chunk * (2 * HALF + 2 * FLOAT)


def store_bytes(size: FullSize, model: ModelShape) -> int:
    """Return what the training activations take on disk."""
    return size.tokens * model.d_model * HALF


def least_training_s(config: Any, d_model: int) -> float:
    """Return the seconds that products and Adam's memory traffic alone take, for all SAEs."""
    products = 10 * config.batch_size * d_model * config.n_latents / FLOPS_PER_S
    adam = ADAM_BYTES * sae_weights(config, d_model) / BYTES_PER_S
    steps = config.training_tokens // config.batch_size
    return steps * count_saes(config) * (products + adam)


def least_preparing_s(size: FullSize, model: ModelShape) -> float:
    """Return the seconds that the language model's products alone take, up to the hook."""
    weights = (size.layer + 1) * model.layer_weights
    return 2 * weights * size.tokens / FLOPS_PER_S


def describe(config: Any, size: FullSize, model: ModelShape) -> list[tuple[str, str]]:
    """Return the rows of the table."""
    ks = ", ".join(str(point.k) for point in points(config))
    shape = f"F = {config.n_latents:,}, d = {model.d_model:,}, B = {config.batch_size:,}, k = {ks}"
    one = 4 * FLOAT * sae_weights(config, model.d_model)
    store = store_bytes(size, model)
    training = training_bytes(config, model.d_model) + held_out_bytes(size, model)
    return [
        ("SAEs", shape),
        (
            "trained by one run",
            f"{count_saes(config)}: {config.repeats} seeds at k = {config.k}, "
            f"{config.frontier_repeats} at the others",
        ),
        ("weights, gradients and moments of one SAE", f"{one / GB:.1f} GB"),
        ("GPU, training all of them in one pass", _gb(training)),
        ("GPU, measuring", _gb(measuring_bytes(config, size, model))),
        ("GPU, preparing the activations", _gb(preparing_bytes(size, model))),
        ("disk, and the GPU while training, where it fits: the activations", _gb(store)),
        ("disk: the held-out activations", f"{held_out_bytes(size, model) / GB:.1f} GB"),
        ("least time to prepare them", f"{least_preparing_s(size, model):.0f} s"),
        ("least time to train", f"{least_training_s(config, model.d_model):.0f} s"),
    ]


def full_table() -> list[tuple[str, str]]:
    """Return the table of profile `full` as it is."""
    return describe(Config(**PROFILES["full"]), FullSize(), ModelShape())


def _gb(count: int) -> str:
    return f"{count / GB:.0f} GB"


if __name__ == "__main__":
    print("| profile `full` | |\n|---|---|")
    print("\n".join(f"| {name} | {value} |" for name, value in full_table()))
