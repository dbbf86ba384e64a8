"""The k largest of many values, faster than by looking through all of them. Frozen.

A GPU's topk reads (B, F) four times and writes indices that then have to be scattered. The k-th
largest value alone is found in less, and what lies below it is switched off in one pass, whose
gradient is a mask.

Shapes: B tokens of a batch, F latents.
"""

from __future__ import annotations

import torch
from torch import Tensor

FEW = 1024
"""Below so many values, sorting out k of them is faster."""


def keep_largest(values: Tensor, k: int) -> Tensor:
    """Return `values` with all but the k largest of the last axis set to 0; NaN is never hidden.

    Of FEW values and more, those equal to the k-th largest all stay.
    """
    if values.shape[-1] < FEW:
        top = values.topk(k, dim=-1)
        return torch.zeros_like(values).scatter(-1, top.indices, top.values)
    return torch.where(values < kth_largest(values.detach(), k), 0.0, values)


def kth_largest(values: Tensor, k: int) -> Tensor:
    """Return the k-th largest of the last axis, (..., 1).

    The axis is cut into groups. The k groups with the largest maxima hold k values that are at
    least the k-th largest of all: if fewer than k groups reach it, all of them are among these, and
    so is every value that large; if k or more do, each of these holds one. So the k-th largest of
    those groups is the k-th largest of all.
    """
    size = _group_size(values.shape[-1], k)
    if size > 1:
        groups = values.unflatten(-1, (size, -1))  # (..., size, G): a column is a group
        best = groups.amax(-2, keepdim=True).topk(k, sorted=False).indices  # (..., 1, k)
        values = groups.take_along_dim(best, -1).flatten(-2)
    return values.topk(k, sorted=False).values.amin(-1, keepdim=True)


def _group_size(count: int, k: int) -> int:
    """Return the power of two at which maxima and chosen groups are about as many.

    Of comparisons alone, which torch's compiler can make for a size that changes.
    """
    for size in (32, 16, 8, 4, 2):
        if count >= k * size * size and count % size == 0:
            return size
    return 1
