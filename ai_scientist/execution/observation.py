"""One execution as the loop sees it: results, or the reason there are none, in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from ai_scientist.records import AttemptKind, Execution, ExitCause, Json, Results, RunLimits
from ai_scientist.redaction import redacted
from ai_scientist.results.files import results_from_json, results_to_json

LOG_TAIL_CHARACTERS = 3000
EXCEPTION_CHARACTERS = 200
TRACEBACK = "Traceback (most recent call last):\n"
FAILURES = {
    ExitCause.CRASH: AttemptKind.CRASHED,
    ExitCause.KILLED: AttemptKind.CRASHED,
    ExitCause.CANCELLED: AttemptKind.CRASHED,
    ExitCause.TIMEOUT: AttemptKind.TIMED_OUT,
    ExitCause.MEMORY: AttemptKind.LIMIT,
    ExitCause.DISK: AttemptKind.LIMIT,
    ExitCause.OUTPUT: AttemptKind.LIMIT,
    ExitCause.PROCESSES: AttemptKind.LIMIT,
}


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One execution with what it left: results, or the reason there are none."""

    key: str
    cause: str
    returncode: int | None
    seconds: float
    gpu_hours: float
    started_at: str
    sandbox_tier: str
    peak_memory_gb: float
    log_tail: str
    results: Results | None = None
    failure: AttemptKind | None = None
    problem: str = ""
    """Why there are no results, worded for the coder."""
    lines_ran: tuple[int, ...] | None = None
    """Lines of experiment.py that ran; None when that was not recorded."""
    frozen_touched: tuple[str, ...] = ()
    """Frozen files that the commit had changed; the template's own were put in their place."""


def tail_of_logs(execution: Execution) -> str:
    """Return the end of what was printed, errors first: that is where a traceback stands."""
    for path in (execution.stderr, execution.stdout):
        if text := _read(path).strip():
            return redacted(text[-2 * LOG_TAIL_CHARACTERS :])[-LOG_TAIL_CHARACTERS:]
    return ""


def exception_of(execution: Execution) -> str:
    """Return the line that names the exception of the last traceback; empty without one."""
    _, found, after = _read(execution.stderr).rpartition(TRACEBACK)
    lines = (line for line in after.splitlines() if line and not line[0].isspace())
    return redacted(next(lines, ""))[:EXCEPTION_CHARACTERS] if found else ""


def _read(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def describe_failure(execution: Execution, limits: RunLimits) -> str:
    """Say in one sentence, for the coder, how an execution ended."""
    match execution.cause:
        case ExitCause.TIMEOUT:
            took, limit = f"{execution.seconds:.0f} s", f"{limits.timeout_s:g} s"
            return f"it was stopped after {took}: the limit is {limit}"
        case ExitCause.MEMORY:
            return (
                f"it was stopped at {execution.peak_memory_gb:.1f} GB of memory: "
                f"the limit is {limits.memory_gb:g} GB"
            )
        case ExitCause.DISK:
            return f"it was stopped for writing more than {limits.disk_gb:g} GB"
        case ExitCause.OUTPUT:
            return "it was stopped for printing without end"
        case ExitCause.PROCESSES:
            return f"it was stopped for starting more than {limits.processes} processes"
        case ExitCause.KILLED | ExitCause.CANCELLED:
            how = execution.reason or f"status {execution.returncode}"
            return f"it was killed from outside: {how}"
        case _:
            ended = f"it ended with status {execution.returncode}"
            exception = exception_of(execution)
            return f"{ended}: {exception}" if exception else ended


def observation_from_json(stored: Json) -> Observation:
    """Rebuild an Observation from a journal line."""
    results = stored["results"]
    failure = stored["failure"]
    lines = stored.get("lines_ran")
    return Observation(
        **{
            **stored,
            "lines_ran": tuple(lines) if lines is not None else None,
            "frozen_touched": tuple(stored.get("frozen_touched", ())),
            "results": results_from_json(results) if results is not None else None,
            "failure": AttemptKind(failure) if failure else None,
        }
    )


def observation_to_json(observation: Observation) -> Json:
    """Return the journal's form of an Observation."""
    stored = asdict(observation)
    stored["results"] = results_to_json(observation.results) if observation.results else None
    stored["failure"] = str(observation.failure) if observation.failure else None
    return stored
