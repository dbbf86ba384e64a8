"""The coder: asks a model for one change of a few files and says what really came of it.

    ask --reply--> read --> parse, refuse, apply block by block --> all in place: APPLIED
     ^                                                  |
     +---- precise reason, nearest real lines <---------+   then once: "send whole definitions"

A block that fits stays applied in the step's private copy while the others are asked for again:
models follow "send only what failed", and one that sends everything again is understood as well,
because a block already applied is recognized. The files given are never touched; when the step
fails, nothing of it remains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ai_scientist.coder.blocks import Reading, read_reply, restore_line_ends
from ai_scientist.coder.definitions import replace_definitions
from ai_scientist.coder.search_replace import Patch, SearchReplace, warm_up
from ai_scientist.errors import ReplyError
from ai_scientist.inputs.prompts import clip
from ai_scientist.protocols import Model, Render
from ai_scientist.records import Edit, EditStatus, Message

__all__ = ["AiderCoder", "warm_up"]


@dataclass(kw_only=True)
class _Step:
    """What one step has come to so far."""

    files: Mapping[str, str]
    format: SearchReplace
    prose: str = ""
    smoke_invariant: str | None = None
    problem: str = ""
    request: str = ""
    """The next message to the model, after `problem`."""
    applied: set[Patch] = field(default_factory=set)
    attempted: bool = False
    """Some reply held a block."""
    missed: bool = False
    """Some block matched nothing and has not been replaced by one that does."""
    cut_off: bool = False

    def changed(self) -> dict[str, str]:
        """Return the new content of each file that differs."""
        after = {
            name: restore_line_ends(text, self.format.texts[name])
            for name, text in self.files.items()
        }
        return {name: text for name, text in after.items() if text != self.files[name]}


class AiderCoder:
    """Implements protocols.Coder with aider's edit format.

    `render` fills the files of prompts/coder. At most `max_calls` replies are asked for in a step:
    the first, retries that name the failure, and from the third on the differently shaped request
    as the last.
    """

    def __init__(self, model: Model, render: Render, *, max_calls: int = 3) -> None:
        self._model, self._render, self._max_calls = model, render, max_calls

    def edit(
        self,
        *,
        step: str,
        purpose: str,
        instruction: str,
        files: Mapping[str, str],
        reminders: str = "",
    ) -> Edit:
        """Ask for one change of `files`; see protocols.Coder.edit."""
        with SearchReplace(files) as form:
            state = _Step(files=files, format=form)
            messages = self._first_request(form, instruction, reminders)
            for call in range(1, self._max_calls + 1):
                whole = self._asks_for_whole(call, state)
                if whole:
                    messages = self._whole_request(state, instruction, reminders)
                reply = self._model.ask(purpose=purpose, step=step, messages=messages)
                state.cut_off = reply.finish_reason == "length"
                status = self._take(state, reply.text, whole=whole)
                if status is not None:
                    return Edit(
                        step=step,
                        status=status,
                        files=state.changed() if status is EditStatus.APPLIED else {},
                        prose=state.prose,
                        calls=call,
                        smoke_invariant=state.smoke_invariant,
                    )
                messages = [
                    *messages,
                    Message(role="assistant", content=_shorten(reply.text, state.cut_off)),
                    Message(role="user", content=state.request),
                ]
            return Edit(
                step=step,
                status=EditStatus.NOT_APPLIED,
                files={},
                prose=state.prose,
                calls=self._max_calls,
                problem=state.problem,
                smoke_invariant=state.smoke_invariant,
            )

    def _take(self, state: _Step, reply: str, *, whole: bool) -> EditStatus | None:
        """Apply what a reply holds. None: it has to be asked again, and state.request says how."""
        if state.cut_off:
            state.problem = state.request = self._render("coder/cut_off.j2").strip()
            return None
        reading = read_reply(reply)
        state.prose = state.prose or reading.prose
        state.smoke_invariant = reading.smoke_invariant or state.smoke_invariant
        if whole and not reading.blocks and reading.definitions:
            return self._take_definitions(state, reading)
        if not reading.blocks:
            if reading.finished and not state.attempted:
                return EditStatus.FINISHED
            self._refuse_empty(state)
            return None
        state.attempted = True
        return self._take_blocks(state, reply, reading)

    def _take_blocks(self, state: _Step, reply: str, reading: Reading) -> EditStatus | None:
        broken = [block.problem for block in reading.blocks if block.problem]
        try:
            if broken:
                raise ReplyError("\n\n".join(broken))
            patches = state.format.parse(reply)
        except ReplyError as error:
            self._ask_again(state, error.message)
            return None
        refused: list[str] = []
        missed: list[Patch] = []
        before = len(state.applied)
        for patch in patches:
            if patch in state.applied:
                continue
            reason = state.format.explain_refusal(patch)
            if reason:
                refused.append(reason)
            elif state.format.apply(patch):
                state.applied.add(patch)
            else:
                missed.append(patch)
        if not refused and not missed:
            return self._judge(state, fresh=len(state.applied) - before)
        state.missed = state.missed or bool(missed)
        reasons = [*refused, state.format.explain_misses(missed)] if missed else refused
        self._ask_again(state, "\n\n".join(reasons), missed=bool(missed))
        return None

    def _judge(self, state: _Step, *, fresh: int) -> EditStatus | None:
        """Decide by content whether the step is done, now that no block of this reply failed."""
        if state.missed and not fresh:
            self._ask_again(state, "The block that matched nothing is still missing.", missed=True)
            return None
        if state.changed():
            return EditStatus.APPLIED
        self._ask_again(state, "Your blocks change nothing: the files are as they were.")
        return None

    def _take_definitions(self, state: _Step, reading: Reading) -> EditStatus | None:
        """Put whole definitions into the files, all or none."""
        python = [name for name in state.files if name.endswith(".py")]
        texts = dict(state.format.texts)
        marked = [sent for sent in reading.definitions if sent.file]
        try:
            for sent in marked or reading.definitions:
                file = sent.file or (python[0] if len(python) == 1 else None)
                if file is None:
                    raise ReplyError("A block lacks its first line `# file: NAME`.")
                name = state.format.find_file(file)
                if name is None:
                    raise ReplyError(state.format.explain_refusal((file, "", "")))
                texts[name] = replace_definitions(texts[name], sent.code, file=name)
        except ReplyError as error:
            self._ask_again(state, error.message)
            return None
        state.format.texts.update(texts)
        if state.changed():
            return EditStatus.APPLIED
        self._ask_again(state, "The definitions you sent are those the files hold already.")
        return None

    def _ask_again(self, state: _Step, problem: str, *, missed: bool = False) -> None:
        state.problem = clip(problem, 6000)
        state.request = self._render(
            "coder/failed.j2", problem=state.problem, applied=len(state.applied), missed=missed
        ).strip()

    def _refuse_empty(self, state: _Step) -> None:
        text = self._render("coder/no_edit.j2", files=sorted(state.files)).strip()
        if state.attempted:
            text = f"{state.problem}\n\n{text}"
        state.problem = state.request = text

    def _first_request(
        self, form: SearchReplace, instruction: str, reminders: str
    ) -> list[Message]:
        system, *rest = form.prompt(instruction)
        rules = self._render("coder/rules.j2", files=sorted(form.texts), reminders=reminders)
        return [Message(role="system", content=f"{system.content}\n{rules}".strip()), *rest]

    def _asks_for_whole(self, call: int, state: _Step) -> bool:
        """Tell whether this is the last call, and a differently shaped request can help."""
        python = any(name.endswith(".py") for name in state.files)
        return call == self._max_calls and call >= 3 and python and not state.cut_off

    def _whole_request(self, state: _Step, instruction: str, reminders: str) -> list[Message]:
        """Start anew from the files as they were given: one coherent base for whole definitions."""
        texts = {name: text.replace("\r\n", "\n") for name, text in state.files.items()}
        state.format.texts.update(texts)
        state.applied.clear()
        state.missed = False
        system = self._render("coder/whole_system.j2", reminders=reminders)
        ask = self._render(
            "coder/whole.j2",
            instruction=instruction,
            texts=sorted(texts.items()),
            problem=state.problem,
        )
        return [
            Message(role="system", content=system.strip()),
            Message(role="user", content=ask.strip()),
        ]


def _shorten(reply: str, cut_off: bool) -> str:
    """Return a failed reply as the conversation keeps it; no provider takes an empty turn."""
    text = clip(reply, 2000) if cut_off else reply
    return text.strip() or "(an empty reply)"
