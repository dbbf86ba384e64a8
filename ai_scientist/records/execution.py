"""What happens on the machine: one execution, asked for and observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class ExitCause(StrEnum):
    """How a process tree ended, seen from outside."""

    EXIT = "exit"
    """By itself, with status 0."""
    CRASH = "crash"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    DISK = "disk"
    OUTPUT = "output"
    PROCESSES = "processes"
    KILLED = "killed"
    """By a signal that was not ours."""
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """What one execution may use; enforced from outside its process tree."""

    timeout_s: float
    memory_gb: float = 16.0
    processes: int = 512
    disk_gb: float = 8.0
    output_mb: float = 16.0


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One execution to be made. Everything it needs is in here; nothing is inherited."""

    key: str
    """The effect's key, such as `run_3/execution_1`."""
    staging: Path
    """Folder of this execution: `source/` (a copy of the commit), logs and outcome.json."""
    out_name: str
    """The only folder below source/ that the process may write, such as `run_3`."""
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """The whole environment of the process."""
    readable: tuple[Path, ...]
    """Folders outside source/ that it may read: its interpreter, its data."""
    limits: RunLimits
    gpus: int = 0
    network: bool = False

    @property
    def threads(self) -> int:
        """How many cores it may keep busy: the threads that its environment grants it."""
        return int(self.environment.get("OMP_NUM_THREADS", "1"))


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What was observed of one execution."""

    key: str
    cause: ExitCause
    returncode: int | None
    seconds: float
    stdout: Path
    stderr: Path
    """Head and tail of what was printed; the middle is cut out past the cap."""
    started_at: str
    """UTC, ISO 8601."""
    peak_memory_gb: float = 0.0
    sandbox_tier: str = "none"
    gpus: tuple[str, ...] = ()
    host: str = ""
    reason: str = ""
    """What was seen, for causes other than EXIT: `2.10 GB of at most 2.00 GB`."""
