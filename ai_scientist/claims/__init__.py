"""Numbers and comparisons in prose: named ones are expanded, typed ones are checked."""

from __future__ import annotations

from ai_scientist.claims.check import Number, Report, check_prose, mark_unsupported, shorten
from ai_scientist.claims.evidence import Evidence
from ai_scientist.claims.expand import (
    Expansion,
    Reference,
    definitions,
    expand_latex,
    expand_notes,
)
from ai_scientist.records import Finding, Study
from ai_scientist.run_folder.study import read_text

__all__ = [
    "Evidence",
    "Expansion",
    "Number",
    "Reference",
    "Report",
    "check_notes",
    "check_prose",
    "definitions",
    "expand_latex",
    "expand_notes",
    "mark_unsupported",
    "shorten",
]


def check_notes(study: Study) -> tuple[Finding, ...]:
    """Return what is wrong with the numbers and comparisons of the study's notes.txt."""
    text = read_text(study.folder / "notes.txt")
    return check_prose(text, Evidence.from_study(study), file="notes.txt").findings
