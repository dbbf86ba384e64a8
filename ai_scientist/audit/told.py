"""What only words tell: notes and a paper that chats hold, results that notes hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from ai_scientist.audit.chats import COMPLETED, Chat
from ai_scientist.audit.paper import incomparable, paper_of
from ai_scientist.audit.rebuilt import pieces_of
from ai_scientist.claims import Evidence, Report, check_prose
from ai_scientist.claims.binding import is_change
from ai_scientist.claims.check import PLAN
from ai_scientist.claims.exempt import setting_of
from ai_scientist.claims.numerals import Numeral, find_numerals
from ai_scientist.claims.units import Sentence, markdown_units
from ai_scientist.claims.vocabulary import BASELINE, LAST_WORDS, SettingMention, Vocabulary
from ai_scientist.records import Finding, Study
from ai_scientist.run_folder.study import read_text

NOTES, PAPER = "notes.txt", "latex/template.tex"
MEASURED_DIGITS = 7
RUN_HEADING = re.compile(r"\s*run[ _](\d{1,3})\b", re.I)
LINE = re.compile(r":(\d+)$")
LINE_NUMBER = re.compile(r"line (\d+)$")


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


def false_in_replies(study: Study, chats: Sequence[Chat]) -> Iterator[Finding]:
    """Yield the false comparisons and attributions in what the coder said of a result it was told.

    What it concludes from them shapes the next edit, whether or not it enters the notes.
    """
    evidence = Evidence.from_study(study)
    for chat in chats:
        for request in chat.requests:
            completed = COMPLETED.match(request.text)
            said = [line for reply in request.replies for line in reply.said]
            if not completed or not said:
                continue
            text = "\n\n".join([f"## Run {completed[1]}", *(line for _, line in said)])
            for finding in check_prose(text, evidence).findings:
                found = LINE_NUMBER.search(finding.where)
                if finding.kind in ("wrong_comparison", "wrong_attribution") and found:
                    line = said[int(found[1]) // 2 - 1][0]
                    yield replace(finding, where=f"{chat.name}:{line} (a reply)")


def told_only_in_notes(study: Study) -> Iterator[Finding]:
    """Find runs whose results stand in notes alone, and what is claimed of those set otherwise."""
    known = {*study.runs, *(finding.run for finding in study.findings)}
    base = {name: run for name, run in study.runs.items() if name == "run_0"}
    vocabulary = Vocabulary(Evidence.from_runs(base, idea=study.idea))
    first: dict[str, int] = {}
    moved: dict[str, list[str]] = {}
    for run, sentence in _headed(study):
        if run in known or PLAN.search(sentence.text):
            continue
        settings, results = _settings_and_results(sentence.text, vocabulary)
        moved.setdefault(run, []).extend(settings)
        for numeral in results:
            line = sentence.place(numeral.start).line
            first.setdefault(run, line)
            if moved[run] and numeral.percent and _is_against_baseline(sentence.text, numeral):
                where, words = f"{NOTES}:{line}", "; ".join(moved[run][:4])
                yield incomparable(run, where, numeral.text, sentence.text, words)
    for run, line in first.items():
        yield Finding(
            kind="missing_result",
            run=run,
            where=f"{NOTES}:{line}",
            detail=f"the notes tell what {run} reached, and the folder holds no result of it",
        )


def _settings_and_results(text: str, vocabulary: Vocabulary) -> tuple[list[str], list[Numeral]]:
    """Return what a sentence sets otherwise than the baseline, and the numbers it tells beside."""
    moved: list[str] = []
    results: list[Numeral] = []
    numerals = tuple(find_numerals(text))
    mentions = [s for s in vocabulary.settings(text) if text[s.start : s.end] not in LAST_WORDS]
    for numeral in numerals:
        setting = setting_of(text, numeral, mentions, numerals)
        if setting is None:
            results += [numeral] if numeral.percent or not numeral.integer else []
        elif not any(numeral.shows(v) for v in (*_floats(setting), *vocabulary.idea_values)):
            old = ", ".join(str(value) for value in setting.values)
            moved.append(f"{text[setting.start : setting.end]} {old} -> {numeral.text}")
    return moved, results


def _floats(setting: SettingMention) -> list[float]:
    return [float(value) for value in setting.values if isinstance(value, int | float)]


def _is_against_baseline(text: str, numeral: Numeral) -> bool:
    return is_change(text, numeral) and bool(BASELINE.search(text))


def _headed(study: Study) -> Iterator[tuple[str, Sentence]]:
    """Yield (run, sentence) of what notes say under the heading of a run."""
    for unit in markdown_units(read_text(study.folder / NOTES)):
        headed = RUN_HEADING.match(unit.heading)
        if headed and isinstance(unit, Sentence):
            yield f"run_{headed[1]}", unit


def told_of_several_runs(study: Study) -> Iterator[Finding]:
    """Find measured values that notes tell to the last digit of several runs without results."""
    seen: dict[Decimal, dict[str, int]] = {}
    for run, sentence in _headed(study):
        if run in study.runs:
            continue
        for numeral in find_numerals(sentence.text):
            if not numeral.integer and numeral.digits >= MEASURED_DIGITS:
                line = sentence.place(numeral.start).line
                seen.setdefault(numeral.value, {}).setdefault(run, line)
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
