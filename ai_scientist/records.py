"""The values that flow through the program: frozen, and importing nothing of the package.

An `Idea` and a `Template` enter; `Edit`s and `Execution`s happen; `Run`s and `Attempt`s stay; a
`Study` is all of it, read back from a folder, for whoever writes, judges or shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

Json = dict[str, Any]
Scalar = float | int | str | bool | None
Direction = Literal["increase", "decrease", "none"]


# --- what a person brings ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One prediction, fixed before the first edit and judged by our code at the end."""

    metric: str
    """A metric's name: the shortest unique suffix of its path."""
    direction: Literal["increase", "decrease"]
    against: str = "run_0"
    min_effect: float = 0.0
    """Smallest change that counts, in the metric's own unit."""
    proposed_by: Literal["idea", "model"] = "idea"


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A price a hypothesis may not be paid with, such as dead latents or fidelity."""

    metric: str
    direction: Literal["increase", "decrease"]
    """The direction in which the metric may not move by more than `limit`."""
    limit: float
    kind: Literal["relative", "absolute"] = "relative"


@dataclass(frozen=True, kw_only=True)
class Control:
    """A placebo arm: the best run's code with some configuration values set otherwise."""

    name: str
    overrides: Mapping[str, Scalar]


@dataclass(frozen=True, kw_only=True)
class Idea:
    """One idea file's content. `given` keeps every key as it was written."""

    name: str
    """Names the run folder: [a-z0-9_]+ only."""
    title: str
    experiment: str
    technical_details: str = ""
    implementation_plan: str = ""
    abstract: str = ""
    template: str | None = None
    baseline: str | None = None
    varies: tuple[str, ...] = ()
    """Configuration keys the idea means to change; others make a comparison confounded."""
    hypotheses: tuple[Hypothesis, ...] = ()
    guards: tuple[Guard, ...] = ()
    controls: tuple[Control, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One size at which a template runs."""

    name: str
    run_timeout_s: float | None = None
    cpu_threads: int = 1
    gpus: int = 0
    memory_gb: float = 16.0
    disk_gb: float = 8.0
    description: str = ""
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """What a template says of one metric."""

    name: str
    required: bool = False
    direction: Direction = "none"
    description: str = ""
    noise: float | None = None
    """Run-to-run standard deviation at an equal seed, where one was measured."""
    volatile: bool = False
    """Differs between two runs of the same code, as seconds do: never compared."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """A folder the coder starts from, as its template.toml describes it."""

    name: str
    folder: Path
    description: str
    editable: tuple[str, ...]
    frozen: tuple[str, ...]
    """Files restored and hashed before each run, relative to the folder."""
    lock: Path | None
    """Lock file of its environment; None for foreign templates, which use a given interpreter."""
    profiles: Mapping[str, Profile]
    metrics: Mapping[str, MetricSpec]
    primary_metric: str | None
    honours_seed: bool
    prepare: str | None
    """Script that builds what all runs share, or None."""
    system: str
    """The template's own system prompt, from prompt.json."""
    task: str
    foreign: bool = False


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Every budget of one idea, in one place."""

    max_runs: int = 10
    """Valid runs after which the experiments end; run_0 is not counted."""
    max_executions: int = 20
    """Executions of experiment.py of any outcome, run_0 not counted."""
    max_failures: int = 6
    """Edits or executions that fail in a row before the experiments end."""
    run_timeout_s: float = 7200.0
    max_cost_usd: float | None = 20.0
    max_prompt_tokens: int | None = None
    max_gpu_hours: float | None = 24.0


# --- what passes between us and a model ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, kw_only=True)
class ModelReply:
    """What one paid call brought back."""

    text: str
    finish_reason: str
    """`stop`, or `length` when the reply was cut off."""
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    """None: the price of this model is not known."""
    seconds: float


class EditStatus(StrEnum):
    """What became of one request to the coder."""

    APPLIED = "applied"
    FINISHED = "finished"
    """The coder said that nothing is left to do, and edited nothing."""
    NOT_APPLIED = "not_applied"
    """No edit could be applied, also after the step's own retries; files are as before."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What really happened to the files, decided by comparing them, and what the coder said."""

    step: str
    status: EditStatus
    files: Mapping[str, str]
    """New content of each changed file; empty unless APPLIED."""
    prose: str
    """The reply without its edit blocks: the interpretation of the last run, for the notes."""
    calls: int
    problem: str = ""
    """For NOT_APPLIED: why, worded for the coder."""
    smoke_invariant: str | None = None
    """The reason given after `SMOKE-INVARIANT:`, when there is one."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """Contents of the editable files, over a commit that holds all the others."""

    commit: str
    files: Mapping[str, str]


# --- what happens on the machine -----------------------------------------------------------------


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


# --- what stays ----------------------------------------------------------------------------------


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

    @property
    def refused(self) -> Check | None:
        """The gate that refused, if one did."""
        return next((check for check in self.checks if check.verdict == "refused"), None)


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
    exit_cause: str = "exit"
    provenance: str = "measured"
    """`measured` by us, or `given` with a foreign template."""
    arms: Mapping[str, Results] = field(default_factory=dict)
    """Control arms run with this run's code: name -> results."""
    step: str = ""
    """The accepted edit, such as `run_3/edit_2`."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something a reader must know; `kind` is one of DESIGN's list."""

    kind: str
    detail: str
    run: str = ""
    where: str = ""


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
    BUDGET = "budget spent"


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
