"""Template folders: what the coder may edit, what measures it, and at which sizes it runs.

A folder without template.toml is a foreign (AI-Scientist v1) template: all but experiment.py and
plot.py is frozen, the profile is `full`, and it runs under the interpreter it is given.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ai_scientist.errors import InputError
from ai_scientist.machine.hardware import describe_hardware
from ai_scientist.records import Direction, Guard, Idea, MetricSpec, Profile, Template
from ai_scientist.results.naming import spec_at

FOREIGN_DISK_GB = 50.0
"""What one run of a foreign template may write: some save a checkpoint at each step."""
EDITABLE = ("experiment.py", "plot.py")
NOT_CODE = ("run_0", "baselines", "latex", "__pycache__", "ideas.json", "seed_ideas.json")
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class _TemplateKeys(BaseModel):
    model_config = STRICT
    description: str = ""
    editable: list[str] = list(EDITABLE)
    frozen: list[str] = []
    lock: str | None = None
    honours_seed: bool = False
    primary_metric: str | None = None
    prepare: str | None = None
    prepare_evaluations: str | None = None
    references: str | None = None


class _ProfileKeys(BaseModel):
    model_config = STRICT
    run_timeout_s: float | None = Field(default=None, gt=0)
    cpu_threads: int = Field(default=1, ge=1)
    gpus: int = Field(default=0, ge=0)
    memory_gb: float = Field(default=16.0, gt=0)
    disk_gb: float = Field(default=8.0, gt=0)
    gpu_memory_gb: float = Field(default=0.0, ge=0)
    data_gb: float = Field(default=0.0, ge=0)
    description: str = ""
    needs: list[str] = []
    inputs: list[str] = []
    prepared_from: list[str] = []
    evaluations: list[str] = []


class _MetricKeys(BaseModel):
    model_config = STRICT
    required: bool = False
    direction: Direction = "none"
    description: str = ""
    noise: float | None = Field(default=None, ge=0)
    volatile: bool = False
    matched: float | None = Field(default=None, ge=0)
    at_matched: str | None = None
    evaluation: str | None = None


class _GuardKeys(BaseModel):
    model_config = STRICT
    direction: Literal["increase", "decrease"]
    limit: float = Field(ge=0)
    kind: Literal["relative", "absolute"] = "relative"


class _TemplateFile(BaseModel):
    model_config = STRICT
    template: _TemplateKeys
    profiles: dict[str, _ProfileKeys] = {}
    metrics: dict[str, _MetricKeys] = {}
    guards: dict[str, _GuardKeys] = {}


class _PromptFile(BaseModel):
    model_config = ConfigDict(extra="allow")
    system: str
    task_description: str


def find_template(name: str, templates_folder: Path) -> Template:
    """Return the template called `name`, or the one in the folder `name`.

    Raises InputError for the person, with near names when there is none.
    """
    folder = Path(name) if Path(name).is_dir() and "/" in name else templates_folder / name
    if folder.is_dir():
        return load_template(folder)
    known = sorted(path.name for path in templates_folder.glob("*/") if path.is_dir())
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
    raise InputError(
        f"there is no template `{name}` in {templates_folder}", hint=f"known: {', '.join(near)}"
    )


def load_template(folder: Path) -> Template:
    """Read a template folder. Raises InputError naming the file that is missing or wrong."""
    for needed in (*EDITABLE, "prompt.json"):
        if not (folder / needed).is_file():
            raise InputError(
                f"template {folder} has no {needed}",
                hint="see docs/templates.md for the files of a template",
            )
    prompt = _read(folder / "prompt.json", json.loads, _PromptFile)
    described = folder / "template.toml"
    if not described.exists():
        return _foreign(folder, prompt)
    keys = _read(described, tomllib.loads, _TemplateFile)
    if "experiment.py" not in keys.template.editable:
        raise InputError(
            f"{described}: `editable` does not name experiment.py",
            hint="it is the file that every idea changes: add it",
        )
    named = [*keys.template.editable, *keys.template.frozen]
    scripts = ("lock", "prepare", "prepare_evaluations", "references")
    named += [name for script in scripts if (name := getattr(keys.template, script))]
    _check_files(folder, named)
    _check_inputs(described, keys.profiles)
    return Template(
        name=folder.resolve().name,
        folder=folder.resolve(),
        description=keys.template.description,
        editable=tuple(keys.template.editable),
        frozen=tuple(keys.template.frozen),
        lock=folder.resolve() / keys.template.lock if keys.template.lock else None,
        profiles={
            name: Profile(name=name, **_tuples(row.model_dump()))
            for name, row in keys.profiles.items()
        },
        metrics={
            name: MetricSpec(name=name, **row.model_dump()) for name, row in keys.metrics.items()
        },
        primary_metric=keys.template.primary_metric,
        guards=tuple(Guard(metric=name, **row.model_dump()) for name, row in keys.guards.items()),
        honours_seed=keys.template.honours_seed,
        prepare=keys.template.prepare
        or ("prepare.py" if (folder / "prepare.py").is_file() else None),
        prepare_evaluations=keys.template.prepare_evaluations,
        references=keys.template.references,
        system=prompt.system,
        task=prompt.task_description,
    )


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if type(value) is list else value for key, value in values.items()}


def _foreign(folder: Path, prompt: _PromptFile) -> Template:
    frozen = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    ]
    return Template(
        name=folder.resolve().name,
        folder=folder.resolve(),
        description="a template without template.toml",
        editable=EDITABLE,
        frozen=tuple(name for name in frozen if name.split("/")[0] not in (*EDITABLE, *NOT_CODE)),
        lock=None,
        profiles={"full": _whole_machine()},
        metrics={},
        primary_metric=None,
        guards=(),
        honours_seed=False,
        prepare=None,
        prepare_evaluations=None,
        references=None,
        system=prompt.system,
        task=prompt.task_description,
        foreign=True,
    )


def _whole_machine() -> Profile:
    """Return the profile of a template that says nothing of its needs: one GPU, all the rest."""
    facts = describe_hardware()
    return Profile(
        name="full",
        cpu_threads=int(facts["cores"] or 1),
        gpus=1 if facts["gpus"] else 0,
        memory_gb=max(16.0, 0.8 * float(facts["memory_gb"] or 0)),
        disk_gb=FOREIGN_DISK_GB,
    )


def _read(path: Path, parse: Any, model: type[BaseModel]) -> Any:
    try:
        return model.model_validate(parse(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        message = f"{path}: key `{key}`: {first['msg'].lower()}"
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path} cannot be read: {error}"
    raise InputError(message, hint="see docs/templates.md for the keys it may hold")


def _check_files(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{folder}/template.toml names `{name}`, outside the folder")
        if not path.is_file():
            raise InputError(
                f"{folder}/template.toml names `{name}`, and there is no such file",
                hint="add the file or take the name out",
            )


def _check_inputs(described: Path, profiles: Mapping[str, _ProfileKeys]) -> None:
    for name, profile in profiles.items():
        for part in profile.prepared_from:
            if not any(f"{part}/".startswith(f"{one}/") for one in profile.inputs):
                raise InputError(
                    f"{described}: profile {name} is prepared from {part}, which is in none of its "
                    "inputs",
                    hint="name an input, or a folder in one",
                )


def evaluations_named(template: Template, profile: Profile, idea: Idea | None) -> tuple[str, ...]:
    """Return the profile's evaluations that measure what the idea's hypotheses and guards name."""
    if idea is None:
        return ()
    metrics = [one.metric for one in idea.hypotheses] + [one.metric for one in idea.guards]
    specs = [spec_at(metric, template.metrics) for metric in metrics]
    wanted = {spec.evaluation for spec in specs if spec is not None}
    return tuple(name for name in profile.evaluations if name in wanted)


def profile_of(template: Template, name: str) -> Profile:
    """Return the profile called `name`. Raises InputError naming those there are."""
    if name not in template.profiles:
        raise InputError(
            f"template `{template.name}` has no profile `{name}`",
            hint=f"it has: {', '.join(template.profiles)}",
        )
    return template.profiles[name]
