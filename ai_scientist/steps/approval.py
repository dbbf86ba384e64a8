"""A person in the loop: decisions come as files in inbox/, and are taken up once.

    waiting point --> in the journal? taken up already
                      in inbox/?      taken up now: one journal line with user, time and comment
                      neither         `waiting` is noted, the launcher exits 3, --resume goes on

Only the holder of the folder's lock writes the journal; pages and commands write inbox/ alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ai_scientist.errors import Waiting
from ai_scientist.protocols import Journal
from ai_scientist.records import Json
from ai_scientist.run_folder.workspace import RunFolder

MAX_DECISION_BYTES = 200_000


class Decision(BaseModel):
    """One file of inbox/, as the review page and the command line write it."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    decision: Literal["approve", "reject", "comment", "cancel"]
    about: str
    step: str
    target: str = ""
    comment: str = Field(default="", max_length=20_000)
    user: str = ""
    time: str = ""
    file: str = ""


class Approvals:
    """Takes up the decisions on one run folder."""

    def __init__(
        self, folder: RunFolder, journal: Journal, points: Literal["edits", "writeup", "none"]
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._points = points
        self._taken: set[str] = set()

    def approve_edit(self, step: str, diff: str) -> str:
        """Return why a person rejects an edit, or nothing. Raises Waiting where none has spoken."""
        return self._require(step, "edit", diff) if self._points == "edits" else ""

    def approve_writeup(self) -> str:
        """Return why a person wants no paper, or nothing. Raises Waiting where none has spoken."""
        wanted = self._points in ("edits", "writeup")
        return self._require("writeup", "writeup", "") if wanted else ""

    def hear(self, step: str) -> str:
        """Return what people have said since the last step, worded for the coder."""

        def perform() -> Json:
            said = [one for one in self._new() if one.decision in ("comment", "reject")]
            return {"decisions": [one.model_dump() for one in said]}

        stored = self._journal.effect(f"{step}/inbox", perform)["decisions"]
        self._taken |= {one["file"] for one in stored}
        return "\n".join(_worded(Decision(**one)) for one in stored)

    def _require(self, step: str, about: str, diff: str) -> str:
        def perform() -> Json:
            for one in self._new():
                if one.step == step and one.decision in ("approve", "reject"):
                    return one.model_dump()
            self._journal.note("waiting", {"step": step, "about": about, "diff": diff})
            raise Waiting(
                f"a person's decision on {step} is needed",
                hint=f"python -m ai_scientist decide {self._folder.path} {step} approve, or reject "
                f'--comment "why"; then --resume {self._folder.path}',
            )

        stored = self._journal.effect(f"{step}/decision", perform)
        self._taken.add(stored["file"])
        reason = stored["comment"] or "without a comment"
        return f"{stored['user'] or 'a person'}: {reason}" if stored["decision"] == "reject" else ""

    def _new(self) -> Iterator[Decision]:
        """Yield the decisions nobody has taken up, oldest first; files that are none are passed."""
        for path in sorted(self._folder.inbox.glob("*.json")):
            decision = read_decision(path)
            if path.name not in self._taken and decision is not None:
                yield decision


def read_decision(path: Path) -> Decision | None:
    """Return the decision in a file, or None when it holds none."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_DECISION_BYTES:
        return None
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return Decision.model_validate({**content, "file": path.name})
    except (OSError, ValueError, TypeError, ValidationError):
        return None


def _worded(one: Decision) -> str:
    verb = "rejects" if one.decision == "reject" else "says of"
    target = f" ({one.target})" if one.target else ""
    return f"- {one.user or 'a person'} {verb} {one.about} {one.step}{target}: {one.comment}"
