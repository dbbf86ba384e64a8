"""A file as far as a chat tells it: the pieces that its edits searched for and put in.

A chat holds no whole file. A piece that an edit searches for stood there before, in this run and,
where nothing known overlaps it, in every earlier one. What no edit ever touched stays unknown.
"""

from __future__ import annotations

import ast
import contextlib
import io
import textwrap
import tokenize
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ai_scientist.audit.chats import (
    COMPLETED,
    MAIN_FILE,
    Block,
    Chat,
    given_idea,
    given_results,
)
from ai_scientist.audit.code import Source
from ai_scientist.errors import InputError, ResultError
from ai_scientist.inputs.ideas import parse_idea
from ai_scientist.records import Results, Run, Study
from ai_scientist.results.reading import config_diff, flatten_results
from ai_scientist.run_folder.study import run_titles

TOLD = "told in a chat"
CLOSERS = {"(": ")", "[": "]", "{": "}"}


class KnownPieces:
    """The pieces of one file that are known, now and as they were at each mark."""

    def __init__(self) -> None:
        self.now: list[str] = []
        self.marks: dict[str, list[str]] = {}

    def mark(self, name: str) -> None:
        """Keep what is known now under a name."""
        self.marks[name] = list(self.now)

    def apply(self, block: Block) -> None:
        """Apply one edit to what is known, learning what stood there before."""
        search, replace = block.search.strip("\n"), block.replace.strip("\n")
        for index, piece in enumerate(self.now):
            if search and search in piece:
                self.now[index] = piece.replace(search, replace, 1)
                return
        inside = [piece for piece in self.now if piece.strip() and piece in search]
        if inside:
            self.now = [piece for piece in self.now if piece not in inside]
        elif search.strip():
            for known in self.marks.values():
                known.append(search)
        self.now.append(replace)


def pieces_of(chats: Iterable[Chat], file: str) -> KnownPieces:
    """Return what chats tell of one file, marked with each run that was started on it."""
    pieces = KnownPieces()
    pieces.mark("run_0")
    for chat in chats:
        for request in chat.requests:
            completed = COMPLETED.match(request.text)
            if completed and f"run_{completed[1]}" not in pieces.marks:
                pieces.mark(f"run_{completed[1]}")
            edits = [block for block in request.applied if block.file == file]
            for block in edits:
                pieces.apply(block)
            if edits and request.run:
                pieces.mark(request.run)
    return pieces


def code_from_chats(chats: Sequence[Chat]) -> dict[str, Source]:
    """Return for each run what is known of its experiment.py, as text that can be parsed."""
    marks = pieces_of(chats, MAIN_FILE).marks
    where = ", ".join(chat.name for chat in chats)
    found = {name: "\n\n".join(_mended(piece) for piece in known) for name, known in marks.items()}
    return {name: Source(text=text, where=where) for name, text in found.items() if text.strip()}


def with_what_was_told(study: Study, chats: Iterable[Chat]) -> Study:
    """Return the study with the idea and the results that only its chats hold."""
    told: dict[str, Results] = {}
    idea = study.idea
    for chat in chats:
        if not idea.given and (given := given_idea(chat)):
            with contextlib.suppress(InputError):  # what another system calls an idea
                idea = parse_idea(given, chat.name)
        for name, content in given_results(chat).items():
            try:
                told.setdefault(name, flatten_results(content, {}, file=chat.name))
            except ResultError:
                continue
    runs: dict[str, Run] = {}
    titles = run_titles(study.folder)
    for name in sorted({*study.runs, *told}, key=lambda name: int(name[4:])):
        if name in study.runs:
            runs[name] = study.runs[name]
            continue
        base = runs.get("run_0")
        runs[name] = Run(
            name=name,
            title=titles.get(name, "Baseline" if name == "run_0" else name),
            results=told[name],
            provenance=TOLD,
            config_diff_baseline=config_diff(base.results, told[name]) if base else {},
        )
    return replace(study, runs=runs, idea=idea)


def _mended(piece: str) -> str:
    """Return a piece of a file such that Python reads it; as comments where it cannot be."""
    text = textwrap.dedent(piece)
    for candidate in (text, text + _closers(text), f"{text}\n{_indent_after(text)}pass"):
        try:
            ast.parse(candidate)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return candidate
    return textwrap.indent(text, "# ", lambda _: True)


def _closers(text: str) -> str:
    """Return the brackets that a piece leaves open."""
    opened: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.string in CLOSERS:
                opened.append(CLOSERS[token.string])
            elif opened and token.string == opened[-1]:
                opened.pop()
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass
    return "\n" + "".join(reversed(opened))


def _indent_after(text: str) -> str:
    last = next((line for line in reversed(text.split("\n")) if line.strip()), "")
    return last[: len(last) - len(last.lstrip())] + "    "
