"""What passes between us and a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


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
