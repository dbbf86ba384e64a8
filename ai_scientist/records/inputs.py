"""What a person brings: ideas, templates, limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ai_scientist.records.plain import Direction, Scalar


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
    inputs: tuple[str, ...] = ()
    """Folders of the person's own that its runs may read: `VARIABLE`, or `VARIABLE/folder`."""


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
    guards: tuple[Guard, ...]
    """Taken for ideas that name none."""
    honours_seed: bool
    prepare: str | None
    """Script that builds what all runs share, or None."""
    references: str | None
    """Script that measures what ideas are seen beside, such as other families of models."""
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
