"""What stands in a coder's reply: edit blocks, whole definitions, control lines, prose.

Pure functions over text. aider parses and applies the blocks; this module finds where they are, to
tell the prose from them and to refuse what aider would take wrongly without a word.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

_HEAD = re.compile(r"<{5,9} SEARCH>?\s*$")
_DIVIDER = re.compile(r"={5,9}\s*$")
_TAIL = re.compile(r">{5,9} REPLACE\s*$")
_FENCE = re.compile(
    r"\s*(`{3,}|~{3,})\s*([\w+-]*)\s*$|\s*</?(source|code|pre|codeblock|sourcecode)>$"
)
_FILE_NAME = re.compile(r"[\w./\\-]+\.\w+$")
_FILE_MARK = re.compile(r"#\s*file:\s*(\S+)\s*$")
_SMOKE_INVARIANT = re.compile(r"SMOKE-INVARIANT:\s*(\S.*)$")
_ODD_LINE_BREAKS = re.compile("[\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
FINISHED = "ALL_COMPLETED"


@dataclass(frozen=True, kw_only=True)
class Block:
    """Where one block stands in a reply, in lines counted from 0, both ends included."""

    first: int
    """The file's name or the opening fence, whichever comes first."""
    last: int
    problem: str = ""
    """Why aider must not see it, worded for the model."""


@dataclass(frozen=True, kw_only=True)
class Definitions:
    """One fenced block of complete top-level definitions, and the file it is meant for."""

    first: int
    last: int
    file: str | None
    code: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """All that was found in one reply."""

    blocks: tuple[Block, ...]
    definitions: tuple[Definitions, ...]
    prose: str
    finished: bool
    """A line of its own says that nothing is left to do."""
    smoke_invariant: str | None


def read_reply(reply: str) -> Reading:
    """Find blocks, definitions and control lines in a reply; prose is what remains."""
    lines = reply.replace("\r\n", "\n").split("\n")
    blocks = tuple(_find_blocks(lines))
    inside = _lines_of(blocks)
    definitions = tuple(_find_definitions(lines, inside))
    inside |= _lines_of(definition for definition in definitions if definition.file)
    finished, invariant = False, None
    prose = []
    fenced = False
    for number, line in enumerate(lines):
        if number in inside:
            continue
        fenced ^= bool(_FENCE.match(line))
        bare = line.strip().strip("*`").strip()
        match = _SMOKE_INVARIANT.match(bare)
        if not fenced and bare == FINISHED:
            finished = True
        elif not fenced and match:
            invariant = match[1].strip()
        else:
            prose.append(line.rstrip())
    return Reading(
        blocks=blocks,
        definitions=definitions,
        prose=re.sub(r"\n{3,}", "\n\n", "\n".join(prose)).strip(),
        finished=finished,
        smoke_invariant=invariant,
    )


def find_places(content: str, search: str) -> list[int]:
    """Return the line numbers, from 1, at which `search` stands in `content`.

    Compared exactly; when that finds nothing, without leading white space, as aider does.
    """
    lines, wanted = content.splitlines(), search.splitlines()
    while len(wanted) > 2 and not wanted[0].strip():
        wanted = wanted[1:]
    if not any(line.strip() for line in wanted):
        return []
    return _windows(lines, wanted) or _windows(
        [line.lstrip() for line in lines], [line.lstrip() for line in wanted]
    )


def nearest_lines(content: str, search: str, *, around: int = 3) -> str:
    """Return the lines of `content` around the one most like the longest line of `search`.

    "" when no line is alike.
    """
    lines = content.split("\n")
    wanted = max((line.strip() for line in search.split("\n")), key=len, default="")
    bare = [line.strip() for line in lines]
    near = difflib.get_close_matches(wanted, set(bare), n=1, cutoff=0.6)
    if not near:
        return ""
    place = bare.index(near[0])
    return "\n".join(lines[max(0, place - around) : place + around + 1])


