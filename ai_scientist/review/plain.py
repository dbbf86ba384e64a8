"""The story of one idea for a terminal: plain lines, no color, nothing a pipe would lose."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from ai_scientist.errors import InputError
from ai_scientist.records import Attempt, Run, printable
from ai_scientist.review.files import Shelf, is_run_folder
from ai_scientist.review.measures import percent
from ai_scientist.review.pages import run_card
from ai_scientist.review.render import clock, duration, usd
from ai_scientist.review.story import Stories, Story
from ai_scientist.review.summaries import Summaries

WIDTH = 100


def story_text(run_dir: Path) -> str:
    """Return the story of a run folder. Raises InputError when it is none."""
    if not run_dir.is_dir() or not is_run_folder(run_dir):
        raise InputError(f"{run_dir} is no run folder", hint="name a folder below runs/")
    place = run_dir.resolve()
    shelf = Shelf(place.parent, place.name)
    story = Stories(shelf, Summaries(shelf)).one(place.name)
    return "\n".join(printable(line) for line in lines_of(story)) + "\n"


def lines_of(story: Story) -> Iterator[str]:
    """Yield the lines in the order of the page."""
    summary = story.summary
    yield story.study.idea.title or story.folder.name
    yield f"  {story.folder}"
    yield (
        f"  {summary.state}{f' ({summary.reason})' if summary.reason else ''}; "
        f"{summary.valid} valid, {summary.refused} refused, {summary.crashed} crashed; "
        f"cost {usd(summary.cost_usd)}; began {clock(summary.started)}"
    )
    yield from (f"  {problem}" for problem in story.problems)
    yield ""
    for one in story.study.judgements:
        claim = f"{one.hypothesis.metric} will {one.hypothesis.direction}"
        yield from wrapped(f"hypothesis: {claim}: {one.verdict}: {one.reason}")
    for finding in story.findings:
        where = " ".join(part for part in (finding.run, finding.where) if part)
        yield from wrapped(f"finding: {finding.kind}: {where}: {finding.detail}")
    yield ""
    for chapter in story.chapters:
        for attempt in chapter.attempts:
            yield from attempt_lines(attempt)
        if chapter.run:
            yield from run_lines(story, chapter.run)
    for decision in story.decisions:
        state = "taken up" if decision.taken else "in the inbox"
        words = f"{decision.user}: {decision.decision} {decision.step} ({state}) {decision.comment}"
        yield from wrapped(words)
    if story.pdf:
        yield f"paper: {story.folder / story.pdf}"


def attempt_lines(attempt: Attempt) -> Iterator[str]:
    """Yield the lines of an attempt."""
    gate = f" by {attempt.gate}" if attempt.gate else ""
    yield from wrapped(
        f"{attempt.step}: {str(attempt.kind).replace('_', ' ')}{gate}: {attempt.reason}"
    )


def run_lines(story: Story, run: Run) -> Iterator[str]:
    """Yield the lines of a run: what moved, and the metrics that matter."""
    card = run_card(story, run)
    mark = f", confounded by {', '.join(run.confounded)}" if run.confounded else ""
    lines = f"+{card.added} −{card.removed} lines"
    yield f"{run.name}: {run.title} ({duration(run.seconds)}, {lines}{mark})"
    moved = "; ".join(f"{row.key} {row.baseline} → {row.here}" for row in card.configuration[:6])
    if moved:
        yield from wrapped(moved)
    for row in card.metrics:
        change = f"  {row.delta} ({percent(row.share)}); {row.noise}" if row.delta else ""
        yield from wrapped(f"{row.name} = {row.value}{change}")


def wrapped(text: str) -> Iterator[str]:
    """Yield a paragraph as indented lines."""
    yield from textwrap.wrap(
        " ".join(text.split())[:2_000], WIDTH, initial_indent="  ", subsequent_indent="      "
    )
