"""What each page shows, as plain values for its template. Nothing here knows about HTTP."""

from __future__ import annotations

import contextlib
import json
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ai_scientist.errors import InputError
from ai_scientist.records import Run, Scalar, Study
from ai_scientist.results.naming import ends_with
from ai_scientist.review.charts import Point, Series, plot, tree
from ai_scientist.review.diffs import Diff, compare_texts, count_changes
from ai_scientist.review.files import Window, read_ends, read_window
from ai_scientist.review.latents import read_latents
from ai_scientist.review.links import Links, ServedLinks
from ai_scientist.review.measures import (
    MetricRow,
    compared_with,
    len_seeds,
    metric_row,
    metric_rows,
    primary_path,
)
from ai_scientist.review.science import curves, frontier, metric_by_run
from ai_scientist.review.story import Story
from ai_scientist.review.summaries import Summary
from ai_scientist.review.unlearning import unlearning
from ai_scientist.run_folder.workspace import RunFolder

SHORT_ROWS = 4
MAX_METRIC_ROWS = 400
MAX_LOGS = 12
NO_DIFF = Diff(rows=(), added=0, removed=0, hunks=0)


@dataclass(frozen=True, kw_only=True)
class ConfigRow:
    """One configuration key with its values along the way."""

    key: str
    baseline: str
    previous: str
    here: str
    confounded: bool


@dataclass(frozen=True, kw_only=True)
class RunCard:
    """A run on the idea's page: its essence."""

    run: Run
    metrics: tuple[MetricRow, ...]
    more: int
    added: int
    removed: int
    seeds: int
    configuration: tuple[ConfigRow, ...]


def run_card(story: Story, run: Run) -> RunCard:
    """Return the essence of a run: the metrics that matter, and what moved."""
    names = [row for row in cheap_rows(story.study, run) if row.known or row.primary]
    every = len(run.results.metrics)
    rows = names or cheap_rows(story.study, run)
    previous = story.previous(run.name)
    old = story.code(previous) if previous else ""
    new = story.code(run.name)
    added, removed = count_changes(old, new) if old and new else (0, 0)
    return RunCard(
        run=run,
        metrics=tuple(rows[:SHORT_ROWS]),
        more=max(0, every - SHORT_ROWS),
        added=added,
        removed=removed,
        seeds=len_seeds(run),
        configuration=tuple(config_rows(run)),
    )


def cheap_rows(study: Study, run: Run) -> list[MetricRow]:
    """Return the rows of the described metrics, or of the first few when none is described."""
    described = [path for path in run.results.metrics if path.split("/")[-1] in study.metrics]
    primary = primary_path(study, run)
    paths = list(dict.fromkeys([*([primary] if primary else []), *described]))[:12]
    base = study.runs.get("run_0")
    base = None if base is not None and base.name == run.name else base
    paths = paths or list(run.results.metrics)[:SHORT_ROWS]
    return [
        metric_row(path, path.split("/")[-1], run, base, study, primary=path == primary)
        for path in paths
    ]


def config_rows(run: Run) -> list[ConfigRow]:
    """Return the configuration keys that differ from the baseline or from the previous run."""
    keys = [*run.config_diff_baseline, *run.config_diff_previous]
    rows = []
    for key in dict.fromkeys(keys):
        base = run.config_diff_baseline.get(key)
        before = run.config_diff_previous.get(key)
        pair = base or before or (None, None)
        rows.append(
            ConfigRow(
                key=key,
                baseline=shown(base[0]) if base else shown(pair[1]),
                previous=shown(before[0]) if before else shown(pair[1]),
                here=shown(pair[1]),
                confounded=key in run.confounded,
            )
        )
    return rows


def shown(value: Scalar) -> str:
    """Return a configuration value; an absent one is said to be absent."""
    return "absent" if value is None else str(value)


def idea_page(story: Story, links: Links) -> dict[str, Any]:
    """Return what the story of one idea shows."""
    target = next(
        (path for run in story.study.runs.values() if (path := primary_path(story.study, run))),
        None,
    )
    frontiers = frontier(story.study, links)
    if target and len(story.study.runs) > 1 and len(frontiers) != 1:
        frontiers.append(metric_by_run(story.study, target, links))
    return {
        "story": story,
        "links": links,
        "cards": {name: run_card(story, run) for name, run in story.study.runs.items()},
        "frontiers": frontiers,
        "now": running_logs(story.folder) if story.summary.state == "running" else [],
    }


