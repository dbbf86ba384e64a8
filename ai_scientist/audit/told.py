"""What only words tell: notes and a paper that chats hold, results that notes hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from ai_scientist.audit.chats import Chat
from ai_scientist.audit.paper import paper_of
from ai_scientist.audit.rebuilt import pieces_of
from ai_scientist.claims import Evidence, Report, check_prose
from ai_scientist.claims.numerals import find_numerals
from ai_scientist.claims.units import Table, markdown_units
from ai_scientist.records import Finding, Study
from ai_scientist.run_folder.study import read_text

NOTES, PAPER = "notes.txt", "latex/template.tex"
MEASURED_DIGITS = 7
RUN_HEADING = re.compile(r"\s*run[ _](\d{1,3})\b", re.I)
LINE = re.compile(r":(\d+)$")


def check_told_prose(study: Study, chats: Sequence[Chat]) -> Report:
    """Check what chats put into notes and paper, where the folder holds neither.

    A place is the line of the chat that last held those words.
    """
    evidence = Evidence.from_study(study)
    report = Report()
    for file in (NOTES, PAPER):
        kept = read_text(study.folder / NOTES) if file == NOTES else paper_of(study.folder)
        text = "" if kept else "\n\n".join(pieces_of(chats, file).now)
        if not text.strip():
            continue
        checked = check_prose(text, evidence, kind="latex" if file == PAPER else "notes", file=file)
        report = _joined(report, _placed(checked, text, study, chats))
    return report


def _joined(one: Report, other: Report) -> Report:
    return Report(numbers=(*one.numbers, *other.numbers), findings=(*one.findings, *other.findings))


def _placed(report: Report, text: str, study: Study, chats: Sequence[Chat]) -> Report:
    """Return the report with the places of a rebuilt text replaced by those in the chats."""
    places: dict[str, tuple[str, int]] = {}
    for chat in chats:
        lines = read_text(study.folder / chat.name).splitlines()
        places |= {line.strip(): (chat.name, number) for number, line in enumerate(lines, 1)}
    rebuilt = text.splitlines()

    def place(line: int) -> tuple[str, int]:
        return places.get(rebuilt[line - 1].strip(), (chats[0].name, 1))

    numbers = []
    for number in report.numbers:
        file, line = place(number.line)
        numbers.append(replace(number, file=file, line=line))
    findings = []
    for finding in report.findings:
        found = LINE.search(finding.where)
        file, line = place(int(found[1])) if found else (chats[0].name, 1)
        what = LINE.sub("", finding.where)
        findings.append(replace(finding, where=f"{file}:{line} ({what})"))
    return Report(numbers=tuple(numbers), findings=tuple(findings))


def told_of_several_runs(study: Study) -> Iterator[Finding]:
    """Find measured values that notes tell to the last digit of several runs without results."""
    seen: dict[Decimal, dict[str, int]] = {}
    for unit in markdown_units(read_text(study.folder / NOTES)):
        headed = RUN_HEADING.match(unit.heading)
        if not headed or isinstance(unit, Table) or f"run_{headed[1]}" in study.runs:
            continue
        for numeral in find_numerals(unit.text):
            if not numeral.integer and numeral.digits >= MEASURED_DIGITS:
                line = unit.place(numeral.start).line
                seen.setdefault(numeral.value, {}).setdefault(f"run_{headed[1]}", line)
    for value, runs in seen.items():
        names = list(runs)
        if len(names) > 1:
            yield Finding(
                kind="identical_metrics",
                run=names[1],
                where=f"{NOTES}:{runs[names[1]]}",
                detail=f"{value} is told of {', '.join(names)}, whose results are not here: what "
                "was changed did not reach it",
            )
