"""What the language model does on held-out documents by itself, the same for every SAE. Frozen.

    FOLDER/own_losses.safetensors   made by prepare.py, beside the data of a generated world

Where there is no such file (a pretrained model computes in bfloat16, each GPU in its way) a run
measures it once for all of its SAEs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from data import BENIGN, HAZARD, Data, Documents
from language_model import losses_of, token_losses

FILE = "own_losses.safetensors"
DOCUMENTS_AT_ONCE = 32
"""Whose logits are held, over the whole vocabulary."""
PROBED = {
    f"{split}_{name}": (split, domain)
    for split in ("validation", "test")
    for name, domain in (("forget", HAZARD), ("retain", BENIGN))
}
"""Name -> split and domain of the documents whose facts interventions are judged by."""
MOST_FACTS = 4096
"""Of each of them: every intervention of a grid sends its documents through half of the model."""


class Facts(NamedTuple):
    """What a model makes of the facts of some documents."""

    loss: Tensor
    """(facts,) in nats."""
    right: Tensor
    """(facts,): the object is the top prediction."""
    document: Tensor
    """(facts,): the document it stands in."""


class OwnLosses(NamedTuple):
    """The language model's own losses."""

    bounds: tuple[float, float]
    """Next-token loss on `test`, nats: the model's own, and that of mean ablation, which replaces
    every activation but that of <bos> by the mean one."""
    facts: Mapping[str, Facts]
    """By the names in PROBED."""


def own_losses(data: Data) -> OwnLosses:
    """Return the model's own losses, as they were prepared or measured now."""
    file = data.folder / FILE
    if not file.is_file():
        return measure_own_losses(data)
    stored = {name: one.to(data.device) for name, one in load_file(file).items()}
    own, ablated = stored["bounds"].tolist()
    facts = {
        name: Facts(*(stored[f"{name}.{field}"] for field in Facts._fields)) for name in PROBED
    }
    return OwnLosses((own, ablated), facts)


def keep_own_losses(data: Data) -> None:
    """Write the model's own losses beside the data they belong to."""
    own = measure_own_losses(data)
    tensors = {"bounds": torch.tensor(own.bounds, dtype=torch.float64)}
    for name, facts in own.facts.items():
        tensors |= {f"{name}.{field}": one for field, one in facts._asdict().items()}
    save_file(tensors, data.folder / FILE)


@torch.no_grad()
def measure_own_losses(data: Data) -> OwnLosses:
    """Measure what the model does by itself."""
    x = data.documents["test"].residual[:, 1:]
    bounds = replaced_loss(data, x), replaced_loss(data, data.mean.expand_as(x))
    facts = {}
    for name in PROBED:
        documents = probed_documents(data, name)
        facts[name] = measure_facts(data, documents, documents.residual)
    return OwnLosses(bounds, facts)


def probed_documents(data: Data, name: str) -> Documents:
    """Return the documents called `name` in PROBED: the first ones, with MOST_FACTS at most."""
    split, domain = PROBED[name]
    documents = data.documents[split].of(domain)
    return documents.rows(documents.is_fact.sum(1).cumsum(0) <= MOST_FACTS)


@torch.no_grad()
def replaced_loss(data: Data, replacement: Tensor) -> float:
    """Return the next-token loss on `test` with activations (N, T - 1, d) in place of its own."""
    test = data.documents["test"]
    residual = torch.cat([test.residual[:, :1], replacement], dim=1)
    losses = [
        token_losses(data.logits_from(rows), tokens)[0]
        for rows, tokens in zip(
            residual.split(DOCUMENTS_AT_ONCE), test.tokens.split(DOCUMENTS_AT_ONCE), strict=True
        )
    ]
    return float(torch.cat(losses).mean())


def measure_facts(data: Data, documents: Documents, residual: Tensor) -> Facts:
    """Return what follows from a residual stream (N, T, d); logits only where a fact is told."""
    is_fact = documents.is_fact[:, 1:]
    split = (one.split(DOCUMENTS_AT_ONCE) for one in (residual, is_fact, documents.tokens[:, 1:]))
    parts = [
        losses_of(data.logits_from(rows, F.pad(places, (0, 1))), tokens[places])
        for rows, places, tokens in zip(*split, strict=True)
    ]
    losses, right = (torch.cat(one) for one in zip(*parts, strict=True))
    return Facts(losses, right, is_fact.nonzero()[:, 0])
