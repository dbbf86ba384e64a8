"""What a scientist looks at first: the frontier, then curves."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ai_scientist.errors import ResultError
from ai_scientist.records import Json, Results, Run, Study, number, parse_json
from ai_scientist.results.reading import read_results
from ai_scientist.review.charts import Point, Series, plot
from ai_scientist.review.files import open_plain
from ai_scientist.review.links import Links
from ai_scientist.review.measures import FVU, L0, primary_path, spec_of
from ai_scientist.steps.references import FOLDER

CURVE_BYTES = 4_000_000
MAX_CURVES = 6
OTHER_K = ("", "_at_half_k", "_at_double_k")
"""Endings of a metric's name at the other values of k of a frontier."""
X_KEYS = ("tokens", "step", "steps", "epoch", "iteration")


# --- the frontier --------------------------------------------------------------------------------


def frontier(study: Study, links: Links) -> list[Markup]:
    """Return the frontier charts of an SAE study: L0 against FVU, each against the target metric.

    Every arm of every run is a point, every seed a smaller one; so are the references, where they
    are not far to the right of all runs. Without L0 and FVU there is one chart, of the primary
    metric by run.
    """
    arms = [arm for run in study.runs.values() for arm in arms_of(run)]
    target = next((path for run in study.runs.values() if (path := primary_path(study, run))), None)
    references = references_of(study.folder)
    charts: list[Markup] = []
    colors = {name: place for place, name in enumerate(study.runs)}
    goal = (target.split("/")[-1].lower(),) if target else ()
    pairs = [(L0, FVU), (L0, goal), (FVU, goal)] if goal else [(L0, FVU)]
    for x, y in pairs:
        series = [one for arm in arms if (one := arm_series(arm, x, y, links, colors[arm.run]))]
        if series:
            far = 3 * max(point.x for one in series for point in one.points)
            beside = (arm_series(arm, x, y, links, len(colors)) for arm in references)
            series += [one for one in beside if one and one.points[-1].x <= far]
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


def references_of(folder: Path) -> list[Arm]:
    """Return what the template measured beside the runs, of other families of models."""
    arms = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        with contextlib.suppress(ResultError):
            name = f"reference {path.stem}, no run"
            arms.append(Arm(run="", name=name, results=read_results(path, {}), control=True))
    return arms


def arm_series(
    arm: Arm, x: tuple[str, ...], y: tuple[str, ...], links: Links, color: int
) -> Series | None:
    """Return one arm's points: its means, and each seed's value where seeds were kept."""
    points: list[Point] = []
    pairs = [
        pair
        for at in OTHER_K
        for pair in sorted(
            pairs_in(arm.results, [name + at for name in x], [name + at for name in y])
        )
    ]
    for x_path, y_path in pairs:
        across, up = arm.results.metrics[x_path], arm.results.metrics[y_path]
        points.append(
            Point(
                x=across,
                y=up,
                label=f"{arm.name}: {x_path} {across:.5g}, {y_path} {up:.5g}",
                error=arm.results.stderr.get(y_path),
                href=links.run(arm.run) if arm.run else "",
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
    """Read metrics.jsonl, the mean over repeats at each x; damaged lines are passed over.

    Where lines are of several values of k, those of the first one are read.
    """
    sums: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    found = Curves()
    for path in [run / "metrics.jsonl", *sorted(run.glob("seed_*/metrics.jsonl"))][:12]:
        lines = list(read_lines(path))
        first = next((line["k"] for line in lines if "k" in line), None)
        for place, line in enumerate(line for line in lines if line.get("k", first) == first):
            key = next((name for name in X_KEYS if number(line.get(name)) is not None), None)
            found.x = key or found.x
            x = number(line.get(key)) if key else float(place)
            for name, value in line.items():
                y = number(value)
                if (
                    name != key
                    and y is not None
                    and x is not None
                    and name not in ("seed", "repeat", "k")
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
            value = parse_json(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
