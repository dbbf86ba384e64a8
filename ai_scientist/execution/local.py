"""Run one execution to its end on this machine, through a supervisor process of its own.

    run ──► finished before? its outcome
        └─► sweep what a kill left ─► source/OUT and tmp/ made empty ─► supervisor ─► outcome.json

Covered: the launcher killed at any moment (the supervisor ends the tree; the same key runs again),
the supervisor killed (reported as KILLED, the tree swept), Ctrl-C, `cancel` from another thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from ai_scientist.errors import InputError, SetupError
from ai_scientist.execution.supervisor import Job
from ai_scientist.machine.environments import font_lists
from ai_scientist.machine.processes import kill_marked
from ai_scientist.protocols import Sandbox
from ai_scientist.records import Execution, ExitCause, Json, RunRequest
from ai_scientist.sandbox.leftovers import collect, defuse, remove_tree
from ai_scientist.sandbox.tiers import (
    IN_TMP,
    mark_of,
    out_folder,
    outer_environment,
    tmp_folder,
)

__all__ = ["LocalExecutor", "collect", "sweep"]

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
START = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    " from ai_scientist.execution.supervisor import main; main()"
)
SUPERVISOR_LOG = "supervisor.log"
ENDS_S = 30.0
AcquireSlots = Callable[[int, int], AbstractContextManager[Sequence[str]]]
"""From a number of GPUs and of threads."""


class LocalExecutor:
    """Implements protocols.Executor on this machine. May be used by several threads.

    `gpus` are the numbers N of the /dev/nvidiaN that runs may use, one run at a time; `acquire`
    lends GPUs and cores for the time of a run instead, where several share them.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        gpus: Sequence[str] = (),
        acquire: AcquireSlots | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._gpus = tuple(gpus)
        self._acquire = acquire or self._lend
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def run(self, request: RunRequest) -> Execution:
        """Run `request` to its end and return what was observed; nothing is left running.

        A finished outcome of the same key is returned as it is. Links, pipes and the like are gone
        from its folder: what is there may be read and copied. Raises SetupError for the person
        when there are too few GPUs, InputError when the request itself cannot be.
        """
        request = replace(request, staging=request.staging.resolve())
        if not (request.staging / "source").is_dir():
            raise InputError(f"no source folder to run in: {request.staging / 'source'}")
        out = out_folder(request.staging, request.out_name)
        done = read_outcome(request)
        if done is not None:
            defuse(out)
            return done
        with self._acquire(request.gpus, request.threads) as gpus:
            prepare(request)
            try:
                done = self._supervise(request, tuple(gpus))
            finally:
                sweep(request.staging)
        defuse(out)
        return done

    def cancel(self) -> None:
        """End every execution of this executor now; each `run` returns cause CANCELLED."""
        with self._lock:
            for process in self._running:
                with contextlib.suppress(OSError, ValueError):
                    os.write(stdin_of(process), b"cancel\n")

    def _lend(self, count: int, _threads: int) -> AbstractContextManager[Sequence[str]]:
        if count > len(self._gpus):
            raise SetupError(
                f"this run needs {count} GPUs and {len(self._gpus)} are there",
                hint="use `--profile small`, which needs none",
            )
        return nullcontext(self._gpus[:count])

    def _supervise(self, request: RunRequest, gpus: tuple[str, ...]) -> Execution:
        """Start the supervisor, hand it the job, and wait."""
        job = job_of(request, self._sandbox, gpus)
        started, started_at = monotonic(), datetime.now(UTC).isoformat(timespec="milliseconds")
        with (request.staging / SUPERVISOR_LOG).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", START, str(PACKAGE_PARENT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=dict(outer_environment(request.staging)),
                cwd="/",
                start_new_session=True,
            )
        try:
            with contextlib.suppress(BrokenPipeError):
                send(process, job)
                with self._lock:
                    self._running.add(process)
            process.wait()
        except BaseException:  # also Ctrl-C: closing the pipe ends the tree
            hang_up(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ENDS_S)
            raise
        finally:
            with self._lock:
                self._running.discard(process)
            hang_up(process)
        done = read_outcome(request, cancelled=True)
        if done is not None:
            return done
        return Execution(
            key=request.key,
            cause=ExitCause.KILLED,
            returncode=None,
            seconds=round(monotonic() - started, 4),
            stdout=request.staging / "stdout.log",
            stderr=request.staging / "stderr.log",
            started_at=started_at,
            sandbox_tier=self._sandbox.tier,
            gpus=gpus,
            host=os.uname().nodename,
            reason=f"the supervisor ended without an outcome{last_words(request.staging)}",
        )


