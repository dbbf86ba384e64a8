"""Notes and paper line by line, with every number a link to what it was read from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ai_scientist.records import Finding, Run
from ai_scientist.results.naming import ends_with
from ai_scientist.review.links import Links
from ai_scientist.review.prose import Mark, render_line, render_plain
from ai_scientist.review.story import Story, read_inside

if TYPE_CHECKING:
    from ai_scientist.claims import Number

NUMBER = re.compile(r"(?<![\w.\\])[-−+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w])(?:\\?%)?")
SECTION = re.compile(r"^#+\s*Run\s+(\d+)\b", re.IGNORECASE)
NAMED_RUN = re.compile(r"\brun_\d+\b")
FACT = re.compile(r"^([^\s=][^=]*?) = ")
MACRO = re.compile(r"\\(result|change|compare)\s*((?:\{[^{}\n]*\}){2,3})")
PLACE = re.compile(r"(?P<file>[\w./-]+\.(?:txt|tex))\s*(?::|,? line )\s*(?P<line>\d+)")
MAX_LINES = 4_000
LONG_LINE = 600


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One line of a text, rendered."""

    number: int
    kind: str
    """heading, fact, prose, code or blank."""
    html: Markup
    rest: str = ""
    """What was cut off a very long line."""
    findings: tuple[Finding, ...] = ()
    level: int = 0

    @property
    def linked(self) -> bool:
        """Whether it holds a number with a verdict."""
        return bool(self.findings) or 'class="num ' in self.html


@dataclass(frozen=True, kw_only=True)
class Source:
    """A stored value that a number shown may come from."""

    run: str
    path: str
    value: float


def claims_page(story: Story, links: Links) -> dict[str, Any]:
    """Return what the claims page of an idea shows."""
    papers = [(name, paper_lines(story, links, name)) for name in story.papers]
    return {
        "story": story,
        "links": links,
        "notes": notes_lines(story, links),
        "papers": papers,
        "elsewhere": [one for one in story.audit.findings if not PLACE.search(one.where)],
    }


def notes_lines(story: Story, links: Links) -> list[Statement]:
    """Return notes.txt, facts and prose apart, numbers linked."""
    lines = []
    run = "run_0"
    in_facts = False
    typed = numbers_by_line(story.audit.numbers, "notes.txt")
    found = findings_by_line(story.audit.findings, "notes.txt")
    for number, text in enumerate(story.notes.splitlines()[:MAX_LINES], 1):
        section = SECTION.match(text)
        if section:
            run = f"run_{section[1]}"
        in_facts = in_facts or text.startswith("[facts of ")
        marks = fact_marks(text, run, story, links) if in_facts else []
        marks = marks or number_marks(
            text, typed.get(number, ()), found.get(number, ()), story, links
        )
        marks += [] if in_facts else expanded_marks(text, marks, run, story, links)
        lines.append(statement(number, text, marks, in_facts, found.get(number, ())))
        in_facts = in_facts and not text.startswith("[end of facts]")
    return lines


def statement(
    number: int, text: str, marks: Sequence[Mark], in_facts: bool, findings: Sequence[Finding]
) -> Statement:
    """Return one rendered line of the notes."""
    rest = text[LONG_LINE:]
    text = text[:LONG_LINE]
    shown = [mark for mark in marks if mark.end <= len(text)]
    heading = re.match(r"(#{1,6})\s+", text)
    if in_facts:
        kind, html = "fact", render_plain(text, shown)
    elif heading:
        cut = heading.end()
        moved = [shift(mark, -cut) for mark in shown if mark.start >= cut]
        kind, html = "heading", render_line(text[cut:], moved)
    else:
        kind, html = "prose" if text.strip() else "blank", render_line(text, shown)
    level = len(heading[1]) if heading else 0
    return Statement(
        number=number, kind=kind, html=html, rest=rest, findings=tuple(findings), level=level
    )


def shift(mark: Mark, by: int) -> Mark:
    """Return a mark moved along its line."""
    return replace(mark, start=mark.start + by, end=mark.end + by)


def paper_lines(story: Story, links: Links, name: str) -> list[Statement]:
    """Return a TeX source, its macros and numbers linked."""
    source = read_inside(story.folder, name)
    typed = numbers_by_line(story.audit.numbers, name)
    found = findings_by_line(story.audit.findings, name)
    lines = []
    for number, text in enumerate(source.splitlines()[:MAX_LINES], 1):
        findings = found.get(number, ())
        marks = macro_marks(text, story, links)
        taken = [(mark.start, mark.end) for mark in marks]
        marks += [
            mark
            for mark in number_marks(text, typed.get(number, ()), findings, story, links)
            if not any(start <= mark.start < end for start, end in taken)
        ]
        marks = [mark for mark in marks if mark.end <= LONG_LINE]
        heading = re.match(r"\\(?:sub)*section|\\title|\\begin\{abstract\}", text.lstrip())
        kind = "heading" if heading else "code" if text.strip() else "blank"
        html = render_plain(text[:LONG_LINE], marks)
        lines.append(
            Statement(
                number=number,
                kind=kind,
                html=html,
                rest=text[LONG_LINE:],
                findings=tuple(findings),
                level=3,
            )
        )
    return lines


# --- marks ---------------------------------------------------------------------------------------


