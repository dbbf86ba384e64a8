"""What a paragraph or the text beside a table names: one metric, one run, or more and so none.

A reader takes what a sentence leaves out from the paragraph around it. That is enough to support a
number which is that very value, and never enough to call one unsupported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ai_scientist.claims.binding import Binding, Scene
from ai_scientist.claims.judging import Judge, Ruling
from ai_scientist.claims.numerals import Numeral
from ai_scientist.claims.units import Sentence, Unit
from ai_scientist.claims.vocabulary import MetricMention, RunMention, Vocabulary

MIN_DIGITS = 3
"""Fewer digits equal something by chance too often."""
Key = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The one metric and the one run that the words around a number name; empty when several."""

    paths: tuple[str, ...] = ()
    run: str = ""
    telling: bool = False
    """Whether they name any metric or run at all."""

    def support(
        self,
        ruling: Ruling,
        numeral: Numeral,
        binding: Binding,
        scene: Scene,
        judge: Judge,
        *,
        change: bool,
    ) -> Ruling:
        """Return the ruling on what the surroundings complete, where that is certain."""
        if ruling.verdict != "ambiguous" or numeral.digits < MIN_DIGITS or numeral.spread:
            return ruling
        named = bool(scene.runs or scene.here)
        paths = binding.paths if scene.metrics else self.paths
        runs = binding.runs if named else (self.run,) if self.run else ()
        if not (paths and runs) or (scene.metrics and named):
            return ruling
        completed = replace(binding, paths=paths, runs=runs, named=True)
        again = judge.rule(numeral, completed, scene, change=change)
        return again if again.verdict in ("supported", "derived") else ruling


def of_paragraphs(units: Iterable[Unit], vocabulary: Vocabulary) -> Mapping[Key, Surroundings]:
    """Return what each paragraph names, by its heading and number."""
    metrics: dict[Key, list[MetricMention]] = defaultdict(list)
    runs: dict[Key, list[RunMention]] = defaultdict(list)
    for unit in units:
        if isinstance(unit, Sentence):
            key = (unit.heading, unit.paragraph)
            metrics[key] += vocabulary.metrics(unit.text)
            runs[key] += vocabulary.runs(unit.text)
    return {key: _only(metrics[key], runs[key]) for key in metrics}


def of_table(
    units: Sequence[Unit], index: int, paragraphs: Mapping[Key, Surroundings]
) -> Surroundings:
    """Return what the paragraphs right before and right behind a table name."""
    beside = [
        paragraphs[(unit.heading, unit.paragraph)]
        for unit in (*units[max(0, index - 1) : index], *units[index + 1 : index + 2])
        if isinstance(unit, Sentence)
    ]
    named = {one.paths for one in beside if one.paths}
    return Surroundings(paths=named.pop() if len(named) == 1 else ())


def _only(metrics: Sequence[MetricMention], runs: Sequence[RunMention]) -> Surroundings:
    """Return the one metric and the one run of some mentions; the baseline alone is no subject."""
    paths = {mention.paths for mention in metrics}
    names = {mention.runs for mention in runs}
    kinds = {mention.kind for mention in runs}
    one = names.pop() if len(names) == 1 and kinds == {"run"} else ()
    return Surroundings(
        paths=paths.pop() if len(paths) == 1 else (),
        run=one[0] if len(one) == 1 else "",
        telling=bool(metrics or runs),
    )
