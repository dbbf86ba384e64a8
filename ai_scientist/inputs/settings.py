"""What a person asked for, in one value: from the command line to settings.json and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

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


def settings_from_json(stored: Mapping[str, Any], place: str) -> Settings:
    """Read settings.json. Raises InputError naming a key that does not belong there."""
    known = {item.name for item in fields(Settings)}
    values = {key: value for key, value in stored.items() if key in known}
    try:
        return Settings(**(values | {"limits": Limits(**values.get("limits", {}))}))
    except TypeError as error:
        raise InputError(
            f"{place}: {error}", hint="restore the file from the folder's git"
        ) from None


def raise_limits(settings: Settings, given: Mapping[str, Any]) -> Settings:
    """Return the settings of a resumed idea with the budgets that were given anew."""
    names = {item.name for item in fields(Limits)}
    fresh = {key: value for key, value in given.items() if key in names and value is not None}
    return replace(settings, limits=replace(settings.limits, **fresh))


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