def fact_marks(text: str, run: str, story: Story, links: Links) -> list[Mark]:
    """Return the marks of a line that our code wrote: `path = value (… than run_0)`."""
    found = FACT.match(text)
    stored = story.study.runs.get(run)
    if not found or stored is None or found[1] not in stored.results.metrics:
        return []
    path = found[1]
    marks = []
    for place, number in enumerate(NUMBER.finditer(text, found.end())):
        if place and "." not in number[0]:
            continue  # a number of seeds, or of a run
        marks.append(
            Mark(
                start=number.start(),
                end=number.end(),
                href=links.metric(run, path),
                css="supported" if place == 0 else "derived",
                title=f"{run}: {path} = {stored.results.metrics[path]!r}",
            )
        )
    return marks


def macro_marks(text: str, story: Story, links: Links) -> list[Mark]:
    r"""Return the marks of \result, \change and \compare: they name their run and metric."""
    marks = []
    for found in MACRO.finditer(text):
        words = re.findall(r"\{([^{}]*)\}", found[2])
        run, metric = words[0].strip(), words[-1].strip()
        stored = story.study.runs.get(run)
        paths = (
            [path for path in stored.results.metrics if ends_with(path, metric)] if stored else []
        )
        value = stored.results.metrics[paths[0]] if stored and paths else None
        marks.append(
            Mark(
                start=found.start(),
                end=found.end(),
                href=links.metric(run, paths[0]) if paths else "",
                css="supported" if paths else "unsupported",
                title=f"{run}: {paths[0]} = {value!r}" if paths else "no such run or metric",
            )
        )
    return marks


def number_marks(
    text: str, numbers: Sequence[Number], findings: Sequence[Finding], story: Story, links: Links
) -> list[Mark]:
    """Return the marks of the typed numbers of a line, with the verdict of claims on each."""
    marks = []
    for number in numbers:
        start = place_of(number, text)
        if start < 0:
            continue
        blamed = any(says(one.detail, number.text) for one in findings)
        named = [number.run, *NAMED_RUN.findall(number.evidence), *story.study.runs]
        runs = [story.study.runs[name] for name in dict.fromkeys(named) if name in story.study.runs]
        sources = sources_of(number.text, runs) if not blamed else []
        worth = number.verdict in ("supported", "derived", "ambiguous")
        marks.append(
            Mark(
                start=start,
                end=start + len(number.text),
                href=links.metric(sources[0].run, sources[0].path) if sources and worth else "",
                css="unsupported" if blamed else number.verdict,
                title=f"{number.verdict}: {number.evidence}",
            )
        )
    return marks


def expanded_marks(
    text: str, marks: Sequence[Mark], run: str, story: Story, links: Links
) -> list[Mark]:
    """Return the marks of numbers that nobody doubted: our code expanded them from names.

    A number counts when it is specific (three digits and a point) and is, at the precision shown,
    a value of the section's run, else of one of the runs before it.
    """
    known = list(story.study.runs.values())
    runs = [one for one in known if one.name == run] + [one for one in known if one.name != run]
    found = []
    for number in NUMBER.finditer(text):
        digits = re.sub(r"[eE].*|\D", "", number[0]).lstrip("0")
        taken = any(mark.start < number.end() and number.start() < mark.end for mark in marks)
        sources = sources_of(number[0], runs) if "." in number[0] and len(digits) > 2 else []
        if taken or not sources:
            continue
        one, sure = sources[0], sources[0].run == run
        found.append(
            Mark(
                start=number.start(),
                end=number.end(),
                href=links.metric(one.run, one.path),
                css="supported" if sure else "ambiguous",
                title=f"{'' if sure else 'could be '}{one.run}: {one.path} = {one.value!r}",
            )
        )
    return found


def place_of(number: Number, text: str) -> int:
    """Return where a number begins in its line, or -1."""
    start = number.column - 1
    if text[start : start + len(number.text)] == number.text:
        return start
    return text.find(number.text)


def says(detail: str, token: str) -> bool:
    """Tell whether a finding speaks of a number as it is written in the text."""
    plain = token.strip("+-−").rstrip("\\%")
    return bool(re.search(rf"(?<![\d.]){re.escape(plain)}(?!\.?\d)", detail))


def sources_of(token: str, runs: Iterable[Run]) -> list[Source]:
    """Return the stored values that equal a number at the precision it is shown with."""
    plain = token.replace(",", "").replace("−", "-").rstrip("\\%")
    mantissa, _, exponent = plain.lower().partition("e")
    try:
        value = float(plain)
        half = 0.5000001 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    except (ValueError, OverflowError):
        return []
    return [
        Source(run=run.name, path=path, value=stored)
        for run in runs
        for path, stored in run.results.metrics.items()
        if abs(stored - value) <= half
    ]


def findings_by_line(findings: Iterable[Finding], file: str) -> dict[int, list[Finding]]:
    """Return the findings of a file by their line."""
    found: dict[int, list[Finding]] = {}
    for one in findings:
        place = PLACE.search(one.where)
        if place and (place["file"] == file or file.endswith("/" + place["file"])):
            known = found.setdefault(int(place["line"]), [])
            if one not in known:
                known.append(one)
    return found


def numbers_by_line(numbers: Iterable[Number], file: str) -> dict[int, list[Number]]:
    """Return the typed numbers of a file by their line."""
    found: dict[int, list[Number]] = {}
    for one in numbers:
        if one.file == file or file.endswith(f"/{one.file}"):
            found.setdefault(one.line, []).append(one)
    return found
