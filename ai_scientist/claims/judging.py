"""Is a bound number true? At the precision shown, of the run and the metric it names."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ai_scientist.claims.binding import Binding, Scene
from ai_scientist.claims.evidence import Evidence
from ai_scientist.claims.numerals import Numeral

Verdict = Literal["supported", "derived", "configuration", "unsupported", "ambiguous"]
REFERENCE = re.compile(
    r"\b(?:than|over|against|from|vs\.?|versus|compared (?:to|with)|relative to)\s+"
    r"(?:that of\s+|those of\s+|in\s+|the\s+)*\Z",
    re.I,
)
POINTS = re.compile(r"\s*(?:percentage\s+)?points?\b|\s*pp\b|absolute", re.I)
MAX_PAIRS = 60


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """The verdict on one number, with the evidence in words."""

    verdict: Verdict
    evidence: str
    kind: str = ""
    """Kind of the finding it makes; empty when none."""
    run: str = ""
    between: tuple[str, ...] = ()
    """The run and the reference that a change is between."""


@dataclass(frozen=True)
class Judge:
    """Looks up what a binding names and compares."""

    evidence: Evidence

    signs: bool = True
    """Whether a typed sign must be that of run - reference: not where plus means better."""

    def rule(self, numeral: Numeral, binding: Binding, scene: Scene, *, change: bool) -> Ruling:
        """Rule on a number that its words bind to a metric, a run, or both."""
        if numeral.spread:
            return self._spread(numeral, binding)
        if change:
            found = self._derived(numeral, binding, scene)
            if found is not None:
                return found
        if binding.paths and binding.runs:
            return self._bound(numeral, binding, scene, change=change)
        if binding.paths:
            return self._anywhere(numeral, binding.paths, self.evidence.runs)
        runs = binding.runs if binding.named else ()
        return self._anywhere(numeral, self.evidence.paths, runs or self.evidence.runs)

    # --- values ----------------------------------------------------------------------------------

    def hits(
        self, numeral: Numeral, runs: Iterable[str], paths: Iterable[str]
    ) -> list[tuple[str, str]]:
        """Return each (run, path) whose value the numeral shows."""
        paths = list(paths)
        return [
            (run, path)
            for run in runs
            for path in paths
            if (value := self.evidence.runs[run].metrics.get(path)) is not None
            and shows(numeral, value)
        ]

    def _bound(self, numeral: Numeral, binding: Binding, scene: Scene, *, change: bool) -> Ruling:
        found = self.hits(numeral, binding.runs, binding.paths)
        if found:
            return self._supported(found, binding)
        if not change and (numeral.percent or numeral.factor):
            derived = self._derived(numeral, binding, scene)
            if derived is not None:
                return derived
        named = [m.paths for m in scene.metrics] or [binding.paths]
        mentioned = tuple(dict.fromkeys(path for paths in named for path in paths))
        near = binding.runs if binding.tight or binding.group else scene.named_runs
        loose = self.hits(numeral, near, mentioned)
        if loose:
            return _ambiguous(self._list(loose))
        others = [run for run in self.evidence.runs if run not in binding.runs]
        elsewhere = self.hits(numeral, others, binding.paths) or self._cut(
            numeral, others, binding.paths
        )
        if self._cut(numeral, binding.runs, binding.paths):
            elsewhere = []
        nearest = self._nearest(numeral, binding)
        where = binding.runs[0] if len(binding.runs) == 1 else ""
        if elsewhere and numeral.digits >= 2 and not change:
            return Ruling(
                verdict="unsupported",
                kind="wrong_attribution",
                run=where,
                evidence=f"this is {self._list(elsewhere)}, not of {_names(binding)}; {nearest}",
            )
        return Ruling(verdict="unsupported", kind="unsupported_number", run=where, evidence=nearest)

    def _cut(
        self, numeral: Numeral, runs: Iterable[str], paths: Iterable[str]
    ) -> list[tuple[str, str]]:
        """Return each (run, path) whose value the numeral shows cut off instead of rounded."""
        paths = list(paths)
        return [
            (run, path)
            for run in runs
            for path in paths
            if (value := self.evidence.runs[run].metrics.get(path)) is not None
            and numeral.cuts(value)
        ]

    def _supported(self, found: list[tuple[str, str]], binding: Binding) -> Ruling:
        metrics = {path.rsplit("/", 1)[-1] for _, path in found}
        candidates = {path.rsplit("/", 1)[-1] for path in binding.paths}
        runs = {run for run, _ in found}
        if (len(binding.runs) > 1 and len(runs) < len(binding.runs)) or len(metrics) > 1:
            return _ambiguous(self._list(found))
        if len(candidates) > 1 and not binding.exact:
            return _ambiguous(self._list(found))
        return Ruling(verdict="supported", evidence=self._list(found), run=found[0][0])

    def _anywhere(self, numeral: Numeral, paths: Iterable[str], runs: Iterable[str]) -> Ruling:
        """Rule where run or metric is not named: at best ambiguous, unless only one fits."""
        paths, runs = list(paths), list(runs)
        having = [r for r in runs if any(p in self.evidence.runs[r].metrics for p in paths)]
        found = self.hits(numeral, runs, paths)
        if found and len(having) == 1 and len({p.rsplit("/", 1)[-1] for p in paths}) == 1:
            return Ruling(verdict="supported", evidence=self._list(found), run=found[0][0])
        if found:
            return _ambiguous(self._list(found))
        return Ruling(
            verdict="unsupported",
            kind="unsupported_number",
            evidence=self._nearest(numeral, Binding(paths=tuple(paths), runs=tuple(runs))),
        )

    def _spread(self, numeral: Numeral, binding: Binding) -> Ruling:
        """Rule on the number behind a plus-minus sign: standard error or standard deviation."""
        for run in binding.runs or tuple(self.evidence.runs):
            results = self.evidence.runs[run]
            for path in binding.paths or self.evidence.paths:
                seeds = results.seeds.get(path, ())
                spreads = [results.stderr.get(path)]
                spreads += [statistics.stdev(seeds), statistics.pstdev(seeds)] if seeds[1:] else []
                if any(s is not None and shows(numeral, s) for s in spreads):
                    where = f"spread of {self.evidence.names[path]} in {run}"
                    return Ruling(verdict="supported", evidence=where, run=run)
        return Ruling(
            verdict="unsupported",
            kind="unsupported_number",
            evidence="no standard error or deviation of the named metric is this one",
        )

    # --- differences -----------------------------------------------------------------------------

    def between(self, binding: Binding, scene: Scene) -> tuple[str, ...]:
        """Return the run and the reference that a change is between; empty when they are open."""
        pairs = set(itertools.islice(self._operands(binding, scene), 2))
        return pairs.pop() if len(pairs) == 1 else ()

    def _derived(self, numeral: Numeral, binding: Binding, scene: Scene) -> Ruling | None:
        paths = binding.paths or self.evidence.paths
        for a, b in self._operands(binding, scene):
            for path in paths:
                value = self.evidence.runs[a].metrics.get(path)
                base = self.evidence.runs[b].metrics.get(path)
                if value is None or base is None or value == base:
                    continue
                behind = scene.text[numeral.end : numeral.end + 24]
                for how, number in derivations(value, base, numeral, behind):
                    if shows(numeral, number, sign=numeral.signed and self.signs, exact_scale=True):
                        text = f"{how} of {self.evidence.names[path]} between {a} and {b}"
                        unnamed = not scene.named_runs and not scene.here
                        if (
                            unnamed
                            or not binding.paths
                            or (binding.group and len(binding.runs) > 1)
                        ):
                            return _ambiguous(text)
                        return Ruling(verdict="derived", evidence=text, run=a, between=(a, b))
        return None

    def _operands(self, binding: Binding, scene: Scene) -> Iterator[tuple[str, str]]:
        """Yield (run, reference) pairs; the baseline is the reference unless another is named."""
        if binding.group and "run_0" in self.evidence.runs:
            yield from ((run, "run_0") for run in binding.runs if run != "run_0")
            return
        own = [run for run in binding.runs if run != "run_0"]
        if binding.tight and len(own) == 1 and not self._compared(scene):
            yield own[0], "run_0"
        runs = list(dict.fromkeys((*binding.runs, *scene.named_runs, *scene.here)))
        if "run_0" in self.evidence.runs and len([r for r in runs if r != "run_0"]) == len(runs):
            only_one = len(scene.named_runs or scene.here) <= 1 or bool(binding.group)
            runs += ["run_0"] if only_one else []
        if not any(run != "run_0" for run in runs) and "run_0" in self.evidence.runs:
            yield from ((run, "run_0") for run in self.evidence.numbered if run != "run_0")
            return
        named = [r for r in runs if r in scene.named_runs or r == "run_0" or r in scene.here]
        reference = self._reference(scene)
        if len(named) == 2 and reference in named:
            yield next(run for run in named if run != reference), reference
            return
        count = 0
        for a in runs:
            for b in runs:
                if a not in (b, "run_0") and count < MAX_PAIRS:
                    count += 1
                    yield a, b

    def _compared(self, scene: Scene) -> bool:
        """Say whether a sentence names what it compares with, or there is no baseline."""
        said = any(REFERENCE.search(scene.text[: mention.start]) for mention in scene.runs)
        return said or "run_0" not in self.evidence.runs

    def _reference(self, scene: Scene) -> str:
        """Return the run that a sentence compares with; empty when it does not say."""
        for mention in scene.runs:
            before = scene.text[: mention.start]
            if len(mention.runs) == 1 and REFERENCE.search(before):
                return mention.runs[0]
        return "run_0" if "run_0" in (*scene.named_runs, *scene.here) or not scene.runs else ""

    # --- words -----------------------------------------------------------------------------------

    def _list(self, found: Iterable[tuple[str, str]]) -> str:
        found = list(found)
        shown = [f"{self.evidence.names[path]} of {run}" for run, path in found[:4]]
        return "; ".join(shown) + (f"; {len(found) - 4} more" if len(found) > 4 else "")

    def _nearest(self, numeral: Numeral, binding: Binding) -> str:
        options = []
        for run in binding.runs or tuple(self.evidence.runs):
            for path in binding.paths or self.evidence.paths:
                value = self.evidence.runs[run].metrics.get(path)
                if value is not None:
                    options.append((_distance(float(numeral.value), value), run, path, value))
        if not options:
            runs = [
                r
                for r in self.evidence.runs
                if any(p in self.evidence.runs[r].metrics for p in binding.paths)
            ]
            known = f"; only {', '.join(runs[:6])} measured it" if runs else ""
            return f"{_names(binding)} has no value of this metric{known}"
        options.sort(key=lambda option: option[0])
        cut = "cut off, not rounded; " if numeral.cuts(options[0][3]) else ""
        return f"{cut}nearest stored: " + "; ".join(
            f"{self.evidence.names[path]} of {run} = {value:.6g}"
            for _, run, path, value in options[:3]
        )


def derivations(
    value: float, base: float, numeral: Numeral, behind: str = ""
) -> Iterator[tuple[str, float]]:
    """Yield the differences and ratios that a numeral and the words behind it may show."""
    fractions = abs(value) <= 1.0 and abs(base) <= 1.0
    if numeral.percent:
        if re.match(r"\s*(?:of\b|as\s)", behind):
            if base:
                yield "percentage", value / base * 100
            return
        if base:
            yield "relative change", (value - base) / abs(base) * 100
        if fractions and POINTS.search(numeral.text + behind):
            yield "difference in points", (value - base) * 100
    elif numeral.factor:
        if base and value:
            yield "ratio", value / base
            yield "inverse ratio", base / value
    else:
        yield "difference", value - base
        if base and re.match(r"\s*(?:times|of\b|x\b)", behind):
            yield "ratio", value / base
        if fractions and POINTS.match(behind):
            yield "difference in points", (value - base) * 100


def shows(numeral: Numeral, value: float, *, sign: bool = True, exact_scale: bool = False) -> bool:
    """Say whether a numeral shows `value`, as a percentage too where it has a percent sign."""
    candidates = [value]
    if numeral.percent and not exact_scale and abs(value) <= 1.5:
        candidates.append(value * 100)
    return any(numeral.shows(one) or (not sign and numeral.shows(-one)) for one in candidates)


def _distance(typed: float, value: float) -> float:
    if typed and value and typed * value > 0:
        return abs(math.log(typed / value))
    return 50 + abs(typed - value)


def _ambiguous(evidence: str) -> Ruling:
    return Ruling(verdict="ambiguous", evidence=f"could be {evidence}")


def _names(binding: Binding) -> str:
    runs = ", ".join(binding.runs[:4]) or "no run"
    return f"the {binding.group} ({runs})" if binding.group else runs
