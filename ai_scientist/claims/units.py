"""A text cut into what is judged at once: sentences and tables, each with its place and context."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Context = Literal["table", "text", "caption", "abstract"]

MAX_SENTENCE = 2000
SENTENCE_END = re.compile(
    r"(?<=[.!?])[\"')\]]*\s+(?=[A-Z(\[`*\"$])|(?<=[\w)%][.!?])\s+(?=runs?[_ ]?\d)"
)
ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|al|Fig|Figs|Sec|Eq|Eqs|Tab|No|approx|resp|ca|Dr|St|r\.t|rel|incl|comp)\.|\b[A-Z]\.)\s*\Z"
)
ITEM = re.compile(r"^[ \t]*(?:[-*•+→►]|\(?\d{1,2}[.)]|\(?[a-z]\))\s+")
HEADING = re.compile(r"^#{1,6}\s+(?P<title>.*)$")
RESULT_HEADING = re.compile(
    r"result|experiment|evaluat|ablation|analysis|conclusion|discussion", re.I
)
FACTS = re.compile(
    r"^(?P<kept>## Run \d[^\n]*\n)\[facts of run_\d+.*?^\[end of facts\]$", re.M | re.S
)
PASTED = re.compile(r"^(?:Results: ?)?\{['\"].{400,}$", re.M)
FENCE = re.compile(r"^```(?:python|bash|sh|diff|toml|yaml)\b.*?^```[ \t]*$", re.M | re.S)
LABELLED = re.compile(r"^\s*(?:\*\*)?[A-Z][A-Za-z ]{2,30}:")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something stands in a file."""

    line: int
    column: int
    file: str = ""


class Source:
    """A flat text whose characters remember where they came from."""

    def __init__(self, text: str, origins: Sequence[int], source: str, file: str) -> None:
        self.text = text
        self._origins = origins
        self._starts = [0, *(m.end() for m in re.finditer(r"\n", source))]
        self._file = file

    def place(self, position: int) -> Place:
        """Return the place in the source of one character of the flat text."""
        origin = self._origins[min(position, len(self._origins) - 1)] if self._origins else 0
        line = bisect.bisect_right(self._starts, origin)
        return Place(line=line, column=origin - self._starts[line - 1] + 1, file=self._file)


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence, list item, heading or caption."""

    text: str
    start: int
    """Of its first character, in the flat text of `source`."""
    source: Source
    context: Context = "text"
    heading: str = ""
    """The run's heading it stands under, or the nearest one."""
    results: bool = False
    """Stands where results are told."""
    item: bool = False
    paragraph: int = 0

    def place(self, offset: int) -> Place:
        """Return the place of one character of this sentence."""
        return self.source.place(self.start + offset)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of a table."""

    text: str
    start: int


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells, as typed, and the caption around them."""

    rows: tuple[tuple[Cell, ...], ...]
    source: Source
    caption: str = ""
    heading: str = ""


Unit = Sentence | Table


def markdown_units(text: str, *, file: str = "") -> Iterator[Unit]:
    """Cut notes into units; what code wrote or pasted (facts, dictionaries, code) is left out."""
    hidden = text
    for pattern in (FENCE, FACTS, PASTED):
        hidden = pattern.sub(_blank, hidden)
    source = Source(hidden, range(len(hidden)), hidden, file)
    heading, results, paragraph, position = "", False, 0, 0
    block: list[tuple[int, str]] = []

    def flush() -> Iterator[Unit]:
        nonlocal block
        lines, block = block, []
        if lines:
            yield from _block(lines, source, heading=heading, results=results, number=paragraph)

    for line in hidden.split("\n"):
        start, position = position, position + len(line) + 1
        title = HEADING.match(line)
        bold = re.match(r"^\s*\*\*(.+?)\*\*:?\s*$", line)
        if title or not line.strip() or bold:
            yield from flush()
            paragraph += not bold
        if title:
            named = re.match(r"#{1,3}\s", line)
            heading = title["title"] if named or not heading else heading
            if not named:
                block.append((start, line))
                yield from flush()
            results = bool(RESULT_HEADING.search(title["title"])) or bool(
                re.search(r"\brun[ _]\d", title["title"], re.I)
            )
        elif line.strip():
            if ITEM.match(line) or LABELLED.match(line):
                yield from flush()
            block.append((start, line))
    yield from flush()


def _blank(match: re.Match[str]) -> str:
    kept = match.groupdict().get("kept") or ""
    return kept + re.sub(r"[^\n]", " ", match[0][len(kept) :])


def _block(
    lines: list[tuple[int, str]], source: Source, *, heading: str, results: bool, number: int
) -> Iterator[Unit]:
    if len(lines) > 1 and all(line.count("|") >= 1 for _, line in lines):
        rows = tuple(
            _markdown_row(start, line)
            for start, line in lines
            if not re.fullmatch(r"[\s|:+-]+", line)
        )
        yield Table(rows=rows, source=source, heading=heading)
        return
    start = lines[0][0]
    item = ITEM.match(lines[0][1])
    whole = source.text[start : lines[-1][0] + len(lines[-1][1])]
    skip = item.end() if item else 0
    for offset, text in sentences(whole[skip:]):
        yield Sentence(
            text=text,
            start=start + skip + offset,
            source=source,
            heading=heading,
            results=results,
            item=item is not None,
            paragraph=number,
        )


def _markdown_row(start: int, line: str) -> tuple[Cell, ...]:
    cells = []
    position = start
    for part in line.split("|"):
        cells.append(Cell(text=part, start=position))
        position += len(part) + 1
    if cells and not cells[0].text.strip():
        cells = cells[1:]
    if cells and not cells[-1].text.strip():
        cells = cells[:-1]
    return tuple(cells)


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield (offset, sentence); a line break inside a sentence reads as a blank."""
    flat = text.replace("\n", " ")
    for begin in range(MAX_SENTENCE, len(flat), MAX_SENTENCE):
        if not SENTENCE_END.search(flat[begin - MAX_SENTENCE : begin]):
            # What has no end is cut, so that a text without sentences costs no more than one with.
            at = flat.rfind(" ", begin - MAX_SENTENCE, begin)
            cut = at if at > begin - MAX_SENTENCE else begin
            yield from sentences(flat[:cut])
            yield from ((cut + offset, part) for offset, part in sentences(flat[cut:]))
            return
    start = 0
    for match in SENTENCE_END.finditer(flat):
        if ABBREVIATION.search(flat[start : match.start()]):
            continue
        yield start, flat[start : match.start()]
        start = match.end()
    if flat[start:].strip():
        yield start, flat[start:]
