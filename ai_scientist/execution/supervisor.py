"""Watch one execution from outside its process tree; one process of this per run.

    launcher --> guard --> supervisor --> bwrap or confine --> the experiment's tree

Runs with the standard library only. The first line of standard input is the job as JSON (`Job`),
and the pipe stays open: `cancel` on it cancels, its end means that the launcher is gone.
Either way, and when guard or supervisor alone is killed with -9, the tree dies: both are
subreapers, so that a daemon which left its session and its parents is still somebody's child.
Writes stdout.log, stderr.log and outcome.json beside source/. Started only by local.py.

Sizes are bytes in here. The launcher's death leaves no outcome: that execution is made again.
"""

# Start-up counts, so pathlib is not imported.
# ruff: noqa: PTH105, PTH116, PTH118, PTH123

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import TypedDict

from ai_scientist.machine.processes import (
    GONE_S,
    Tree,
    deleted_but_open,
    disk_used,
    proportional,
    resident,
)

POLL_S = 0.05
SHARE = 20
"""A measurement that took t seconds is made again after SHARE * t at the earliest."""
FLOOD = 10
"""A tree that prints more than this many times its cap is killed; up to it, logs are cut."""
TOUCHED = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP]
"""Signals that Python or we ignore; the experiment gets their defaults back."""
OWN_FAULT = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP", "SIGPIPE"}


class Job(TypedDict):
    """What the launcher asks for."""

    key: str
    argv: list[str]
    environment: dict[str, str]
    staging: str
    folders: list[str]
    """What the experiment may write: measured against `disk`."""
    in_namespace: bool
    """The exit status comes through bwrap, which reports signal n as 128 + n."""
    timeout_s: float
    memory: int
    processes: int
    disk: int
    output: int
    tier: str
    gpus: list[str]


def prctl(option: int, value: int) -> None:
    """Make one process control call."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


# --- what is printed -----------------------------------------------------------------------------


class Log(threading.Thread):
    """Empties one pipe for ever, so that the experiment never blocks; keeps head and tail."""

    def __init__(self, pipe: int, path: str, cap: int) -> None:
        super().__init__(daemon=True)
        self.printed = 0
        self._pipe = pipe
        self._half = max(1, cap // 2)
        self._tail: deque[bytes] = deque()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o644)

    def run(self) -> None:
        """Copy until every writer has closed the pipe."""
        written = kept = 0
        while chunk := os.read(self._pipe, 1 << 16):
            self.printed += len(chunk)
            head = chunk[: self._half - written]
            write_all(self._file, head)
            written += len(head)
            if len(chunk) > len(head):
                self._tail.append(chunk[len(head) :])
                kept += len(chunk) - len(head)
            while kept and kept - len(self._tail[0]) >= self._half:
                kept -= len(self._tail.popleft())

    def finish(self) -> None:
        """Write the tail behind a line that says what is missing."""
        self.join(2.0)
        tail = b"".join(list(self._tail))[-self._half :]
        missing = self.printed - min(self.printed, self._half) - len(tail)
        if missing > 0:
            write_all(self._file, f"\n[... {missing:,} bytes cut out here ...]\n".encode())
        write_all(self._file, tail)
        os.fsync(self._file)


def write_all(descriptor: int, content: bytes) -> None:
    """Write `content`; a full disk loses it, and the run goes on to its own end."""
    view = memoryview(content)
    with contextlib.suppress(OSError):
        while view:
            view = view[os.write(descriptor, view) :]


# --- one run -------------------------------------------------------------------------------------


class Watch:
    """Starts the job, measures it until it ends or passes a limit, and says how it ended."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.tree = Tree()
        self.peak = 0
        self.logs: list[Log] = []
        self.started = time.monotonic()
        self.started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._disk_due = self._tree_due = 0.0
        self.main = self._start()

    def _start(self) -> int:
        """Start the command in a session of its own, with nothing of ours open."""
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        ]
        ends = []
        for number, name in ((1, "stdout.log"), (2, "stderr.log")):
            reader, writer = os.pipe()
            path = os.path.join(self.job["staging"], name)
            self.logs.append(Log(reader, path, self.job["output"]))
            actions.append((os.POSIX_SPAWN_DUP2, writer, number))
            ends.append(writer)
        for log in self.logs:  # before the start: confine.py lists our threads, to protect them
            log.start()
        argv = self.job["argv"]
        pid = os.posix_spawn(
            argv[0], argv, self.job["environment"],
            file_actions=actions, setsid=True, setsigdef=TOUCHED,
        )  # fmt: skip
        for end in ends:
            os.close(end)
        return pid

    def passed(self) -> tuple[str, str] | None:
        """Return the limit that was passed and what was seen, or None."""
        job, now = self.job, time.monotonic()
        if now - self.started > job["timeout_s"]:
            return "timeout", f"stopped after {job['timeout_s']:g} s"
        printed = sum(log.printed for log in self.logs)
        if printed > FLOOD * job["output"]:
            return "output", f"printed {printed / 1e6:.0f} MB"
        if now < self._tree_due:
            return None
        processes = self.tree.processes()
        if len(processes) > job["processes"]:
            return "processes", f"{len(processes)} processes of at most {job['processes']}"
        used = resident(processes)
        if used > job["memory"]:
            used = proportional(processes)
        self.peak = max(self.peak, used)
        if used > job["memory"]:
            return "memory", f"{used / 1e9:.2f} GB of at most {job['memory'] / 1e9:.2f} GB"
        self._tree_due = now + max(POLL_S, SHARE * (time.monotonic() - now))
        return self.disk_passed(processes) if now >= self._disk_due else None

    def disk_passed(self, processes: list[int]) -> tuple[str, str] | None:
        """Measure the folders it may write and the files it holds open without a name."""
        now, limit = time.monotonic(), self.job["disk"]
        used = disk_used(self.job["folders"], limit)
        if processes and used <= limit:
            used += deleted_but_open(processes, os.stat(self.job["staging"]).st_dev)
        self._disk_due = now + max(4 * POLL_S, SHARE * (time.monotonic() - now))
        if used <= limit:
            return None
        return "disk", f"more than {limit / 1e9:.2f} GB, or too many or too deep folders"

    def until_end(self, wake: int, lifeline: int) -> tuple[str, str]:
        """Wait for the end, a limit, or word from the launcher; return the cause and the detail."""
        while True:
            ready, _, _ = select.select([wake, lifeline], [], [], POLL_S)
            if wake in ready and signal.SIGTERM in os.read(wake, 1024):
                return "abandoned", "the launcher is gone"
            if lifeline in ready:
                word = os.read(lifeline, 64)
                return ("cancelled", "") if word else ("abandoned", "the launcher is gone")
            self.tree.reap()
            if self.main in self.tree.status:
                return "ended", ""
            if breach := self.passed():
                return breach

    def outcome(self, cause: str, detail: str, seconds: float) -> dict[str, object]:
        """Return what outcome.json holds."""
        returncode = None
        if self.main in self.tree.status:
            returncode = os.waitstatus_to_exitcode(self.tree.status[self.main])
        if self.job["in_namespace"] and returncode is not None and 128 < returncode < 160:
            returncode = 128 - returncode
        if cause == "ended":
            cause, detail = self.verdict(returncode or 0)
        return {
            "key": self.job["key"],
            "cause": cause,
            "returncode": returncode if cause in ("exit", "crash", "killed") else None,
            "seconds": round(seconds, 4),
            "peak_memory_gb": round(self.peak / 1e9, 4),
            "started_at": self.started_at,
            "sandbox_tier": self.job["tier"],
            "gpus": self.job["gpus"],
            "host": os.uname().nodename,
            "reason": detail,
        }

    def verdict(self, returncode: int) -> tuple[str, str]:
        """Name the cause of an end that was not ours."""
        over = self.disk_passed([])
        if over is not None:
            return over
        if returncode >= 0:
            return ("crash" if returncode else "exit"), ""
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        if name == "SIGXFSZ":
            return "disk", "a file grew past the largest size allowed"
        return ("crash" if name in OWN_FAULT else "killed"), f"ended by {name}"