def stdin_of(process: subprocess.Popen[bytes]) -> int:
    """Return the descriptor of the pipe to a supervisor."""
    assert process.stdin is not None
    return process.stdin.fileno()


def send(process: subprocess.Popen[bytes], job: Job) -> None:
    """Write the job as the first line."""
    view = memoryview(json.dumps(job).encode() + b"\n")
    while view:
        view = view[os.write(stdin_of(process), view) :]


def hang_up(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe to a supervisor: whatever it still runs, it ends."""
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()


def job_of(request: RunRequest, sandbox: Sandbox, gpus: tuple[str, ...]) -> Job:
    """Return what the supervisor is told."""
    limits = request.limits
    out = out_folder(request.staging, request.out_name)
    return Job(
        key=request.key,
        argv=sandbox.wrap(request, gpus),
        environment=dict(outer_environment(request.staging)),
        staging=str(request.staging),
        folders=[str(out), str(tmp_folder(request.staging))],
        in_namespace=sandbox.tier.startswith("bubblewrap"),
        timeout_s=limits.timeout_s,
        memory=int(limits.memory_gb * 1e9),
        processes=limits.processes,
        disk=int(limits.disk_gb * 1e9),
        output=int(limits.output_mb * 1e6),
        tier=sandbox.tier,
        gpus=list(gpus),
    )


def read_outcome(request: RunRequest, *, cancelled: bool = False) -> Execution | None:
    """Return the finished execution of this key that the staging folder holds, if it does."""
    try:
        found: Json = json.loads((request.staging / "outcome.json").read_text(encoding="utf-8"))
        cause = ExitCause(found["cause"])
        if found["key"] != request.key or (cause is ExitCause.CANCELLED and not cancelled):
            return None
        return Execution(
            key=request.key,
            cause=cause,
            returncode=found["returncode"],
            seconds=float(found["seconds"]),
            stdout=request.staging / "stdout.log",
            stderr=request.staging / "stderr.log",
            started_at=str(found["started_at"]),
            peak_memory_gb=float(found["peak_memory_gb"]),
            sandbox_tier=str(found["sandbox_tier"]),
            gpus=tuple(found["gpus"]),
            host=str(found["host"]),
            reason=str(found["reason"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def last_words(staging: Path) -> str:
    """Return the last line the supervisor printed, ready to be appended to a sentence."""
    log = staging / SUPERVISOR_LOG
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f": {lines[-1][:200]}" if lines else " (it was killed)"


def work_of(pid: int) -> str:
    """Say what a launcher runs now, as `run_1 of FOLDER`; empty where that cannot be seen.

    Its supervisors tell it, each by the log that it writes to.
    """
    import psutil

    try:
        logs = [
            Path(f"/proc/{child.pid}/fd/2").readlink() for child in psutil.Process(pid).children()
        ]
    except (OSError, psutil.Error):
        return ""
    stagings = sorted(log.parent for log in logs if log.name == SUPERVISOR_LOG)
    return ", ".join(
        f"{staging.name.partition('.')[0]} of {_folder_of(staging)}" for staging in stagings
    )


def _folder_of(staging: Path) -> str:
    """Return the name of the run folder around a staging folder, else of the next folder up."""
    around = next((one.parent for one in staging.parents if one.name == ".staging"), staging.parent)
    return around.name


def prepare(request: RunRequest) -> None:
    """Kill what an earlier launcher left, and make the two writable folders anew.

    The temporary one begins with matplotlib's list of fonts, which takes seconds to make.
    Raises InputError for the person when a link stands where source/OUT should be.
    """
    sweep(request.staging)
    for name in ("outcome.json", "outcome.json.new", "stdout.log", "stderr.log"):
        (request.staging / name).unlink(missing_ok=True)
    out, tmp = out_folder(request.staging, request.out_name), tmp_folder(request.staging)
    source = request.staging / "source"
    for folder in (out, *out.parents):
        if folder == source:
            break
        if folder.is_symlink():
            raise InputError(f"a link stands where a run would write: {folder}")
    if out != source:
        remove_tree(out)
        out.mkdir(parents=True)
    tmp.mkdir(mode=0o700)
    if lists := font_lists(Path(request.command[0])):
        (tmp / IN_TMP["MPLCONFIGDIR"]).mkdir()
        for path in lists:
            shutil.copy(path, tmp / IN_TMP["MPLCONFIGDIR"])


def sweep(staging: Path) -> None:
    """Kill every process that belongs to this staging folder and remove its temporary folder."""
    kill_marked(mark_of(staging))
    remove_tree(tmp_folder(staging.resolve()))
