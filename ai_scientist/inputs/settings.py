"""What a person asked for, in one value: from the command line to settings.json and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from ai_scientist.errors import InputError
from ai_scientist.records import Json, Limits

PROFILES = ("smoke", "small", "full")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every choice of one idea's run. `limits` may be raised when it is resumed."""

    template: str | None = None
    """None: the idea's `Template`, else sae."""
    model: str = "recorded"
    base_url: str | None = None
    profile: str | None = None
    """None: small with the recorded model; else full where a GPU and weights are, else small."""
    limits: Limits = field(default_factory=Limits)
    baseline_seeds: int = 1
    seeds_per_run: int = 1
    confirm_best: int = 0
    keep: Literal["best", "all", "none"] = "best"
    cache_gb: float = 100.0
    writeup: bool = True
    approve: Literal["edits", "writeup", "none"] = "none"
    allow_unsandboxed: bool = False
    python: str | None = None
    """Interpreter for templates without a lock; those with one have their own."""
    tracker: str = "none"
    """Where metrics are mirrored: none, tensorboard, wandb, wandb-online or mlflow."""
    executor: Literal["local", "slurm"] = "local"
    slurm: str | None = None
    """Options of each job, such as `partition=gpu,gpus=1,time=120`."""

    def to_json(self) -> Json:
        """Return the form of settings.json."""
        return asdict(self)


def read_settings(path: Path) -> Settings:
    """Read settings.json. Raises InputError for the person, naming the key that is wrong."""
    from pydantic import TypeAdapter, ValidationError

    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        settings: Settings = TypeAdapter(Settings).validate_python(stored)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = f"key `{key}`: {first['msg'].lower()}" if key else str(first["msg"]).lower()
    except (OSError, ValueError, RecursionError) as error:
        problem = f"it cannot be read: {error}"
    else:
        return settings
    raise InputError(f"{path}: {problem}", hint="restore the file from the folder's git")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders of this installation."""

    project: Path
    runs: Path
    cache: Path

    @property
    def ideas(self) -> Path:
        """Shipped and own ideas."""
        return self.project / "ideas"

    @property
    def templates(self) -> Path:
        """Shipped and own templates."""
        return self.project / "templates"

    @property
    def prompts(self) -> Path:
        """The Jinja2 files of every message."""
        return self.project / "prompts"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """API keys, read by the launch layer alone and handed to the model client alone."""

    openai: str | None = field(default=None, repr=False)
    anthropic: str | None = field(default=None, repr=False)
    semantic_scholar: str | None = field(default=None, repr=False)
    openalex: str | None = field(default=None, repr=False)

    @property
    def models(self) -> dict[str, str]:
        """The keys of the models' makers that are set, by provider."""
        given = {"openai": self.openai, "anthropic": self.anthropic}
        return {name: key for name, key in given.items() if key}

    @property
    def any_model(self) -> bool:
        """Whether a model can be called with these."""
        return bool(self.models)


def read_keys(variables: Mapping[str, str]) -> Keys:
    """Read the API keys from a process's environment."""
    return Keys(
        openai=variables.get("OPENAI_API_KEY"),
        anthropic=variables.get("ANTHROPIC_API_KEY"),
        semantic_scholar=variables.get("S2_API_KEY"),
        openalex=variables.get("OPENALEX_API_KEY"),
    )
