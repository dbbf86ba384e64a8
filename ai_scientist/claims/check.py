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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ai_scientist.claims.binding import Binding, Scene, bind, is_change, read_scene
from ai_scientist.claims.directions import false_comparisons
from ai_scientist.claims.evidence import Evidence
from ai_scientist.claims.exempt import (
    RESULT_WORDS,
    inequality,
    is_agreement,
    is_counted,
    is_general_setting,
    is_goal,
    is_no_number,
    is_ratio,
    is_resource,
    is_sample_size,
    is_symbol,
    is_target,
    known_setting,
    setting_of,
)
from ai_scientist.claims.expand import MACRO, macro_reference
from ai_scientist.claims.judging import Judge, Ruling, Verdict
from ai_scientist.claims.latex import EXPANDED, latex_units
from ai_scientist.claims.numerals import Numeral, find_numerals
from ai_scientist.claims.quantities import SOFTENED, Quantities
from ai_scientist.claims.reading import comparison_doubt, doubt, is_foreign
from ai_scientist.claims.table_cells import TableJudge
from ai_scientist.claims.units import Context, Place, Sentence, Table, Unit, markdown_units
from ai_scientist.claims.vocabulary import Vocabulary
from ai_scientist.errors import ReplyError
from ai_scientist.records import Finding, Json

