"""Workers: take ideas from the queue, run each as a launcher process, and settle how it ended.

    claim (lease) -> run folder into state.json -> launcher --run-dir … -> exit code -> state.json

One thread, one process per idea. Whatever kills us, the idea's state says `running`, its lease
ends, and the next worker runs the same command on the same folder, which resumes it. A launcher
gets SIGTERM from the kernel when its worker dies; one that lives on is ended by who takes over.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ai_scientist.machine.leases import LeaseLost, look_at_lease
from ai_scientist.queue.entries import (
    Item,
    QueueState,
    blocked_by,
    decisions,
    disk_trouble,
    utc_now,
)
from ai_scientist.queue.store import Claim, Queue
from ai_scientist.run_folder.journal import write_atomically

GRACE_S = 15.0
"""What a launcher gets to stop by itself, Slurm jobs included, before its tree is killed."""
MOST_LOST = 5
POLL_S = 0.1
SCAN_S = 1.0
SCAN_SHARE = 10
"""A look at the whole queue that took t seconds is taken again after SCAN_SHARE * t at least."""
LIBC = ctypes.CDLL(None)

CommandFor = Callable[[Item], Sequence[str]]
StopReason = Literal["cancel", "pause", "interrupt"]


@dataclass
class Job:
    """A launcher that works for us."""

    claim: Claim
    process: subprocess.Popen[bytes]
    log_from: int
    """Where this start's output begins in output.log."""
    beat_at: float
    started: float = field(default_factory=time.time)
    stopping: StopReason | None = None
    kill_at: float = 0.0


