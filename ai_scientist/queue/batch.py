"""A batch: ideas go into the queue, workers take them out, and one exit code says how it went.

The same command again goes on with what is unfinished and skips what is done.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_scientist.errors import FolderBusy, InputError, ScientistError
from ai_scientist.execution.slurm.client import SlurmClient, client_environment
from ai_scientist.execution.slurm.options import SlurmOptions, parse_slurm_options
from ai_scientist.inputs.ideas import find_idea, read_ideas
from ai_scientist.inputs.settings import Places
from ai_scientist.queue.arrays import ArrayWorkers
from ai_scientist.queue.entries import Item, QueueState, blocked_by, decisions
from ai_scientist.queue.progress import View, count_states
from ai_scientist.queue.store import Queue
from ai_scientist.queue.worker import CommandFor, Workers
from ai_scientist.records import Idea

DONE, FAILED, WAITING = 0, 1, 3
PASSED_ON = (
    "template", "profile", "model", "base_url", "max_runs", "max_executions", "max_failures",
    "run_timeout", "max_cost_usd", "max_prompt_tokens", "max_gpu_hours", "baseline_seeds",
    "seeds_per_run", "confirm_best", "keep", "cache_gb", "no_writeup", "approve",
    "allow_unsandboxed", "executor", "slurm", "python", "tracker", "yes",
)  # fmt: skip
"""Options of a batch that each of its launchers gets too."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The ideas that a command named, and what could not be read of them."""

    ideas: tuple[Idea, ...]
    problems: tuple[ScientistError, ...]


def gather_ideas(names: Sequence[str], batches: Sequence[str], folder: Path) -> Found:
    """Read ideas by name or file, and all of each batch (a folder or a file with a list).

    One that cannot be read is a problem, and no reason not to read the others.
    """
    ideas: list[Idea] = []
    problems: list[ScientistError] = []
    sources: list[str | Path] = list(names)
    for batch in map(Path, batches):
        files = sorted(batch.glob("*.json")) if batch.is_dir() else [batch]
        if not files:
            problems.append(InputError(f"{batch} holds no .json file", hint="see docs/ideas.md"))
        sources += files
    for source in sources:
        try:
            if isinstance(source, str):
                ideas.append(find_idea(source, folder))
            else:
                ideas += read_ideas(source)
        except ScientistError as error:
            problems.append(error)
    return Found(ideas=tuple(ideas), problems=tuple(problems))


def launcher_options(options: argparse.Namespace, *, in_jobs: bool = False) -> list[str]:
    """Return the launcher's arguments for what the batch was asked for."""
    words: list[str] = []
    for name in PASSED_ON:
        if in_jobs and name in ("executor", "slurm"):
            continue
        value: Any = getattr(options, name, None)
        if value is None or value is False:
            continue
        if name == "model" and str(value).startswith("recorded:"):
            value = f"recorded:{Path(str(value).partition(':')[2]).absolute()}"
        if name == "template" and "/" in str(value):
            value = Path(str(value)).absolute()
        flag = f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [flag, str(value)]
    return words


def launcher_command(project: Path, runs_dir: Path) -> CommandFor:
    """Return what starts or resumes an idea: the ordinary launcher on a folder named beforehand."""

    def command_for(item: Item) -> list[str]:
        return [
            sys.executable, str(project / "launch_scientist.py"),
            "--idea", str(item.folder.absolute() / "idea.json"),
            "--runs-dir", str(runs_dir.absolute()), "--run-dir", str(item.state.run_dir),
            *item.state.options,
        ]  # fmt: skip

    return command_for


