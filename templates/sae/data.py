"""What the runs of a profile share: activations, evaluation documents, the language model. Frozen.

All of it is made once by prepare.py; here it is only read.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from activations import copy_to_gpu, read_store
from corpus import BENIGN, DOMAINS, HAZARD, NEUTRAL, SPELLING
from language_model import LanguageModel, load_model
from pretrained import PretrainedModel, load_pretrained

__all__ = [
    "BENIGN",
    "DOMAINS",
    "HAZARD",
    "NEUTRAL",
    "SPELLING",
    "Batch",
    "Data",
    "Documents",
    "load_data",
]


class Batch(NamedTuple):
    """Activations to train on."""

    x: Tensor
    """Centered and scaled residual-stream activations, (B, d)."""
    domain: Tensor
    """The domain of each token's document, (B,): HAZARD, BENIGN, NEUTRAL or SPELLING."""


@dataclasses.dataclass(frozen=True)
class Documents:
    """Held-out documents and the residual stream at the hook, as the model made it."""

    tokens: Tensor
    """(N, T), the first of each row is <bos>."""
    is_fact: Tensor
    """(N, T): tokens that state a fact's object."""
    domain: Tensor
    """(N,)"""
    residual: Tensor
    """(N, T, d), neither centered nor scaled."""

    def of(self, domain: int) -> Documents:
        """Return the documents of one domain."""
        return self.rows(self.domain == domain)

    def rows(self, chosen: Tensor) -> Documents:
        """Return some of the documents, by a mask (N,)."""
        return Documents(
            self.tokens[chosen], self.is_fact[chosen], self.domain[chosen], self.residual[chosen]
        )

    def activations(self) -> Tensor:
        """Return the activations of all tokens but <bos>, (N * (T - 1), d)."""
        return self.residual[:, 1:].flatten(0, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """Everything a run trains on and is measured with."""

    folder: Path
    layer: int
    d_model: int
    mean: Tensor
    """(d,), of the training activations."""
    scale: float
    """Root mean square of a centered training activation's entries."""
    train_x: Tensor
    """(N, d), centered and scaled, shuffled once; on disk, see `for_training`."""
    train_domain: Tensor
    """(N,) uint8."""
    documents: dict[str, Documents]
    """Splits `select` (rank latents), `validation` (choose interventions), `test` (measure)."""
    content_sha256: str
    """Identifies the evaluation documents and the model."""
    device: torch.device
    """Where SAEs are trained and measured."""

    @functools.cached_property
    def meta(self) -> dict[str, Any]:
        """What prepare.py says of the folder; `model` and `model_dtype` where none was made."""
        found: dict[str, Any] = json.loads((self.folder / "meta.json").read_text())
        return found

    @property
    def model_name(self) -> str:
        """What kept SAEs call the model they belong to: the hub's name where it has one."""
        return str(self.meta.get("model") or f"ai_scientist-sae-{self.folder.name}")

    @property
    def hook(self) -> str:
        """The place of the activations, by transformer_lens's name."""
        return f"blocks.{self.layer}.hook_resid_post"

    def for_training(self) -> Data:
        """Return these data with `train_x` on the GPU, where it fits, for as long as they live."""
        return dataclasses.replace(self, train_x=copy_to_gpu(self.train_x, self.device))

    def batches(self, batch_size: int, steps: int, seed: int) -> Iterator[Batch]:
        """Yield `steps` batches in an order that depends on `seed` alone.

        Rows lie shuffled, so a batch is a slice of them. An epoch takes the slices in a new order
        and begins elsewhere, so that its batches are not those of the last one.
        """
        generator = torch.Generator().manual_seed(seed)
        count = len(self.train_x)
        if batch_size > count:
            raise ValueError(f"a batch of {batch_size} is larger than the {count} training tokens")
        starts: list[int] = []
        for _ in range(steps):
            if not starts:
                offset = int(torch.randint(count % batch_size + 1, (), generator=generator))
                order = torch.randperm(count // batch_size, generator=generator)
                starts = (offset + batch_size * order).tolist()
            start = starts.pop()
            rows = slice(start, start + batch_size)
            yield Batch(
                self.train_x[rows].to(self.device).float(),
                self.train_domain[rows].to(self.device),
            )

    @functools.cached_property
    def model(self) -> LanguageModel | PretrainedModel:
        """The language model, in plain torch or in transformers' code."""
        if "model" in self.meta:
            return load_pretrained(self.meta["model"], self.meta["model_dtype"], self.device)[0]
        return load_model(self.folder / "model")

    def logits_from(self, residual: Tensor, where: Tensor | None = None) -> Tensor:
        """Return the logits (B, T, V) that follow from the hook's residual stream (B, T, d).

        With a mask `where` (B, T), only those at its N places, (N, V).
        """
        return self.model.logits_from(residual, self.layer, where)


def load_data(folder: Path) -> Data:
    """Read the folder that prepare.py made."""
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
    on_gpu = meta["profile"] == "full" and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    train = read_store(folder)
    splits = {
        name: tensor.to(device)
        for name, tensor in load_file(folder / "documents.safetensors").items()
    }
    names = sorted({name.split(".")[0] for name in splits})
    fields = [field.name for field in dataclasses.fields(Documents)]
    return Data(
        folder=folder,
        layer=meta["layer"],
        d_model=train["x"].shape[1],
        mean=train["mean"].to(device),
        scale=float(train["scale"]),
        train_x=train["x"],
        train_domain=train["domain"].to(device),
        documents={
            name: Documents(*(splits[f"{name}.{field}"] for field in fields)) for name in names
        },
        content_sha256=meta["content_sha256"],
        device=device,
    )


def hash_files(*paths: Path) -> str:
    """Return the SHA-256 of the files' contents, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
