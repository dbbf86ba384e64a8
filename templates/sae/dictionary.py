"""What a dictionary of latents must offer, its way onto the model's scale, and pairs of latents.

Frozen: edits are undone. F is the number of latents, d the width of the residual stream.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from contract import stop


class Dictionary(Protocol):
    """A sparse autoencoder as the evaluations see it."""

    W_enc: Tensor
    """(d, F)"""
    b_enc: Tensor
    """(F,)"""
    W_dec: Tensor
    """(F, d)"""
    b_dec: Tensor
    """(d,)"""

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents (..., F) of activations (..., d)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Return the reconstruction (..., d) of latents (..., F)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trained:
    """An SAE whose training has ended."""

    sae: Dictionary
    """On the model's scale: it takes raw activations, and its decoder rows have unit norm."""
    seed: int
    """Its place among the run's seeds, from 0."""
    k: int
    """Active latents per token that it was trained for; an L1 SAE's own L0 is measured."""
    report: Mapping[str, float]
    """What its training reports: loss terms, gradient shares, tokens, epochs, dead share."""


DRAWN_COSTS = 64
"""How many pairs of a product a drawn pair costs: two rows gathered, and its gradient scattered."""

LATENTS_AT_ONCE = 2**27
"""Numbers that are held of an SAE's latents: half a GB in float32."""

DictionaryT = TypeVar("DictionaryT", bound=nn.Module)

NEAR_TIES = 0.01
"""Share of tokens that rounding may move across a tie when the same SAE is computed otherwise."""


@torch.no_grad()
def fold_scale(sae: DictionaryT, mean: Tensor, scale: float, probe: Tensor) -> DictionaryT:
    """Return a copy that takes raw activations and whose decoder rows have unit norm.

    `probe` (N, d) are raw activations on which decode(encode(x)) must be what it was; the process
    ends with a sentence when it is not. Latents are then in the units of the activations. What else
    is in those units, such as thresholds, an SAE scales in a method `scale_latents(factor)`.
    """
    folded = copy.deepcopy(sae).requires_grad_(False).eval()
    norms = sae.W_dec.norm(dim=1).clamp_min(1e-8)
    folded.b_dec.copy_(mean + scale * sae.b_dec)
    folded.W_dec.copy_(sae.W_dec / norms[:, None])
    folded.W_enc.copy_(sae.W_enc * norms)
    folded.b_enc.copy_(sae.b_enc * norms * scale)
    if hasattr(folded, "scale_latents"):
        folded.scale_latents(norms * scale)
    before = sae.decode(sae.encode((probe - mean) / scale)) * scale + mean
    after = folded.decode(folded.encode(probe))
    changed = share_changed(before - mean, after - mean)
    if changed > NEAR_TIES:
        stop(
            f"putting the SAE on the model's scale changed its reconstruction of {changed:.1%} of "
            "the tokens: encode must scale with W_enc and b_enc, latent by latent (keep W_dec's "
            "rows at unit norm), and any further parameter must be free of the activations' scale"
        )
    return folded


def share_changed(before: Tensor, after: Tensor) -> float:
    """Return the share of rows (N, …) that moved by over 0.1% of the rows' typical size.

    Not the mean change: where two latents are equally large but for rounding, one token may move
    far, and means nothing. NaN counts as moved.
    """
    size = before.square().sum(1).mean().sqrt().clamp_min(1e-12)
    same = (after - before).square().sum(1).sqrt() <= 1e-3 * size
    return 1.0 - float(same.float().mean())


