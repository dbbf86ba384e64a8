"""The unlearning frontier of SAE runs: what clamping forgets against what it keeps.

A run leaves run_N/frontier.json: a list per seed of grid points, each with `test_retain_accuracy`
and `test_forget_accuracy`. A point drawn is the mean over seeds of one grid point.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from markupsafe import Markup

from ai_scientist.records import number, parse_json
from ai_scientist.review.charts import Point, Series, plot
from ai_scientist.review.files import open_plain
from ai_scientist.review.links import Links

FRONTIER_BYTES = 8_000_000
RETAIN, FORGET = "test_retain_accuracy", "test_forget_accuracy"
GRID = ("retain_rate", "latents", "multiple")


def unlearning(folder: Path, runs: Iterable[str], links: Links) -> list[Markup]:
    """Return the chart over the runs that left a frontier, or nothing."""
    series = []
    for color, run in enumerate(runs):
        points = [
            Point(
                x=retain,
                y=forget,
                label=f"{run}, {words}: retain {retain:.4g}, forget {forget:.4g}",
                href=links.run(run),
            )
            for words, retain, forget in read_frontier(folder / run / "frontier.json")
        ]
        if points:
            series.append(Series(name=run, points=points, line=False, color=color))
    title = "forgotten against kept, each point a clamping (held-out questions)"
    names = {"x": "accuracy on what is to be kept", "y": "accuracy on what is to go"}
    return [plot(series, title=title, **names)] if series else []


def read_frontier(path: Path) -> list[tuple[str, float, float]]:
    """Return (grid point, retain, forget), means over seeds; what cannot be read is left out."""
    try:
        with open_plain(path) as file:
            content = parse_json(file.read(FRONTIER_BYTES))
    except (OSError, ValueError):
        return []
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for seed in content if isinstance(content, list) else []:
        for point in seed if isinstance(seed, list) else [seed]:
            pair = (
                [number(point.get(key)) for key in (RETAIN, FORGET)]
                if isinstance(point, dict)
                else []
            )
            if len(pair) == 2 and pair[0] is not None and pair[1] is not None:
                words = ", ".join(f"{key} {point[key]}" for key in GRID if key in point)
                groups[words].append((pair[0], pair[1]))
    return [
        (words, mean([one for one, _ in pairs]), mean([one for _, one in pairs]))
        for words, pairs in groups.items()
    ]
