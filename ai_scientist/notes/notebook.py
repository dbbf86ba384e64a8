"""The writing side of notes.txt: sections appended one by one, each an effect with its commit.

prose --named numbers expanded, typed ones checked--> holds?  appended
no:     back to the model, twice at most;
then marked, and a finding
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from ai_scientist.claims import (
    Evidence,
    Expansion,
    check_prose,
    expand_notes,
    mark_unsupported,
)
from ai_scientist.notes.facts import interpretation
from ai_scientist.protocols import Journal
from ai_scientist.records import Finding, Json, Run
from ai_scientist.redaction import redacted
from ai_scientist.run_folder.workspace import RunFolder

REPAIRS = 2
"""Times a prose whose numbers do not hold is sent back."""
MARK = "[unsupported number]"

Repair = Callable[[str, str, Sequence[str]], str]
"""(step, prose, what does not hold) -> corrected prose."""


class Notebook:
    """Appends to the notes of one run folder; `evidence` tells what a sentence may name by now."""

    def __init__(
        self,
        folder: RunFolder,
        *,
        journal: Journal,
        evidence: Callable[[], Evidence],
        repair: Repair,
        report: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._evidence = evidence
        self._repair = repair
        self._report = report
        self.findings: list[Finding] = []

    def interpret(self, run: Run, prose: str) -> None:
        """Add the coder's words on a run."""
        self._add(f"{run.name}/interpretation", prose, interpretation)

    def add_prose(self, key: str, heading: str, prose: str) -> None:
        """Add a section in the coder's words that belongs to no run, as the one on plots."""
        self._add(key, prose, lambda text: f"\n## {heading}\n{text.strip()}\n")

    def add_facts(self, key: str, text: str) -> None:
        """Add a section written by code."""
        self._journal.effect(key, lambda: {"commit": self._append(f"\n{text}\n", key)})

    def _add(self, key: str, prose: str, shape: Callable[[str], str]) -> None:
        """Settle a prose and append it; what stays wrong in it is marked there, and a finding."""

        def perform() -> Json:
            expansion, findings = self._settle(key, prose)
            commit = self._append(shape(expansion.text), key)
            return {
                "commit": commit,
                "findings": [asdict(one) for one in findings],
                "references": [asdict(one) for one in expansion.references],
            }

        stored = self._journal.effect(key, perform)
        self.findings += [Finding(**one) for one in stored["findings"]]

    def _settle(self, key: str, prose: str) -> tuple[Expansion, list[Finding]]:
        """Expand and check a prose; send problems back, a few times; then mark what is left."""
        evidence = self._evidence()
        for number in range(1, REPAIRS + 1):
            expansion = expand_notes(prose, evidence)
            checked = check_prose(prose, evidence, file="notes.txt")
            problems = [*expansion.problems, *(one.detail for one in checked.findings)]
            if not problems:
                return expansion, []
            self._report(f"{key}: {len(problems)} numbers or comparisons do not hold; asked again")
            prose = self._repair(f"{key}/repair_{number}", prose, problems)
        checked = check_prose(prose, evidence, file="notes.txt")
        marked = "\n".join(mark_unsupported(prose, checked, mark=MARK))
        expansion = expand_notes(marked, evidence)
        unknown = [
            Finding(kind="unknown_run", detail=problem, where=key) for problem in expansion.problems
        ]
        return expansion, [*unknown, *(replace(one, where=key) for one in checked.findings)]

    def _append(self, text: str, message: str) -> str:
        notes = self._folder.read("HEAD", "notes.txt") + redacted(text)
        self._folder.write({"notes.txt": notes})
        return self._folder.commit(message, ["notes.txt"])
