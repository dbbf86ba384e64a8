"""Families of SAEs that ideas are measured beside: sae_bench's classes, trained here. Frozen.

All of them make `pre = (x - b_dec) W_enc + b_enc` and rebuild with `latents W_dec + b_dec`; a
family is what becomes of `pre`, and what it is trained for.

    relu        all that is positive; a penalty on the sum of latents
    batch_topk  the k * B largest of a batch; measured with the threshold that this amounts to
    jumprelu    what exceeds a learned threshold; a penalty on the distance of L0 from k
    gated       a gate says which latents are active, another scale how much
    pca         the activations' principal components: no training, all of them active
    identity    the activations themselves

Shapes: B tokens of a batch, d width of the residual stream, F latents, D of them dead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from data import Batch, Data
from session import Forward

BANDWIDTH = 0.5
"""Width of the window around a threshold in which it learns, in units of scaled activations."""
THRESHOLD_MEMORY = 0.99
"""Share of the running threshold of batch_topk that one batch leaves as it is."""
ROWS_AT_ONCE = 65_536
"""Activations that are held in double precision, 1.2 GB at d = 2304."""
TUNED = ("relu", "gated")
"""Families whose L0 follows from a penalty, and has to be tuned to the k of the others."""


class Family(nn.Module):
    """What the families share; as it is, `relu`."""

    def __init__(self, config: Any, d_model: int, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        rows = torch.randn(config.n_latents, d_model, generator=generator)
        rows = nn.functional.normalize(rows, dim=1)
        self.W_dec = nn.Parameter(rows)  # (F, d), unit rows
        self.W_enc = nn.Parameter(rows.T.clone())  # (d, F)
        self.b_enc = nn.Parameter(torch.zeros(config.n_latents))
        self.b_dec = nn.Parameter(torch.zeros(d_model))

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return (B, F)."""
        return (x - self.b_dec) @ self.W_enc + self.b_enc

    def activate(self, pre: Tensor) -> Tensor:
        """Return the latents (B, F), as in training."""
        return pre.relu()

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents (..., F) of activations (..., d)."""
        return self.activate(self.pre_activations(x))

    def decode(self, latents: Tensor) -> Tensor:
        """Return the reconstruction (..., d) of latents (..., F)."""
        return latents @ self.W_dec + self.b_dec

    def penalties(self, x: Tensor, forward: Forward) -> dict[str, Tensor]:
        """Return the terms of the loss beside reconstruction."""
        return {"sparsity": self.config.l1_coefficient * forward.latents.sum(1).mean()}

    def scale_latents(self, factor: Tensor) -> None:
        """Multiply by `factor` (F,) what is in the latents' units, beside b_enc."""


class BatchTopK(Family):
    """On average k latents per token, as many as each token needs."""

    def __init__(self, config: Any, d_model: int, generator: torch.Generator) -> None:
        super().__init__(config, d_model, generator)
        self.threshold: Tensor
        self.register_buffer("threshold", torch.zeros(config.n_latents))

    def activate(self, pre: Tensor) -> Tensor:
        """Keep the k * B largest latents of the batch, and remember the smallest of them."""
        positive = pre.relu()
        kept = positive.flatten().topk(self.config.k * len(pre)).values
        smallest = kept[-1].detach()
        if not self.threshold.any():
            self.threshold += smallest
        self.threshold.lerp_(smallest.expand_as(self.threshold), 1 - THRESHOLD_MEMORY)
        return positive * (positive >= smallest)

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents above the threshold, of each token by itself."""
        pre = self.pre_activations(x)
        return pre.relu() * (pre > self.threshold)

    def penalties(self, x: Tensor, forward: Forward) -> dict[str, Tensor]:
        """Let the dead latents alone explain what the others left over."""
        count = min(self.config.auxiliary_latents, len(forward.dead))
        if count == 0:
            return {"auxiliary": x.new_zeros(())}
        top = forward.pre[:, forward.dead].relu().topk(count, dim=1)  # (B, D)
        latents = x.new_zeros(len(x), len(forward.dead)).scatter(1, top.indices, top.values)
        left = forward.error.detach()
        term = relative_error(left - latents @ self.W_dec[forward.dead], left)
        return {"auxiliary": self.config.auxiliary_coefficient * term}

    def scale_latents(self, factor: Tensor) -> None:
        """Scale the threshold."""
        self.threshold.mul_(factor)


class JumpRelu(Family):
    """A threshold of its own for each latent; at first the same, with k latents above it."""

    def __init__(self, config: Any, d_model: int, generator: torch.Generator) -> None:
        super().__init__(config, d_model, generator)
        self.threshold = nn.Parameter(torch.zeros(config.n_latents))

    def activate(self, pre: Tensor) -> Tensor:
        """Keep what exceeds its threshold."""
        if not self.threshold.any():
            kept = pre.detach().relu().flatten().topk(self.config.k * len(pre)).values
            self.threshold.data.fill_(float(kept[-1]))
        jumped: Tensor = _Jump.apply(pre.relu(), self.threshold)
        return jumped

    def penalties(self, x: Tensor, forward: Forward) -> dict[str, Tensor]:
        """Pull the mean number of active latents to k."""
        active: Tensor = _Step.apply(forward.pre.relu(), self.threshold)
        return {"sparsity": (active.sum(1).mean() / self.config.k - 1).square()}

    def scale_latents(self, factor: Tensor) -> None:
        """Scale the thresholds."""
        self.threshold.mul_(factor)


class Gated(Family):
    """`pre` is the gate; b_enc is the gate's bias."""

    def __init__(self, config: Any, d_model: int, generator: torch.Generator) -> None:
        super().__init__(config, d_model, generator)
        self.r_mag = nn.Parameter(torch.zeros(config.n_latents))
        self.b_mag = nn.Parameter(torch.zeros(config.n_latents))

    def activate(self, pre: Tensor) -> Tensor:
        """Let a latent through where its gate is open, at a magnitude of its own."""
        magnitude = (self.r_mag.exp() * (pre - self.b_enc) + self.b_mag).relu()
        return (pre > 0) * magnitude

    def penalties(self, x: Tensor, forward: Forward) -> dict[str, Tensor]:
        """Keep few gates open, and let what they let through explain the activations too."""
        gate = forward.pre.relu()
        rebuilt = gate @ self.W_dec.detach() + self.b_dec.detach()
        return {
            "sparsity": self.config.l1_coefficient * gate.sum(1).mean(),
            "gate": relative_error(x - rebuilt, x),
        }

    def scale_latents(self, factor: Tensor) -> None:
        """Scale the bias of the magnitudes; r_mag is a ratio."""
        self.b_mag.mul_(factor)


