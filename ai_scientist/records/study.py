"""What stays: runs, attempts, checks, findings, verdicts, and the study of all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from ai_scientist.records.inputs import Hypothesis, Idea, MetricSpec
from ai_scientist.records.plain import Scalar


@dataclass(frozen=True, kw_only=True)
class Results:
    """final_info.json, flattened. A path joins the keys down to a number with `/`.

    The container keys `means` and `final_info` are left out of paths, so that a metric of one run
    has the same path in its mean, its standard error and its values per seed.
    """

    metrics: Mapping[str, float]
    stderr: Mapping[str, float] = field(default_factory=dict)
    seeds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Per-seed values, in the order of the seeds."""
    config: Mapping[str, Scalar] = field(default_factory=dict)
    """Resolved configuration, by path."""
    measured: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    """For an evaluation: what it says it measured (weight hash, width, architecture, hook…)."""
    not_run: Mapping[str, str] = field(default_factory=dict)
    """Evaluation or metric -> the reason it has no number."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One gate's verdict on one edit or run."""

    gate: str
    verdict: Literal["passed", "refused", "not decidable", "finding"]
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What the gates say of one candidate."""

    checks: tuple[Check, ...]
    repairable: bool = False
    """The candidate failed when it ran: the coder goes on from it, instead of from before it."""
    log_tail: str = ""
    lines_ran: tuple[int, ...] | None = None
    """Lines of experiment.py that the rehearsal reached; None when nobody knows."""

    @property
    def refused(self) -> Check | None:
        """The gate that refused, if one did."""
        return next((check for check in self.checks if check.verdict == "refused"), None)

    @property
    def seconds(self) -> float:
        """How long the gates took, rehearsals included."""
        return sum(check.seconds for check in self.checks)


class AttemptKind(StrEnum):
    """Why an edit or an execution led to no valid run. The value names its prompt."""

    NOT_APPLIED = "not_applied"
    REFUSED = "refused"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    LIMIT = "limit"
    """Stopped for memory, disk, output or processes."""
    NO_RESULT = "no_result"
    REJECTED = "rejected"
    """By a person."""


NEVER_RAN = frozenset({AttemptKind.NOT_APPLIED, AttemptKind.REFUSED, AttemptKind.REJECTED})
"""Kinds of attempts that cost no execution; all others are executions that failed."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An edit or execution that led to no valid run: kept, counted, shown."""

    step: str
    """The effect that failed, such as `run_3/edit_2` or `run_3/execution_1`."""
    run: str
    kind: AttemptKind
    reason: str
    """Worded for the coder."""
    gate: str = ""
    executions: int = 0
    """How often experiment.py was run for it: once for each seed, up to the one that failed."""
    seconds: float = 0.0
    gpu_hours: float = 0.0
    cost_usd: float | None = None
    diff: str = ""
    log: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One valid run: its capsule (run.json) and its results."""

    name: str
    """`run_0` is the baseline."""
    title: str
    results: Results
    commit: str = ""
    diff_sha256: str = ""
    command: tuple[str, ...] = ()
    profile: str = ""
    seeds: tuple[int, ...] = (0,)
    config_diff_baseline: Mapping[str, tuple[Scalar, Scalar]] = field(default_factory=dict)
    """Configuration path -> (value in the baseline, value here)."""
    config_diff_previous: Mapping[str, tuple[Scalar, Scalar]] = field(default_factory=dict)
    confounded: tuple[str, ...] = ()
    """Configuration keys that moved without standing in the idea's `Varies`."""
    checks: tuple[Check, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, Scalar] = field(default_factory=dict)
    sandbox_tier: str = ""
    started_at: str = ""
    seconds: float = 0.0
    gpu_hours: float = 0.0
    exit_cause: str = ""
    """How it ended, seen from outside: `exit`, since nothing else is valid; empty when `given`."""
    provenance: str = "measured"
    """`measured` by us, or `given` with a foreign template."""
    arms: Mapping[str, Results] = field(default_factory=dict)
    """Control arms run with this run's code: name -> results."""
    step: str = ""
    """The accepted edit, such as `run_3/edit_2`."""
    measured_with: str = ""
    """Fingerprint of frozen files, data, environment, profile and kind of machine."""
    cost_usd: float | None = None
    """Of the accepted edit's model calls; None is unknown, or that none were made."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something a reader must know; `kind` is one of those in docs/numbers.md."""

    kind: str
    detail: str
    run: str = ""
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class OpenNumber:
    """A typed number of the notes or the paper whose words leave open what it is."""

    text: str
    where: str
    """File and line."""
    why: str
    """What leaves it open, and what it could be."""


class Verdict(StrEnum):
    """What our code says of a hypothesis."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNDECIDED = "undecided within noise"
    NOT_TESTABLE = "not testable"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A hypothesis, the verdict, and why."""

    hypothesis: Hypothesis
    verdict: Verdict
    reason: str
    run: str = ""
    """The run that decided it."""


class Stop(StrEnum):
    """Why the experiments ended. The value is printed and recorded."""

    COMPLETED = "completed"
    """The coder said so after at least one valid run."""
    RUN_LIMIT = "run limit"
    EXECUTION_LIMIT = "execution limit"
    FAILURE_LIMIT = "failure limit"


@dataclass(frozen=True, kw_only=True)
class Experiments:
    """The outcome of the experiments of one idea."""

    stop: Stop
    runs: Mapping[str, Run]
    """Valid runs by name, `run_0` first."""
    attempts: tuple[Attempt, ...]
    uninterpreted: Run | None = None
    """The last valid run, when no reply of the coder has spoken of it yet."""

    @property
    def succeeded(self) -> bool:
        """Whether anything besides the baseline was measured."""
        return len(self.runs) > 1


@dataclass(frozen=True, kw_only=True)
class Study:
    """All that one run folder holds, ours or another system's."""

    folder: Path
    idea: Idea
    runs: Mapping[str, Run]
    """Valid runs by name, `run_0` first, in numeric order."""
    attempts: tuple[Attempt, ...] = ()
    hypotheses: tuple[Hypothesis, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    findings: tuple[Finding, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, MetricSpec] = field(default_factory=dict)
    primary_metric: str | None = None
    stop: str = ""
    foreign: bool = False