class Workers:
    """Runs up to `places` ideas of a queue at once, `most` in all. Not for several threads."""

    def __init__(
        self,
        queue: Queue,
        *,
        places: int,
        command_for: CommandFor,
        report: Callable[[str], None],
        most: int | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._queue = queue
        self._places = places
        self._command_for = command_for
        self._report = report
        self._left = most if most is not None else sys.maxsize
        self._grace_s = grace_s
        self._candidates: list[Item] = []
        self._scan_at = 0.0
        self.items: list[Item] = []
        self.jobs: dict[str, Job] = {}

    def run(self, over: Callable[[list[Item]], bool], watch: Callable[[list[Item]], None]) -> None:
        """Work until `over`, asked after each look at the queue while nothing runs here.

        `watch` is shown the items of each look. On Ctrl-C or an error every launcher is stopped
        first; its idea is queued again and goes on where it was.
        """
        try:
            while True:
                self._attend()
                looked = self._look()
                if looked:
                    watch(self.items)
                if not self._queue.paused:
                    self._fill()
                idle = looked and not self.jobs
                if idle and (self._left <= 0 or (not self._candidates and over(self.items))):
                    return
                time.sleep(POLL_S)
        finally:
            self.stop_all("interrupt")

    def stop_all(self, why: StopReason) -> None:
        """Stop every launcher and wait until its tree is gone."""
        for job in self.jobs.values():
            self._stop(job, why)
        while self.jobs:
            self._attend()
            time.sleep(POLL_S / 2)

    # --- starting --------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Read the queue again when it is time, and tell whether that was done."""
        now = time.monotonic()
        if now < self._scan_at:
            return False
        self.items = self._queue.items()
        states = {item.id: item.state.state for item in self.items}
        self._candidates = [
            item for item in self.items if not blocked_by(item, states) and self._may_start(item)
        ]
        self._scan_at = now + max(SCAN_S, SCAN_SHARE * (time.monotonic() - now))
        return True

    def _may_start(self, item: Item) -> bool:
        if item.id in self.jobs:
            return False
        match item.state.state:
            case QueueState.QUEUED:
                return True
            case QueueState.WAITING:
                return bool(decisions(item))
            case QueueState.RUNNING:
                return self._queue.is_lost(item)
            case _:
                return False

    def _fill(self) -> None:
        while len(self.jobs) < self._places and self._candidates and self._left > 0:
            item = self._candidates.pop(0)
            before = look_at_lease(item.folder, expiry_s=self._queue.expiry_s)
            claim = self._queue.claim(item.id)
            if claim is None:
                continue
            try:
                if before and before.child and before.child.is_near and not before.child.is_dead:
                    kill_tree(before.child.pid)
                started = (
                    self._may_start(claim.item) or claim.item.state.state is QueueState.RUNNING
                )
                if not (started and self._start(claim)):
                    claim.lease.release()
            except BaseException:
                claim.lease.release()
                raise

    def _start(self, claim: Claim) -> bool:
        """Start the launcher; False when there is nothing to start after all."""
        item, state = claim.item, claim.item.state
        if self._take_cancel(item):
            claim.write(state=QueueState.CANCELLED, reason="cancelled", finished_at=utc_now())
            return False
        if state.state is QueueState.RUNNING and state.lost + 1 >= MOST_LOST:
            reason = f"its worker died {MOST_LOST} times in a row"
            claim.write(state=QueueState.FAILED, reason=reason, finished_at=utc_now())
            return False
        lost = state.lost + 1 if state.state is QueueState.RUNNING else state.lost
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = self._queue.runs_dir.absolute() / f"{stamp}_{item.id.replace('.', '_')}"
        with disk_trouble(item.folder, "nothing was started"):
            if not (item.folder / "idea.json").exists():
                idea = json.dumps(dict(item.entry.idea), indent=2, ensure_ascii=False)
                write_atomically(item.folder / "idea.json", idea + "\n")
        claim.write(
            state=QueueState.RUNNING, reason="", run_dir=state.run_dir or str(folder), lost=lost,
            attempts=state.attempts + 1, started_at=utc_now(), finished_at=None,
        )  # fmt: skip
        self._left -= 1
        self._spawn(claim)
        return True

    def _spawn(self, claim: Claim) -> None:
        log = claim.item.folder / "output.log"
        above = os.getpid()

        def tie_to_us() -> None:
            LIBC.prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != above:
                os._exit(130)

        with log.open("ab") as output:
            process = subprocess.Popen(
                list(self._command_for(claim.item)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=tie_to_us,  # noqa: PLW1509  # this process has one thread
            )
            position = output.tell()
        claim.lease.name_child(process.pid)
        beat_at = time.monotonic() + self._queue.expiry_s / 4
        self.jobs[claim.item.id] = Job(
            claim=claim, process=process, log_from=position, beat_at=beat_at
        )
        again = ", going on" if claim.item.state.attempts > 1 else ""
        self._report(f"{claim.item.id}: running{again}, {claim.item.state.run_dir}")

    # --- watching --------------------------------------------------------------------------------

    def _attend(self) -> None:
        """Touch leases, read inboxes, and settle what has ended."""
        stopped = self._queue.stopped if self.jobs else False
        for job in list(self.jobs.values()):
            if job.process.poll() is not None:
                self._settle(job)
                continue
            now = time.monotonic()
            try:
                if now >= job.beat_at:
                    job.claim.lease.beat()
                    job.beat_at = now + self._queue.expiry_s / 4
            except LeaseLost as error:
                kill_tree(job.process.pid, job.process)
                del self.jobs[job.claim.item.id]
                self._report(f"{job.claim.item.id}: {error.message}; stopped here")
                continue
            if job.stopping is None and self._take_cancel(job.claim.item):
                self._stop(job, "cancel")
            elif job.stopping is None and stopped:
                self._stop(job, "pause")
            elif job.stopping and now >= job.kill_at:
                kill_tree(job.process.pid, job.process)

    def _take_cancel(self, item: Item) -> bool:
        word = item.folder / "inbox" / "cancel"
        if not word.exists():
            return False
        with contextlib.suppress(OSError):
            word.unlink()
        return True

    def _stop(self, job: Job, why: StopReason) -> None:
        job.stopping = why
        job.kill_at = time.monotonic() + self._grace_s
        with contextlib.suppress(ProcessLookupError):
            job.process.send_signal(signal.SIGTERM)

    def _settle(self, job: Job) -> None:
        """Record how a launcher ended, and free its place."""
        item = job.claim.item
        del self.jobs[item.id]
        self._scan_at = 0.0
        kill_session(job.process.pid)
        state, reason, lost = self._judge(job)
        seen: tuple[str, ...] = ()
        if state is QueueState.WAITING:
            seen = tuple(decisions(item)) + item.state.seen
        finished_at = None if state is QueueState.QUEUED else utc_now()
        try:
            job.claim.write(
                state=state, reason=reason, lost=lost, seen=seen, finished_at=finished_at
            )
        finally:
            job.claim.lease.release()
        self._report(f"{item.id}: {state}{': ' if reason else ''}{reason}")

    def _judge(self, job: Job) -> tuple[QueueState, str, int]:
        """Return the state, the reason and the count of lost starts that an exit code means."""
        code = job.process.returncode
        lost = job.claim.item.state.lost
        match code:
            case 0:
                return QueueState.DONE, "", 0
            case 3:
                return QueueState.WAITING, self._reason(job, "a person's decision is needed"), 0
            case _ if job.stopping == "cancel":
                return QueueState.CANCELLED, "cancelled while it ran", 0
            case _ if job.stopping:
                return QueueState.QUEUED, "interrupted", lost
            case 1 | 2:
                return QueueState.FAILED, self._reason(job, f"it ended with status {code}"), 0
            case 130 | 143:
                end = "interrupted from outside"
            case _ if code < 0:
                end = f"killed from outside by {signal_name(-code)}"
            case _:
                return QueueState.FAILED, self._reason(job, f"it ended with status {code}"), 0
        if lost + 1 >= MOST_LOST:
            return QueueState.FAILED, f"{end}, {MOST_LOST} times in a row", lost + 1
        return QueueState.QUEUED, end, lost + 1

    def _reason(self, job: Job, otherwise: str) -> str:
        """Return what the launcher said: its error line, else its report."""
        with contextlib.suppress(OSError), (job.claim.item.folder / "output.log").open("rb") as log:
            log.seek(max(job.log_from, log.seek(0, os.SEEK_END) - 20_000))
            lines = log.read().decode(errors="replace").strip().splitlines()
            for line in reversed(lines):
                if line.startswith(("error: ", "waiting: ")):
                    return line.partition(": ")[2][:500]
            if lines and "Error" in lines[-1]:
                otherwise = f"{otherwise}: {lines[-1][:300]}"
        with contextlib.suppress(OSError, ValueError, TypeError):
            path = Path(job.claim.item.state.run_dir or "") / "report.json"
            if path.stat().st_mtime >= job.started - 1:
                report = json.loads(path.read_text())
                said = [str(report[key]) for key in ("stop", "reason") if report.get(key)]
                return ": ".join(said)[:500] or otherwise
        return otherwise


# --- processes -----------------------------------------------------------------------------------


def kill_tree(pid: int, process: subprocess.Popen[bytes] | None = None) -> None:
    """Kill a process and all its descendants, until none is left; at most GRACE_S."""
    import psutil

    try:
        tree = [psutil.Process(pid)]
        tree += tree[0].children(recursive=True)
    except psutil.NoSuchProcess:
        tree = []
    for one in tree:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            tree += [new for new in one.children(recursive=True) if new not in tree]
            one.kill()
    psutil.wait_procs([one for one in tree if one.pid != pid or process is None], timeout=GRACE_S)
    if process is not None:
        process.wait()


def kill_session(leader: int) -> None:
    """Kill what a launcher that has ended left in its own session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def signal_name(number: int) -> str:
    """Return a signal's name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