class Linear(Family):
    """A change of basis; latents may be negative."""

    def activate(self, pre: Tensor) -> Tensor:
        """Keep everything."""
        return pre


FAMILIES: dict[str, Callable[..., Family]] = {
    "relu": Family,
    "batch_topk": BatchTopK,
    "jumprelu": JumpRelu,
    "gated": Gated,
}
"""Those that are trained."""


class FamilyLearner:
    """One SAE of a family and what it is trained for, as training.py wants it."""

    def __init__(self, config: Any, d_model: int, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.sae = FAMILIES[config.family](config, d_model, self.generator)

    def loss_terms(self, batch: Batch, forward: Forward) -> dict[str, Tensor]:
        """Return each term of the loss by name."""
        terms = {"reconstruction": relative_error(forward.error, batch.x)}
        return terms | self.sae.penalties(batch.x, forward)

    def latents_to_resample(self, dead: Tensor) -> Tensor:
        """Return which of the dead latents (D,) are drawn anew: all of them."""
        return dead

    def resample_scores(self, batch: Batch, error: Tensor) -> Tensor:
        """Return the squared error of each token (B,)."""
        return error.square().sum(1)


@torch.no_grad()
def linear_family(name: str, config: Any, data: Data) -> Linear:
    """Return `pca` or `identity` on raw activations; config.n_latents is d."""
    width = config.n_latents
    sae = Linear(config, width, torch.Generator().manual_seed(0)).requires_grad_(False)
    basis = torch.eye(width)
    if name == "pca":
        covariance = torch.zeros(width, width, dtype=torch.float64, device=data.device)
        for part in data.train_x.split(ROWS_AT_ONCE):
            x = part.to(data.device).double()
            covariance += x.T @ x
        basis = torch.linalg.eigh(covariance).eigenvectors.flip(1).T.float()  # (d, d), rows
        sae.b_dec.copy_(data.mean)
    sae.W_dec.copy_(basis)
    sae.W_enc.copy_(basis.T)
    return sae.to(data.device)


def relative_error(error: Tensor, target: Tensor) -> Tensor:
    """Return the squared error (B, d) as a share of the target's squared size."""
    return error.square().sum() / target.square().sum().clamp_min(1e-12)


def _window(values: Tensor, threshold: Tensor) -> Tensor:
    return ((values - threshold).abs() < BANDWIDTH / 2).float() / BANDWIDTH


class _Jump(torch.autograd.Function):
    """x where x > threshold; the threshold learns from the values close to it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(x, threshold)
        return x * (x > threshold)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, threshold = ctx.saved_tensors
        return gradient * (x > threshold), -(threshold * _window(x, threshold) * gradient).sum(0)


class _Step(torch.autograd.Function):
    """1 where x > threshold; only the threshold learns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: Tensor) -> Tensor:
        ctx.save_for_backward(x, threshold)
        return (x > threshold).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, threshold = ctx.saved_tensors
        return torch.zeros_like(x), -(_window(x, threshold) * gradient).sum(0)
