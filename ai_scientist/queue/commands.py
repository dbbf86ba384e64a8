"""`python -m ai_scientist queue …`: look at the queue and change it, also while it works."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ai_scientist.errors import InputError
from ai_scientist.inputs.settings import Places
from ai_scientist.queue.batch import (
    FAILED,
    gather_ideas,
    launcher_command,
    tell_problems,
    work_off,
)
from ai_scientist.queue.progress import View, describe_queue
from ai_scientist.queue.progress import status as describe_status
from ai_scientist.queue.store import Queue
from ai_scientist.queue.worker import Workers


def add_queue_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the subcommands of `queue`."""
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"), help="default: runs")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, what: str, *, ideas: bool = False) -> argparse.ArgumentParser:
        child = actions.add_parser(name, help=what, description=what)
        # Also after the action, as with every other command; left out, what stands before counts.
        child.add_argument("--runs-dir", type=Path, default=argparse.SUPPRESS, help="the same")
        if ideas:
            child.add_argument("ideas", nargs="+", metavar="IDEA")
        return child

    action("list", "every idea: state, runs, cost, GPU-hours, time left")
    add = action("add", "add ideas (names, files or folders), also while a batch runs", ideas=True)
    add.add_argument("--priority", type=int, default=0, help="higher goes first")
    add.add_argument("--after", action="append", default=[], metavar="IDEA", help="done before it")
    add.add_argument("--force", action="store_true", help="also when one like it is there")
    add.add_argument("--again", action="store_true", help="once more, in a run folder of its own")
    add.add_argument("--option", action="append", default=[], metavar="=WORD",
                     help="an option for its launcher, as --option=--max-cost-usd=5")  # fmt: skip
    action("cancel", "stop an idea, running or not; it can be retried", ideas=True)
    retry = action("retry", "go on with ideas that failed or were cancelled", ideas=True)
    retry.add_argument(
        "--option", action="append", metavar="=WORD", help="in place of the old ones"
    )
    prioritise = action("prioritise", "set the priority of ideas that do not run", ideas=True)
    prioritise.add_argument("--to", type=int, required=True, metavar="N", help="higher goes first")
    pause = action("pause", "start nothing new")
    pause.add_argument("--now", action="store_true", help="also stop what runs; it goes on later")
    action("resume", "go on after a pause")
    work = action("work", "work the queue off from this process, on this host")
    work.add_argument("--workers", type=int, default=1, metavar="N", help="ideas at once")
    work.add_argument("--one", action="store_true", help="one idea, as a Slurm job does")


def queue_command(options: argparse.Namespace, places: Places) -> int:
    """Do what `queue` was asked for and return the exit code."""
    queue = Queue(places.runs)
    actions: dict[str, Callable[[argparse.Namespace, Queue, Places], int]] = {
        "add": _add,
        "cancel": _cancel,
        "retry": _retry,
        "prioritise": _prioritise,
        "work": _work,
    }
    match options.action:
        case "list":
            print(describe_queue(queue.items()))
        case "pause":
            queue.pause(now=options.now)
            print("paused: nothing new is started" + (", what runs is stopped" * options.now))
        case "resume":
            queue.resume()
            print("going on; start workers with the batch's command, or with `queue work`")
        case name:
            return actions[name](options, queue, places)
    return 0


def _add(options: argparse.Namespace, queue: Queue, places: Places) -> int:
    folders = [name for name in options.ideas if Path(name).is_dir()]
    names = [name for name in options.ideas if name not in folders]
    found = gather_ideas(names, folders, places.ideas)
    tell_problems(found.problems, print)
    added = queue.add(
        found.ideas,
        priority=options.priority,
        after=options.after,
        options=options.option,
        force=options.force,
        again=options.again,
    )
    for one in added:
        if one.entry is None:
            print(f"error: {one.problem}\nhint: {one.hint}")
        else:
            print(f"{one.entry}: {'added' if one.new else 'is there already; --again repeats it'}")
    refused = found.problems or any(one.entry is None for one in added)
    return FAILED if refused else 0


def _cancel(options: argparse.Namespace, queue: Queue, places: Places) -> int:
    for name in options.ideas:
        print(queue.cancel(name))
    return 0


def _retry(options: argparse.Namespace, queue: Queue, places: Places) -> int:
    for name in options.ideas:
        item = queue.retry(name, options=options.option)
        where = item.state.run_dir or "a new run folder"
        print(f"{name}: queued; it goes on in {where}")
    return 0


def _prioritise(options: argparse.Namespace, queue: Queue, places: Places) -> int:
    for name in options.ideas:
        queue.prioritise(name, options.to)
        print(f"{name}: priority {options.to}")
    return 0


def _work(options: argparse.Namespace, queue: Queue, places: Places) -> int:
    if options.workers < 1:
        raise InputError("--workers must be at least 1")
    with View(places=options.workers) as view:
        workers = Workers(
            queue,
            places=options.workers,
            command_for=launcher_command(places.project, places.runs),
            report=view.report,
            most=1 if options.one else None,
        )
        names = [item.id for item in queue.items()]
        code = work_off(queue, workers, names, view)
        return 0 if options.one else code


def status_command(options: argparse.Namespace) -> int:
    """Print where a runs folder, or one run folder, stands."""
    print(describe_status(options.run_dir or options.runs_dir))
    return 0
