"""From a number to where it was made: result file, commit, what changed in the code, log lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_scientist.errors import InputError, ScientistError
from ai_scientist.review.diffs import compare_texts, read_patch
from ai_scientist.review.files import Line, Shelf, find_lines
from ai_scientist.review.links import Links
from ai_scientist.review.measures import compared_with, metric_row, spec_of
from ai_scientist.review.story import Story
from ai_scientist.run_folder.journal import read_events
from ai_scientist.run_folder.workspace import RunFolder

MAX_HITS = 12
COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A line of a file that shows the value, or speaks of the metric."""

    file: str
    line: Line
    exact: bool
    """The line holds the value itself."""


def evidence_page(
    story: Story, links: Links, run_name: str, metric: str, text: str = ""
) -> dict[str, Any]:
    """Return all that stands behind one value. Raises InputError when there is no such value."""
    run = story.study.runs.get(run_name)
    if run is None or metric not in run.results.metrics:
        raise InputError(
            f"{run_name[:60]} holds no metric `{metric[:120]}`", hint="open it from the run's table"
        )
    base = story.baseline if story.baseline and story.baseline.name != run_name else None
    row = metric_row(metric, metric.rsplit("/", maxsplit=1)[-1], run, base, story.study)
    previous = story.previous(run_name)
    old, new = story.code(previous) if previous else "", story.code(run_name)
    return {
        "story": story,
        "links": links,
        "run": run,
        "row": row,
        "text": text,
        "spec": spec_of(metric, story.study.metrics),
        "seeds": run.results.seeds.get(metric, ()),
        "compared": compared_with(story.study, run),
        "previous": previous,
        "diff": compare_texts(old, new, "experiment.py") if old and new else None,
        "hits": find_hits(story, run_name, metric, row.exact),
        "journal": journal_lines(story, run_name),
    }


def find_hits(story: Story, run: str, metric: str, value: float) -> list[Hit]:
    """Return the lines of the result file and of the logs that show the value."""
    shelf = Shelf(story.folder.parent)
    name = metric.rsplit("/", maxsplit=1)[-1].split("[", maxsplit=1)[0]
    texts = spellings(value)
    hits: list[Hit] = []
    for file in files_of(story.folder, run):
        try:
            path = shelf.file(story.folder, file)
        except InputError:
            continue
        holding = find_lines(path, texts, MAX_HITS, whole=True)
        found = {line.number: Hit(file=file, line=line, exact=True) for line in holding}
        for line in find_lines(path, [name], MAX_HITS):
            found.setdefault(line.number, Hit(file=file, line=line, exact=False))
        best = [hit for hit in found.values() if hit.exact and name in hit.line.text]
        sure = [hit for hit in found.values() if hit.exact]
        chosen = best or sure or list(found.values())
        hits += sorted(chosen, key=lambda hit: hit.line.number)[-4:]
    return hits[:MAX_HITS]


def files_of(folder: Path, run: str) -> list[str]:
    """Return the run's result file and logs, relative to the folder."""
    place = folder / run
    found = [place / "final_info.json", *sorted(place.glob("*.log"))]
    found += sorted(place.glob("seed_*/final_info.json")) + sorted(place.glob("seed_*/*.log"))
    found += [place / "metrics.jsonl"]
    return [path.relative_to(folder).as_posix() for path in found if path.is_file()][:30]


def spellings(value: float) -> list[str]:
    """Return the ways a value may be written, the most exact first."""
    ways = [repr(value), *(f"{value:.{digits}f}" for digits in (6, 5, 4, 3))]
    ways += [f"{value:.{digits}g}" for digits in (6, 5, 4)]
    return list(dict.fromkeys(one for one in ways if len(re.sub(r"\D", "", one).lstrip("0")) >= 3))


def journal_lines(story: Story, run: str) -> list[tuple[int, str, str]]:
    """Return (line, key, time) of the journal's effects on a run."""
    try:
        events = read_events(story.folder / "events.jsonl")
    except (InputError, OSError):
        return []
    return [
        (number, str(line["key"]), str(line.get("time", "")))
        for number, line in enumerate(events, 1)
        if str(line.get("key", "")).split("/")[0] == run
    ][-40:]


def commit_page(story: Story, links: Links, commit: str) -> dict[str, Any]:
    """Return one commit of a folder of ours. Raises InputError for anything else."""
    if story.study.foreign or not COMMIT.fullmatch(commit) or not (story.folder / ".git").is_dir():
        raise InputError("there is no such commit here", hint="open it from a run's page")
    try:
        shown = RunFolder(story.folder).git(
            "show",
            "--no-color",
            "--no-ext-diff",
            "--stat",
            "--patch",
            commit,
            "--",
        )
    except InputError:
        raise
    except ScientistError:
        raise InputError("there is no such commit here", hint="open it from a run's page") from None
    head, _, patch = shown.partition("\ndiff --git ")
    return {
        "story": story,
        "links": links,
        "commit": commit,
        "head": head[:20_000],
        "patch": read_patch(f"diff --git {patch}" if patch else ""),
    }