def run_page(story: Story, name: str, links: Links, *, window: int = 160) -> dict[str, Any]:
    """Return what the page of one run shows. Raises InputError when there is no such run."""
    run = story.study.runs.get(name)
    if run is None:
        raise InputError(f"there is no run `{name[:60]}` here", hint="open it from the idea's page")
    previous = story.previous(name)
    rows = metric_rows(story.study, run)
    return {
        "story": story,
        "links": links,
        "run": run,
        "previous": previous,
        "diffs": run_diffs(story, run, previous),
        "configuration": config_rows(run),
        "metrics": rows[:MAX_METRIC_ROWS],
        "metrics_hidden": max(0, len(rows) - MAX_METRIC_ROWS),
        "compared": compared_with(story.study, run),
        "curves": curves(story.folder, name),
        "logs": run_logs(story.folder, name, window),
        "capsule": json.dumps(capsule(run), indent=2, ensure_ascii=False, default=str),
        "calls": story.calls_of(name),
        "arms": {arm: arm_rows(story.study, run, arm) for arm in run.arms},
    }


def science_page(story: Story, links: Links) -> dict[str, Any]:
    """Return what the science page shows: frontiers first, then a table per run."""
    runs = story.study.runs
    return {
        "story": story,
        "links": links,
        "frontiers": [*frontier(story.study, links), *unlearning(story.folder, runs, links)],
        "tables": [
            {
                "run": run,
                "compared": compared_with(story.study, run),
                "metrics": metric_rows(story.study, run),
            }
            for run in runs.values()
        ],
        "reports": {name: read_latents(story.folder, name) for name in runs},
    }


def run_diffs(story: Story, run: Run, previous: str | None) -> list[tuple[str, Diff]]:
    """Return the diffs of a run's code: against the previous run, and against the template."""
    new = story.code(run.name)
    if not new or previous is None:
        return []
    diffs = []
    old = story.code(previous)
    if old:
        diffs.append((previous, compare_texts(old, new, "experiment.py")))
    first = story.code("run_0") if previous != "run_0" else ""
    if first:
        diffs.append(("run_0", compare_texts(first, new, "experiment.py")))
    return diffs


def running_logs(folder: Path, lines: int = 24) -> list[tuple[str, Window]]:
    """Return the end of what is printed right now, by the effect that prints it."""
    found: list[tuple[float, Path]] = []
    copies = RunFolder(folder).copies
    for path in copies.glob("*/std*.log"):
        linked = any(place.is_symlink() for place in (path.parent, copies, copies.parent))
        with contextlib.suppress(OSError):  # what ends meanwhile is moved away
            state = path.lstat()
            if stat.S_ISREG(state.st_mode) and not linked:
                found.append((state.st_mtime, path))
    logs = []
    for _, path in sorted(found, reverse=True)[:4]:
        with contextlib.suppress(OSError):
            logs.append((f"{path.parent.name}/{path.name}", read_window(path, size=lines)))
    return [(name, window) for name, window in logs if window.total]


def arm_rows(study: Study, run: Run, arm: str) -> list[MetricRow]:
    """Return the described metrics of a control arm beside the run's own."""
    results = run.arms[arm]
    control = Run(name=arm, title=arm, results=results, seeds=run.seeds)
    paths = [path for path in results.metrics if path.split("/")[-1] in study.metrics]
    paths = (paths or list(results.metrics))[:12]
    return [metric_row(path, path.split("/")[-1], control, run, study) for path in paths]


def run_logs(folder: Path, run: str, lines: int) -> list[tuple[str, Window]]:
    """Return the ends of the run's logs by their path in the folder."""
    place = folder / run
    if place.is_symlink():
        return []
    found = [*sorted(place.glob("*.log"), reverse=True), *sorted(place.glob("seed_*/*.log"))]
    logs = []
    for path in [one for one in found if not one.is_symlink()][:MAX_LOGS]:
        head = lines // 3
        logs.append((path.relative_to(folder).as_posix(), read_ends(path, head, lines - head)))
    return logs


def capsule(run: Run) -> dict[str, Any]:
    """Return the run's capsule without its results, which stand in the table."""
    content = asdict(run)
    for name in ("results", "arms"):
        content.pop(name)
    return content


# --- many runs -----------------------------------------------------------------------------------


def many_page(
    stories: Sequence[Story], summaries: Sequence[Summary], metric: str = ""
) -> dict[str, Any]:
    """Return the charts over many ideas: metric against run, cost against gain, the tree."""
    baselines = [story.baseline for story in stories if story.baseline]
    paths = [path for run in baselines for path in list(run.results.metrics)[:MAX_METRIC_ROWS]]
    return {
        "overlaid": overlaid(stories, metric),
        "metrics": sorted({path.split("/")[-1] for path in paths})[:MAX_METRIC_ROWS],
        "gains": cost_against_gain(summaries),
        "tree": idea_tree(stories),
    }