Kind = Literal["notes", "latex"]
PLAN = re.compile(
    r"\b(?:plan(?:s|ned)?|next|will|would|could|should|future|propose|let us|let's|later)\b", re.I
)
VARIED = re.compile(r"\b(?:reduc|increas|rais|lower|chang|vary|doubl|halv|sweep|ablat)\w*", re.I)
TYPED = re.compile(
    r"(?:[+\-−–]\s?)?(?:\d+(?:(?:\{,\}|\\,|[,\u2009\u202f])\d{3}(?!\d))*(?:\.\d+)?|\.\d+)"
    r"(?:\s?(?:\\times|\\cdot|[×·])\s?10\s?(?:\^\s?(?:\{[^{}]{1,6}\}|[+\-−]?\d+)|⁻?[⁰¹²³⁴-⁹]+)"
    r"|[eE][+\-−]?\d+)?"
)
"""A number as a person types it, in notes or in LaTeX, without its unit."""


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
    units: Iterable[Unit]
    units = (
        latex_units(text, folder=folder, file=file)
        if kind == "latex"
        else markdown_units(text, file=file)
    )
    checker = _Checker(evidence)
    for unit in units:
        if isinstance(unit, Table):
            checker.table(unit)
        else:
            checker.sentence(unit)
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

    def __post_init__(self) -> None:
        self.vocabulary = Vocabulary(self.evidence)
        self.judge = Judge(self.evidence)
        self.quantities = Quantities(self.evidence)

    def table(self, table: Table) -> None:
        """Judge a table's cells."""
        judge = TableJudge(self.evidence, self.vocabulary)
        self._macros(table.source.text, table.source.place, "table")
        for cell in judge.judge(table):
            place = table.source.place(cell.start)
            self._record(cell.numeral, cell.ruling, place, context="table", excerpt=cell.label)

    def sentence(self, unit: Sentence) -> None:
        """Judge a sentence's numbers and comparisons."""
        text = self._macros(unit.text, unit.place, unit.context)
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
            here=self._heading_run(unit),
            before=self.before,
            recent=self.recent,
        )
        if scene.metrics:
            self.before = scene.metrics[-1].paths
            self.recent += tuple(path for m in scene.metrics for path in m.paths)
        self._unknown_runs(scene, unit)
        bindings = bind(scene, self.evidence)
        for index, numeral in enumerate(scene.numerals):
            ruling = self._rule(numeral, bindings[index], scene, unit)
            if ruling is not None:
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

    def _rule(
        self, numeral: Numeral, binding: Binding, scene: Scene, unit: Sentence
    ) -> Ruling | None:
        """Return a ruling, or None for a number that claims nothing."""
        text = scene.text
        change = is_change(text, numeral)
        if is_agreement(text, numeral):
            numeral, change = replace(numeral, signed=False), True
        if is_sample_size(text, numeral) or is_resource(text, numeral, self.evidence.paths):
            return None
        if is_ratio(text, numeral):
            numeral, change = replace(numeral, factor=True), True
        if not numeral.spread and (found := self._setting(numeral, binding, scene)):
            return found
        counted = is_counted(text, numeral)
        if counted and not (change and numeral.factor):
            where = known_setting(numeral, self.vocabulary)
            return Ruling(verdict="configuration", evidence=where) if where else None
        if is_goal(text, numeral):
            where = known_setting(numeral, self.vocabulary)
            verdict: Verdict = "configuration" if where else "ambiguous"
            return Ruling(verdict=verdict, evidence=where or "a goal that nothing stored states")
        exact = self.judge.hits(numeral, binding.runs, binding.paths)
        if (bound := inequality(text, numeral)) and not exact:
            return (
                None
                if is_target(text, numeral)
                else self._inequality(numeral, binding, bound, scene)
            )
        named = bool(scene.metrics) or bool(scene.runs)
        if not named:
            return self._unnamed(numeral, binding, scene, unit, change=change)
        if not binding.paths and numeral.integer and numeral.digits < 3 and not numeral.percent:
            return None  # a small whole number beside a run is a count of something
        return self._judge(numeral, binding, scene, change=change)

    def _judge(self, numeral: Numeral, binding: Binding, scene: Scene, *, change: bool) -> Ruling:
        """Rule on a number; a finding only where its words have one reading, and it is false."""
        ruling = self.judge.rule(numeral, binding, scene, change=change)
        if ruling.kind and (where := known_setting(numeral, self.vocabulary)):
            return Ruling(verdict="ambiguous", evidence=f"could be {where}")
        if ruling.kind not in SOFTENED:
            return ruling
        ruling = self.quantities.soften(ruling, numeral, binding, scene)
        if not ruling.kind:
            return ruling
        if is_foreign(numeral, scene) and not self.quantities.somewhere(numeral):
            return replace(
                ruling,
                kind="unsupported_number",
                evidence="its sentence names no stored metric, and nothing stored is this number",
            )
        reason = doubt(numeral, binding, scene, self.vocabulary, change=change)
        if reason:
            return Ruling(verdict="ambiguous", evidence=f"{reason}; {ruling.evidence}")
        return ruling

    def _unnamed(
        self, numeral: Numeral, binding: Binding, scene: Scene, unit: Sentence, *, change: bool
    ) -> Ruling | None:
        if where := known_setting(numeral, self.vocabulary):
            return Ruling(verdict="configuration", evidence=where)
        if numeral.integer and not numeral.percent and not numeral.factor and numeral.digits < 3:
            return None
        telling = bool(RESULT_WORDS.search(scene.text)) or unit.results or bool(binding.runs)
        measured = numeral.percent or not numeral.integer or bool(binding.paths)
        if not (telling and measured) and not binding.paths:
            return None
        return self._judge(numeral, binding, scene, change=change)

    def _setting(self, numeral: Numeral, binding: Binding, scene: Scene) -> Ruling | None:
        """Return a ruling for a number that its words make a hyper-parameter's value."""
        taken = [(m.start, m.end) for m in scene.metrics] + [(m.start, m.end) for m in scene.runs]
        settings = [
            s
            for s in self.vocabulary.settings(scene.text)
            if all(s.end <= start or s.start >= end for start, end in taken)
        ]
        mention = setting_of(scene.text, numeral, settings, scene.numerals)
        symbol = is_symbol(scene.text, numeral, taken) or is_general_setting(scene.text, numeral)
        if mention is None and not symbol:
            return None
        if mention is not None and any(
            numeral.shows(float(value))
            for value in mention.values
            if isinstance(value, int | float)
        ):
            return Ruling(verdict="configuration", evidence="a value of the configuration")
        if where := known_setting(numeral, self.vocabulary):
            return Ruling(verdict="configuration", evidence=where)
        if scene.metrics and mention is None and VARIED.search(scene.text):
            paths = tuple(path for m in scene.metrics for path in m.paths)
            if self.judge.hits(numeral, self.evidence.runs, paths):
                return Ruling(verdict="ambiguous", evidence="a value that stands for a symbol")
            return Ruling(
                verdict="unsupported",
                kind="unsupported_number",
                evidence="a setting with an effect is claimed, and no stored configuration has it",
            )
        known = ", ".join(str(value) for value in (mention.values if mention else ())[:5])
        return Ruling(
            verdict="ambiguous",
            evidence="a setting that no stored configuration has"
            + (f"; it has {known}" if known else ""),
        )

    def _inequality(
        self, numeral: Numeral, binding: Binding, bound: int, scene: Scene
    ) -> Ruling | None:
        """Judge `above 0.9`: a threshold of the idea, or a claim that must hold."""
        if where := known_setting(numeral, self.vocabulary):
            return Ruling(verdict="configuration", evidence=where)
        if not binding.paths or not binding.runs or binding.group:
            return None
        typed = float(numeral.value)
        holds, seen = False, False
        for run in binding.runs:
            for path in binding.paths:
                value = self.evidence.runs[run].metrics.get(path)
                if value is None:
                    continue
                seen = True
                scaled = value * 100 if numeral.percent and abs(value) <= 1.5 else value
                holds = holds or (scaled - typed) * bound >= 0
        if holds or not seen:
            return Ruling(verdict="derived", evidence="the bound holds") if holds else None
        evidence = "the stored value is on the other side of this bound"
        if reason := doubt(numeral, binding, scene, self.vocabulary, change=False):
            return Ruling(verdict="ambiguous", evidence=f"{reason}; {evidence}")
        return Ruling(
            verdict="unsupported",
            kind="wrong_comparison",
            run=binding.runs[0],
            evidence=evidence,
        )

    def _heading_run(self, unit: Sentence) -> tuple[str, ...]:
        if unit.context in ("abstract", "caption"):
            return ()
        mentions = self.vocabulary.runs(unit.heading) if unit.heading else []
        runs = tuple(dict.fromkeys(run for m in mentions[:1] for run in m.runs))
        return runs if len(runs) == 1 else ()

    def _unknown_runs(self, scene: Scene, unit: Sentence) -> None:
        for mention in scene.runs:
            planned = PLAN.search(scene.text)
            if mention.kind in ("run", "baseline") and not mention.runs and not planned:
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
                self.numbers.append(
                    Number(
                        text=named.expansion,
                        line=where.line,
                        column=where.column,
                        file=where.file,
                        context=context,
                        verdict="derived" if named.kind != "result" else "supported",
                        evidence=f"{match[1]} is {self.evidence.names[named.metric]}",
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
            )
        )
        if ruling.kind:
            self.findings.append(
                Finding(
                    kind=ruling.kind,
                    run=ruling.run,
                    where=_where(place),
                    detail=f"{numeral.text} in “{_shorten(excerpt)}”: {ruling.evidence}",
                )
            )


def _where(place: Place) -> str:
    return f"{place.file}:{place.line}" if place.file else f"line {place.line}"


def _shorten(text: str, limit: int = 140) -> str:
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
