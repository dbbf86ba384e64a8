"""Absorption over the hierarchy of the generated world: entity, class, superclass. Frozen.

A parent is absorbed where the latents that stand for it are silent on a child of it, while another
latent carries the parent's direction. Thresholds are those that sae_bench has for first letters
(Chanin et al. 2024, https://arxiv.org/abs/2409.14507); unlike there, projections are of the
centered residual stream, which is what latents have to explain. Torch only: seconds.

Children are split into folds. A fold's probe and its parent's latents are found on the `select`
documents with the other children, and judged on the fold's children in the `test` documents. Every
SAE is measured on the same parents: those whose probe knows children that it was not trained on.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from bench import Evaluation, Measure, Row
from bench_inputs import NotRunError, is_generated
from data import Data, Documents
from dictionary import Dictionary
from offline_data import HIERARCHY, read_dataset

LEVELS = ("class", "superclass")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HierarchySettings:
    """How parents are found and what counts as absorbed."""

    folds: int = 3
    probe_steps: int = 300
    probe_learning_rate: float = 0.03
    probe_weight_decay: float = 1e-3
    min_probe_f1: float = 0.6
    """A parent counts in a fold when its probe has this F1 on the fold's children."""
    max_latents: int = 3
    f1_jump: float = 0.03
    """Another latent stands for the parent too when it raises the F1 by so much."""
    min_cosine: float = 0.025
    min_share: float = 0.4
    """Share of the probe's projection that the absorbing latent carries."""


class _Tokens(NamedTuple):
    """Tokens of children, in some documents."""

    x: Tensor
    """(N, d), neither centered nor scaled."""
    parent: Tensor
    """(N,)"""
    fold: Tensor
    """(N,), of the child."""


class _Parent(NamedTuple):
    """A parent in one fold, as the language model has it."""

    direction: Tensor
    """(d,), of length 1."""
    level: int
    known: Tensor
    """(N,): tokens of `select` whose children the probe was trained on."""
    label: Tensor
    """(N,): tokens of `select` that are the parent's."""
    judged: Tensor
    """(M,): tokens of `test` of the fold's children, the parent's own, which the probe finds."""


def prepare_hierarchy(data: Data, settings: HierarchySettings) -> Measure:
    """Measure absorption, recall and F1 of the parents' latents, means over parents and folds."""
    if not is_generated(data):
        raise NotRunError("only the generated world has words with known parents")
    levels = [
        (
            _find_tokens(data.documents["select"], children, settings.folds),
            _find_tokens(data.documents["test"], children, settings.folds),
        )
        for children in _children(data)
    ]

    @functools.cache
    def parents_of(shared: Path) -> list[_Parent]:
        parents = [
            parent
            for level, (select, test) in enumerate(levels)
            for parent in _find_parents(shared, level, select, test, settings)
        ]
        if not parents:
            raise NotRunError(f"no parent's probe has an F1 of {settings.min_probe_f1}")
        return parents

    @torch.no_grad()
    def measure(shared: Path, sae: Dictionary) -> Row:
        parents = parents_of(shared)
        latents = [(sae.encode(select.x), sae.encode(test.x)) for select, test in levels]
        rows = []
        for parent in parents:
            known, judged = latents[parent.level]
            main, f1 = _main_latents(known[parent.known] > 0, parent.label, settings)
            x = levels[parent.level][1].x[parent.judged] - data.mean
            cosine = F.cosine_similarity(parent.direction, sae.W_dec, dim=1)  # (F,)
            there = judged[parent.judged]
            silent = ~(there[:, main] > 0).any(1)
            absorbed = silent & _carried(there, cosine, x @ parent.direction, settings)
            rows.append(
                {
                    "hierarchy_absorption_score": _share(absorbed),
                    "hierarchy_parent_recall": 1 - _share(silent),
                    "hierarchy_parent_f1": f1,
                    "hierarchy_split_latents": float(len(main)),
                }
            )
        means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        return means | {"hierarchy_parents": len(parents) / settings.folds}

    return measure


def _children(data: Data) -> list[dict[int, str]]:
    """Return, for each level, the child's token and its parent."""
    vocabulary = json.loads((data.folder / "model" / "tokenizer.json").read_text())["model"][
        "vocab"
    ]
    rows = read_dataset(data.folder / "datasets", HIERARCHY, "all")
    return [
        {vocabulary[row["child"]]: row["parent"] for row in rows if row["level"] == level}
        for level in LEVELS
    ]


