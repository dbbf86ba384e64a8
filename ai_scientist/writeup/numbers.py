"""Numbers in the paper: names bound to the stored results, typed literals judged by the claims."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ai_scientist.claims import (
    Evidence,
    Report,
    check_prose,
    definitions,
    expand_latex,
    mark_unsupported,
)
from ai_scientist.claims.expand import MACRO
from ai_scientist.records import Finding
from ai_scientist.writeup.parts import BY_NAME, Problem

MARK = r"\textbf{[unsupported number]}"
UNKNOWN = r"\textbf{[unknown number]}"


@dataclass(frozen=True, kw_only=True)
class BoundNumbers:
    """Implements parts.Numbers by the evidence of one study."""

    evidence: Evidence

    def definitions(self, texts: Sequence[str]) -> str:
        """Return latex/results.tex for the names that `texts` use."""
        return definitions(texts, self.evidence)

    def problems(self, name: str, text: str) -> Sequence[Problem]:
        """Return the unknown names, unsupported literals and false comparisons of a section."""
        unknown = expand_latex(text, self.evidence).problems
        return [
            *(Problem(kind="unknown_number", detail=problem) for problem in unknown),
            *(Problem(kind=f.kind, detail=f.detail) for f in self._report(name, text).findings),
        ]

    def mark(self, name: str, text: str) -> tuple[str, Sequence[Finding]]:
        """Return `text` with each remaining one replaced by a visible mark, and the findings."""
        where = f"latex/sections/{name}.tex"
        unknown = expand_latex(text, self.evidence).problems
        findings = [Finding(kind="unknown_run", detail=one, where=where) for one in unknown]
        text = MACRO.sub(self._known, text)
        report = self._report(name, text)
        findings += [
            Finding(kind=f.kind, detail=f.detail, run=f.run, where=where) for f in report.findings
        ]
        head, tail = _frame(name)
        marked = "\n".join(mark_unsupported(head + text + tail, report, mark=MARK))
        return marked.removeprefix(head).removesuffix(tail), findings

    def _known(self, match: re.Match[str]) -> str:
        return UNKNOWN if expand_latex(match[0], self.evidence).problems else match[0]

    def _report(self, name: str, text: str) -> Report:
        """Check a section as it will stand in the paper: below its heading."""
        head, tail = _frame(name)
        return check_prose(head + _without_files(text) + tail, self.evidence, kind="latex")


def _frame(name: str) -> tuple[str, str]:
    if name == "abstract":
        return "\\begin{abstract}\n", "\n\\end{abstract}"
    return (f"\\section{{{BY_NAME[name].heading}}}\n", "") if name != "title" else ("", "")


def _without_files(text: str) -> str:
    """Blank out the names of figure files, at equal length, so that places stay right."""
    return re.sub(
        r"(\\placefigure\s*\{)([^{}]*)", lambda m: m[1] + re.sub(r"[^\s]", "x", m[2]), text
    )
