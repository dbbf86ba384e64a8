"""The seams. Anything with these methods fits; nothing needs to be inherited.

Each seam has a shipped double in `ai_scientist.testing`, so that a test of one part needs no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ai_scientist.records import (
    Attempt,
    Check,
    Code,
    Edit,
    Execution,
    GateReport,
    Json,
    Message,
    ModelReply,
    Run,
    RunRequest,
)


class Journal(Protocol):
    """The append-only truth of one run folder."""

    def effect(self, key: str, perform: Callable[[], Json]) -> Json:
        """Return the stored result of `key`, or perform it once and store what it returns.

        `key` is by position (`run_3/edit_2/call_1`), never by content. The result is on disk, with
        fsync, before this returns.
        """
        ...

    def note(self, kind: str, facts: Json) -> None:
        """Append a line that is no effect: a failed HTTP attempt, a warning, a state."""
        ...


class Model(Protocol):
    """Asks a language model; one place prices, caps, records and journals every call."""

    def ask(self, *, purpose: str, step: str, messages: Sequence[Message]) -> ModelReply:
        """Return the reply to `messages`.

        `purpose` is one of plan, hypotheses, edit, interpret, mechanism, plot, section, cite,
        repair. Each call of a step takes the next key `step/call_n`; a stored reply is used again
        and not paid for. Raises ModelError for the person, BudgetSpent before a call that would
        pass a cap.
        """
        ...


class Coder(Protocol):
    """Turns an instruction into new contents of a few files."""

    def edit(
        self,
        *,
        step: str,
        purpose: str,
        instruction: str,
        files: Mapping[str, str],
        reminders: str = "",
    ) -> Edit:
        """Ask for one change of `files` (name -> content) and say what really came of it.

        Retries a reply that fails the edit format itself, a bounded number of times, the last with
        a differently shaped request. Nothing on disk is touched. Raises what Model.ask raises.
        """
        ...


class Executor(Protocol):
    """Runs one execution to its end, wherever that is."""

    def run(self, request: RunRequest) -> Execution:
        """Run `request` and return what was observed, with nothing left running.

        When its staging folder already holds the outcome of this key (the launcher was killed after
        the run ended), that outcome is returned and nothing runs.
        """
        ...


class Sandbox(Protocol):
    """One tier of isolation on this host."""

    @property
    def tier(self) -> str:
        """Its name, as every run's record gives it."""
        ...

    def wrap(self, request: RunRequest, gpus: Sequence[str]) -> list[str]:
        """Return the argv that runs `request.command` confined; `gpus` are the assigned ones."""
        ...


class Workbench(Protocol):
    """What the loop does to one run folder. Each method is an effect, done once and journaled."""

    def judge(self, step: str, old: Code, new: Code, smoke_invariant: str | None) -> GateReport:
        """Put a candidate through the gates; `old` is the code of the last valid run."""
        ...

    def hear(self, step: str) -> str:
        """Return what people have said since the last step; empty when nobody has."""
        ...

    def approve(self, step: str, new: Code) -> str:
        """Return why a person rejects a candidate, or nothing. Raises Waiting."""
        ...

    def accept(self, step: str, new: Code, title: str) -> Code:
        """Commit a candidate and return it over its own commit."""
        ...

    def execute(
        self, name: str, number: int, code: Code, *, title: str, step: str, checks: Sequence[Check]
    ) -> Run | Attempt:
        """Run the experiment of `code`, all its seeds; record a run `name` or an attempt."""
        ...

    def keep_attempt(self, attempt: Attempt) -> Attempt:
        """Store what led to no valid run, and return it with its diff and its cost."""
        ...

    def interpret(self, run: Run, prose: str) -> None:
        """Add the coder's words on `run` to the notes."""
        ...

    def table(self) -> str:
        """Return the compact table of results that prompts carry."""
        ...


class Render(Protocol):
    """Fills one file of prompts/; an undefined variable is an error."""

    def __call__(self, name: str, /, **variables: Any) -> str:
        """Return the text of prompts/NAME."""
        ...


class Literature(Protocol):
    """Finds works that a paper may cite."""

    def find(self, query: str, *, limit: int = 8) -> Sequence[Json]:
        """Return works (title, authors, year, venue, doi, abstract, bibtex); empty when offline."""
        ...


class Tracker(Protocol):
    """Mirrors metrics to a place people watch; a failing tracker never fails a run."""

    def log(self, run: str, step: int, metrics: Mapping[str, float]) -> None:
        """Mirror one step of a run."""
        ...

    def close(self) -> None:
        """Send what is left; nothing is logged afterwards."""
        ...
