"""Describe the latents of one trained SAE: latents.json, and latents.png beside it. Frozen.

Rates and ratios come from the `select` documents, as the interventions' choice of latents does;
contexts and the effect of clamping each latent by itself come from `test`. The review page reads
latents.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data import BENIGN, DOMAINS, HAZARD, Data, Documents
from dictionary import Dictionary, Trained
from own_losses import Facts, probed_documents
from unlearning import FactProbe

Record = dict[str, Any]

SHOWN = 12
"""Latents that are described one by one."""
CONTEXTS, NEIGHBORS = 5, 5
AROUND = 8
"""Tokens that a context shows on each side."""
RATE_EDGES = (0.0, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
RATIO_EDGES = tuple(number / 10 for number in range(11))
CHUNK = 4096
"""Tokens encoded at once."""


def report_latents(
    out_dir: Path, data: Data, one: Trained, own: Mapping[str, Facts], *, picture: bool
) -> Record:
    """Write latents.json into out_dir, with `picture` latents.png too, and return the content.

    `own` is what the language model does on facts by itself.
    """
    content = describe_latents(one, data, own)
    (out_dir / "latents.json").write_text(json.dumps(content) + "\n")
    if picture:
        from latent_picture import draw_latents

        draw_latents(content, out_dir / "latents.png")
    return content


@torch.no_grad()
def describe_latents(
    one: Trained, data: Data, own: Mapping[str, Facts], shown: int = SHOWN
) -> Record:
    """Return histograms over all latents, and what the most hazard-selective ones do."""
    sae, select = one.sae, data.documents["select"]
    rate, _ = _rates_and_means(sae, select)
    forget_rate, forget = _rates_and_means(sae, select.of(HAZARD))
    _, retain = _rates_and_means(sae, select.of(BENIGN))
    ratio = forget / (forget + retain).clamp_min(1e-12)
    alive = rate > 0
    chosen = (forget - retain).argsort(descending=True, stable=True)[:shown]
    chosen = chosen[(forget - retain)[chosen] > 0]
    size = forget / forget_rate.clamp_min(1e-12)  # of a latent where it is active on hazard tokens
    latents = [
        {
            "index": index,
            "firing_rate": float(rate[index]),
            "hazard_ratio": float(ratio[index]),
            "mean_active": float(size[index]),
            **effect,
            "contexts": contexts,
            "neighbors": _neighbors(sae, index),
        }
        for index, effect, contexts in zip(
            chosen.tolist(),
            _clamp_each(sae, data, chosen, size, own),
            _contexts(sae, data, chosen),
            strict=True,
        )
    ]
    return {
        "seed": one.seed,
        "k": one.k,
        "all_latents": len(rate),
        "dead_latents": int((~alive).sum()),
        "order": "mean activation on hazard tokens minus that on benign ones, select documents",
        "clamped": "to minus its mean where it is active, one latent at a time; nats on test facts",
        "histograms": {
            "firing_rate": _histogram(rate, RATE_EDGES),
            "hazard_ratio_of_living_latents": _histogram(ratio[alive], RATIO_EDGES),
        },
        "latents": latents,
    }


def _rates_and_means(sae: Dictionary, documents: Documents) -> tuple[Tensor, Tensor]:
    """Return how often each latent is active, and its mean over all tokens, (F,) each."""
    x = documents.activations()
    counts = [((y != 0).sum(0), y.sum(0)) for y in map(sae.encode, x.split(CHUNK))]
    active, total = (torch.stack(one).sum(0) for one in zip(*counts, strict=True))
    return active / len(x), total / len(x)


def _clamp_each(
    sae: Dictionary, data: Data, chosen: Tensor, size: Tensor, own: Mapping[str, Facts]
) -> list[Record]:
    """Return what clamping each chosen latent adds to the losses on facts."""
    rows: list[Record] = [{} for _ in chosen]
    for name in ("forget", "retain"):
        documents = probed_documents(data, f"test_{name}")
        probe = FactProbe(sae, data, documents, own[f"test_{name}"])
        for row, latent in zip(rows, chosen[:, None], strict=True):
            loss = probe.clamp(latent, -size[latent]).loss
            row[f"{name}_loss_increase"] = float(loss.mean() - probe.own.loss.mean())
    return rows


def _contexts(sae: Dictionary, data: Data, chosen: Tensor) -> list[list[Record]]:
    """Return, for each chosen latent, the documents where it is strongest."""
    documents, words = data.documents["test"], _read_words(data.folder / "model")
    x = documents.residual[:, 1:]
    values = torch.cat([sae.encode(rows)[..., chosen] for rows in x.split(32)])
    peaks, places = values.max(1)  # (N, shown) each; place 0 is token 1
    contexts = []
    for number in range(len(chosen)):
        order = peaks[:, number].argsort(descending=True, stable=True)[:CONTEXTS]
        found = [
            _context(documents, words, row, int(places[row, number]), values[row, :, number])
            for row in order.tolist()
            if peaks[row, number] > 0
        ]
        contexts.append(found)
    return contexts


def _context(
    documents: Documents, words: Sequence[str], row: int, place: int, values: Tensor
) -> Record:
    start, end = max(0, place - AROUND), min(len(values), place + AROUND + 1)
    tokens = documents.tokens[row, 1 + start : 1 + end].tolist()
    return {
        "activation": round(float(values[place]), 4),
        "domain": DOMAINS[int(documents.domain[row])],
        "position": place - start,
        "tokens": [words[token] if token < len(words) else str(token) for token in tokens],
        "activations": [round(float(value), 4) for value in values[start:end]],
    }


def _neighbors(sae: Dictionary, index: int) -> list[Record]:
    """Return the latents whose decoder rows lie closest, by the size of their cosine."""
    unit = torch.nn.functional.normalize(sae.W_dec, dim=1)
    cosines = unit @ unit[index]
    cosines[index] = 0.0
    order = cosines.abs().argsort(descending=True, stable=True)[:NEIGHBORS]
    return [{"index": int(one), "cosine": round(float(cosines[one]), 4)} for one in order]


def _histogram(values: Tensor, edges: Sequence[float]) -> Record:
    """Count values by half-open bins; the last one holds its upper edge too."""
    places = torch.bucketize(values.cpu(), torch.tensor(edges[1:-1]), right=True)
    counts = torch.bincount(places, minlength=len(edges) - 1)
    return {"edges": list(edges), "counts": counts.tolist()}


def _read_words(model: Path) -> list[str]:
    """Return the text of each token by its number; nothing where no tokenizer is at hand."""
    file = model / "tokenizer.json"
    if not file.is_file():
        return []
    content = json.loads(file.read_text())
    numbered = {number: word for word, number in content["model"]["vocab"].items()}
    numbered |= {row["id"]: row["content"] for row in content.get("added_tokens", [])}
    return [numbered.get(number, str(number)) for number in range(max(numbered) + 1)]