def _find_tokens(documents: Documents, children: dict[int, str], folds: int) -> _Tokens:
    names = sorted(set(children.values()))
    size = 1 + max(int(documents.tokens.max()), *children)
    parent, fold = torch.full((size,), -1), torch.zeros(size, dtype=torch.long)
    for number, name in enumerate(names):
        for place, child in enumerate(sorted(key for key in children if children[key] == name)):
            parent[child], fold[child] = number, place % folds
    tokens = documents.tokens[:, 1:]
    found = parent[tokens] >= 0
    return _Tokens(documents.residual[:, 1:][found], parent[tokens][found], fold[tokens][found])


def _find_parents(
    shared: Path, level: int, select: _Tokens, test: _Tokens, settings: HierarchySettings
) -> Iterator[_Parent]:
    for fold in range(settings.folds):
        known, judged = select.fold != fold, test.fold == fold
        labels = F.one_hot(select.parent[known])
        kept = shared / f"probes_{level}_{fold}.safetensors"
        if not kept.exists():
            weights, bias = _train_probe(select.x[known], labels, settings)
            save_file({"weights": weights, "bias": bias}, kept)
        weights, bias = (load_file(kept)[name].to(select.x) for name in ("weights", "bias"))
        predicted = test.x[judged] @ weights.T + bias > 0  # (M, parents)
        for number, found in enumerate(predicted.T):
            own = test.parent[judged] == number
            if _f1(found, own) >= settings.min_probe_f1:
                yield _Parent(
                    direction=F.normalize(weights[number], dim=0),
                    level=level,
                    known=known,
                    label=labels[:, number].bool(),
                    judged=judged.nonzero()[:, 0][found & own],
                )


@torch.enable_grad()
def _train_probe(x: Tensor, labels: Tensor, settings: HierarchySettings) -> tuple[Tensor, Tensor]:
    """Return weights (parents, d) and bias (parents,) of logistic probes, one against the rest."""
    mean, scale = x.mean(0), x.std()
    given, y = (x - mean) / scale, labels.float()
    weights = torch.zeros(y.shape[1], x.shape[1], requires_grad=True)
    bias = torch.zeros(y.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weights, bias], lr=settings.probe_learning_rate)
    balance = (1 - y.mean(0)) / y.mean(0)
    for _ in range(settings.probe_steps):
        loss = F.binary_cross_entropy_with_logits(given @ weights.T + bias, y, pos_weight=balance)
        loss = loss + settings.probe_weight_decay * weights.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = weights.detach() / scale
    return weights, bias.detach() - weights @ mean


def _carried(latents: Tensor, cosine: Tensor, whole: Tensor, settings: HierarchySettings) -> Tensor:
    """Return where the parent's projection `whole` (M,) is carried by one latent of (M, F)."""
    most, carrier = (latents * cosine).max(1)
    aligned = cosine[carrier] >= settings.min_cosine
    return aligned & (whole > 0) & (most >= settings.min_share * whole)


def _share(chosen: Tensor) -> float:
    return float(chosen.float().mean())


def _main_latents(
    active: Tensor, label: Tensor, settings: HierarchySettings
) -> tuple[list[int], float]:
    """Return the latents (indices) that stand for a parent, and the F1 of any of them firing."""
    chosen: list[int] = []
    best, fires = 0.0, torch.zeros_like(label)
    while len(chosen) < settings.max_latents:
        together = active | fires[:, None]  # (N, F)
        hits = (together & label[:, None]).sum(0)
        f1 = 2 * hits / (together.sum(0) + label.sum()).clamp_min(1)
        latent = int(f1.argmax())
        if chosen and float(f1[latent]) < best + settings.f1_jump:
            break
        chosen.append(latent)
        best, fires = float(f1[latent]), together[:, latent]
    return chosen, best


def _f1(predicted: Tensor, true: Tensor) -> float:
    hits = (predicted & true).sum()
    return float(2 * hits / (predicted.sum() + true.sum()).clamp_min(1))


HIERARCHY_ABSORPTION = Evaluation(
    name="hierarchy",
    section="hierarchy evaluation results",
    prepare=prepare_hierarchy,
)