def run_batch(
    options: argparse.Namespace,
    places: Places,
    *,
    default_workers: int = 1,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Add the ideas that `options` names to the queue, work it off, and return the exit code.

    `environment` is needed for Slurm: how its commands are found, and the keys that launchers in
    jobs need. Exit codes: 0, all are done; 1, at least one failed or could not be read; 3, none
    failed and one waits for a person. Raises InputError when nothing could be read at all.
    """
    found = gather_ideas(options.idea, options.ideas, places.ideas)
    if not found.ideas:
        raise found.problems[0]
    slurm = parse_slurm_options(options.slurm) if options.slurm else SlurmOptions()
    in_jobs = options.executor == "slurm" and slurm.per == "idea"
    queue = Queue(places.runs)
    places_at_once = options.workers or default_workers
    with View(places=places_at_once) as view:
        tell_problems(found.problems, view.report)
        given = launcher_options(options, in_jobs=in_jobs)
        names, refused = enqueue(queue, found.ideas, given, again=options.again, view=view)
        workers: Workers | ArrayWorkers
        if in_jobs:
            workers = array_workers(queue, slurm, places, environment or {}, view)
        else:
            workers = Workers(
                queue,
                places=places_at_once,
                command_for=launcher_command(places.project, places.runs),
                report=view.report,
            )
        return work_off(queue, workers, names, view, problems=len(found.problems) + refused)


def array_workers(
    queue: Queue,
    slurm: SlurmOptions,
    places: Places,
    environment: Mapping[str, str],
    view: View,
) -> ArrayWorkers:
    """Return workers that are Slurm jobs; launchers there get the keys that are set here."""
    keys = [name for name in environment if name.endswith("_API_KEY")]
    runs = str(places.runs.absolute())
    return ArrayWorkers(
        queue=queue,
        client=SlurmClient(client_environment(environment) | {k: environment[k] for k in keys}),
        options=slurm,
        worker=[sys.executable, "-m", "ai_scientist", "queue", "--runs-dir", runs, "work", "--one"],
        folder=places.project,
        variables=keys,
        report=view.report,
    )


def tell_problems(problems: Sequence[ScientistError], report: Callable[[str], None]) -> None:
    """Say what could not be read, and go on."""
    for problem in problems:
        report(f"error: {problem.message}")
        report(f"hint: {problem.hint}; the other ideas are run")


def enqueue(
    queue: Queue, ideas: Sequence[Idea], options: Sequence[str], *, again: bool, view: View
) -> tuple[list[str], int]:
    """Add ideas, queue again what had failed; return their entries and how many were refused."""
    added = queue.add(ideas, options=options, again=again)
    names = []
    for one in added:
        if one.entry is None:
            view.report(f"error: {one.problem}")
            view.report(f"hint: {one.hint}")
            continue
        names.append(one.entry)
        if one.new:
            continue
        state = queue.find(one.entry).state.state
        if state is QueueState.DONE:
            view.report(f"{one.entry}: done before; --again repeats it")
        elif state is not QueueState.RUNNING:
            try:
                if state is QueueState.WAITING:
                    view.report(f"{one.entry}: waits for a person's decision")
                else:
                    queue.retry(one.entry, options=options)
            except FolderBusy:
                view.report(f"{one.entry}: somebody works on it already")
    return list(dict.fromkeys(names)), sum(one.entry is None for one in added)


def work_off(
    queue: Queue,
    workers: Workers | ArrayWorkers,
    names: Sequence[str],
    view: View,
    *,
    problems: int = 0,
) -> int:
    """Work until nothing of the queue is left to do, wherever it runs; return the exit code."""
    mine = set(names)

    def over(items: list[Item]) -> bool:
        states = {item.id: item.state.state for item in items}
        for item in items:
            state = item.state.state
            if state is QueueState.RUNNING and item.id in mine:
                return False
            if state is QueueState.QUEUED and not stuck(item, states, items):
                return False
            if state is QueueState.WAITING and decisions(item):
                return False
        return True

    with interruptible():
        workers.run(over, view.show)
    items = [item for item in queue.items() if item.id in mine]
    view.report(count_states(items))
    for item in items:
        if item.state.state is not QueueState.DONE:
            why = f": {item.state.reason}" if item.state.reason else ""
            view.report(f"{item.id}: {item.state.state}{why}")
    states = {item.state.state for item in items}
    if problems or states - {QueueState.DONE, QueueState.WAITING}:
        return FAILED
    return WAITING if QueueState.WAITING in states else DONE


def stuck(item: Item, states: dict[str, QueueState], items: Sequence[Item]) -> bool:
    """Whether it waits for an idea that will not be done without a person."""
    ended = (QueueState.FAILED, QueueState.CANCELLED, QueueState.WAITING, None)
    by_name = {one.id: one for one in items}
    for name in blocked_by(item, states):
        if states.get(name) in ended or stuck(by_name[name], states, items):
            return True
    return False


@contextmanager
def interruptible() -> Iterator[None]:
    """Treat SIGTERM and a lost terminal as Ctrl-C, so that launchers are stopped and resumable."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    kept = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
