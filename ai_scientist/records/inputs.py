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
    """Where the metric is predicted to go."""
    against: str = "run_0"
    """The run it is compared with; the control arms are, too."""
    min_effect: float = 0.0
    """Smallest change that counts, in the metric's own unit."""
    proposed_by: Literal["idea", "model"] = "idea"


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A price a hypothesis may not be paid with, such as dead latents or fidelity."""

    metric: str
    """A metric's name, as in a hypothesis."""
    direction: Literal["increase", "decrease"]
    """The direction in which the metric may not move by more than `limit`."""
    limit: float
    """How far: a share of the baseline's value, or in the metric's own unit."""
    kind: Literal["relative", "absolute"] = "relative"
    """How `limit` is meant."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """A placebo arm: the best run's code with some configuration values set otherwise."""

    name: str
    """Names the folder of its results, `run_N/arm_NAME/`."""
    overrides: Mapping[str, Scalar]
    """Configuration key -> value, for this arm alone."""


@dataclass(frozen=True, kw_only=True)
class Idea:
    """One idea file's content. `given` keeps every key as it was written."""

    name: str
    """Names the run folder: [a-z0-9_]+ only."""
    title: str
    """What a reader calls it."""
    experiment: str
    """What is to be done, in words; the coder reads it in every step."""
    technical_details: str = ""
    """The method in detail; the coder reads it in every step."""
    implementation_plan: str = ""
    """Steps, for the plan alone."""
    abstract: str = ""
    """For readers; no prompt carries it."""
    template: str | None = None
    """A name in templates/, or a folder; without it, sae."""
    varies: tuple[str, ...] = ()
    """Configuration keys the idea means to change; others make a comparison confounded."""
    hypotheses: tuple[Hypothesis, ...] = ()
    """Without any the model proposes them before the first edit."""
    guards: tuple[Guard, ...] = ()
    """What must not get worse; without any, the template's."""
    controls: tuple[Control, ...] = ()
    """Placebo arms that the best run is measured against."""
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One size at which a template runs."""

    name: str
    run_timeout_s: float | None = None
    """Seconds for one execution; `--run-timeout` where that is less."""
    cpu_threads: int = 1
    """Threads of OpenMP and the like."""
    gpus: int = 0
    """GPUs that one execution holds."""
    memory_gb: float = 16.0
    """Most that all processes of a run may hold."""
    disk_gb: float = 8.0
    """Most that a run may write."""
    gpu_memory_gb: float = 0.0
    """Memory that its GPU must have; `doctor` looks."""
    data_gb: float = 0.0
    """What its shared data take in the cache; `doctor` looks."""
    description: str = ""
    """One line, for people."""
    needs: tuple[str, ...] = ()
    """What a person must provide first, in words."""
    inputs: tuple[str, ...] = ()
    """Folders of the person's own that its runs may read: `VARIABLE`, or `VARIABLE/folder`."""
    prepared_from: tuple[str, ...] = ()
    """The inputs, or folders in them, whose files name the shared data; without any all inputs."""
    evaluations: tuple[str, ...] = ()
    """What can be measured beyond the screen of every run, by the names the script knows."""


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """What a template says of one metric."""

    name: str
    required: bool = False
    """Missing or not finite: the run is not valid."""
    direction: Direction = "none"
    """Which way is better."""
    description: str = ""
    """What it measures, with its unit."""
    noise: float | None = None
    """Run-to-run standard deviation at an equal seed, where one was measured."""
    volatile: bool = False
    """Differs between two runs of the same code, as seconds do: never compared."""
    matched: float | None = None
    """Relative difference beyond which two runs are not compared at all, as L0 of autoencoders."""
    at_matched: str | None = None
    """The metric that stands for it between runs that are not matched, read off where both are."""
    evaluation: str | None = None
    """The evaluation that measures it; None for what every run measures."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """A folder the coder starts from, as its template.toml describes it."""

    name: str
    folder: Path
    description: str
    """One line."""
    editable: tuple[str, ...]
    """Files the coder may change."""
    frozen: tuple[str, ...]
    """Files restored and hashed before each run, relative to the folder."""
    lock: Path | None
    """Lock file of its environment; without one `--python` names an interpreter."""
    profiles: Mapping[str, Profile]
    metrics: Mapping[str, MetricSpec]
    primary_metric: str | None
    """What "the best run" means."""
    guards: tuple[Guard, ...]
    """Taken for ideas that name none."""
    honours_seed: bool
    """Whether AI_SCIENTIST_SEED moves every random draw: without it noise is not measurable."""
    prepare: str | None
    """Script that builds what all runs share, or None."""
    prepare_evaluations: str | None
    """Script that adds what evaluations need; None where `prepare` does it."""
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
    """Seconds for one execution."""
    max_cost_usd: float | None = 20.0
    """For model calls; a call that could pass it is not made."""
    max_prompt_tokens: int | None = None
    """The same in tokens, where prices are unknown."""
    max_gpu_hours: float | None = 24.0
    """GPUs times hours of all executions."""
