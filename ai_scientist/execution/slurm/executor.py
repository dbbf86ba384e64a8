"""Run each execution as a Slurm job, on a file system that login and compute nodes share.

    staging/request.json, job.json (the job's name, before it is submitted)
      ─► sbatch ─► on the node: job.py takes staging's lease ─► LocalExecutor ─► outcome.json
      ─► the file is there: done.  Else squeue: pending, running, ended how, gone, or could not ask

A job is found again by its name, not by its id: ids are used twice after a controller lost its
state. So a launcher that was killed finds its job, and waits for it or takes its result.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ai_scientist.errors import ScientistError, SetupError
from ai_scientist.execution.local import PACKAGE_PARENT, read_outcome
from ai_scientist.execution.slurm.client import CouldNotAsk, JobView, Refused, SlurmClient
from ai_scientist.execution.slurm.options import SlurmOptions
from ai_scientist.execution.supervisor import write_outcome
from ai_scientist.machine.leases import look_at_lease
from ai_scientist.protocols import Executor
from ai_scientist.records import Execution, ExitCause, RunRequest
from ai_scientist.run_folder.journal import write_atomically, write_json

LOOK_S = 0.25
ASK_S, ASK_MOST_S = 2.0, 30.0
GONE_TWICE_S = 5.0
LATE_FILE_S = 10.0
"""A file written on a node may be seen here this much later."""
MOST_LOST = 5
PATIENCE_S = 1800.0
"""What a controller that does not answer gets before a job is given up that it never took."""
SPARE_S = 180.0
"""Added to a run's own limit for the job's: start-up, and the end by our hand before Slurm's."""
LEASE_S = 60.0
START = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    " from ai_scientist.execution.slurm.job import main; main()"
)
ENDED = {
    "TIMEOUT": (ExitCause.TIMEOUT, "Slurm ended the job at its time limit ({limit})"),
    "DEADLINE": (ExitCause.TIMEOUT, "Slurm ended the job at its deadline"),
    "OUT_OF_MEMORY": (ExitCause.MEMORY, "Slurm ended the job for using more memory than {mem}"),
    "CANCELLED": (ExitCause.CANCELLED, "the Slurm job was cancelled from outside"),
}
RUN_AGAIN = {
    "PREEMPTED": "made room for another job",
    "NODE_FAIL": "lost its node",
    "BOOT_FAIL": "found no node that starts",
    "REVOKED": "was taken back by Slurm",
    "COMPLETED": "ended without leaving an outcome",
}
NEW, WAS_CANCELLED = "is new", "was cancelled"
ALIVE = frozenset(
    {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING",
     "STAGE_OUT", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESIZING",
     "RESV_DEL_HOLD"}
)  # fmt: skip
NEVER_STARTS = re.compile(
    r"PartitionTimeLimit|PartitionNodeLimit|BadConstraints|InvalidAccount|InvalidQOS|"
    r"AccountNotAllowed|QOSNotAllowed"
)


