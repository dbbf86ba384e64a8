"""What clamping hazard latents does to hazard facts (forget) and to benign ones (retain). Frozen.

Latents are ranked on the `select` documents, an intervention is chosen on `validation` within a
budget of retain loss, and reported on `test`, fact by fact: a maximum over a grid is no measurement
on the documents it was taken on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from data import BENIGN, HAZARD, Data, Documents
from dictionary import Dictionary, in_parts
from own_losses import PROBED, Facts, measure_facts, probed_documents

RESAMPLES = 1000
"""Of the documents, for an interval around a change in loss."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clamping:
    """The grid of interventions, and the choice among them."""

    retain_rates: tuple[float, ...] = (0.002, 0.02)
    """A latent may be clamped when it fires on fewer than this share of the retain tokens."""
    counts: tuple[int, ...] = (5, 10, 20, 40)
    """How many latents are clamped."""
    multiples: tuple[float, ...] = (0.0, 1.0)
    """They are clamped to minus this multiple of their mean active value."""
    retain_budget: float = 0.05
    """Loss in nats that the chosen intervention may cost on the retain facts of `validation`."""
    floor: float = 0.01
    """Nats added to both losses of a log-selectivity, below which a change says nothing."""


class Unlearned(NamedTuple):
    """What clamping did to one SAE's model."""

    metrics: dict[str, float]
    frontier: list[dict[str, float]]
    """Each intervention with its losses and accuracies on validation and test."""
    chosen: dict[str, Any]
    """The intervention chosen on validation, and its effect on test facts one by one."""


@torch.no_grad()
def measure_unlearning(
    sae: Dictionary, data: Data, config: Clamping, own: Mapping[str, Facts]
) -> Unlearned:
    """Measure every intervention of the grid, and choose one; `own` is what the model does without.

    Candidates fire rarely on retain tokens and more on forget tokens. The grid runs over how
    rarely, how many of them (most frequent on forget tokens first) and how far they are clamped.
    """
    probes = {
        name: FactProbe(sae, data, probed_documents(data, name), own[name]) for name in PROBED
    }
    frontier, effects = [], []
    for point, latents, values in _interventions(sae, data.documents["select"], config):
        clamped = {name: probe.clamp(latents, values) for name, probe in probes.items()}
        for name, facts in clamped.items():
            point[f"{name}_loss_increase"] = _mean(facts.loss) - _mean(own[name].loss)
            point[f"{name}_accuracy"] = _mean(facts.right.float())
        frontier.append(point)
        effects.append(clamped)
    best = choose(frontier, config.retain_budget)
    after = own if best is None else effects[best]
    chosen = {
        "intervention": None if best is None else frontier[best],
        "forget": compare_facts(own["test_forget"], after["test_forget"]),
        "retain": compare_facts(own["test_retain"], after["test_retain"]),
    }
    metrics = {
        "log_selectivity": _log_selectivity(frontier, config.floor),
        "forget_loss_increase": chosen["forget"]["loss_increase"],
        "retain_loss_increase": chosen["retain"]["loss_increase"],
        "forget_accuracy": chosen["forget"]["accuracy"],
        "retain_accuracy": chosen["retain"]["accuracy"],
    }
    return Unlearned(metrics, frontier, chosen)


def _interventions(
    sae: Dictionary, select: Documents, config: Clamping
) -> Iterator[tuple[dict[str, float], Tensor, Tensor]]:
    """Yield each point of the grid with the latents it clamps and the values it clamps them to."""
    forget, retain = select.of(HAZARD).activations(), select.of(BENIGN).activations()
    forget_fired, forget_sum = _count_firing(sae, forget)
    retain_fired, retain_sum = _count_firing(sae, retain)
    forget_rate, retain_rate = forget_fired / len(forget), retain_fired / len(retain)
    mean_active = forget_sum / forget_fired.clamp_min(1)
    forget_mean, retain_mean = forget_sum / len(forget), retain_sum / len(retain)
    ratio = forget_mean / (forget_mean + retain_mean).clamp_min(1e-12)
    for rate in config.retain_rates:
        score = torch.where((retain_rate < rate) & (ratio > 0.5), forget_rate, 0.0)
        order = score.argsort(descending=True, stable=True)
        for count in config.counts:
            latents = order[:count][score[order[:count]] > 0]
            for multiple in config.multiples:
                point = {"retain_rate": rate, "latents": float(len(latents)), "multiple": multiple}
                yield point, latents, -multiple * mean_active[latents]


