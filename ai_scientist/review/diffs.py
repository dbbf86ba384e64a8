"""Two texts side by side: difflib finds what changed, Pygments colors it, all on the server."""

from __future__ import annotations

import difflib
import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

CONTEXT_LINES = 3
MAX_LINES = 6_000
"""A longer file is compared by its first lines: difflib's time grows with the square."""
MAX_PAIRS = 4_000_000
MAX_COLORED_CHARACTERS = 300_000
NOTHING = Markup("")
Kind = Literal["same", "changed", "removed", "added", "fold"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the two columns; a fold stands for unchanged lines that are left out."""

    kind: Kind
    left: int | None = None
    right: int | None = None
    left_html: Markup = NOTHING
    right_html: Markup = NOTHING
    folded: int = 0
    hunk: int = 0
    """Number of the hunk it belongs to, from 1; links go there."""


@dataclass(frozen=True, kw_only=True)
class Diff:
    """A comparison of two texts."""

    rows: tuple[Row, ...]
    added: int
    removed: int
    hunks: int

    @property
    def empty(self) -> bool:
        """Whether the texts are equal."""
        return not self.hunks


def compare_texts(old: str, new: str, name: str) -> Diff:
    """Return the side-by-side rows of two versions of the file `name`."""
    left_html, right_html = color_lines(old, name), color_lines(new, name)
    matcher = match_lines(old, new)
    lines = min(len(old.splitlines()), MAX_LINES)
    rows: list[Row] = []
    added = removed = hunk = 0
    groups = list(matcher.get_grouped_opcodes(CONTEXT_LINES))
    seen = 0
    for group in groups:
        hunk += 1
        if group[0][1] > seen:
            rows.append(Row(kind="fold", folded=group[0][1] - seen, hunk=hunk))
        seen = group[-1][2]
        for operation, l0, l1, r0, r1 in group:
            rows += pair_lines(
                operation, range(l0, l1), range(r0, r1), (left_html, right_html), hunk
            )
            removed += (l1 - l0) * (operation in ("replace", "delete"))
            added += (r1 - r0) * (operation in ("replace", "insert"))
    if groups and seen < lines:
        rows.append(Row(kind="fold", folded=lines - seen, hunk=hunk))
    return Diff(rows=tuple(rows), added=added, removed=removed, hunks=hunk)


def pair_lines(
    operation: str,
    left: Sequence[int],
    right: Sequence[int],
    html: tuple[Sequence[Markup], Sequence[Markup]],
    hunk: int,
) -> Iterator[Row]:
    """Yield the rows of one difflib operation; a replacement's two sides stand side by side."""
    for place in range(max(len(left), len(right))):
        old = left[place] if place < len(left) else None
        new = right[place] if place < len(right) else None
        kind: Kind = "same" if operation == "equal" else "changed"
        if old is None:
            kind = "added"
        elif new is None:
            kind = "removed"
        yield Row(
            kind=kind,
            left=None if old is None else old + 1,
            right=None if new is None else new + 1,
            left_html=Markup("") if old is None else line_at(html[0], old),
            right_html=Markup("") if new is None else line_at(html[1], new),
            hunk=hunk,
        )


def count_changes(old: str, new: str) -> tuple[int, int]:
    """Return (added, removed) lines, without coloring anything."""
    added = removed = 0
    for operation, l0, l1, r0, r1 in match_lines(old, new).get_opcodes():
        if operation != "equal":
            removed += l1 - l0
            added += r1 - r0
    return added, removed


def match_lines(old: str, new: str) -> difflib.SequenceMatcher[str]:
    """Return what difflib finds equal; lines that are everywhere are passed over when they slow it.

    Its time grows with the pairs of equal lines: thousands of `0,` would take it minutes.
    """
    left, right = old.splitlines()[:MAX_LINES], new.splitlines()[:MAX_LINES]
    counts = Counter(left)
    pairs = sum(counts[line] for line in right)
    return difflib.SequenceMatcher(None, left, right, autojunk=pairs > MAX_PAIRS)


def line_at(lines: Sequence[Markup], place: int) -> Markup:
    """Return one colored line; Pygments may give fewer lines than the text has."""
    return lines[place] if place < len(lines) else Markup("")


@functools.lru_cache(maxsize=64)
def color_lines(text: str, name: str) -> tuple[Markup, ...]:
    """Return each line of a source file as HTML with Pygments' classes."""
    if len(text) > MAX_COLORED_CHARACTERS:
        return tuple(escape(line[:2000]) for line in text.splitlines())
    from pygments import lex
    from pygments.lexers import JsonLexer, PythonLexer, TexLexer, TextLexer
    from pygments.token import STANDARD_TYPES, Token

    lexers = {"py": PythonLexer, "tex": TexLexer, "json": JsonLexer}
    lexer = lexers.get(name.rsplit(".", 1)[-1], TextLexer)(stripnl=False, ensurenl=False)
    lines: list[list[str]] = [[]]
    for kind, value in lex("\n".join(text.splitlines()), lexer):
        while kind not in STANDARD_TYPES and kind is not Token:
            kind = kind.parent or Token  # noqa: PLW2901 (climbing to the nearest kind with a class)
        css = STANDARD_TYPES.get(kind, "")
        for number, piece in enumerate(value.split("\n")):
            if number:
                lines.append([])
            if piece:
                safe = escape(piece)
                lines[-1].append(f'<span class="z-{css}">{safe}</span>' if css else str(safe))
    # Markup is right here: every piece was escaped, and the classes come from Pygments' own table.
    return tuple(Markup("".join(line)) for line in lines)


HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)")


@dataclass(frozen=True, kw_only=True)
class PatchLine:
    """One line of a unified diff."""

    kind: Literal["head", "hunk", "add", "del", "same"]
    text: str
    number: int
    new_line: int | None = None


def read_patch(patch: str, most: int = 2_000) -> list[PatchLine]:
    """Return the lines of a stored unified diff, each with its kind and the line it has after."""
    lines: list[PatchLine] = []
    after = 0
    for number, text in enumerate(patch.splitlines()[:most], 1):
        found = HUNK.match(text)
        if found:
            after = int(found[2])
            lines.append(PatchLine(kind="hunk", text=text, number=number))
        elif text.startswith(("+++", "---", "diff ", "index ")):
            lines.append(PatchLine(kind="head", text=text, number=number))
        elif text.startswith("-"):
            lines.append(PatchLine(kind="del", text=text, number=number))
        else:
            kind: Literal["add", "same"] = "add" if text.startswith("+") else "same"
            lines.append(PatchLine(kind=kind, text=text, number=number, new_line=after))
            after += 1
    return lines