class SlurmExecutor:
    """Implements protocols.Executor with Slurm jobs. May be used by several threads.

    Rehearsals (profile smoke) run on this host through `rehearse`, when it is given: they take
    seconds, and waiting for a node takes minutes. `report` tells the person what a job waits for.
    """

    def __init__(
        self,
        client: SlurmClient,
        options: SlurmOptions,
        *,
        rehearse: Executor | None = None,
        allow_unsandboxed: bool = False,
        devices: Path | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._client = client
        self._options = options
        self._rehearse = rehearse
        self._job_settings = {
            "allow_unsandboxed": allow_unsandboxed,
            "devices": str(devices) if devices else None,
        }
        self._report = report
        self._cancelled = threading.Event()

    def run(self, request: RunRequest) -> Execution:
        """Run `request` as a job and return what was observed; nothing is left in Slurm.

        An outcome that is there is returned; a job of this staging folder that Slurm still knows
        is waited for. Raises SetupError when Slurm refuses the job or cannot run it.
        """
        if self._rehearse and request.environment.get("AI_SCIENTIST_PROFILE") == "smoke":
            return self._rehearse.run(request)
        gpus = request.gpus if self._options.gpus is None else self._options.gpus
        request = replace(request, staging=request.staging.resolve(), gpus=gpus)
        done = read_outcome(request)
        if done is not None and done.cause is not ExitCause.KILLED:
            return done
        job = Job(request, self._client, self._options, self._job_settings, self._report)
        try:
            return job.wait(self._cancelled)
        except BaseException:  # also Ctrl-C: nobody would wait for the job
            job.cancel()
            raise

    def cancel(self) -> None:
        """End every job of this executor now; each `run` returns cause CANCELLED."""
        self._cancelled.set()


class Job:
    """The Slurm jobs of one request: one at a time, and mostly one in all."""

    def __init__(
        self,
        request: RunRequest,
        client: SlurmClient,
        options: SlurmOptions,
        settings: Mapping[str, Any],
        report: Callable[[str], None],
    ) -> None:
        self._request = request
        self._client = client
        self._options = options
        self._settings = settings
        self._report = report
        self._staging = request.staging
        self._number = 0
        self._over = False
        self._lost = 0
        self._said = ""
        self._began = datetime.now(UTC).isoformat(timespec="milliseconds")
        with contextlib.suppress(OSError, ValueError, KeyError):
            intent = json.loads((self._staging / "job.json").read_text())
            self._number, self._over = int(intent["number"]), bool(intent["over"])

    @property
    def name(self) -> str:
        """The present submission's name: unique by the staging folder's path, and its number."""
        digest = hashlib.sha256(os.fsencode(self._staging)).hexdigest()[:16]
        return f"ais-{digest}-{self._number}"

    def wait(self, cancelled: threading.Event) -> Execution:
        """Submit what is not submitted, and wait for an end; again when the cluster lost it."""
        why = "" if self._number else NEW
        if self._number and self._over:
            why = WAS_CANCELLED
        while True:
            if why:
                self._submit(why)
            ended = self._watch(cancelled)
            if isinstance(ended, Execution):
                return ended
            why = ended
            self._say(f"its Slurm job {why}; it is submitted again")

    def cancel(self) -> None:
        """Cancel whatever of this request Slurm knows; the job's own end is not waited for."""
        with contextlib.suppress(ScientistError, OSError):
            if self._number:
                self._write_intent(over=True)
                self._client.cancel(self.name)

    # --- submitting ------------------------------------------------------------------------------

    def _submit(self, why: str) -> None:
        self._lost += why not in (NEW, WAS_CANCELLED, RUN_AGAIN["PREEMPTED"])
        if self._lost >= MOST_LOST:
            raise SetupError(
                f"{self._request.key}: {MOST_LOST} Slurm jobs were lost, the last one {why}",
                hint=f"see {self._staging}/slurm.out, and `sinfo` for the state of the nodes",
            )
        self._number += 1
        request = {**asdict(self._request), "environment": dict(self._request.environment)}
        write_atomically(self._staging / "request.json", json.dumps(request, default=str))
        program = [sys.executable, "-I", "-c", START, str(PACKAGE_PARENT), str(self._staging)]
        gpus = '"${SLURM_JOB_GPUS:-$CUDA_VISIBLE_DEVICES}"'
        script = self._staging / "job.sh"
        script.write_text(f"#!/bin/sh\nexec {shlex.join([*program, str(self._number)])} {gpus}\n")
        self._write_intent(over=False)  # before Slurm hears of it
        patience = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._client.submit(script, self._arguments(), name=self.name)
                return
            except Refused as error:
                raise self._refusal(error) from None
            except CouldNotAsk as error:
                if time.monotonic() > patience:
                    raise SetupError(error.message, hint="is Slurm up? try `sinfo`") from None
                self._say(f"Slurm does not answer, waiting: {error.message}")
            time.sleep(ASK_S)
            with contextlib.suppress(CouldNotAsk):  # it may have taken the job all the same
                if self._client.jobs(self.name):
                    return

    def _write_intent(self, *, over: bool) -> None:
        intent = {"name": self.name, "number": self._number, "over": over, **self._settings}
        write_json(self._staging / "job.json", intent)

    def _arguments(self) -> list[str]:
        request, options = self._request, self._options
        cpus = options.cpus or request.threads
        return [
            "--nodes=1", "--ntasks=1", f"--cpus-per-task={cpus}", f"--mem={self._memory}",
            f"--time={self._time}", *options.gres(request.gpus), *options.place(),
            "--export=PATH", "--requeue", "--open-mode=append", "--input=/dev/null",
            f"--chdir={self._staging}", f"--output={self._staging}/slurm.out",
        ]  # fmt: skip

    @property
    def _memory(self) -> str:
        return self._options.mem or f"{math.ceil(self._request.limits.memory_gb * 1100)}M"

    @property
    def _time(self) -> str:
        return self._options.time or str(math.ceil((self._request.limits.timeout_s + SPARE_S) / 60))

    def _refusal(self, error: Refused) -> SetupError:
        last = error.message.splitlines()[-1]
        message = re.sub(r"(sbatch|error|Batch job submission failed): ", "", last).lower()
        hint = "correct --slurm; `sinfo` and `sacctmgr show assoc user=$USER` show what there is"
        if "partition" in message.lower():
            known = ", ".join(self._client.partitions())
            hint = f"this cluster's partitions: {known or 'none that can be seen'}"
        return SetupError(f"Slurm refuses the job: {message}", hint=hint)

    # --- waiting ---------------------------------------------------------------------------------

    def _watch(self, cancelled: threading.Event) -> Execution | str:
        """Return the outcome, or why the job has to be submitted again."""
        ask_s, ask_at, gone_since = ASK_S, time.monotonic() + ASK_S / 2, 0.0
        while True:
            done = read_outcome(self._request)
            if done is not None and (ended := self._believe(done)) is not None:
                return ended
            if cancelled.is_set():
                self.cancel()
                return self._store(ExitCause.CANCELLED, "cancelled")
            now = time.monotonic()
            if now >= ask_at:
                ask_at, ask_s = now + ask_s, min(ASK_MOST_S, 1.3 * ask_s)
                try:
                    views = self._client.jobs(self.name)
                except CouldNotAsk as error:
                    self._say(f"Slurm does not answer, waiting: {error.message}")
                    views = None
                if views:
                    gone_since = 0.0
                    if (ended := self._judge(views[0])) is not None:
                        return ended
                elif views is not None and not self._works():
                    gone_since = gone_since or now
                    ask_at = min(ask_at, now + ASK_S)
                    if now - gone_since > GONE_TWICE_S:
                        return self._late_outcome() or "is unknown to Slurm"
            time.sleep(LOOK_S)

    def _believe(self, done: Execution) -> Execution | str | None:
        """Return an outcome as it is, unless the run was killed: then Slurm may know by whom.

        Who ends a job kills all its processes at once; the supervisor may live a moment longer than
        its run, and then reports what it saw. None: Slurm has queued the same job again.
        """
        deadline = time.monotonic() + LATE_FILE_S
        while done.cause is ExitCause.KILLED and time.monotonic() < deadline:
            state = ""
            with contextlib.suppress(CouldNotAsk):
                state = next((view.state for view in self._client.jobs(self.name)), "GONE")
            if state in ENDED:
                return self._ended(state)
            if (state in RUN_AGAIN and state != "COMPLETED") or state in ("PENDING", "REQUEUED"):
                (self._staging / "outcome.json").unlink(missing_ok=True)
                return RUN_AGAIN.get(state)
            if state in ("GONE", "COMPLETED", "FAILED"):
                break
            time.sleep(4 * LOOK_S)
        return done

    def _ended(self, state: str) -> Execution:
        cause, words = ENDED[state]
        return self._store(cause, words.format(limit=self._time, mem=self._memory))

    def _judge(self, view: JobView) -> Execution | str | None:
        """Return the end that a state means, or None while the job lives."""
        if view.state in ALIVE:
            if "launch failed" in view.reason:  # held by Slurm, for a person to look at
                with contextlib.suppress(CouldNotAsk):
                    self._client.cancel(self.name)
                return "could not be launched on its node"
            if view.state == "PENDING" and NEVER_STARTS.search(view.reason):
                raise SetupError(
                    f"Slurm will never start the job {view.job_id}: {view.reason}",
                    hint="ask for less with --slurm (time=, gpus=, mem=), or another partition=",
                )
            waits = f" ({view.reason})" if view.reason not in ("None", "") else ""
            self._say(f"Slurm job {view.job_id} is {view.state.lower()}{waits}")
            return None
        done = self._late_outcome()
        if done is not None:
            return self._believe(done)
        if view.state in ENDED:
            return self._ended(view.state)
        if view.state in RUN_AGAIN:
            return RUN_AGAIN[view.state]
        raise SetupError(
            f"the Slurm job {view.job_id} of {self._request.key} failed before the run: "
            f"{last_line(self._staging / 'slurm.out')}",
            hint=f"see {self._staging}/slurm.out; compute nodes must see this folder and "
            f"{PACKAGE_PARENT}",
        )

    def _works(self) -> bool:
        """Whether a process on some node holds the staging folder, whatever Slurm says."""
        newest = look_at_lease(self._staging, expiry_s=LEASE_S)
        return newest is not None and newest.alive

    def _late_outcome(self) -> Execution | None:
        """Look once more for a file that the network may show late, if a job had begun."""
        began = (self._staging / "lease.1").exists()
        deadline = time.monotonic() + (LATE_FILE_S if began and not self._is_local() else 0)
        while (done := read_outcome(self._request)) is None and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        return done

    def _is_local(self) -> bool:
        newest = look_at_lease(self._staging, expiry_s=LEASE_S)
        return bool(newest and newest.holder and newest.holder.is_near)

    def _store(self, cause: ExitCause, reason: str) -> Execution:
        """Write the outcome that the job could not write itself, and return it."""
        if cause is ExitCause.CANCELLED:
            self._write_intent(over=True)
        newest = look_at_lease(self._staging, expiry_s=LEASE_S)
        began = time.time()
        with contextlib.suppress(OSError):
            began = (self._staging / "began").stat().st_mtime
        outcome: dict[str, object] = {
            "key": self._request.key,
            "cause": str(cause),
            "returncode": None,
            "seconds": round(max(0.0, time.time() - began), 1),
            "peak_memory_gb": 0.0,
            "started_at": self._began,
            "sandbox_tier": "unknown",
            "gpus": [],
            "host": newest.holder.host if newest and newest.holder else "",
            "reason": reason,
        }
        write_outcome(str(self._staging), outcome)
        done = read_outcome(self._request, cancelled=True)
        assert done is not None
        return done

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            self._report(f"{self._request.key}: {line}")


def last_line(path: Path) -> str:
    """Return the last line of a file that says something."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return f"{path.name} was never written"
    said = [line for line in lines if not line.startswith("hint: ")]
    return said[-1][:500] if said else "nothing was printed"
