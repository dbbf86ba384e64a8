"""Where runs happen: on this machine, its slots shared with everybody on it, or as Slurm jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ai_scientist.execution.local import LocalExecutor, work_of
from ai_scientist.execution.slurm.client import SlurmClient, client_environment
from ai_scientist.execution.slurm.executor import SlurmExecutor
from ai_scientist.execution.slurm.options import parse_slurm_options
from ai_scientist.execution.watching import WatchedExecutor
from ai_scientist.inputs.settings import Settings
from ai_scientist.machine.slots import (
    ElsewhereExecutor,
    SlotPool,
    default_lock_folder,
    gpu_trouble,
    list_gpus,
)
from ai_scientist.protocols import Executor, Sandbox


@dataclass(frozen=True, kw_only=True)
class Executors:
    """The two ways of running: what is short runs here, experiments where they were sent."""

    here: Executor
    """Shared data, plots, LaTeX."""
    runs: Executor
    gpus: int = 0
    """How many of this machine are lent to runs."""


def choose_executors(
    settings: Settings,
    sandbox: Sandbox,
    *,
    variables: Mapping[str, str],
    report: Callable[[str], None],
) -> Executors:
    """Return the executors that the settings ask for.

    `variables` tell which GPUs are visible and how Slurm's commands are found. Raises InputError
    for wrong Slurm options.
    """
    gpus = list_gpus(variables.get("CUDA_VISIBLE_DEVICES"))
    pool = SlotPool(
        default_lock_folder(),
        gpus=gpus,
        cores=len(os.sched_getaffinity(0)),
        trouble=gpu_trouble,
        work=work_of,
        report=report,
    )
    local = ElsewhereExecutor(
        LocalExecutor(sandbox, acquire=pool.acquire), trouble=gpu_trouble, report=report
    )
    here = WatchedExecutor(local, report)
    if settings.executor == "local":
        return Executors(here=here, runs=here, gpus=len(gpus))
    slurm = SlurmExecutor(
        SlurmClient(client_environment(variables)),
        parse_slurm_options(settings.slurm or ""),
        rehearse=local,
        allow_unsandboxed=settings.allow_unsandboxed,
        report=report,
    )
    return Executors(here=here, runs=WatchedExecutor(slurm, report))
