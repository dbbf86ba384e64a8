"""How trained SAEs are measured, on documents that no SAE was trained on. Frozen: edits are undone.

Latents are ranked on the `select` documents, interventions chosen on `validation`, everything
measured on `test`. Ratios are those of sums in float32 over the whole set. Every result says
which weights, evaluation configuration and data it belongs to.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import describe_settings, run_benchmarks, wanted_benchmarks
from contract import Request, stop, summarize
from data import Data, Documents
from dictionary import Dictionary, Trained, hash_weights, in_parts
from frontier import SECTION, Point, name_k, summarize_frontier
from keeping import keep_trained
from latent_report import report_latents
from own_losses import OwnLosses, own_losses, replaced_loss
from unlearning import Clamping, Unlearned, measure_unlearning
from workers import granted_processes, in_processes


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured and how; its hash stands beside every result."""

    clamping: Clamping = dataclasses.field(default_factory=Clamping)
    coactive_tokens: int = 5
    """Two latents are co-active when they fire together on at least so many test tokens."""
    matched_l0: float = 2.0
    """Where the frontier is read off: the L0 of the profile's baseline."""
    latent_picture: bool = True
    """Also draw latents.png; matplotlib takes a second to import."""


CONFIGS = {
    "smoke": EvaluationConfig(
        clamping=Clamping(retain_rates=(0.02,), counts=(2, 5)), matched_l0=5.0, latent_picture=False
    ),
    "small": EvaluationConfig(),
    "full": EvaluationConfig(matched_l0=40.0),
}


def evaluate(
    request: Request[Any], data: Data, trained: Sequence[Trained], architecture: str
) -> dict[str, Any]:
    """Measure the SAEs of all seeds and values of k; return the sections of final_info.json.

    The sections hold what was measured at the configuration's k; `frontier results` hold a few
    metrics at the other values of k. Also writes frontier.json and unlearning.json into out_dir.
    """
    if request.profile not in CONFIGS:
        stop(f"profile {request.profile} has no evaluation in this form of the template")
    config = CONFIGS[request.profile]
    names = wanted_benchmarks()
    keep_trained(request.out_dir, data, trained, architecture)
    print(f"measuring {len(trained)} SAEs", flush=True)
    own = own_losses(data)
    screened = in_processes(
        lambda one: _screen(one.sae, data, config, own), trained, granted_processes()
    )
    pairs = list(zip(trained, screened, strict=True))
    chosen = [(one, screen) for one, screen in pairs if one.k == request.config.k]
    saes = [one.sae for one, _ in chosen]
    first = chosen[0][0]
    report_latents(request.out_dir, data, first, own.facts, picture=config.latent_picture)
    measured = {
        "weights_sha256": hash_weights(saes),
        "d_sae": saes[0].W_dec.shape[0],
        "architecture": architecture,
        "hook": data.hook,
        "evaluation_sha256": _hash_evaluation(config, data),
    }
    unlearned = [screen.unlearned for _, screen in chosen]
    write_json(request.out_dir / "frontier.json", [one.frontier for one in unlearned])
    write_json(request.out_dir / "unlearning.json", [one.chosen for one in unlearned])
    screen_sections = {
        f"training results for layer {data.layer}": [
            {**one.report, **screen.fidelity} for one, screen in chosen
        ],
        "core evaluation results": [screen.core for _, screen in chosen],
        "unlearning evaluation results": [screen.unlearned.metrics for _, screen in chosen],
    }
    benched, not_run = run_benchmarks(names, saes, data)
    results, lacking = _summarize_sections(screen_sections, benched, measured)
    not_run |= lacking
    if len(trained) > len(chosen):
        points = [Point(seed=one.seed, k=one.k, metrics=screen.metrics) for one, screen in pairs]
        section, missing = summarize_frontier(request.config.k, config.matched_l0, points)
        facts = measured | _hash_others(trained, request.config.k)
        results[SECTION] = {"measured": facts | {"matched_l0": config.matched_l0}} | section
        not_run |= missing
    return results | {"not run": not_run}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Screen:
    """What is measured of every SAE of every run."""

    fidelity: dict[str, float]
    core: dict[str, float]
    unlearned: Unlearned

    @property
    def metrics(self) -> dict[str, float]:
        """All of them by name."""
        return self.fidelity | self.core | self.unlearned.metrics


def _screen(sae: Dictionary, data: Data, config: EvaluationConfig, own: OwnLosses) -> _Screen:
    unlearned = measure_unlearning(sae, data, config.clamping, own.facts)
    return _Screen(
        fidelity=measure_fidelity(sae, data.documents["test"], config),
        core=measure_loss_recovered(sae, data, own.bounds),
        unlearned=unlearned,
    )


