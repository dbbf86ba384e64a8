"""Sentences: what each typed number claims, and whether that is a finding."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ai_scientist.claims.binding import Binding, Scene, is_change
from ai_scientist.claims.evidence import Evidence
from ai_scientist.claims.exempt import (
    RESULT_WORDS,
    inequality,
    is_counted,
    is_general_setting,
    is_ratio,
    is_resource,
    is_sample_size,
    is_symbol,
    known_setting,
    setting_of,
)
from ai_scientist.claims.judging import Judge, Ruling
from ai_scientist.claims.numerals import Numeral
from ai_scientist.claims.quantities import SOFTENED, Quantities
from ai_scientist.claims.reading import doubt, unmeasured
from ai_scientist.claims.vocabulary import Vocabulary

VARIED = re.compile(r"\b(?:reduc|increas|rais|lower|chang|vary|doubl|halv|sweep|ablat)\w*", re.I)


@dataclass(frozen=True)
class SentenceJudge:
    """Judges the numbers of one study's sentences."""

    evidence: Evidence
    vocabulary: Vocabulary

    @property
    def judge(self) -> Judge:
        """Return what looks up bound values."""
        return Judge(self.evidence)

    @property
    def quantities(self) -> Quantities:
        """Return what looks up standard errors, intervals and the like."""
        return Quantities(self.evidence)

    def rule(
        self, numeral: Numeral, binding: Binding, scene: Scene, *, told: bool
    ) -> Ruling | None:
        """Return a ruling, or None for a number that claims nothing.

        `told` says that the sentence stands where results are told.
        """
        text = scene.text
        change = is_change(text, numeral)
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
        exact = self.judge.hits(numeral, binding.runs, binding.paths)
        if (bound := inequality(text, numeral)) and not exact:
            return self._inequality(numeral, binding, bound, scene)
        named = bool(scene.metrics) or bool(scene.runs)
        if not named:
            return self._unnamed(numeral, binding, scene, change=change, told=told)
        if not binding.paths and numeral.integer and numeral.digits < 3 and not numeral.percent:
            return None  # a small whole number beside a run is a count of something
        ruling = self._judge(numeral, binding, scene, change=change)
        if change and not ruling.between:
            return replace(ruling, between=self.judge.between(binding, scene))
        return ruling

    def _judge(self, numeral: Numeral, binding: Binding, scene: Scene, *, change: bool) -> Ruling:
        """Rule on a number; what it equals supports it only where that was measured."""
        ruling = self._ruled(numeral, binding, scene, change=change)
        if ruling.verdict != "ambiguous" or known_setting(numeral, self.vocabulary):
            return ruling
        statistic = unmeasured(numeral, scene, self.evidence)
        if not statistic:
            return ruling
        evidence = f"no run measured `{statistic.lower()}`, whatever else equals this number"
        return Ruling(
            verdict="unsupported",
            kind="unsupported_number",
            evidence=f"{evidence} ({ruling.evidence})",
        )

    def _ruled(self, numeral: Numeral, binding: Binding, scene: Scene, *, change: bool) -> Ruling:
        """Rule on a number; a finding only where its words have one reading, and it is false."""
        ruling = self.judge.rule(numeral, binding, scene, change=change)
        if ruling.kind and (where := known_setting(numeral, self.vocabulary)):
            return Ruling(verdict="ambiguous", evidence=f"could be {where}")
        if ruling.kind not in SOFTENED:
            return ruling
        ruling = self.quantities.soften(ruling, numeral, binding, scene)
        if not ruling.kind:
            return ruling
        open_ = doubt(numeral, binding, scene, self.vocabulary, change=change)
        if open_ is None:
            return ruling
        where = self.quantities.somewhere(numeral, scene.text)
        if open_.slight and not where:
            return replace(
                ruling,
                kind="unsupported_number",
                evidence=f"nothing stored is this number; {ruling.evidence}",
            )
        could = f"it could be {where}" if where else "nothing stored is this number"
        return Ruling(verdict="ambiguous", evidence=f"{open_.reason}; {could}")

    def _unnamed(
        self, numeral: Numeral, binding: Binding, scene: Scene, *, change: bool, told: bool
    ) -> Ruling | None:
        if where := known_setting(numeral, self.vocabulary):
            return Ruling(verdict="configuration", evidence=where)
        if numeral.integer and not numeral.percent and not numeral.factor and numeral.digits < 3:
            return None
        telling = bool(RESULT_WORDS.search(scene.text)) or told or bool(binding.runs)
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
        if scene.metrics and mention is None and VARIED.search(scene.text[: numeral.start]):
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

    def _inequality(self, numeral: Numeral, binding: Binding, bound: int, scene: Scene) -> Ruling:
        """Judge `above 0.9`: a threshold of the idea, or a claim that must hold."""
        if where := known_setting(numeral, self.vocabulary):
            return Ruling(verdict="configuration", evidence=where)
        if not binding.paths or not binding.runs or binding.group:
            return Ruling(verdict="ambiguous", evidence="a bound whose run or metric is not named")
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
        if holds:
            return Ruling(verdict="derived", evidence="the bound holds")
        if not seen:
            return Ruling(verdict="ambiguous", evidence="a bound on what was not measured")
        evidence = "the stored value is on the other side of this bound"
        if reason := doubt(numeral, binding, scene, self.vocabulary, change=False):
            return Ruling(verdict="ambiguous", evidence=f"{reason.reason}; {evidence}")
        return Ruling(
            verdict="unsupported",
            kind="wrong_comparison",
            run=binding.runs[0],
            evidence=evidence,
        )
