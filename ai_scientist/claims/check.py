"""Every number typed in notes or a paper, with a verdict; and every comparison held to the facts.

| verdict       | the number…                                                                     |
|---------------|---------------------------------------------------------------------------------|
| supported     | is, at the precision shown, the one value its words name (run and metric)       |
| derived       | is a difference, ratio or percentage of two values its words name               |
| configuration | is a value of the configuration or one the idea states, and stands for that     |
| ambiguous     | is a stored value, but its words do not say of which run and metric             |
| unsupported   | is none of these                                                                |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ai_scientist.claims.binding import Scene, bind, is_change, read_scene
from ai_scientist.claims.directions import false_comparisons
from ai_scientist.claims.evidence import Evidence
from ai_scientist.claims.exempt import is_no_number
from ai_scientist.claims.expand import MACRO, macro_reference
from ai_scientist.claims.judging import REFERENCE, Ruling, Verdict
from ai_scientist.claims.latex import EXPANDED, latex_units
from ai_scientist.claims.numerals import Numeral, find_numerals
from ai_scientist.claims.reading import comparison_doubt, is_fine
from ai_scientist.claims.sentences import SentenceJudge
from ai_scientist.claims.surroundings import Surroundings, of_paragraphs, of_table
from ai_scientist.claims.table_cells import TableJudge
from ai_scientist.claims.units import Context, Place, Sentence, Table, markdown_units
from ai_scientist.claims.vocabulary import Vocabulary
from ai_scientist.errors import ReplyError
from ai_scientist.judging.statistics import NOISE_NOT_MEASURABLE, NOISE_NOT_MEASURED
from ai_scientist.records import Finding, Json

Kind = Literal["notes", "latex"]
PLAN = re.compile(
    r"\b(?:plan(?:s|ned)?|next|will|would|could|should|future|propose|let us|let's|later)\b", re.I
)
TYPED = re.compile(
    r"(?:[+\-−–]\s?)?(?:\d+(?:(?:\{,\}|\\,|[,\u2009\u202f])\d{3}(?!\d))*(?:\.\d+)?|\.\d+)"
    r"(?:\s?(?:\\times|\\cdot|[×·])\s?10\s?(?:\^\s?(?:\{[^{}]{1,6}\}|[+\-−]?\d+)|⁻?[⁰¹²³⁴-⁹]+)"
    r"|[eE][+\-−]?\d+)?"
)
"""A number as a person types it, in notes or in LaTeX, without its unit."""
CAVEAT = re.compile(rf"\(\s*(?:{NOISE_NOT_MEASURED}|{NOISE_NOT_MEASURABLE})\s*\)")
"""What our code writes beside a difference: it changes nothing that the sentence claims."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """One typed number and what became of it."""

    text: str
    line: int
    column: int
    context: Context
    verdict: Verdict
    evidence: str
    file: str = ""
    excerpt: str = ""
    """The words around it, as they stand in the flat text."""
    kind: str = ""
    run: str = ""
    between: tuple[str, ...] = ()
    """The run and the reference that a change is between, where the words say."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All numbers of a text, and what is wrong."""

    numbers: tuple[Number, ...] = ()
    findings: tuple[Finding, ...] = ()

    def to_json(self) -> Json:
        """Return the JSON form that `--json` prints."""
        return {
            "numbers": [
                {
                    "text": n.text,
                    "line": n.line,
                    "column": n.column,
                    "context": n.context,
                    "verdict": n.verdict,
                    "evidence": n.evidence,
                    **({"file": n.file} if n.file else {}),
                }
                for n in self.numbers
            ],
            "findings": [
                {"kind": f.kind, "run": f.run, "where": f.where, "detail": f.detail}
                for f in self.findings
            ],
        }


def check_prose(
    text: str,
    evidence: Evidence,
    *,
    kind: Kind = "notes",
    file: str = "",
    folder: Path | None = None,
) -> Report:
    r"""Check every number and comparison of notes (Markdown) or of LaTeX.

    `folder` is where `\input` may look for files; without it nothing is followed.
    """
    latex = kind == "latex"
    read = latex_units(text, folder=folder, file=file) if latex else markdown_units(text, file=file)
    units = list(read)
    checker = _Checker(evidence)
    paragraphs = of_paragraphs(units, checker.vocabulary)
    for index, unit in enumerate(units):
        if isinstance(unit, Table):
            checker.table(unit, of_table(units, index, paragraphs))
        else:
            checker.sentence(unit, paragraphs[(unit.heading, unit.paragraph)])
    return Report(numbers=tuple(checker.numbers), findings=tuple(checker.findings))