@torch.no_grad()
def measure_fidelity(
    sae: Dictionary, documents: Documents, config: EvaluationConfig
) -> dict[str, float]:
    """Return how well and how sparsely activations are rebuilt, and how the decoder lies."""
    x = documents.activations()
    together = x.new_zeros(len(sae.W_dec), len(sae.W_dec))
    errors, l0s, fired = [], [], []
    for part in in_parts(x, sae):
        latents = sae.encode(part)
        errors.append((part - sae.decode(latents)).square().sum())
        active = (latents != 0).float()  # only a change of basis, such as PCA, has negative ones
        l0s.append(active.sum(1))
        fired.append(active.sum(0))
        together.addmm_(active.T, active)
    rates = torch.stack(fired).sum(0) / len(x)
    alive = rates > 0
    unit = torch.nn.functional.normalize(sae.W_dec, dim=1)
    cosines = (unit @ unit.T).abs().fill_diagonal_(0)
    are_coactive = together >= config.coactive_tokens
    coactive = (cosines * are_coactive).amax(1)[alive & (are_coactive.sum(1) > 1)]
    return {
        "fvu": float(torch.stack(errors).sum() / (x - x.mean(0)).square().sum()),
        "l0": float(torch.cat(l0s).mean()),
        "dead_share": float((~alive).float().mean()),
        "max_decoder_cosine": _mean(cosines[alive][:, alive].amax(1)) if alive.any() else 0.0,
        "coactive_decoder_cosine": _mean(coactive),
        "firing_rate_gini": _gini(rates),
    }


@torch.no_grad()
def measure_loss_recovered(
    sae: Dictionary, data: Data, bounds: tuple[float, float]
) -> dict[str, float]:
    """Return the share of the next-token loss that the SAE's reconstruction recovers.

    Of `bounds`, the loss of mean ablation makes it 0, and the model's own 1.
    """
    own, ablated = bounds
    x = data.documents["test"].residual[:, 1:]
    rebuilt = torch.cat([sae.decode(sae.encode(part)) for part in in_parts(x, sae)])
    loss = replaced_loss(data, rebuilt)
    return {
        "ce_recovered": (ablated - loss) / (ablated - own),
        "ce_with_sae": loss,
        "ce_without_sae": own,
    }


def _summarize_sections(
    screened: Mapping[str, Sequence[Mapping[str, float]]],
    benched: Mapping[str, Sequence[Mapping[str, float | None]]],
    measured: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, str]]:
    results: dict[str, Any] = {}
    not_run: dict[str, str] = {}
    blank: list[dict[str, float]] = [{}] * len(next(iter(screened.values())))
    for name in dict.fromkeys((*screened, *benched)):
        parts = zip(screened.get(name, blank), benched.get(name, blank), strict=True)
        found, lacking = by_metric([{**ours, **theirs} for ours, theirs in parts])
        results[name] = {"measured": measured} | summarize(found)
        not_run |= {f"{name}/{metric}": reason for metric, reason in lacking.items()}
    return results, not_run


def by_metric(
    rows: Sequence[Mapping[str, float | None]],
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Turn one mapping per seed into one list per metric; of one that a seed lacks, say so.

    Only a term of the loss that a seed never had is 0 there.
    """
    found: dict[str, list[float]] = {}
    lacking = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        absent = 0.0 if name.startswith(("loss_", "gradient_share_")) else None
        values = [row.get(name, absent) for row in rows]
        having = [float(value) for value in values if value is not None]
        if len(having) == len(rows):
            found[name] = having
        else:
            lacking[name] = f"it has no value for {len(rows) - len(having)} of {len(rows)} SAEs"
    return found, lacking


def _hash_others(trained: Sequence[Trained], k: int) -> dict[str, str]:
    """Return the hashes of the SAEs at the values of k other than the configuration's."""
    others: dict[str, list[Dictionary]] = {}
    for one in trained:
        if one.k != k:
            others.setdefault(f"weights_sha256{name_k(one.k, k)}", []).append(one.sae)
    return {name: hash_weights(saes) for name, saes in others.items()}


def _hash_evaluation(config: EvaluationConfig, data: Data) -> str:
    described = [dataclasses.asdict(config), describe_settings(data), data.content_sha256]
    text = json.dumps(described, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write one line of JSON."""
    path.write_text(json.dumps(content) + "\n")


def _mean(values: Tensor) -> float:
    return float(values.mean()) if values.numel() else 0.0


def _gini(rates: Tensor) -> float:
    """Return the Gini coefficient of the firing rates: 0 all alike, 1 a single latent fires."""
    ordered = rates.sort().values
    count = len(ordered)
    ranks = torch.arange(1, count + 1, device=rates.device)
    area = (ranks * ordered).sum() / (count * ordered.sum().clamp_min(1e-12))
    return float(2 * area - (count + 1) / count)
