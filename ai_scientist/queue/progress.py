"""Where everything stands: one view over all ideas and workers, live or as plain text.

Everything is read from files (the queue's states, each run folder's events.jsonl and report.json),
so that it can be looked at from any process and host, while it runs and afterwards.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ai_scientist.errors import InputError
from ai_scientist.machine.leases import look_at_lease
from ai_scientist.queue.entries import Item, QueueState, blocked_by, decisions
from ai_scientist.queue.store import Queue
from ai_scientist.records import number, parse_json, printable

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

HEADINGS = ("idea", "state", "runs", "cost", "GPU-hours", "left", "where")
STYLES = {"done": "green", "failed": "red", "running": "cyan", "waiting": "yellow"}
SHOWN = 40
"""Rows of the live view; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What one run folder says of itself."""

    runs: int = 0
    """Valid runs, the baseline not counted."""
    max_runs: int | None = None
    cost_usd: float = 0.0
    unpriced_calls: int = 0
    gpu_hours: float = 0.0
    step: str = ""
    """The last finished effect."""
    run_seconds: tuple[float, ...] = ()
    """Time from each run's end to the next one's, thinking included."""
    stop: str = ""

    @property
    def left_s(self) -> float | None:
        """Estimated seconds to the last run, from the runs that are finished."""
        if self.max_runs is None or not self.run_seconds:
            return None
        return max(0, self.max_runs - self.runs) * statistics.median(self.run_seconds)


def read_progress(folder: Path) -> Progress:
    """Read a run folder. What is missing or torn counts as not there yet."""
    report, settings = _load(folder / "report.json"), _load(folder / "settings.json")
    limits = settings.get("limits")
    facts: dict[str, Any] = {"runs": 0, "cost_usd": 0.0, "unpriced_calls": 0, "gpu_hours": 0.0}
    step, ends = "", []
    for line in _lines(folder / "events.jsonl"):
        key, result = line.get("key"), line.get("result")
        if not isinstance(key, str) or not isinstance(result, dict):
            continue
        step = key
        facts["gpu_hours"] += number(result.get("gpu_hours")) or 0.0
        if "prompt_tokens" in result:
            price = number(result.get("cost_usd"))
            facts["unpriced_calls"] += price is None
            facts["cost_usd"] += price or 0.0
        if key.startswith("run_") and key.endswith("/record"):
            ends.append(str(line.get("time", "")))
            facts["runs"] += not key.startswith("run_0/")
    most = number(limits.get("max_runs")) if isinstance(limits, dict) else None
    return Progress(
        **facts,
        max_runs=int(most) if most is not None else None,
        step=step,
        run_seconds=tuple(_gaps(ends)),
        stop=str(report.get("stop", "")),
    )


def _gaps(times: Iterable[str]) -> list[float]:
    try:
        stamps = [datetime.fromisoformat(one).timestamp() for one in times]
    except ValueError:
        return []
    return [later - earlier for earlier, later in pairwise(stamps)]


def _lines(path: Path) -> Iterable[Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    content = parse_json(line)
                except ValueError:
                    continue
                if isinstance(content, dict):
                    yield content
    except OSError:
        return


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


# --- rows ----------------------------------------------------------------------------------------


@dataclass
class Reader:
    """Reads run folders again only when their journal has grown."""

    _known: dict[Path, tuple[tuple[int, int], Progress]] = field(default_factory=dict)

    def progress(self, folder: Path) -> Progress:
        """Return what a run folder says, from memory if nothing was written since."""
        mark = (_size(folder / "events.jsonl"), _size(folder / "report.json"))
        if self._known.get(folder, (None,))[0] != mark:
            self._known[folder] = (mark, read_progress(folder))
        return self._known[folder][1]

    def row(self, item: Item, states: Mapping[str, QueueState]) -> tuple[str, ...]:
        """Return one line of the view."""
        state = item.state
        if state.run_dir is None:
            blockers = blocked_by(item, states)
            where = f"after {', '.join(blockers)}" if blockers else state.reason
            return (item.id, str(state.state), "", "", "", "", where)
        seen = self.progress(Path(state.run_dir))
        runs = f"{seen.runs} of {seen.max_runs}" if seen.max_runs else str(seen.runs)
        cost = f"${seen.cost_usd:.2f}" + ("+?" if seen.unpriced_calls else "")
        running = state.state is QueueState.RUNNING
        left = duration(seen.left_s) if running else ""
        where = state.reason or (seen.step if running else Path(state.run_dir).name)
        word = str(state.state)
        if running:
            worker = look_at_lease(item.folder)
            if worker is None or not worker.alive:
                where = "its worker is gone; the next one goes on here"
            elif worker.holder is not None and not worker.holder.is_near:
                where = f"{where} on {worker.holder.host}"
        if state.state is QueueState.WAITING and decisions(item):
            where = "decided; goes on with the next batch"
        return (item.id, word, runs, cost, f"{seen.gpu_hours:.2f}", left, where)

    def total_left_s(self, items: Sequence[Item], places: int) -> float | None:
        """Estimate the time to the queue's end, as if all runs were like the finished ones."""
        gaps: list[float] = []
        runs_left = unknown = 0
        for item in items:
            folder = item.state.run_dir
            seen = self.progress(Path(folder)) if folder else Progress()
            gaps += seen.run_seconds
            if item.state.state in (QueueState.QUEUED, QueueState.RUNNING):
                unknown += seen.max_runs is None
                runs_left += max(0, (seen.max_runs or 0) - seen.runs)
        known = [self.progress(Path(i.state.run_dir)).max_runs for i in items if i.state.run_dir]
        usual = [number for number in known if number]
        if not gaps or not usual:
            return None
        runs_left += round(unknown * statistics.median(usual))
        total: float = runs_left * statistics.median(gaps) / max(1, places)
        return total


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def duration(seconds: float | None) -> str:
    """Return seconds as a person says them."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def count_states(items: Sequence[Item]) -> str:
    """Return how many ideas stand where, in words."""
    counts = dict.fromkeys(QueueState, 0)
    for item in items:
        counts[item.state.state] += 1
    return ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "empty"


def describe_queue(items: Sequence[Item], reader: Reader | None = None) -> str:
    """Return the view as plain text: a line of counts, then a table."""
    if not items:
        return "the queue is empty"
    reader = reader or Reader()
    states = {item.id: item.state.state for item in items}
    rows = [HEADINGS, *(reader.row(item, states) for item in items)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS) - 1)]
    lines = [
        "  ".join([*(f"{cell:<{wide}}" for cell, wide in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    return "\n".join([count_states(items), "", *(printable(line.rstrip()) for line in lines)])


def status(path: Path) -> str:
    """Return where a runs folder or one run folder stands.

    Raises InputError for the person when `path` is neither.
    """
    if (path / "events.jsonl").exists() or (path / "settings.json").exists():
        return describe_run(path)
    if not path.is_dir():
        raise InputError(f"there is no folder {path}", hint="name it with --runs-dir")
    items = Queue(path).items()
    queued = {item.state.run_dir for item in items}
    folders = [journal.parent for journal in sorted(path.glob("*/events.jsonl"))]
    single = [folder for folder in folders if str(folder.absolute()) not in queued]
    parts = [describe_queue(items)] if items else []
    if Queue(path).paused:
        parts.insert(0, "the queue is paused; `queue resume` goes on")
    if single:
        told = (printable(_one_line(folder)) for folder in single)
        parts.append("\n".join(["started by themselves:", *told]))
    return "\n\n".join(parts) or f"nothing was run in {path}"


def _one_line(folder: Path) -> str:
    seen = read_progress(folder)
    runs = f"{seen.runs} of {seen.max_runs} runs" if seen.max_runs else f"{seen.runs} runs"
    end = seen.stop or f"at {seen.step or 'the start'}"
    return f"  {folder.name}: {end}, {runs}, ${seen.cost_usd:.2f}, {seen.gpu_hours:.2f} GPU-hours"


def describe_run(folder: Path) -> str:
    """Return where one run folder stands."""
    seen, report = read_progress(folder), _load(folder / "report.json")
    lines = [
        f"run folder  {folder}",
        f"state       {seen.stop or 'unfinished'}{': ' if report.get('reason') else ''}"
        f"{report.get('reason', '')}",
        f"runs        {seen.runs} of {seen.max_runs if seen.max_runs else '?'}",
        f"last step   {seen.step or 'none'}",
        f"cost        ${seen.cost_usd:.2f}"
        + (f" and {seen.unpriced_calls} calls of unknown price" if seen.unpriced_calls else ""),
        f"GPU-hours   {seen.gpu_hours:.2f}",
    ]
    if not seen.stop and seen.left_s is not None:
        lines.append(f"left        about {duration(seen.left_s)}")
    return "\n".join(map(printable, lines))


# --- live ----------------------------------------------------------------------------------------


class View:
    """Shows a batch while it runs: a table that renews itself, or lines where nobody looks."""

    def __init__(self, *, places: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._places = places
        self._reader = Reader()
        self._live: Live | None = None
        self._told = ""
        self._tell_at = 0.0
        self.report: Callable[[str], None] = self._print

    def __enter__(self) -> View:
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream)
            # No refreshing thread: the process that starts launchers has one thread.
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()
            self.report = lambda line: console.print(_stamped(line), markup=False, highlight=False)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            self.report = self._print

    def show(self, items: list[Item]) -> None:
        """Show the present state; where nobody looks, a line of counts when they changed."""
        if self._live is not None:
            self._live.update(self._table(items), refresh=True)
            return
        counts = count_states(items)
        if counts != self._told and time.monotonic() >= self._tell_at:
            self._told, self._tell_at = counts, time.monotonic() + 2
            left = self._reader.total_left_s(items, self._places)
            self._print(counts + (f"; about {duration(left)} left" if left else ""))

    def _table(self, items: list[Item]) -> Table:
        from rich.table import Table
        from rich.text import Text

        left = self._reader.total_left_s(items, self._places)
        title = f"{count_states(items)}; {self._places} at once" + (
            f"; about {duration(left)} left" if left else ""
        )
        table = Table(*HEADINGS, title=title, title_justify="left", box=None, pad_edge=False)
        states = {item.id: item.state.state for item in items}
        order = [QueueState.RUNNING, QueueState.WAITING, QueueState.FAILED]
        first = sorted(items, key=lambda item: states[item.id] not in order)
        for item in first[:SHOWN]:
            cells = self._reader.row(item, states)
            table.add_row(
                *(Text(printable(cell)) for cell in cells), style=STYLES.get(cells[1], "")
            )
        if len(items) > SHOWN:
            table.caption = f"and {len(items) - SHOWN} more: python -m ai_scientist status"
        return table

    def _print(self, line: str) -> None:
        print(_stamped(line), file=self._stream, flush=True)


def _stamped(line: str) -> str:
    return f"{datetime.now(UTC).astimezone():%H:%M:%S} {line}"
