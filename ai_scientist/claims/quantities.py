"""Numbers that are no metric's value but follow from the runs and metrics a sentence names.

A value per seed, a standard error or deviation, an end of a confidence interval, a p-value, a mean
over runs, a difference or ratio. Where the words say which of these it is, the number is `derived`;
where they do not, it is `ambiguous`: its author may have meant it, and nobody can say.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ai_scientist.claims.binding import Binding, Scene
from ai_scientist.claims.evidence import Evidence
from ai_scientist.claims.judging import Judge, Ruling, derivations, shows
from ai_scientist.claims.numerals import Numeral
from ai_scientist.errors import ReplyError
from ai_scientist.judging.statistics import critical_value

SOFTENED = ("unsupported_number", "wrong_attribution")
MAX_RUNS = 12
ONLY_WHERE_SAID = ("scale", "interval", "middle")
"""So many values that some would fit any number."""
POWERS = (-6, -3, -2, -1, 1, 2, 3, 4, 6)
CUES = {
    "seed": re.compile(
        r"\bseeds?\b|\bper-seed|\bmin(?:imum)?\b|\bmax(?:imum)?\b|\brange|\bspan|\bbetween\b"
        r"|\bextremes?\b|\bworst\b",
        re.I,
    ),
    "spread": re.compile(
        r"\bstandard (?:error|deviation)|\bstandard-error|(?-i:\bSEM?s?\b|\bSDs?\b)|\bs\.\s?[ed]\."
        r"|\bstd|\bstderr|\bvariation\b|\bspread|\bnoise|±|\bsigma\b|σ|\bdeviat|\berror bars?",
        re.I,
    ),
    "test": re.compile(
        r"\bCIs?\b|\binterval|\[|\bp\s*[-=<>≤≈]|\bp(?:-value|\s+value)?s?\b|\bstandard errors?\b"
        r"|(?-i:\bSEM?s?\b)|\bs\.\s?e\.|\b(?:lower|upper) (?:end|bound|limit)"
        r"|\bsigma|σ|\bdetectable|\bt\s*[-=]|\bstandard deviations?\b",
        re.I,
    ),
    "change": re.compile(r"\bchanges?\b|Δ|\bdelta|\bdiff", re.I),
    "percent": re.compile(r"%|\bper\s?cent|\brelative\b", re.I),
    "complement": re.compile(
        r"\b(?:1|one)\s*(?:[-−–]|minus\b)|\bcomplement|\bremain(?:der|ing)\b"
        r"|\bsubtract\w*\b[^.;]*\bfrom (?:1|one|unity)\b",
        re.I,
    ),
    "scale": re.compile(
        r"(?:×|\bx|\*|\btimes)\s?10|\bpercentages?\b(?!\s*points?)|\bscaled\b|\bmultipl|\b1?0?\s?\^|10[⁻²³⁴⁵⁶]|\b1e[-+]?\d"
        r"|\bunits? of|\bthousand|\bhundred|\bmilli|\bmicro|\bkilo|‰|\bper mille",
        re.I,
    ),
    "interval": re.compile(
        r"\bCIs?\b|\binterval|\bconfidence|\[\s*[-+−]?\d|1\.96|\b2\s?(?:×|x|\*|·)?\s?(?:SE|σ|s\.e)|\bmargin",
        re.I,
    ),
    "middle": re.compile(r"\bmid(?:-?points?|way|dle)\b|\bhalf\b|\bhalfway\b|\bhalves\b", re.I),
    "median": re.compile(r"\bmedian", re.I),
    "mean": re.compile(r"\bmean|\baverag|\bmedian|\bpooled\b|\boverall\b", re.I),
}


@dataclass(frozen=True)
class Quantities:
    """Looks up what follows from some runs and metrics."""

    evidence: Evidence

    def soften(self, ruling: Ruling, numeral: Numeral, binding: Binding, scene: Scene) -> Ruling:
        """Return what else a number may be that its words name, `ruling` when it is nothing."""
        paths = tuple(dict.fromkeys((*binding.paths, *(p for m in scene.metrics for p in m.paths))))
        explicit = [m for m in scene.runs if m.kind in ("run", "baseline")]
        runs = tuple(dict.fromkeys(run for m in explicit for run in m.runs)) or scene.here
        if not binding.group:
            runs = tuple(dict.fromkeys((*binding.runs, *runs)))
        if not scene.metrics:
            paths = tuple(dict.fromkeys((*paths, *scene.recent)))
        if not scene.runs or {m.kind for m in explicit} == {"baseline"}:
            runs = tuple(dict.fromkeys((*runs, *scene.here)))
        found = self.explain(numeral, runs, paths, scene.text)
        return found or self._rounded(numeral, binding) or ruling

    def somewhere(self, numeral: Numeral, words: str) -> str:
        """Return what a number is, of any runs and metrics of the study; empty when nothing."""
        said = {"test"} if CUES["test"].search(words) else set()
        runs = self.evidence.runs
        stored = (
            ("", f"{self.evidence.names[path]} of {run}", value)
            for run, results in runs.items()
            for path, value in results.metrics.items()
        )
        derived = self._all(tuple(runs)[:MAX_RUNS], self.evidence.paths, numeral, said)
        every = itertools.chain(stored, derived)
        return next(
            (
                what
                for kind, what, value in every
                if kind not in ONLY_WHERE_SAID and shows(numeral, value, sign=False)
            ),
            "",
        )

    def _rounded(self, numeral: Numeral, binding: Binding) -> Ruling | None:
        """Read the zeros at the end of a whole number as rounded places: 280 for 278.7."""
        digits = str(abs(int(numeral.value))) if numeral.integer else ""
        zeros = len(digits) - len(digits.rstrip("0"))
        if not zeros or len(digits) - zeros < 2:
            return None
        coarse = replace(numeral, quantum=numeral.quantum.scaleb(zeros))
        hits = Judge(self.evidence).hits(coarse, binding.runs, binding.paths)
        where = [f"{self.evidence.names[path]} of {run}" for run, path in hits]
        return Ruling(verdict="ambiguous", evidence=f"could be {where[0]}") if where else None

    def explain(
        self, numeral: Numeral, runs: Sequence[str], paths: Sequence[str], words: str
    ) -> Ruling | None:
        """Return how a number follows from runs and metrics that `words` name; None if not."""
        said = {kind for kind, pattern in CUES.items() if pattern.search(words)}
        for kind, what, value in self._all(tuple(runs)[:MAX_RUNS], paths, numeral, said):
            if kind in said and shows(numeral, value, sign=False):
                if kind == "scale":
                    return Ruling(verdict="ambiguous", evidence=f"could be {what}")
                return Ruling(verdict="derived", evidence=what)
            if not kind and shows(numeral, value, sign=False, exact_scale=True):
                return Ruling(verdict="ambiguous", evidence=f"could be {what}")
        return None

    def _all(
        self, runs: tuple[str, ...], paths: Sequence[str], numeral: Numeral, said: set[str]
    ) -> Iterator[tuple[str, str, float]]:
        """Yield (kind, what it is, value)."""
        for path in paths:
            name = self.evidence.names[path]
            for run in runs:
                yield from self._of_run(run, path)
            for group in {runs, tuple(run for run in runs if run != "run_0")}:
                values = [
                    value
                    for run in group
                    if (value := self.evidence.runs[run].metrics.get(path)) is not None
                ]
                if values[1:]:
                    of = f"{name} of {', '.join(group)}"
                    yield "mean", f"mean {of}", statistics.fmean(values)
                    yield "seed", f"range of {of}", max(values) - min(values)
            for run, base in itertools.permutations(dict.fromkeys((*runs, "run_0")), 2):
                if run == "run_0" or base not in self.evidence.runs:
                    continue
                pair = self._of_pair(
                    run,
                    base,
                    path,
                    numeral,
                    tested="test" in said,
                    percent=bool({"percent", "change"} & said),
                )
                named = base in runs or len(runs) == 1
                yield from (one for one in pair if named or one[0] == "test")

    def _of_run(self, run: str, path: str) -> Iterator[tuple[str, str, float]]:
        results = self.evidence.runs[run]
        of = f"{self.evidence.names[path]} of {run}"
        value = results.metrics.get(path)
        if value is not None:
            if abs(value) <= 1.5:
                yield "percent", f"{of} in %", value * 100
            yield "complement", f"1 - {of}", 1 - value
            for power in POWERS:
                yield "scale", f"{of} times 1e{power}", value * 10.0**power
        seeds = results.seeds.get(path, ())
        for one in seeds:
            yield "seed", f"{of} with one seed", one
        error = results.stderr.get(path)
        if error is not None:
            yield "spread", f"standard error of {of}", error
        if error is not None and value is not None and seeds[1:]:
            for reach in (critical_value(len(seeds) - 1) * error, 1.96 * error, 2 * error):
                yield "interval", f"half of the interval of {of}", reach
                yield "interval", f"an end of the interval of {of}", value - reach
                yield "interval", f"an end of the interval of {of}", value + reach
        if seeds[1:]:
            deviation, mean = statistics.stdev(seeds), statistics.fmean(seeds)
            yield "median", f"median of {of} over seeds", statistics.median(seeds)
            yield "spread", f"standard deviation of {of}", deviation
            yield "spread", f"standard deviation of {of}", statistics.pstdev(seeds)
            yield "seed", f"range of {of} over seeds", max(seeds) - min(seeds)
            if mean:
                yield "spread", f"coefficient of variation of {of} in %", deviation / mean * 100

    def _of_pair(
        self, run: str, base: str, path: str, numeral: Numeral, *, tested: bool, percent: bool
    ) -> Iterator[tuple[str, str, float]]:
        runs = self.evidence.runs
        if base not in runs or path not in runs[run].metrics or path not in runs[base].metrics:
            return
        of = f"{self.evidence.names[path]} between {run} and {base}"
        value, reference = runs[run].metrics[path], runs[base].metrics[path]
        yield "middle", f"the middle of {of}", (value + reference) / 2
        yield "middle", f"half of the difference of {of}", (value - reference) / 2
        for how, number in derivations(value, reference, numeral, " points"):
            yield "", f"{how} of {of}", number
        if reference and numeral.percent is False and percent:
            yield "", f"relative change in % of {of}", (value - reference) / abs(reference) * 100
        if reference and not numeral.percent:
            yield "", f"ratio of {of}", value / reference
        if not tested:
            return
        try:
            found = self.evidence.compare(run, base, path)
        except (ReplyError, ValueError):
            return
        for end in found.interval or ():
            yield "test", f"an end of the 95% interval of the change of {of}", end
        if found.p_value is not None:
            yield "test", f"p-value of {of}", found.p_value
        if found.standard_error:
            yield "test", f"standard error of the change of {of}", found.standard_error
            yield "test", f"change of {of} in standard errors", found.delta / found.standard_error
        if found.minimum_detectable_effect:
            yield "test", f"detectable effect in {of}", found.minimum_detectable_effect
