"""Notes and paper line by line, with every number a link to what it was read from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ai_scientist.records import Finding, Run
from ai_scientist.review.links import Links
from ai_scientist.review.measures import ends_with
from ai_scientist.review.prose import Mark, render_line, render_plain
from ai_scientist.review.story import Story, read_inside

NUMBER = re.compile(r"(?<![\w.\\])[-−+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w])")
SECTION = re.compile(r"^#+\s*Run\s+(\d+)\b", re.IGNORECASE)
NAMED_RUN = re.compile(r"\brun[ _](\d+)\b", re.IGNORECASE)
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
        "elsewhere": [one for one in story.findings if not PLACE.search(one.where)],
    }


def notes_lines(story: Story, links: Links) -> list[Statement]:
    """Return notes.txt, facts and prose apart, numbers linked."""
    lines = []
    run = "run_0"
    in_facts = False
    found = findings_by_line(story.findings, "notes.txt")
    for number, text in enumerate(story.notes.splitlines()[:MAX_LINES], 1):
        section = SECTION.match(text)
        if section:
            run = f"run_{section[1]}"
        in_facts = in_facts or text.startswith("[facts of ")
        marks = fact_marks(text, run, story, links) if in_facts else []
        marks = marks or marks_of(text, run, story, links, found.get(number, ()))
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
    return Mark(
        start=mark.start + by, end=mark.end + by, href=mark.href, css=mark.css, title=mark.title
    )


def paper_lines(story: Story, links: Links, name: str) -> list[Statement]:
    """Return a TeX source, its macros and numbers linked."""
    found = findings_by_line(story.findings, name)
    lines = []
    for number, text in enumerate(read_inside(story.folder, name).splitlines()[:MAX_LINES], 1):
        findings = found.get(number, ())
        marks = macro_marks(text, story, links)
        taken = [(mark.start, mark.end) for mark in marks]
        if not text.lstrip().startswith(("%", "\\usepackage", "\\documentclass")):
            marks += [
                mark
                for mark in marks_of(text, "", story, links, findings)
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
        if NAMED_RUN.search(text[max(0, number.start() - 5) : number.end()]):
            continue
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


def marks_of(
    text: str, run: str, story: Story, links: Links, findings: Sequence[Finding] = ()
) -> list[Mark]:
    """Return the marks of a line of prose: a number that a run named nearby really holds.

    The runs looked at are those the line names, the section's own and the baseline. Whether a
    sentence is right is not judged here; what was judged wrong comes in as `findings`.
    """
    wanted = [f"run_{number}" for number in NAMED_RUN.findall(text)] + [run, "run_0"]
    runs = [story.study.runs[name] for name in dict.fromkeys(wanted) if name in story.study.runs]
    marks = []
    for found in NUMBER.finditer(text):
        token = found[0]
        blamed = next((one for one in findings if token.strip("+-−") in one.detail), None)
        sources = sources_of(token, runs) if worth_linking(token) else []
        if blamed is not None:
            css, href, title = "unsupported", "", f"{blamed.kind}: {blamed.detail}"
        elif len({(one.run, one.path) for one in sources}) == 1:
            one = sources[0]
            css, href = "supported", links.metric(one.run, one.path)
            title = f"{one.run}: {one.path} = {one.value!r}"
        elif sources:
            one = sources[0]
            css, href = "ambiguous", links.metric(one.run, one.path)
            title = "could be " + "; ".join(f"{s.run}: {s.path}" for s in sources[:4])
        else:
            continue
        marks.append(Mark(start=found.start(), end=found.end(), href=href, css=css, title=title))
    return marks


def worth_linking(token: str) -> bool:
    """Tell whether a number is specific enough to come from a result: three digits and a point."""
    digits = re.sub(r"[eE].*|\D", "", token).lstrip("0")
    return len(digits) >= 3 and ("." in token or "e" in token.lower())


def sources_of(token: str, runs: Iterable[Run]) -> list[Source]:
    """Return the stored values that equal a number at the precision it is shown with."""
    plain = token.replace(",", "").replace("−", "-")
    try:
        value = float(plain)
    except ValueError:
        return []
    mantissa, _, exponent = plain.lower().partition("e")
    half = 0.5000001 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
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
            found.setdefault(int(place["line"]), []).append(one)
    return found
