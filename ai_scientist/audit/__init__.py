"""Is this folder to be believed? For our run folders and for any AI-Scientist-style one.

Nothing in the folder is executed or imported. What cannot be told from its files is not guessed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ai_scientist.audit.chats import Chat, chat_findings, read_chats
from ai_scientist.audit.code import run_sources
from ai_scientist.audit.paper import (
    check_notes_text,
    check_paper_text,
    confounded_changes,
    notes_and_plots,
    paper_of,
)
from ai_scientist.audit.rebuilt import code_from_chats, with_what_was_told
from ai_scientist.audit.runs import run_findings
from ai_scientist.audit.told import (
    check_told_prose,
    false_in_replies,
    told_of_several_runs,
    told_only_in_notes,
)
from ai_scientist.claims import Number, Report
from ai_scientist.errors import InputError
from ai_scientist.records import Finding, Json, Study
from ai_scientist.run_folder.study import read_study

__all__ = [
    "audit",
    "audit_command",
    "audit_report",
    "audit_study",
    "check_paper",
    "check_paper_command",
    "to_json",
]


def audit(folder: Path) -> list[Finding]:
    """Return everything a reader of this run folder must know. Raises InputError for no folder."""
    return list(audit_report(folder).findings)


def audit_report(folder: Path) -> Report:
    """Return the findings of a run folder with every number of its notes and paper."""
    return audit_study(read_study(folder))


def audit_study(study: Study) -> Report:
    """Audit a study that is already read; its folder's chats tell what its files do not."""
    chats = read_chats(study.folder)
    in_folder = frozenset({*study.runs, *(finding.run for finding in study.findings)})
    study = with_what_was_told(study, chats)
    sources = run_sources(study, code_from_chats(chats))
    notes = check_notes_text(study)
    tex = paper_of(study.folder)
    paper = check_paper_text(tex, study, sources) if tex is not None else Report()
    told = check_told_prose(study, chats) if chats else Report()
    findings = [
        *study.findings,
        *run_findings(study, sources),
        *(one for chat in chats for one in chat_findings(chat, in_folder | study.runs.keys())),
        *notes_and_plots(study),
        *notes.findings,
        *confounded_changes(notes, study),
        *paper.findings,
        *told.findings,
        *confounded_changes(told, study),
        *told_of_several_runs(study),
        *told_only_in_notes(study),
        *false_in_replies(study, chats),
    ]
    numbers = (*notes.numbers, *paper.numbers, *told.numbers)
    return Report(numbers=numbers, findings=tuple(dict.fromkeys(findings)))


def check_paper(tex: Path, runs_folder: Path) -> Report:
    """Check every number of a paper against the runs of a folder.

    Raises InputError for the person when either is missing or no run has a result.
    """
    if not tex.is_file():
        raise InputError(f"{tex} is no file.", hint="name the paper's main .tex file")
    chats = read_chats(runs_folder)
    study = with_what_was_told(read_study(runs_folder), chats)
    if not study.runs:
        raise InputError(
            f"{runs_folder} holds no run with a readable final_info.json.",
            hint="name the folder that holds run_0/, run_1/, …",
        )
    return check_paper_text(tex, study, run_sources(study, code_from_chats(chats)))


def to_json(report: Report) -> Json:
    """Return the JSON form: {"numbers": […], "findings": […]}."""
    return report.to_json()


def audit_command(folder: Path, as_json: bool) -> int:
    """Print the audit of a folder; return the exit code: 1 when there are findings."""
    return _print(audit_report(folder), as_json, title=str(folder), chats=read_chats(folder))


def check_paper_command(tex: Path, runs: Path, as_json: bool) -> int:
    """Print the check of a paper; return the exit code: 1 when there are findings."""
    return _print(check_paper(tex, runs), as_json, title=str(tex))


def _print(report: Report, as_json: bool, *, title: str, chats: Sequence[Chat] = ()) -> int:
    if as_json:
        told = {"chats": [chat.to_json() for chat in chats]} if chats else {}
        json.dump(to_json(report) | told, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        remarks = [f"chat {chat.describe()}" for chat in chats]
        sys.stdout.write("\n".join([*lines_of(report, title), *remarks]) + "\n")
    return 1 if report.findings else 0


def lines_of(report: Report, title: str) -> list[str]:
    """Return the audit as lines for a person: what, where, why, and what is near."""
    counts = _counts(report.numbers)
    lines = [f"{title}: {len(report.findings)} findings; numbers: {counts or 'none typed'}"]
    for kind, group in _by_kind(report.findings):
        lines += ["", f"{kind} ({len(group)}): {MEANING.get(kind, '')}".rstrip(": ")]
        for finding in group:
            place = ", ".join(part for part in (finding.run, finding.where) if part)
            lines.append(f"  {place or 'the whole folder'}: {finding.detail}")
    open_ = [number for number in report.numbers if number.verdict == "ambiguous"]
    if open_:
        lines += ["", f"ambiguous ({len(open_)}), no finding: the words leave open what they are"]
    lines += [f"  {n.file or 'line'}:{n.line}: {n.text}: {n.evidence}" for n in open_]
    return lines


def _counts(numbers: Sequence[Number]) -> str:
    order = ("supported", "derived", "configuration", "ambiguous", "unsupported")
    found = {verdict: sum(n.verdict == verdict for n in numbers) for verdict in order}
    return ", ".join(f"{count} {verdict}" for verdict, count in found.items() if count)


def _by_kind(findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.kind, []).append(finding)
    order = list(MEANING)
    return sorted(groups.items(), key=lambda g: order.index(g[0]) if g[0] in order else len(order))


MEANING = {
    "missing_result": "a run without a readable result",
    "edit_not_applied": "what was asked for never reached the file",
    "identical_code": "the edit changed nothing",
    "identical_metrics": "the edit changed no number",
    "seed_only_change": "another draw of the same noise",
    "mechanism_inactive": "the idea's term is there and does nothing",
    "mechanism_missing": "what the idea names is no longer in the code",
    "equal_axes": "a mistake that no error would show",
    "foreign_result": "a result of another model",
    "frozen_touched": "what measures was edited",
    "not_comparable": "measured otherwise than the baseline",
    "config_drift": "settings that moved beside the idea",
    "noise_not_measured": "no difference is known to be real",
    "run_not_in_notes": "",
    "run_not_in_plots": "",
    "run_not_in_paper": "",
    "unknown_run": "a run that does not exist",
    "wrong_attribution": "a value of one run given as another's",
    "wrong_comparison": "the values say otherwise",
    "unsupported_number": "no stored value is this one; correct it or say where it comes from",
    "missing_figure": "",
    "unknown_citation": "",
    "placeholder_left": "",
}