def supervise(job: Job, wake: int, lifeline: int) -> None:
    """Run one job to its end and write its outcome, unless nobody is there to read it."""
    watch = Watch(job)
    try:
        cause, detail = watch.until_end(wake, lifeline)
        seconds = time.monotonic() - watch.started
    finally:
        left = watch.tree.kill()
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    watch.peak = max(watch.peak, largest)
    for log in watch.logs:
        log.finish()
    if cause == "abandoned":
        return
    if left:
        detail = f"{detail}; still there after {GONE_S:g} s of killing: {left}".lstrip("; ")
    write_outcome(job["staging"], watch.outcome(cause, detail, seconds))


def write_outcome(staging: str, outcome: dict[str, object]) -> None:
    """Write outcome.json so that it is there whole or not at all."""
    final, new = (os.path.join(staging, name) for name in ("outcome.json", "outcome.json.new"))
    with open(new, "w", encoding="utf-8") as file:
        json.dump(outcome, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, final)
    folder = os.open(staging, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def guard() -> None:
    """Fork; the child returns and supervises, the parent outlives it and kills what it left."""
    above = os.getpid()
    child = os.fork()
    if child == 0:
        prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        prctl(36, 1)
        if os.getppid() != above:
            os.kill(os.getpid(), signal.SIGTERM)
        return
    os.close(0)  # the lifeline is the supervisor's
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # who sweeps asks the supervisor
    tree = Tree()
    while child not in tree.status:
        pid, status = os.waitpid(-1, 0)
        tree.status[pid] = status
    tree.kill()
    os._exit(0 if tree.status[child] == 0 else 1)


def read_job() -> Job:
    """Read the first line of standard input, and not a byte more."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(0, 1 << 16)
        if not piece:
            sys.exit(1)
        line += piece
    job: Job = json.loads(line)
    return job


def main() -> None:
    """Set the signals, split into guard and supervisor, and supervise."""
    prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    job = read_job()
    guard()
    wake, writer = os.pipe()
    for end in (wake, writer):
        os.set_blocking(end, False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda _number, _frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    supervise(job, wake, lifeline=0)
