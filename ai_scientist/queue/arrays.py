"""Idea per job: each job of a Slurm array is a worker that takes the next idea of the queue.

The leases of the queue decide who runs what, so an array that was lost, doubled or cut short by a
time limit needs no bookkeeping: what is not done is still queued, and the next worker takes it.
The model must be reachable from the compute nodes; a job holds its GPUs while the model thinks.
"""

from __future__ import annotations

import contextlib
import secrets
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.errors import ScientistError, SetupError
from ai_scientist.execution.slurm.client import CouldNotAsk, Refused, SlurmClient
from ai_scientist.execution.slurm.options import SlurmOptions
from ai_scientist.queue.entries import Item, QueueState
from ai_scientist.queue.store import Queue

ASK_S = 5.0
LOOK_S = 1.0
MOST_IDLE = 3
"""Arrays in a row in which no idea began, before that is said."""
DAY_MINUTES = 24 * 60
WARN_S = 120
"""Seconds before the time limit at which Slurm tells a worker to stop, so that it is resumable."""


@dataclass
class ArrayWorkers:
    """Keeps as many workers in Slurm as there are ideas to start, `max_jobs` at most.

    `worker` is the command that runs one idea of the queue, started in `folder`. `variables` are
    the names of environment variables that the launcher needs there, such as OPENAI_API_KEY; their
    values are taken by sbatch from its own environment.
    """

    queue: Queue
    client: SlurmClient
    options: SlurmOptions
    worker: Sequence[str]
    folder: Path
    variables: Sequence[str]
    report: Callable[[str], None]

    def __post_init__(self) -> None:
        self._name = f"ais-queue-{secrets.token_hex(6)}"
        self._idle = 0
        self._begun = -1

    def run(self, over: Callable[[list[Item]], bool], watch: Callable[[list[Item]], None]) -> None:
        """Submit and watch until `over`; on Ctrl-C the jobs are cancelled and resumable.

        Raises SetupError when Slurm refuses, or when its jobs end without beginning an idea.
        """
        ask_at = 0.0
        try:
            while True:
                items = self.queue.items()
                watch(items)
                if over(items):
                    return
                if time.monotonic() >= ask_at and not self.queue.paused:
                    self._top_up(items)
                    ask_at = time.monotonic() + ASK_S
                time.sleep(LOOK_S)
        finally:
            with contextlib.suppress(ScientistError):
                self.client.cancel(self._name)

    def _top_up(self, items: Sequence[Item]) -> None:
        """Submit an array when Slurm has no worker left and ideas wait to be begun."""
        open_states = (QueueState.QUEUED, QueueState.RUNNING)
        wanted = sum(item.state.state in open_states for item in items)
        try:
            views = self.client.jobs(self._name)
        except CouldNotAsk as error:
            self.report(f"Slurm does not answer, waiting: {error.message}")
            return
        alive = [view for view in views if view.state in ("PENDING", "RUNNING", "CONFIGURING")]
        if alive or not wanted:
            return
        begun = sum(item.state.attempts for item in items)
        self._idle = self._idle + 1 if begun == self._begun else 0
        self._begun = begun
        if self._idle >= MOST_IDLE:
            raise SetupError(
                f"{MOST_IDLE} arrays of Slurm jobs ended without beginning an idea",
                hint=f"see {self.queue.folder}/slurm-*.out",
            )
        self._submit(wanted)

    def _submit(self, count: int) -> None:
        options = self.options
        script = self.queue.folder / "worker.sh"
        script.write_text(f"#!/bin/sh\nexec {shlex.join(self.worker)}\n")
        at_once = f"%{options.max_jobs}" if options.max_jobs else ""
        arguments = [
            f"--array=1-{count}{at_once}", "--nodes=1", "--ntasks=1",
            f"--cpus-per-task={options.cpus or 1}", f"--time={options.time or DAY_MINUTES}",
            *([f"--mem={options.mem}"] if options.mem else []),
            *options.gres(options.gpus or 0), *options.place(),
            f"--export={','.join(['PATH', 'HOME', 'USER', *self.variables])}",
            f"--signal=B:TERM@{WARN_S}", "--requeue", "--input=/dev/null",
            f"--chdir={self.folder}", f"--output={self.queue.folder}/slurm-%A_%a.out",
        ]  # fmt: skip
        try:
            job = self.client.submit(script, arguments, name=self._name)
        except Refused as error:
            known = ", ".join(self.client.partitions()) or "none that can be seen"
            raise SetupError(
                f"Slurm refuses the jobs: {error.message.splitlines()[-1]}",
                hint=f"this cluster's partitions: {known}",
            ) from None
        except CouldNotAsk as error:
            self.report(f"Slurm does not answer, waiting: {error.message}")
            return
        self.report(f"Slurm array {job}: {count} workers")
