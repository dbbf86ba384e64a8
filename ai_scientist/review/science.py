"""What a scientist looks at first: the frontier, then curves; and the latents of a run."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ai_scientist.records import Json, Results, Run, Study
from ai_scientist.review.charts import Point, Series, bars, plot
from ai_scientist.review.files import open_plain
from ai_scientist.review.links import Links
from ai_scientist.review.measures import FVU, L0, primary_path, spec_of
from ai_scientist.review.story import step_order
from ai_scientist.review.summaries import number, read_object

CURVE_BYTES = 4_000_000
MAX_CURVES = 6
X_KEYS = ("tokens", "step", "steps", "epoch", "iteration")
LATENT_FILES = ("latents.json", "latent_report.json", "latents/report.json")
MAX_LATENTS = 60


# --- the frontier --------------------------------------------------------------------------------


def frontier(study: Study, links: Links) -> list[Markup]:
    """Return the frontier charts of an SAE study: L0 against FVU, each against the target metric.

    Every arm of every run is a point, every seed a smaller one. Without L0 and FVU there is one
    chart, of the primary metric by run.
    """
    arms = [arm for run in study.runs.values() for arm in arms_of(run)]
    target = next((path for run in study.runs.values() if (path := primary_path(study, run))), None)
    charts: list[Markup] = []
    colors = {name: place for place, name in enumerate(study.runs)}
    goal = (target.split("/")[-1].lower(),) if target else ()
    pairs = [(L0, FVU), (L0, goal), (FVU, goal)] if goal else [(L0, FVU)]
    for x, y in pairs:
        series = [one for arm in arms if (one := arm_series(arm, x, y, links, colors[arm.run]))]
        if series:
            names = (label_of(x), label_of(y))
            charts.append(
                plot(series, title=f"{names[1]} against {names[0]}", x=names[0], y=names[1])
            )
    if not charts and target:
        charts.append(metric_by_run(study, target, links))
    return charts


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm of one run."""

    run: str
    name: str
    results: Results
    control: bool = False


def arms_of(run: Run) -> list[Arm]:
    """Return the run itself and its control arms."""
    controls = [
        Arm(run=run.name, name=f"{run.name}, {name}", results=results, control=True)
        for name, results in run.arms.items()
    ]
    return [Arm(run=run.name, name=run.name, results=run.results), *controls]


def arm_series(
    arm: Arm, x: tuple[str, ...], y: tuple[str, ...], links: Links, color: int
) -> Series | None:
    """Return one arm's points: its means, and each seed's value where seeds were kept."""
    points: list[Point] = []
    for x_path, y_path in sorted(pairs_in(arm.results, x, y)):
        across, up = arm.results.metrics[x_path], arm.results.metrics[y_path]
        points.append(
            Point(
                x=across,
                y=up,
                label=f"{arm.name}: {x_path} {across:.5g}, {y_path} {up:.5g}",
                error=arm.results.stderr.get(y_path),
                href=links.run(arm.run),
            )
        )
        seeds = (arm.results.seeds.get(x_path, ()), arm.results.seeds.get(y_path, ()))
        points += [
            Point(x=one, y=two, label=f"{arm.name}, seed {place}: {two:.5g}", small=True)
            for place, (one, two) in enumerate(zip(*seeds, strict=False))
        ]
    if not points:
        return None
    points.sort(key=lambda point: point.x)
    return Series(name=arm.name, points=points, color=color, dashed=arm.control)


