"""Doubles of the seams, shipped with the program: what stands in for a model, a coder, a journal.

They are part of the public surface, so that whoever adds a part can test it without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ai_scientist.records import Edit, EditStatus, Json, Message, ModelReply


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question a ScriptedModel was asked."""

    purpose: str
    step: str
    messages: tuple[Message, ...]

    @property
    def prompt(self) -> str:
        """All turns joined, for looking something up."""
        return "\n".join(message.content for message in self.messages)


class ScriptedModel:
    """Implements protocols.Model: gives its replies in order and keeps what it was asked.

    A str is a reply that ended by itself; a ModelReply is given as it is; an exception is raised.
    Asked once more than it has replies, it fails the test that scripted it.
    """

    def __init__(self, replies: Iterable[str | ModelReply | Exception]) -> None:
        self.replies = list(replies)
        self.asked: list[Asked] = []

    def ask(self, *, purpose: str, step: str, messages: Sequence[Message]) -> ModelReply:
        """Return the next reply of the script."""
        self.asked.append(Asked(purpose=purpose, step=step, messages=tuple(messages)))
        if not self.replies:
            raise AssertionError(f"the script has no reply left for {purpose}, {step}")
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, ModelReply) else make_reply(reply)


def make_reply(text: str, *, finish_reason: str = "stop") -> ModelReply:
    """Return a reply with plausible counts; `length` makes it a cut-off one."""
    return ModelReply(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=100,
        completion_tokens=len(text) // 4,
        cost_usd=0.0,
        seconds=0.0,
    )


class MemoryJournal:
    """Implements protocols.Journal without a disk; `lines` are the notes, oldest first."""

    def __init__(self) -> None:
        self.results: dict[str, Json] = {}
        self.lines: list[tuple[str, Json]] = []

    def effect(self, key: str, perform: Callable[[], Json]) -> Json:
        """Return the stored result of `key`, or perform it once and keep what it returns."""
        if key not in self.results:
            self.results[key] = perform()
        return self.results[key]

    def note(self, kind: str, facts: Json) -> None:
        """Keep a line that is no effect."""
        self.lines.append((kind, facts))

    def entries(self) -> Iterator[tuple[str, Json]]:
        """Yield (key, result) of every finished effect."""
        yield from list(self.results.items())

    def notes(self, kind: str) -> Iterator[Json]:
        """Yield the notes of one kind, oldest first."""
        yield from [facts for name, facts in self.lines if name == kind]


class ScriptedCoder:
    """Implements protocols.Coder: one entry of the script for each edit.

    A mapping is applied (file name -> new content), the str "ALL_COMPLETED" is a finished coder,
    any other str is the problem of an edit that failed, an Edit is returned with the step filled
    in, an exception is raised. `instructions` keeps what was asked.
    """

    def __init__(self, script: Iterable[Mapping[str, str] | str | Edit | Exception]) -> None:
        self.script = list(script)
        self.instructions: list[str] = []
        self.files: list[Mapping[str, str]] = []

    def edit(
        self,
        *,
        step: str,
        purpose: str,
        instruction: str,
        files: Mapping[str, str],
        reminders: str = "",
    ) -> Edit:
        """Return the next edit of the script."""
        self.instructions.append(instruction)
        self.files.append(dict(files))
        if not self.script:
            raise AssertionError(f"the script has no edit left for {purpose}, {step}")
        entry = self.script.pop(0)
        if isinstance(entry, Exception):
            raise entry
        if isinstance(entry, Edit):
            return replace(entry, step=step)
        status, problem, changed = EditStatus.APPLIED, "", {}
        if entry == "ALL_COMPLETED":
            status = EditStatus.FINISHED
        elif isinstance(entry, str):
            status, problem = EditStatus.NOT_APPLIED, entry
        else:
            changed = dict(entry)
        return Edit(
            step=step, status=status, files=changed, prose="scripted", calls=1, problem=problem
        )
