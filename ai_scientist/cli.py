"""The command lines: options in, exit code out. Heavy imports wait until they are needed.

Exit codes: 0 done; 1 an idea failed or there are findings; 2 bad input or set-up; 3 a person is
waited for; 130 interrupted, resumable.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ai_scientist.errors import FolderBusy, InputError, ScientistError, SetupError, Waiting

TRACKERS = ("none", "tensorboard", "wandb", "wandb-online", "mlflow")
DONE, FAILED, BAD_INPUT, WAITING, INTERRUPTED = 0, 1, 2, 3, 130


def launch(argv: Sequence[str]) -> int:
    """Run `launch_scientist.py` with these arguments and return its exit code."""
    options = launch_parser().parse_args(argv)

    def work() -> int:
        from ai_scientist.launch import launch_ideas

        return launch_ideas(options)

    several = bool(options.ideas) or len(options.idea) > 1
    return guard(work, again="the same command" if several else "--resume RUN_DIR")


def main(argv: Sequence[str]) -> int:
    """Run `python -m ai_scientist` with these arguments and return its exit code."""
    options = main_parser(list(argv)).parse_args(argv)

    def work() -> int:
        from ai_scientist.commands import actions

        code: int = getattr(actions, options.run)(options)
        return code

    return guard(work)


def guard(work: Callable[[], int], *, again: str = "") -> int:
    """Turn an expected error into its two lines and its exit code; a bug keeps its traceback.

    `again` is what goes on with work that ended half-way, where there is such a thing.
    A full disk is nobody's bug, and neither is a reader such as `head` that has seen enough.
    SIGTERM, which a worker or a scheduler sends, ends it as Ctrl-C does: resumable.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = work()
        sys.stdout.flush()  # what is buffered fails here, or else when Python ends
        return code
    except KeyboardInterrupt:
        print(f"interrupted; {again} goes on" if again else "interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes once more when it ends, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f" of {error.filename}" if error.filename else ""
        print(f"error: the disk{place} is full", file=sys.stderr)
        after = f", then {again} goes on" if again else ""
        print(f"hint: make room, `python -m ai_scientist clean` helps{after}", file=sys.stderr)
        return FAILED
    except ScientistError as error:
        word = "waiting" if isinstance(error, Waiting) else "error"
        print(f"{word}: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        if isinstance(error, Waiting):
            return WAITING
        bad_input = isinstance(error, InputError | SetupError | FolderBusy)
        return BAD_INPUT if bad_input else FAILED


def at_least(smallest: float, kind: Callable[[str], Any] = int) -> Callable[[str], Any]:
    """Return an argparse type for numbers from `smallest` up."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"`{text}` is no number") from None
        if not smallest <= value < float("inf"):
            raise argparse.ArgumentTypeError(f"`{text}` is not at least {smallest:g}")
        return value

    return parse


class Parser(argparse.ArgumentParser):
    """Reports a wrong option as the program reports everything: `error:` and `hint:`, exit 2."""

    def error(self, message: str) -> Any:
        """Print the two lines and exit."""
        print(f"error: {message}\nhint: see {self.prog} --help", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def launch_parser() -> Parser:
    """Return the parser of launch_scientist.py."""
    parser = Parser(
        prog="launch_scientist.py",
        description="Take an idea, let a model edit the template's experiment, run it up "
        "to ten times, and write notes, plots and a paper with every number tied to its run.",
        epilog="Without --model and without a key, replies recorded for the shipped ideas are "
        "replayed; everything else is made now.",
    )
    add = parser.add_argument
    add(
        "--idea", action="append", default=[], metavar="NAME|FILE", help="one idea; may be repeated"
    )
    add("--ideas", action="append", default=[], metavar="FOLDER|FILE", help="a batch of ideas")
    add(
        "--resume",
        type=Path,
        metavar="RUN_DIR",
        help="go on with a run folder; nothing is paid twice",
    )
    add(
        "--run-dir",
        type=Path,
        metavar="DIR",
        help="the run folder to create, or to resume if there",
    )
    _add_template_options(parser)
    _add_model_options(parser)
    _add_budget_options(parser)
    add("--baseline-seeds", type=at_least(1), default=1, metavar="K", help="runs of the baseline")
    add("--seeds-per-run", type=at_least(1), default=1, metavar="K", help="runs of each variant")
    add(
        "--confirm-best",
        type=at_least(0),
        default=0,
        metavar="K",
        help="fresh seeds for the winner",
    )
    _add_keeping_options(parser)
    _add_batch_options(parser)
    return parser


def _add_template_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--template", metavar="NAME|DIR", help="default: the idea's own, else sae")
    add("--profile", choices=("smoke", "small", "full"), help="size of each run")
    add("--python", type=Path, metavar="PATH", help="interpreter for templates without a lock")
    add("--yes", action="store_true", help="measure a template's missing run_0 without asking")
    add("--dry-run", action="store_true", help="check everything, estimate, and stop")


def _add_model_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--model", metavar="MODEL", help="anthropic/…, openai/…, recorded, recorded:FILE")
    add("--base-url", metavar="URL", help="any OpenAI-compatible server, as of Ollama or vLLM")


def _add_budget_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--max-runs", type=at_least(1), metavar="N", help="valid runs, default 10")
    add("--max-executions", type=at_least(1), metavar="N", help="executions, default 20")
    add("--max-failures", type=at_least(1), metavar="N", help="failures in a row, default 6")
    add("--run-timeout", type=at_least(1, float), metavar="S", help="seconds a run may take, 7200")
    add(
        "--max-cost-usd", type=at_least(0, float), metavar="USD", help="all model calls, default 20"
    )
    add("--max-prompt-tokens", type=at_least(0), metavar="N", help="default: no cap")
    add("--max-gpu-hours", type=at_least(0, float), metavar="H", help="default 24")


def _add_keeping_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--runs-dir", type=Path, default=Path("runs"), help="default: runs")
    add(
        "--keep",
        choices=("best", "all", "none"),
        default="best",
        help="trained SAEs that stay: those of the best run and the baseline (default), all, none",
    )
    add(
        "--cache-gb",
        type=at_least(0, float),
        default=100.0,
        help="cap of the shared caches, least recently used first (default 100)",
    )
    add("--no-writeup", action="store_true", help="stop after the plots")
    add("--approve", choices=("edits", "writeup", "none"), default="none", help="wait for a person")
    add("--allow-unsandboxed", action="store_true", help="run also where nothing confines the code")
    add(
        "--tracker",
        choices=TRACKERS,
        default="none",
        help="mirror metrics there, see docs/models.md",
    )


def _add_batch_options(parser: Parser) -> None:
    add = parser.add_argument
    add("--workers", type=at_least(1), metavar="N", help="ideas at once; default: free GPUs")
    add("--executor", choices=("local", "slurm"), default="local", help="where runs happen")
    add("--slurm", metavar="KEY=VALUE,…", help="partition, account, gpus, time, …")
    add("--again", action="store_true", help="repeat ideas of a batch that are done")


def main_parser(argv: Sequence[str] = ()) -> Parser:
    """Return the parser of `python -m ai_scientist`; `argv` tells which command needs its parts."""
    parser = Parser(
        prog="python -m ai_scientist", description="Look at, check, repeat what was run."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, what: str, *, runs_dir: bool = True) -> Parser:
        child: Parser = commands.add_parser(name, help=what, description=what)
        child.set_defaults(run=name.replace("-", "_"))
        if runs_dir:
            child.add_argument("--runs-dir", type=Path, default=Path("runs"), help="default: runs")
        return child

    _add_looking(command)
    _add_checking(command)
    _add_keeping(command, argv)
    queue = command("queue", "list the queue of ideas and change it", runs_dir=False)
    if argv[:1] == ["queue"]:
        from ai_scientist.queue import add_queue_arguments

        add_queue_arguments(queue)
    return parser


def _add_keeping(command: Callable[..., Parser], argv: Sequence[str]) -> None:
    template = command("template", "check, start or measure a template", runs_dir=False)
    if argv[:1] == ["template"]:
        from ai_scientist.template_tools.commands import add_template_arguments

        add_template_arguments(template)
    export = command("export", "one zip for a colleague: code, data, PDF, capsules", runs_dir=False)
    export.add_argument("run_dir", type=Path)
    export.add_argument("--to", type=Path, metavar="FILE.zip", help="default: RUN_DIR.zip")
    export.add_argument(
        "--max-file-mb", type=at_least(0, float), default=100.0, help="larger files stay behind"
    )
    clean = command(
        "clean", "what runs and caches take on disk; removes what is named, asking first"
    )
    clean.add_argument("names", nargs="*", metavar="NAME", help="as the report prints them")
    clean.add_argument("--unused", action="store_true", help="all that nothing needs any more")
    clean.add_argument("--yes", action="store_true", help="do not ask")


def _add_looking(command: Callable[..., Parser]) -> None:
    status = command("status", "where everything stands, its cost and what is left")
    status.add_argument("run_dir", nargs="?", type=Path)
    review = command("review", "notes, diffs, plots and claims beside their evidence, in a browser")
    review.add_argument("run_dir", nargs="?", type=Path, help="one run folder; default: all")
    review.add_argument("--port", type=at_least(0), default=8765)
    review.add_argument("--host", default="127.0.0.1", help="others than loopback need a token")
    review.add_argument("--export", type=Path, metavar="FILE.html", help="write one file instead")
    review.add_argument("--text", action="store_true", help="print the story instead")
    decide = command("decide", "approve, reject or comment on a step, as on the review page")
    decide.add_argument("run_dir", type=Path)
    decide.add_argument("step", help="such as run_3/edit_2")
    decide.add_argument("verdict", choices=("approve", "reject", "comment", "cancel"))
    decide.add_argument("--comment", default="", help="goes to the coder as its next instruction")


def _add_checking(command: Callable[..., Parser]) -> None:
    audit = command("audit", "find no-op runs, drift, missing runs and unsupported numbers")
    audit.add_argument("run_dir", type=Path)
    audit.add_argument("--json", action="store_true")
    check = command("check-paper", "check every number of a LaTeX paper against its runs")
    check.add_argument("paper", type=Path)
    check.add_argument("--runs", type=Path, required=True)
    check.add_argument("--json", action="store_true")
    doctor = command("doctor", "what works on this machine, and how to get what does not")
    doctor.add_argument("--call", action="store_true", help="try each key with one tiny paid call")
    doctor.add_argument("--base-url", metavar="URL", help="where --call goes, as for a proxy")
    replay = command("replay", "run it again from its record: same, within noise or different")
    replay.add_argument("run_dir", type=Path)
    replay.add_argument("run_name", nargs="?", metavar="run_N")
    replay.add_argument("--model", action="store_true", help="all of it, with the stored replies")
    replay.add_argument("--allow-unsandboxed", action="store_true")
