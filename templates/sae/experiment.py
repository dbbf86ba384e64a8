"""Train sparse autoencoders (SAEs) on a language model's residual stream, and measure them.

Run as `python experiment.py --out_dir=run_N`. Each repeat trains one SAE with its own seed; the
results are means over repeats, which are the same seeds in every run. Here stands what an SAE is
and what it is trained for; the other files, training.py among them, are frozen.

Shapes: B tokens of a batch, d width of the residual stream, F latents, all different.
"""

from __future__ import annotations

import lifetime  # isort: skip  # first: it imports torch in less time

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from contract import read_request, write_results
from data import Batch, load_data
from evaluation import evaluate
from products import encode_linearly
from selection import keep_largest
from session import Forward
from training import train_all


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that a run can vary; every key is written into final_info.json."""

    architecture: str = "topk"
    """`topk`, or `standard`: ReLU latents with an L1 penalty."""
    n_latents: int = 160
    k: int = 2
    """Active latents per token (topk), or what the penalty is tuned to (standard)."""
    l1_coefficient: float = 0.0
    """Weight of the mean sum of latents (standard); at 0 it is tuned until k latents are active."""
    training_tokens: int = 230_400
    """Tokens that each SAE is trained on, in batches; epochs are counted in the results."""
    batch_size: int = 512
    learning_rate: float = 3e-3
    warmup_share: float = 0.05
    """Share of the steps over which the learning rate rises."""
    decay_share: float = 0.3
    """Share of the steps, at the end, over which the learning rate falls to 0."""
    dead_after_tokens: int = 30_720
    """A latent that fired for no token among so many counts as dead while training."""
    auxiliary_coefficient: float = 1 / 32
    """Weight of the loss that lets dead latents explain what is left over (topk)."""
    auxiliary_latents: int = 32
    resamplings: int = 2
    """How often dead latents are drawn anew, within the first 70% of the steps."""
    repeats: int = 5
    """Seeds, the same ones in every run."""
    frontier_repeats: int = 2
    """How many of these seeds are also trained at half and at twice the k."""
    precision: str = "float32"
    """Of matrix products while training: `float32` or `bfloat16`."""
    shared_order: bool = False
    """Whether all seeds see the data in one order, in one pass, and differ in weights only."""
    compiled: str = "never"
    """Whether torch compiles the loss: `never`, `always`, `on_gpu` where the training is long."""


# A profile changes sizes and schedules. Every schedule must fit into `smoke`, the rehearsal.
PROFILES: dict[str, dict[str, Any]] = {
    "smoke": {
        "n_latents": 160,
        "k": 5,
        "training_tokens": 60 * 128,
        "batch_size": 128,
        "learning_rate": 4e-3,
        "dead_after_tokens": 3 * 128,
        "auxiliary_latents": 8,
        "repeats": 2,
        "frontier_repeats": 1,
    },
    "small": {},
    "full": {  # 50 M tokens, five epochs of the store; 10 M are enough for screening only
        "n_latents": 16_384,
        "k": 40,
        "training_tokens": 50_000_000,
        "batch_size": 2048,
        "learning_rate": 2e-4,
        "warmup_share": 0.02,
        "dead_after_tokens": 5_000_000,
        "auxiliary_latents": 512,
        "resamplings": 0,
        "repeats": 5,  # one seed decides no hypothesis
        "frontier_repeats": 1,
        "precision": "bfloat16",
        "shared_order": True,
        "compiled": "on_gpu",
    },
}


class SparseAutoencoder(nn.Module):
    """latents = act((x - b_dec) W_enc + b_enc), reconstruction = latents W_dec + b_dec."""

    def __init__(self, config: Config, d_model: int, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        rows = nn.functional.normalize(
            torch.randn(config.n_latents, d_model, generator=generator), dim=1
        )
        self.W_dec = nn.Parameter(rows)  # (F, d), unit rows
        self.W_enc = nn.Parameter(rows.T.contiguous())  # (d, F)
        self.b_enc = nn.Parameter(torch.zeros(config.n_latents))
        self.b_dec = nn.Parameter(torch.zeros(d_model))

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return the latents (B, F) before all but the k largest are switched off."""
        return encode_linearly(x, self.b_dec, self.W_enc, self.b_enc).relu()

    def activate(self, pre: Tensor) -> Tensor:
        """Keep the k largest latents of each token (topk), or all that are positive (standard)."""
        if self.config.architecture == "standard":
            return pre
        return keep_largest(pre, self.config.k)

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents (..., F) of activations (..., d)."""
        return self.activate(self.pre_activations(x))

    def decode(self, latents: Tensor) -> Tensor:
        """Return the reconstruction (..., d) of latents (..., F)."""
        return latents @ self.W_dec + self.b_dec


class Trainer:
    """One SAE and what it is trained for; training.py takes the steps."""

    architectures = ("topk", "standard")

    def __init__(self, config: Config, d_model: int, seed: int) -> None:
        self.config = config
        self.generator = torch.Generator().manual_seed(seed)
        self.sae = SparseAutoencoder(config, d_model, self.generator)

    def loss_terms(self, batch: Batch, forward: Forward) -> dict[str, Tensor]:
        """Return each term of the training loss by name, coefficient included; they are summed."""
        latents = forward.latents  # (B, F)
        terms = {"reconstruction": relative_error(forward.error, batch.x)}
        if self.config.architecture == "standard":
            terms["sparsity"] = self.config.l1_coefficient * latents.sum(1).mean()
        else:
            terms["auxiliary"] = self.config.auxiliary_coefficient * self.auxiliary(forward)
        return terms | self.idea_terms(batch, latents)

    def idea_terms(self, batch: Batch, latents: Tensor) -> dict[str, Tensor]:
        """Return the loss terms that an idea adds, by name; the baseline has none.

        `latents` (B, F) have gradients; `batch.domain` (B,) is HAZARD, BENIGN or NEUTRAL (data.py).
        Penalties on pairs of latents: ortho_pairs (dictionary.py) on self.sae.W_dec (F, d).
        """
        return {}

    def auxiliary(self, forward: Forward) -> Tensor:
        """Return how badly the dead latents alone explain what the others left over."""
        count = min(self.config.auxiliary_latents, len(forward.dead))
        if count == 0:
            return forward.error.new_zeros(())
        latents = keep_largest(forward.pre[:, forward.dead], count)  # (B, D)
        left = forward.error.detach()
        return relative_error(left - latents @ self.sae.W_dec[forward.dead], left)

    def latents_to_resample(self, dead: Tensor) -> Tensor:
        """Return the latents (indices) to be drawn anew at a resampling, given the dead ones."""
        return dead

    def resample_scores(self, batch: Batch, error: Tensor) -> Tensor:
        """Return, for each token (B,), how likely it is to become a latent's new direction."""
        return error.square().sum(1)


def relative_error(error: Tensor, target: Tensor) -> Tensor:
    """Return the squared error (B, d) as a share of the target's squared size."""
    return error.square().sum() / target.square().sum().clamp_min(1e-12)


def main() -> None:
    """Train the SAEs, measure them, and write the results."""
    request = read_request(Config(), PROFILES)
    data = load_data(request.data_dir)
    trained = train_all(request, data, Trainer)
    write_results(request, evaluate(request, data, trained, request.config.architecture))


if __name__ == "__main__":
    main()
    lifetime.leave()