def pairs_in(results: Results, x: Iterable[str], y: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Yield the (x, y) paths that stand in the same place of the results."""
    xs, ys = set(x), set(y)
    by_place: dict[str, list[str]] = defaultdict(list)
    targets = [path for path in results.metrics if path in ys or path.split("/")[-1].lower() in ys]
    for path in targets:
        by_place[path.rpartition("/")[0]].append(path)
    for path in results.metrics:
        place, _, last = path.rpartition("/")
        if last.lower() in xs or path in xs:
            beside = by_place.get(place) or (targets if len(targets) == 1 else [])
            yield from ((path, target) for target in beside[:1])


def label_of(names: tuple[str, ...]) -> str:
    """Return the axis name of a group of metrics."""
    known: dict[tuple[str, ...], str] = {L0: "L0 (latents per token)", FVU: "FVU"}
    return known.get(names, names[0])


def metric_by_run(study: Study, path: str, links: Links) -> Markup:
    """Return one metric over the runs, with errors and seeds."""
    names = list(study.runs)
    means, seeds = [], []
    for place, run in enumerate(study.runs.values()):
        found = primary_path(study, run) if path not in run.results.metrics else path
        if not found:
            continue
        error = run.results.stderr.get(found)
        value = run.results.metrics[found]
        label = f"{run.name} ({run.title}): {value:.5g}"
        means.append(Point(x=place, y=value, error=error, label=label, href=links.run(run.name)))
        seeds += [
            Point(x=place, y=one, small=True, label=f"{run.name}, seed {seed}: {one:.5g}")
            for seed, one in enumerate(run.results.seeds.get(found, ()))
        ]
    direction = spec_of(path, study.metrics).direction
    better = {"increase": ", higher is better", "decrease": ", lower is better"}.get(direction, "")
    name = path.rsplit("/", maxsplit=1)[-1]
    series = [Series(name=name, points=means, color=0)]
    series += [Series(name="each seed", points=seeds, color=1, line=False)] if seeds else []
    return plot(series, title=f"{name} by run{better}", x="run", y=name, ticks=names)


# --- curves --------------------------------------------------------------------------------------


def curves(folder: Path, run: str, base: str = "run_0") -> list[Markup]:
    """Return the run's logged values over the baseline's, a chart per value."""
    own = read_curves(folder / run)
    other = read_curves(folder / base) if base != run else {}
    charts = []
    for name in sorted(own, key=lambda one: (one not in other, "loss" not in one, one))[
        :MAX_CURVES
    ]:
        series = [Series(name=run, points=own[name], color=0)]
        if name in other:
            series.append(
                Series(name=f"{base} (baseline)", points=other[name], color=1, dashed=True)
            )
        charts.append(plot(series, title=name, x=x_name(own), y=name))
    return charts


class Curves(dict[str, list[Point]]):
    """Value name -> points, with the name of their x axis."""

    x = "line"


def x_name(found: Mapping[str, Any]) -> str:
    """Return the name of the x axis."""
    return getattr(found, "x", "line")


def read_curves(run: Path) -> Curves:
    """Read metrics.jsonl, the mean over repeats at each x; damaged lines are passed over."""
    sums: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    found = Curves()
    for path in [run / "metrics.jsonl", *sorted(run.glob("seed_*/metrics.jsonl"))][:12]:
        for place, line in enumerate(read_lines(path)):
            key = next((name for name in X_KEYS if number(line.get(name)) is not None), None)
            found.x = key or found.x
            x = number(line.get(key)) if key else float(place)
            for name, value in line.items():
                y = number(value)
                if (
                    name != key
                    and y is not None
                    and x is not None
                    and name not in ("seed", "repeat")
                ):
                    sums[str(name)[:80]][x].append(y)
    for name, values in sums.items():
        if len(values) > 1:
            means = sorted((x, math.fsum(ys) / len(ys)) for x, ys in values.items())
            found[name] = [Point(x=x, y=y) for x, y in means]
    return found


def read_lines(path: Path) -> Iterable[Json]:
    """Yield the JSON objects of a JSON-lines file, up to a size."""
    try:
        with open_plain(path) as file:
            data = file.read(CURVE_BYTES)
    except OSError:
        return
    for line in data.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


# --- latents -------------------------------------------------------------------------------------


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
    records = content.get("latents") or content.get("top_latents") or []
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
                bins = [
                    (f"{edge:.3g}", float(count))
                    for edge, count in zip(one["edges"], one["counts"], strict=False)
                    if number(edge) is not None and number(count) is not None
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
    shades = [min(4, math.ceil(4 * max(0.0, value) / top)) for value in values]
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
