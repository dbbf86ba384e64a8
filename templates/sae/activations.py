"""The store of activations that SAEs are trained on: shuffled once, read as it lies. Frozen.

    FOLDER/activations.bin       (N, d), centered and scaled, in `dtype`; memory-mapped
    FOLDER/train.safetensors     domain (N,), mean (d,), scale
    FOLDER/activations.json      shape, dtype and all that determines the content

A store is named by its content's causes and lies in a folder that appears whole: see prepare.py and
--cache-gb. Rows are shuffled when they are written, so that a batch is a slice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FREE_SHARE = 0.6
"""A store moves to the GPU when it takes at most this share of the free memory there."""


def write_store(
    folder: Path,
    chunks: Iterable[tuple[Tensor, Tensor]],
    *,
    tokens: int,
    dtype: str,
    seed: int,
    facts: Mapping[str, Any],
) -> None:
    """Write `tokens` activations from chunks of (activations (n, d), domains (n,)).

    Mean and scale are those of the first chunk, which should be large. Chunks should be drawn from
    all of the text alike: rows are shuffled within a chunk.
    """
    generator = torch.Generator().manual_seed(seed)
    rows, start, mean, scale = torch.empty(0), 0, torch.empty(0), torch.empty(0)
    domains = torch.zeros(tokens, dtype=torch.uint8)
    for x, domain in chunks:
        if start == 0:
            mean = x.float().mean(0)
            scale = (x.float() - mean).square().mean().sqrt()
            file, size = folder / "activations.bin", tokens * x.shape[1]
            rows = torch.from_file(str(file), shared=True, size=size, dtype=DTYPES[dtype])
            rows = rows.view(tokens, x.shape[1])
            file.chmod(0o644)  # torch writes for the owner alone, and runs may be someone else
        count = min(len(x), tokens - start)
        order = torch.randperm(len(x), generator=generator)[:count]
        rows[start : start + count] = ((x.float() - mean) / scale)[order.to(x.device)].cpu()
        domains[start : start + count] = domain[order]
        start += count
        if start == tokens:
            break
    if start < tokens:
        raise ValueError(f"there are {start} activations, and {tokens} were to be stored")
    tensors = {"domain": domains, "mean": mean.cpu(), "scale": scale.cpu()}
    save_file(tensors, folder / "train.safetensors")
    content = {"tokens": tokens, "d_model": rows.shape[1], "dtype": dtype, **facts}
    (folder / "activations.json").write_text(json.dumps(content, indent=1) + "\n")


def read_store(folder: Path, device: torch.device) -> dict[str, Tensor]:
    """Return x (N, d), domain (N,), mean (d,) and scale; x on the device where it fits there."""
    facts = json.loads((folder / "activations.json").read_text())
    tokens, d_model = facts["tokens"], facts["d_model"]
    x = torch.from_file(
        str(folder / "activations.bin"), size=tokens * d_model, dtype=DTYPES[facts["dtype"]]
    ).view(tokens, d_model)
    tensors = {"x": x, **load_file(folder / "train.safetensors")}
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        if x.numel() * x.element_size() <= FREE_SHARE * free:
            tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    return tensors
