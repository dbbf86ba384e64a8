"""Products whose gradients cost no more than they must. Frozen.

Shapes: B tokens of a batch, d width of the residual stream, F latents.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def encode_linearly(x: Tensor, center: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """Return (x - center) weights + bias, (..., F), of x (..., d) and weights (d, F).

    Written out, the gradient of `center` would cost a product as large as this one, only to be
    summed over the tokens. `x` is data and gets no gradient. Under autocast the products are in
    its precision, and the gradient of the weights is summed and kept in theirs.
    """
    if x.requires_grad or not torch.is_grad_enabled():
        return (x - center) @ weights + bias
    made: Tensor = _EncodeLinearly.apply(x, center, weights, bias)
    return made


class _EncodeLinearly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, center: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
        dtype, device = weights.dtype, x.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        centered = (x - center).to(dtype)
        ctx.save_for_backward(centered, weights)
        return centered @ weights.to(dtype) + bias

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        centered, weights = ctx.saved_tensors
        rows, pull = centered.flatten(0, -2), outer[0].flatten(0, -2).to(centered.dtype)
        # As a product: a sum over tokens in the same pass as the mask before it is far slower.
        of_bias = (pull.new_ones(1, len(pull)) @ pull)[0].to(weights.dtype)
        return None, -(weights @ of_bias), product(rows.T, pull, weights.dtype), of_bias


def product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """Return left @ right summed and written in `dtype`, which a GPU does in one pass."""
    if left.dtype == dtype:
        return left @ right
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=dtype)
    return (left @ right).to(dtype)