@dataclass
class _Checker:
    """Goes through the units in order, since a sentence may lean on the one before."""

    evidence: Evidence
    numbers: list[Number] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    before: tuple[str, ...] = ()
    recent: tuple[str, ...] = ()
    """Paths of every metric that this paragraph or list has named."""
    paragraph: tuple[str, int] = ("", -1)
    lead: tuple[str, ...] = ()
    """The run that the words above a list say the list is about."""

    def __post_init__(self) -> None:
        self.vocabulary = Vocabulary(self.evidence)

    def table(self, table: Table, beside: Surroundings) -> None:
        """Judge a table's cells."""
        judge = TableJudge(self.evidence, self.vocabulary, beside)
        self._macros(table.source.text, table.source.place, "table")
        for cell in judge.judge(table):
            place = table.source.place(cell.start)
            self._record(cell.numeral, cell.ruling, place, context="table", excerpt=cell.label)

    def sentence(self, unit: Sentence, around: Surroundings) -> None:
        """Judge a sentence's numbers and comparisons."""
        text = self._macros(unit.text, unit.place, unit.context)
        text = CAVEAT.sub(lambda match: " " * len(match[0]), text)
        here = (unit.heading, unit.paragraph)
        if here != self.paragraph and not unit.item:
            self.before = self.recent = ()
        self.paragraph = here
        numerals = tuple(
            n for n in find_numerals(text) if not is_no_number(text, n, item=unit.item)
        )
        scene = read_scene(
            text,
            numerals,
            self.vocabulary,
            here=(self.lead if unit.item else ()) or self._heading_run(unit),
            before=self.before,
            recent=self.recent,
        )
        if scene.metrics:
            self.before = scene.metrics[-1].paths
            self.recent += tuple(path for m in scene.metrics for path in m.paths)
        if not unit.item:
            self.lead = self._leads(scene)
        self._unknown_runs(scene, unit)
        bindings = bind(scene, self.evidence)
        judge = SentenceJudge(self.evidence, self.vocabulary)
        for index, numeral in enumerate(scene.numerals):
            told = unit.results or (around.telling and is_fine(numeral))
            ruling = judge.rule(numeral, bindings[index], scene, told=told)
            if ruling is not None:
                ruling = around.support(
                    ruling,
                    numeral,
                    bindings[index],
                    scene,
                    judge.judge,
                    change=is_change(text, numeral),
                )
                place = unit.place(numeral.start)
                self._record(numeral, ruling, place, context=unit.context, excerpt=text.strip())
        for false in false_comparisons(scene, dict(bindings), self.evidence):
            if comparison_doubt(false.start, false.end, scene, self.vocabulary):
                continue
            place = unit.place(false.start)
            where = _where(place)
            self.findings.append(
                Finding(kind="wrong_comparison", run=false.run, where=where, detail=false.detail)
            )

    def _leads(self, scene: Scene) -> tuple[str, ...]:
        """Return the run that `The final run reached:` says of the list below it."""
        if not scene.text.rstrip().endswith(":"):
            return ()
        compared = any(REFERENCE.search(scene.text[: m.start]) for m in scene.runs)
        sure = len(scene.runs) == 1 and scene.runs[0].sure and not compared
        return scene.named_runs if sure and len(scene.named_runs) == 1 else ()

    def _heading_run(self, unit: Sentence) -> tuple[str, ...]:
        if unit.context in ("abstract", "caption"):
            return ()
        mentions = self.vocabulary.runs(unit.heading) if unit.heading else []
        runs = tuple(dict.fromkeys(run for m in mentions[:1] if m.sure for run in m.runs))
        return runs if len(runs) == 1 else ()

    def _unknown_runs(self, scene: Scene, unit: Sentence) -> None:
        for mention in scene.runs:
            planned = PLAN.search(scene.text)
            known = bool(mention.runs) or not self.evidence.runs
            if mention.kind in ("run", "baseline") and not known and not planned:
                self.findings.append(
                    Finding(
                        kind="unknown_run",
                        where=_where(unit.place(mention.start)),
                        detail=f"`{mention.text.strip()}` is no run of this folder "
                        f"(there are {', '.join(self.evidence.numbered[:12]) or 'none'})",
                    )
                )

    def _macros(self, text: str, place: object, context: Context) -> str:
        """Judge the named numbers of ours, and blank them out of the text."""

        def replace(match: re.Match[str]) -> str:
            where = place(match.start())  # type: ignore[operator]
            macro = MACRO.match(match[1])
            try:
                if macro is None:
                    raise ReplyError("its arguments cannot be read")
                named = macro_reference(macro, self.evidence)
            except ReplyError as error:
                kind = "unknown_run" if "no run named" in error.message else "unsupported_number"
                detail = f"`{match[1]}`: {error.message}"
                self.findings.append(Finding(kind=kind, where=_where(where), detail=detail))
            else:
                name = self.evidence.names.get(named.metric, "not run")
                self.numbers.append(
                    Number(
                        text=named.expansion,
                        line=where.line,
                        column=where.column,
                        file=where.file,
                        context=context,
                        verdict="derived" if named.kind != "result" else "supported",
                        evidence=f"{match[1]} is {name}",
                    )
                )
            return " " * len(match[0])

        return EXPANDED.sub(replace, text)

    def _record(
        self, numeral: Numeral, ruling: Ruling, place: Place, *, context: Context, excerpt: str
    ) -> None:
        self.numbers.append(
            Number(
                text=numeral.text,
                line=place.line,
                column=place.column,
                file=place.file,
                context=context,
                verdict=ruling.verdict,
                evidence=ruling.evidence,
                excerpt=excerpt[:300],
                kind=ruling.kind,
                run=ruling.run,
                between=ruling.between,
            )
        )
        if ruling.kind:
            self.findings.append(
                Finding(
                    kind=ruling.kind,
                    run=ruling.run,
                    where=_where(place),
                    detail=f"{numeral.text} in “{shorten(excerpt)}”: {ruling.evidence}",
                )
            )


def _where(place: Place) -> str:
    return f"{place.file}:{place.line}" if place.file else f"line {place.line}"


def shorten(text: str, limit: int = 140) -> str:
    """Return a text on one line, cut to `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def mark_unsupported(text: str, report: Report, *, mark: str) -> Iterator[str]:
    """Yield `text` line by line with each unsupported number of `report` replaced by `mark`."""
    lines = text.split("\n")
    wrong = [n for n in report.numbers if n.verdict == "unsupported"]
    for number in sorted(wrong, key=lambda n: (n.line, -n.column)):
        line = lines[number.line - 1]
        typed = TYPED.search(line, max(0, number.column - 1))
        if typed is not None:
            lines[number.line - 1] = line[: typed.start()] + mark + line[typed.end() :]
    yield from lines
