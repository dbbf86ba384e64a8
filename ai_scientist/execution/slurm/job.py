"""What runs inside a Slurm job: the same executor, supervisor and sandbox as everywhere.

Started by the script that executor.py writes: `… PACKAGE_PARENT STAGING NUMBER GPUS`.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from ai_scientist.errors import ScientistError, SetupError
from ai_scientist.execution.local import LocalExecutor, read_outcome
from ai_scientist.execution.slurm.executor import LEASE_S
from ai_scientist.machine.leases import Lease, take_lease
from ai_scientist.protocols import Sandbox
from ai_scientist.records import ExitCause, RunLimits, RunRequest
from ai_scientist.sandbox.choice import choose_sandbox


def main() -> None:
    """Run the request of a staging folder on the GPUs of this job; exit 0 with an outcome."""
    _, _, staging, number, gpus = sys.argv
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run_job(Path(staging), int(number), tuple(filter(None, gpus.split(","))))
    except ScientistError as error:
        print(f"error: {error.message}\nhint: {error.hint}", flush=True)
        sys.exit(2)


def run_job(staging: Path, number: int, gpus: tuple[str, ...]) -> None:
    """Take the staging folder's lease and run its request, unless a later job is to do that."""
    intent = json.loads((staging / "job.json").read_text())
    if intent["number"] != number:
        print(f"job {intent['name']} does this", flush=True)
        return
    request = request_from_json(json.loads((staging / "request.json").read_text()))
    if len(gpus) < request.gpus:
        raise SetupError(
            f"the job got {len(gpus)} GPUs of {request.gpus}: {', '.join(gpus) or 'none'}",
            hint="the cluster's gres.conf must name the GPUs' device files",
        )
    lease = wait_for_lease(staging)
    stop = threading.Event()
    threading.Thread(target=keep, args=(lease, stop), daemon=True).start()
    (staging / "began").touch()
    left = read_outcome(request)
    if (
        left is not None and left.cause is ExitCause.KILLED
    ):  # with this job, before Slurm requeued it
        (staging / "outcome.json").unlink()
    try:
        lent = gpus[: request.gpus]
        executor = LocalExecutor(sandbox_here(intent), acquire=lambda *_: nullcontext(lent))
        executor.run(request)
    finally:
        stop.set()
        lease.release()


def wait_for_lease(staging: Path) -> Lease:
    """Take the lease; one left by a job that was killed on another node ends by itself."""
    deadline = time.monotonic() + 3 * LEASE_S
    while (lease := take_lease(staging, expiry_s=LEASE_S)) is None:
        if time.monotonic() > deadline:
            raise SetupError(f"another job works in {staging}", hint="scancel one of them")
        time.sleep(1)
    return lease


def keep(lease: Lease, stop: threading.Event) -> None:
    """Touch the lease until told to stop."""
    while not stop.wait(LEASE_S / 6):
        with contextlib.suppress(OSError, ScientistError):
            lease.beat()


def sandbox_here(settings: Mapping[str, Any]) -> Sandbox:
    """Return the strongest sandbox of this node, over stand-in devices where they are named."""
    with tempfile.TemporaryDirectory() as probe:
        sandbox = choose_sandbox(
            allow_unsandboxed=bool(settings["allow_unsandboxed"]), probe_folder=Path(probe)
        )
    devices = settings["devices"]
    if devices and is_dataclass(sandbox) and "devices" in {item.name for item in fields(sandbox)}:
        return replace(sandbox, devices=Path(devices))
    return sandbox


def request_from_json(stored: dict[str, Any]) -> RunRequest:
    """Rebuild the request that was written beside the job's script."""
    return RunRequest(
        **stored
        | {
            "staging": Path(stored["staging"]),
            "command": tuple(stored["command"]),
            "readable": tuple(Path(path) for path in stored["readable"]),
            "limits": RunLimits(**stored["limits"]),
        }
    )