def in_parts(x: Tensor, sae: Dictionary) -> Sequence[Tensor]:
    """Return activations (N, …, d) in parts small enough that all their latents can be held."""
    latents_of_one = x[0].numel() // x.shape[-1] * sae.W_dec.shape[0]
    return x.split(max(1, LATENTS_AT_ONCE // latents_of_one))


def check_axes(**sizes: int) -> None:
    """End with a sentence when two axes are equally long: a wrong axis would go unnoticed."""
    for name, size in sizes.items():
        equal = [other for other in sizes if other != name and sizes[other] == size]
        if equal:
            stop(f"{name} and {equal[0]} are both {size}: a mix-up of axes would stay hidden")


def hash_weights(saes: list[Dictionary]) -> str:
    """Return the SHA-256 of all weights of all seeds, in seed order."""
    digest = hashlib.sha256()
    for sae in saes:
        for weights in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec):
            digest.update(weights.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def ortho_pairs(
    directions: Tensor,
    weights: Tensor,
    pairs: int | None = None,
    generator: torch.Generator | None = None,
    chunk: int = 1024,
) -> Tensor:
    """Return the weighted mean of |cos| over all pairs of different rows of `directions` (F, d).

    The weight of pair (i, j) is weights[i] * weights[j] when `weights` is (F,), and weights[i, j]
    when it is (F, F); the sum is divided by the sum of weights, so that a coefficient means the
    same at every F. With `pairs` the mean is estimated, without bias, from that many pairs drawn
    uniformly, where that is cheaper: up to F = 8 * sqrt(pairs) all pairs are taken. The gradient
    reaches `directions` alone; ValueError when `weights` want one. Zero when all weights are.
    """
    if weights.requires_grad:
        raise ValueError("ortho_pairs passes no gradient to its weights: give weights.detach()")
    count = len(directions)
    total = _off_diagonal_sum(weights).clamp_min(1e-12)
    if pairs is None or count**2 <= DRAWN_COSTS * pairs:
        unit = torch.nn.functional.normalize(directions, dim=1)
        summed: Tensor = _PairSum.apply(unit, weights, chunk)
        return summed / total
    first = torch.randint(count, (pairs,), generator=generator)
    second = (first + torch.randint(1, count, (pairs,), generator=generator)) % count
    first, second = first.to(directions.device), second.to(directions.device)
    drawn = torch.nn.functional.normalize(directions[torch.cat([first, second])], dim=1)
    cosines = (drawn[:pairs] * drawn[pairs:]).sum(1).abs()
    of = weights[first] * weights[second] if weights.dim() == 1 else weights[first, second]
    return (of * cosines).mean() * (count * (count - 1)) / total


class _PairSum(torch.autograd.Function):
    """The sum over pairs of rows, with its gradient at once: nothing of size (F, F) is kept."""

    @staticmethod
    def forward(ctx: Any, unit: Tensor, weights: Tensor, chunk: int) -> Tensor:
        """Go through the pairs (i, j > i) in blocks of `chunk` rows."""
        rows = unit
        if torch.is_autocast_enabled(unit.device.type):
            rows = unit.to(torch.get_autocast_dtype(unit.device.type))
        gradient = torch.zeros_like(unit)
        sums = []
        for start in range(0, len(unit), chunk):
            here, later = rows[start : start + chunk], rows[start:]
            cosines = here @ later.T  # (C, L)
            both = _weights_both_ways(weights, start, len(here)).triu(1)
            sums.append((both * cosines.abs()).sum())
            if ctx.needs_input_grad[0]:
                pull = (both * cosines.sign()).to(rows.dtype)
                gradient[start : start + chunk] += pull @ later
                gradient[start:] += pull.T @ here
        ctx.save_for_backward(gradient)
        return torch.stack(sums).sum()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        """Scale the gradient."""
        return outer[0] * ctx.saved_tensors[0], None, None


def _weights_both_ways(weights: Tensor, start: int, count: int) -> Tensor:
    """Return w_ij + w_ji for i among `count` rows from `start` on, and all j from `start` on."""
    if weights.dim() == 1:
        return 2 * weights[start : start + count, None] * weights[start:]
    here = slice(start, start + count)
    return weights[here, start:] + weights[start:, here].T


def _off_diagonal_sum(weights: Tensor) -> Tensor:
    if weights.dim() == 1:
        return weights.sum().square() - weights.square().sum()
    return weights.sum() - weights.diagonal().sum()