def _count_firing(sae: Dictionary, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return on how many activations (N, d) each latent is positive, and its sum, (F,) each."""
    counts = [((y > 0).sum(0), y.sum(0)) for y in map(sae.encode, in_parts(x, sae))]
    fired, total = (torch.stack(one).sum(0) for one in zip(*counts, strict=True))
    return fired, total


def choose(frontier: Sequence[Mapping[str, float]], retain_budget: float) -> int | None:
    """Return the point that forgets most on validation within the budget; None when none does."""
    within = [
        number
        for number, point in enumerate(frontier)
        if point["validation_retain_loss_increase"] <= retain_budget
        and point["validation_forget_loss_increase"] > 0
    ]
    return max(
        within,
        key=lambda number: frontier[number]["validation_forget_loss_increase"],
        default=None,
    )


def compare_facts(before: Facts, after: Facts) -> dict[str, Any]:
    """Compare the same facts before and after an intervention.

    Returns the increase of the loss with its 95% interval, from resampling whole documents, and how
    many facts were lost and gained, with the exact two-sided p-value of McNemar's test. `right` has
    a digit for each fact, in the order of the documents: 1 where it is known.
    """
    lost = int((before.right & ~after.right).sum())
    gained = int((~before.right & after.right).sum())
    low, high = _cluster_interval((after.loss - before.loss).cpu(), before.document.cpu())
    return {
        "loss_increase": _mean(after.loss) - _mean(before.loss),
        "loss_increase_interval": [low, high],
        "facts": len(before.right),
        "accuracy_before": _mean(before.right.float()),
        "accuracy": _mean(after.right.float()),
        "lost": lost,
        "gained": gained,
        "mcnemar_p": mcnemar(lost, gained),
        "right_before": _digits(before.right),
        "right": _digits(after.right),
    }


def _digits(right: Tensor) -> str:
    return "".join(map(str, right.int().tolist()))


def mcnemar(lost: int, gained: int) -> float:
    """Return the exact two-sided p-value of so many changes one way and the other."""
    changed, fewer = lost + gained, min(lost, gained)
    tail = sum(math.comb(changed, number) for number in range(fewer + 1)) / 2**changed
    return min(1.0, 2 * tail)


def _cluster_interval(change: Tensor, document: Tensor) -> tuple[float, float]:
    """Return the 2.5% and 97.5% points of the mean change over resampled documents."""
    count = int(document.max()) + 1
    sums = torch.zeros(count).index_add(0, document, change)
    sizes = torch.zeros(count).index_add(0, document, torch.ones_like(change))
    drawn = torch.randint(count, (RESAMPLES, count), generator=torch.Generator().manual_seed(0))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def _log_selectivity(frontier: Sequence[Mapping[str, float]], floor: float) -> float:
    values = [
        math.log(
            (max(point["test_forget_loss_increase"], 0.0) + floor)
            / (max(point["test_retain_loss_increase"], 0.0) + floor)
        )
        for point in frontier
    ]
    return sum(values) / len(values)


class FactProbe:
    """The facts of some documents, and what clamping latents does to them."""

    def __init__(self, sae: Dictionary, data: Data, documents: Documents, own: Facts) -> None:
        self._sae, self._data, self._documents = sae, data, documents
        self._latents = sae.encode(documents.residual[:, 1:])
        self.own = own

    def clamp(self, chosen: Tensor, values: Tensor) -> Facts:
        """Set the chosen latents to `values` where they are active.

        Documents where none of them is stay as they are, and are not computed again.
        """
        latents = self._latents[..., chosen]
        touched = (latents != 0).flatten(1).any(1)
        if not touched.any():
            return self.own
        documents, latents = self._documents.rows(touched), latents[touched]
        change = torch.where(latents != 0, values - latents, 0.0) @ self._sae.W_dec[chosen]
        residual = documents.residual + F.pad(change, (0, 0, 1, 0))
        after = measure_facts(self._data, documents, residual)
        facts = touched[self.own.document]
        return self.own._replace(
            loss=self.own.loss.masked_scatter(facts, after.loss),
            right=self.own.right.masked_scatter(facts, after.right),
        )


def _mean(values: Tensor) -> float:
    return float(values.mean()) if values.numel() else 0.0