def overlaid(stories: Sequence[Story], metric: str) -> list[Markup]:
    """Return a chart per primary metric, or of the one asked for: ideas overlaid."""
    groups: dict[str, list[Series]] = {}
    for story in stories:
        points, name = relative_changes(story, metric)
        if len(points) > 1:
            groups.setdefault(name, []).append(Series(name=story.summary.title[:60], points=points))
    return [
        plot(
            series[:8],
            title=f"{name}: change against run_0, %"
            + (f" (8 of {len(series)})" if len(series) > 8 else ""),
            x="run",
            y="change, %",
        )
        for name, series in groups.items()
    ]


def relative_changes(story: Story, metric: str = "") -> tuple[list[Point], str]:
    """Return a story's primary or named metric by run, in percent of the baseline's."""
    base = story.baseline
    path = primary_path(story.study, base) if base else None
    if base is not None and metric:
        path = next((one for one in base.results.metrics if ends_with(one, metric)), None)
    if base is None or path is None or not base.results.metrics[path]:
        return [], ""
    old = base.results.metrics[path]
    links = ServedLinks(story.folder.name)
    points = []
    for place, run in enumerate(story.study.runs.values()):
        value = run.results.metrics.get(path)
        if value is not None:
            change = 100 * (value - old) / abs(old)
            label = f"{story.summary.title[:60]}, {run.name}: {change:+.2f}%"
            points.append(Point(x=place, y=change, label=label, href=links.run(run.name)))
    return points, path.split("/")[-1]


def cost_against_gain(summaries: Sequence[Summary]) -> Markup:
    """Return the ideas by what they cost and what their best run gained."""
    points = [
        Point(
            x=row.cost_usd,
            y=100 * row.best.share,
            label=f"{row.title[:60]}: {row.best.text} for ${row.cost_usd:.2f}",
            href=ServedLinks(row.name).idea(),
        )
        for row in summaries
        if row.best and row.best.share is not None and row.cost_usd is not None
    ]
    series = [Series(name="ideas", points=points, line=False)] if points else []
    return plot(series, title="cost against gain", x="cost, $", y="change of the best run, %")


def idea_tree(stories: Sequence[Story]) -> Markup:
    """Return every idea with its attempts and runs as nodes."""
    rows = []
    for story in stories:
        links = ServedLinks(story.folder.name)
        nodes: list[tuple[str, str, str]] = []
        for chapter in story.chapters:
            nodes += [
                (f"{one.step}: {one.kind}", links.attempt(one.step), "attempt")
                for one in chapter.attempts
            ]
            if chapter.run:
                kind = "base" if chapter.name == "run_0" else "run"
                words = f"{chapter.name}: {chapter.run.title}"
                nodes.append((words, links.run(chapter.name), kind))
        rows.append((story.summary.title, nodes))
    return tree(rows, title="ideas and what they tried: baseline, runs, attempts")


# --- comparing two -------------------------------------------------------------------------------


def compare_page(left: tuple[Story, str], right: tuple[Story, str]) -> dict[str, Any]:
    """Return two runs side by side: metrics, configuration, code."""
    (one, a), (two, b) = left, right
    old, new = one.study.runs[a], two.study.runs[b]
    keys = dict.fromkeys([*old.results.config, *new.results.config])
    configuration = [
        (key, shown(old.results.config.get(key)), shown(new.results.config.get(key)))
        for key in keys
        if old.results.config.get(key) != new.results.config.get(key)
    ]
    texts = one.code(a), two.code(b)
    return {
        "one": one,
        "two": two,
        "a": old,
        "b": new,
        "metrics": metric_rows(two.study, new, against=old)[:MAX_METRIC_ROWS],
        "configuration": configuration[:200],
        "diff": compare_texts(*texts, "experiment.py") if all(texts) else NO_DIFF,
    }


def pick_run(story: Story, wanted: str = "") -> str:
    """Return the named run, else the best, else the last. Raises InputError when there is none."""
    runs = list(story.study.runs)
    if wanted and wanted not in runs:
        raise InputError(f"there is no run `{wanted[:60]}` here", hint=f"one of {', '.join(runs)}")
    best = story.summary.best.run if story.summary.best else ""
    if not runs:
        raise InputError(f"{story.folder.name} has no valid run", hint="choose another idea")
    return wanted or (best if best in runs else runs[-1])
