"""The store of activations that SAEs are trained on: shuffled once, read as it lies. Frozen.

    FOLDER/activations.bin       (N, d), centered and scaled, in `dtype`; memory-mapped
    FOLDER/train.safetensors     domain (N,), mean (d,), scale
    FOLDER/activations.json      shape, dtype and all that determines the content

A store is named by its content's causes and lies in a folder that appears whole: see prepare.py and
--cache-gb. All rows are shuffled among each other when they are written: a batch is a slice.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from contract import stop

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PART_BYTES = 2**30
"""How much of a store is held in memory while it is shuffled."""
FREE_SHARE = 0.6
"""A store is copied to the GPU where it takes at most this share of the free memory there."""


class Shuffle:
    """Where each of N rows goes, when rows come in any order and memory holds few of them.

    Rows first go to the part of the file that they belong to, one after the other, and each part is
    then ordered by itself. What comes of it is one random order of all rows, which depends on the
    seed alone and not on the chunks they come in.
    """

    def __init__(self, tokens: int, part_rows: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.places = torch.randperm(tokens, generator=generator).argsort()
        """(N,): the last place of each row, in the order they come."""
        by_part = (self.places // part_rows).argsort(stable=True)
        self.first_places = torch.empty_like(by_part)
        """(N,): where each row waits until its part is ordered."""
        self.first_places[by_part] = torch.arange(tokens)
        self._waiting = self.places[by_part]
        self._part_rows = part_rows

    def order(self, rows: Tensor) -> None:
        """Put the waiting rows (N, d) into their last places, one part at a time."""
        for start in range(0, len(rows), self._part_rows):
            part = slice(start, start + self._part_rows)
            waiting = rows[part].clone()
            rows[part][self._waiting[part] - start] = waiting


def write_store(
    folder: Path,
    chunks: Iterable[tuple[Tensor, Tensor]],
    *,
    tokens: int,
    dtype: str,
    seed: int,
    facts: Mapping[str, Any],
    part_bytes: int = PART_BYTES,
) -> None:
    """Write `tokens` activations from chunks of (activations (n, d), domains (n,)), shuffled.

    Mean and scale are those of the first chunk, which should be large and drawn from all of the
    text. At most `part_bytes` of the file are held at once, beside two chunks and 40 bytes a row.
    """
    stream = iter(chunks)
    first = next(stream)
    width = first[0].shape[1]
    mean = first[0].float().mean(0)
    scale = (first[0].float() - mean).square().mean().sqrt()
    rows = _map_rows(folder / "activations.bin", tokens, width, dtype)
    domains = torch.zeros(tokens, dtype=torch.uint8)
    shuffle = Shuffle(tokens, max(1, part_bytes // (width * rows.element_size())), seed)
    start = 0
    for x, domain in itertools.chain([first], stream):
        here = slice(start, min(start + len(x), tokens))
        count = here.stop - start
        scaled = ((x[:count].float() - mean) / scale).to(rows.dtype)
        rows[shuffle.first_places[here]] = scaled.cpu()
        domains[shuffle.places[here]] = domain[:count].to(torch.uint8)
        start += count
        if start == tokens:
            break
    if start < tokens:
        raise ValueError(f"there are {start} activations, and {tokens} were to be stored")
    shuffle.order(rows)
    tensors = {"domain": domains, "mean": mean.cpu(), "scale": scale.cpu()}
    save_file(tensors, folder / "train.safetensors")
    content = {"tokens": tokens, "d_model": width, "dtype": dtype, **facts}
    (folder / "activations.json").write_text(json.dumps(content, indent=1) + "\n")


def _map_rows(file: Path, tokens: int, width: int, dtype: str) -> Tensor:
    """Return a new file of rows (N, d) as a tensor; its room on the disk is taken at once.

    A write to a hole in a mapped file on a full disk would kill the process.
    """
    size = tokens * width * DTYPES[dtype].itemsize
    with file.open("wb") as opened:
        try:
            os.posix_fallocate(opened.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some disks reserve nothing
                activations = f"{size / 1e9:.3g} GB of activations"
                stop(
                    f"there is no room for {activations} ({error.strerror}): make room in the cache"
                )
    rows = torch.from_file(str(file), shared=True, size=tokens * width, dtype=DTYPES[dtype])
    file.chmod(0o644)  # torch writes for the owner alone, and runs may be someone else
    return rows.view(tokens, width)


def read_store(folder: Path) -> dict[str, Tensor]:
    """Return x (N, d), which stays on disk, domain (N,), mean (d,) and scale."""
    facts = json.loads((folder / "activations.json").read_text())
    tokens, d_model = facts["tokens"], facts["d_model"]
    x = torch.from_file(
        str(folder / "activations.bin"), size=tokens * d_model, dtype=DTYPES[facts["dtype"]]
    ).view(tokens, d_model)
    return {"x": x, **load_file(folder / "train.safetensors")}


def copy_to_gpu(rows: Tensor, device: torch.device) -> Tensor:
    """Return a store's rows on the device, or as they are where it is a CPU or has no room."""
    if device.type == "cpu":
        return rows
    free, _ = torch.get_device_module(device).mem_get_info(device)
    return rows.to(device) if rows.nbytes <= FREE_SHARE * free else rows