def restore_line_ends(before: str, after: str) -> str:
    """Give `after`, written with LF, the line ends and the missing final newline of `before`.

    In a file of mixed line ends the unchanged lines at its head and tail keep theirs, and what lies
    between gets the more frequent one.
    """
    if before and not before.endswith("\n") and after.endswith("\n"):
        after = after[:-1]
    crlf = before.count("\r\n")
    if not crlf:
        return after
    if crlf == before.count("\n"):
        return after.replace("\n", "\r\n")
    old = before.split("\n")
    new = after.split("\n")
    head = 0
    while head < min(len(old), len(new)) and old[head].removesuffix("\r") == new[head]:
        head += 1
    tail = 0
    room = min(len(old), len(new)) - head
    while tail < room and old[-1 - tail].removesuffix("\r") == new[-1 - tail]:
        tail += 1
    end = "\r" if 2 * crlf > before.count("\n") else ""
    middle = [line + end for line in new[head : len(new) - tail]]
    if tail == 0 and middle:
        middle[-1] = middle[-1].removesuffix("\r")
    return "\n".join(old[:head] + middle + old[len(old) - tail :])


def _find_blocks(lines: list[str]) -> Iterable[Block]:
    number = 0
    while number < len(lines):
        if not _HEAD.match(lines[number].strip()):
            number += 1
            continue
        end, dividers = number + 1, 0
        while end < len(lines) and not _TAIL.match(lines[end].strip()):
            if _HEAD.match(lines[end].strip()):
                break
            dividers += bool(_DIVIDER.match(lines[end].strip()))
            end += 1
        closed = end < len(lines) and bool(_TAIL.match(lines[end].strip()))
        first = _start_of(lines, number)
        last = end if closed else end - 1
        if closed and end + 1 < len(lines) and _FENCE.match(lines[end + 1]):
            last = end + 1
        problem = _problem_of(lines[number : end + 1], number, closed=closed, dividers=dividers)
        yield Block(first=first, last=last, problem=problem)
        number = max(last, end - 1) + 1 if closed else end


def _start_of(lines: list[str], head: int) -> int:
    """Walk back from a SEARCH line over its opening fence and its file name."""
    first = head
    for back in (head - 1, head - 2):
        if back < 0:
            break
        name = lines[back].strip().strip("#*`: ")
        fence = _FENCE.match(lines[back]) or lines[back].strip().startswith("```")
        if not fence and not _FILE_NAME.match(name):
            break
        first = back
    return first


def _problem_of(block: list[str], number: int, *, closed: bool, dividers: int) -> str:
    place = f"The SEARCH/REPLACE block that starts at line {number + 1} of your reply"
    if not closed:
        return f"{place} does not end in a line `>>>>>>> REPLACE`."
    if dividers == 0:
        return f"{place} has no dividing line `=======`."
    if dividers > 1:
        return (
            f"{place} holds a second line of 5 to 9 `=`. The format takes such a line for the "
            "divider and would lose what follows it. Write it with more or fewer `=`, or choose "
            "SEARCH lines that leave it out."
        )
    if any(_ODD_LINE_BREAKS.search(line) for line in block):
        return (
            f"{place} holds a control character that counts as a line break. Write it as an "
            "escape, such as \\x0c or \\u2028."
        )
    return ""


def _find_definitions(lines: list[str], taken: set[int]) -> Iterable[Definitions]:
    number = 0
    while number < len(lines):
        match = _FENCE.match(lines[number])
        if number in taken or not match or match[2] not in ("python", "py"):
            number += 1
            continue
        end = number + 1
        while end < len(lines) and lines[end].strip() != match[1]:
            end += 1
        body = lines[number + 1 : end]
        while body and not body[0].strip():
            body = body[1:]
        mark = _FILE_MARK.match(body[0].strip()) if body else None
        if end < len(lines):
            code = "\n".join(body[1:] if mark else body) + "\n"
            yield Definitions(first=number, last=end, file=mark[1] if mark else None, code=code)
        number = end + 1


def _lines_of(spans: Iterable[Block | Definitions]) -> set[int]:
    return {number for span in spans for number in range(span.first, span.last + 1)}


def _windows(lines: list[str], wanted: list[str]) -> list[int]:
    size, first = len(wanted), wanted[0]
    return [
        start + 1
        for start in range(len(lines) - size + 1)
        if lines[start] == first and lines[start : start + size] == wanted
    ]
