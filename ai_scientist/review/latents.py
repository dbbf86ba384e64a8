"""The latents of a run: what its report says of them, in the form the page shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ai_scientist.records import Json, number
from ai_scientist.review.charts import bars
from ai_scientist.review.story import step_order
from ai_scientist.review.summaries import read_object

LATENT_FILES = ("latents.json", "latent_report.json", "latents/report.json")
MAX_LATENTS = 60


@dataclass(frozen=True, kw_only=True)
class Latent:
    """One latent of a report."""

    index: str
    facts: tuple[tuple[str, str], ...]
    contexts: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    """(activation, ((token, shade 0..4), …)) of the strongest contexts."""
    neighbors: tuple[tuple[str, str], ...]
    """(latent, cosine) of the nearest decoder directions."""


@dataclass(frozen=True, kw_only=True)
class LatentReport:
    """What a run's latent report holds, in the form the page shows."""

    file: str
    histograms: tuple[Markup, ...] = ()
    latents: tuple[Latent, ...] = ()
    clamping: tuple[tuple[str, str], ...] = ()
    facts: tuple[tuple[str, str], ...] = field(default=())


def find_latents(folder: Path, run: str) -> str:
    """Return the run's latent report, relative to the folder, or an empty text."""
    for name in LATENT_FILES:
        if (folder / run / name).is_file():
            return f"{run}/{name}"
    found = sorted((folder / run).glob("**/latent*.json"), key=lambda path: step_order(str(path)))
    return found[0].relative_to(folder).as_posix() if found else ""


def read_latents(folder: Path, run: str) -> LatentReport | None:
    """Read the latent report of a run; parts that are not there are left out."""
    name = find_latents(folder, run)
    content = read_object(folder / name) if name else {}
    if not content:
        return None
    records = as_list(content.get("latents") or content.get("top_latents"))
    latents = [
        latent_from(one, place) for place, one in enumerate(records) if isinstance(one, dict)
    ]
    return LatentReport(
        file=name,
        histograms=tuple(histograms_of(content)),
        latents=tuple(latents[:MAX_LATENTS]),
        clamping=tuple(flat_facts(content.get("clamping") or content.get("clamp") or {})),
        facts=tuple(
            (str(key), shown(value))
            for key, value in content.items()
            if isinstance(value, str | int | float) and not isinstance(value, bool)
        ),
    )


def histograms_of(content: Json) -> Iterable[Markup]:
    """Yield a chart for each histogram: {"edges": […], "counts": […]}, also one level deeper."""
    named = content.get("histograms")
    groups = dict(named) if isinstance(named, dict) else {}
    groups |= {key: value for key, value in content.items() if is_histogram(value)}
    for title, value in groups.items():
        parts = {title: value} if is_histogram(value) else value
        if not isinstance(parts, dict):
            continue
        for inner, one in parts.items():
            if is_histogram(one):
                name = str(title) if inner == title else f"{title}: {inner}"
                pairs = zip(map(number, one["edges"]), map(number, one["counts"]), strict=False)
                bins = [
                    (f"{edge:.3g}", count)
                    for edge, count in pairs
                    if edge is not None and count is not None
                ]
                yield bars(bins, title=name.replace("_", " "), y="latents")


def is_histogram(value: object) -> bool:
    """Tell whether a value is a histogram."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("edges"), list)
        and isinstance(value.get("counts"), list)
    )


def latent_from(record: Json, place: int) -> Latent:
    """Return one latent from its record."""
    facts = [
        (str(key).replace("_", " "), shown(value))
        for key, value in record.items()
        if isinstance(value, str | int | float) and key not in ("index", "latent", "id")
    ]
    contexts = record.get("contexts") or record.get("top_contexts") or []
    neighbors = record.get("neighbors") or record.get("decoder_neighbors") or []
    index = record.get("index", record.get("latent", record.get("id", place)))
    return Latent(
        index=str(index),
        facts=tuple(facts[:12]),
        contexts=tuple(context_from(one) for one in as_list(contexts)[:12]),
        neighbors=tuple(neighbor_from(one) for one in as_list(neighbors)[:12]),
    )


def context_from(record: object) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Return a context's activation and its tokens, shaded by their own activations."""
    if isinstance(record, str):
        return "", ((record, 0),)
    if not isinstance(record, dict):
        return "", ()
    tokens = [str(token) for token in as_list(record.get("tokens") or record.get("text"))]
    values = [number(value) or 0.0 for value in as_list(record.get("activations"))]
    top = max([abs(value) for value in values], default=0.0) or 1.0
    shades = [math.ceil(4 * (max(0.0, value) / top)) for value in values]
    at = record.get("position")
    if not shades and isinstance(at, int):
        shades = [4 * (place == at) for place in range(len(tokens))]
    shades += [0] * (len(tokens) - len(shades))
    strength = number(record.get("activation")) or (max(values) if values else None)
    return "" if strength is None else f"{strength:.3g}", tuple(zip(tokens, shades, strict=False))


def neighbor_from(record: object) -> tuple[str, str]:
    """Return a neighbor's number and cosine."""
    if isinstance(record, dict):
        index = record.get("index", record.get("latent", ""))
        return str(index), shown(record.get("cosine", ""))
    pair = as_list(record)
    return (str(pair[0]), shown(pair[1])) if len(pair) > 1 else (str(record), "")


def flat_facts(value: object, prefix: str = "", depth: int = 0) -> list[tuple[str, str]]:
    """Return nested values as (name, text) pairs."""
    if depth > 3:
        return []
    if isinstance(value, dict):
        pairs: list[tuple[str, str]] = []
        for key, inner in value.items():
            name = f"{prefix} {key}".strip().replace("_", " ")
            pairs += flat_facts(inner, name, depth + 1)
        return pairs[:60]
    if isinstance(value, list):
        return [
            pair
            for place, inner in enumerate(value[:20])
            for pair in flat_facts(inner, f"{prefix} {place}", depth + 1)
        ]
    return [(prefix, shown(value))]


def as_list(value: object) -> Sequence[Any]:
    """Return a list as it is, and anything else as a list of one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def shown(value: object) -> str:
    """Return a value as a reader wants it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
