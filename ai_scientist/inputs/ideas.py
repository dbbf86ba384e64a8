"""Idea files: checked at the door, so that a wrong one costs a sentence and not a night.

A file holds one idea or a list of them, as AI-Scientist's do. Every key is kept as it was written.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ai_scientist.errors import InputError
from ai_scientist.records import Control, Guard, Hypothesis, Idea, Scalar

MAX_IDEA_FILE_BYTES = 4_000_000

Score = Annotated[float, Field(ge=1, le=10)]


class _HypothesisKeys(BaseModel):
    model_config = ConfigDict(extra="forbid")
    metric: str = Field(min_length=1)
    direction: Literal["increase", "decrease"]
    against: str = Field(default="run_0", pattern=r"^run_\d+$")
    min_effect: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class _GuardKeys(BaseModel):
    model_config = ConfigDict(extra="forbid")
    metric: str = Field(min_length=1)
    direction: Literal["increase", "decrease"]
    limit: float = Field(ge=0, allow_inf_nan=False)
    kind: Literal["relative", "absolute"] = "relative"


class _ControlKeys(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=60)
    set: dict[str, Scalar] = Field(min_length=1)


class _IdeaKeys(BaseModel):
    """The keys an idea may hold; others are kept and not read."""

    model_config = ConfigDict(extra="allow")
    Name: str = Field(pattern=r"^[a-z0-9_]+$", max_length=80)
    Title: str = Field(min_length=1)
    Experiment: str = Field(min_length=1)
    Technical_Details: str = ""
    Implementation_Plan: str = ""
    Abstract: str = ""
    Interestingness: Score | None = None
    Feasibility: Score | None = None
    Novelty: Score | None = None
    Template: str | None = Field(default=None, min_length=1)
    Varies: list[str] = []
    Hypotheses: list[_HypothesisKeys] = []
    Guards: list[_GuardKeys] = []
    Controls: list[_ControlKeys] = []

    @field_validator("Controls")
    @classmethod
    def _name_each_once(cls, controls: list[_ControlKeys]) -> list[_ControlKeys]:
        # A name is the folder of an arm's results and the place in the journal.
        for name, times in Counter(control.name for control in controls).items():
            if times > 1:
                raise ValueError(f"`{name}` stands twice; each arm needs a name of its own")
        return controls


def read_ideas(path: Path) -> list[Idea]:
    """Read the idea or the list of ideas in `path`.

    Raises InputError for the person: file, place in the file, key, and what was expected.
    """
    try:
        if path.stat().st_size > MAX_IDEA_FILE_BYTES:
            raise InputError(
                f"{path} is larger than 4 MB", hint="an idea file holds a few kilobytes"
            )
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", hint="name a JSON file"
        ) from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno}, column {error.colno}: no JSON here: {error.msg}",
            hint="correct that line; `python -m json.tool FILE` shows the same place",
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is no JSON text in UTF-8: {error}", hint="save it as UTF-8 JSON"
        ) from None
    if isinstance(content, list):
        return [
            parse_idea(entry, f"{path}, idea {number}") for number, entry in enumerate(content, 1)
        ]
    return [parse_idea(content, str(path))]


def parse_idea(entry: Any, place: str) -> Idea:
    """Check one idea's keys; `place` begins the message of the InputError raised otherwise."""
    if not isinstance(entry, dict):
        raise InputError(
            f"{place}: expected an object with Name, Title and Experiment, found {_kind(entry)}",
            hint="see docs/ideas.md for a complete idea",
        )
    try:
        json.dumps(entry, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{place}: this cannot be stored as JSON: {error}",
            hint="write no NaN, no Infinity and no thousand brackets inside each other",
        ) from None
    try:
        keys = _IdeaKeys.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        found = (
            json.dumps(first["input"], default=str)[:80]
            if first["type"] != "missing"
            else "nothing"
        )
        raise InputError(
            f"{place}: key `{key}`: {_expectation(first)}, found {found}",
            hint="see docs/ideas.md for the keys of an idea",
        ) from None
    return _idea(keys, entry)


def _idea(keys: _IdeaKeys, entry: Mapping[str, Any]) -> Idea:
    return Idea(
        name=keys.Name,
        title=keys.Title,
        experiment=keys.Experiment,
        technical_details=keys.Technical_Details,
        implementation_plan=keys.Implementation_Plan,
        abstract=keys.Abstract,
        template=keys.Template,
        varies=tuple(keys.Varies),
        hypotheses=tuple(Hypothesis(**row.model_dump()) for row in keys.Hypotheses),
        guards=tuple(Guard(**row.model_dump()) for row in keys.Guards),
        controls=tuple(Control(name=row.name, overrides=row.set) for row in keys.Controls),
        given=dict(entry),
    )


def _expectation(problem: Mapping[str, Any]) -> str:
    match problem["type"]:
        case "missing":
            return "expected a value"
        case "string_pattern_mismatch":
            return f"expected text of the form {problem['ctx']['pattern']}"
        case "extra_forbidden":
            return "not a key that is known here"
        case _:
            return str(problem["msg"]).lower().replace("input should be", "expected")


def _kind(value: object) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def find_idea(name: str, ideas_folder: Path) -> Idea:
    """Return the idea called `name`, or the only idea of the JSON file `name`.

    Raises InputError for the person, with near names when there is none of that name.
    """
    path = Path(name)
    if path.suffix == ".json" or path.is_file():
        ideas = read_ideas(path)
        if len(ideas) != 1:
            raise InputError(
                f"{path} holds {len(ideas)} ideas, and --idea takes one",
                hint=f"run them all with --ideas {path}",
            )
        return ideas[0]
    direct = ideas_folder / f"{name}.json"
    if direct.is_file():
        return _only(read_ideas(direct), name, direct)
    known: dict[str, Idea] = {}
    for file in sorted(ideas_folder.glob("*.json")):
        known |= {idea.name: idea for idea in read_ideas(file)}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean: {', '.join(near)}" if near else f"known: {', '.join(known) or 'none'}"
    raise InputError(f"there is no idea `{name}` in {ideas_folder}", hint=hint)


def find_recording(model: str, idea: Idea, ideas_folder: Path) -> Path:
    """Return the recording that `recorded` (the idea's own) or `recorded:FILE` means.

    Raises InputError for the person when the idea has none.
    """
    if model != "recorded":
        return Path(model.removeprefix("recorded:"))
    recording = ideas_folder / "recordings" / f"{idea.name}.jsonl"
    if recording.is_file():
        return recording
    have = sorted(path.stem for path in recording.parent.glob("*.jsonl"))
    raise InputError(
        f"there is no recording for the idea `{idea.name}`",
        hint=f"name a model with --model, or take one of: {', '.join(have) or 'none'}",
    )


def _only(ideas: list[Idea], name: str, path: Path) -> Idea:
    matching = [idea for idea in ideas if idea.name == name] or ideas
    if len(matching) != 1:
        raise InputError(
            f"{path} holds {len(ideas)} ideas", hint=f"run them all with --ideas {path}"
        )
    return matching[0]
