"""From edit to run: the gates that decide, on the CPU in seconds, whether a run may be paid for.

    applied -> meaningful -> runs (lint, smoke) -> has an effect -> …the run… -> comparable

A gate passes, refuses with words for the coder, or says "not decidable"; it never guesses. One
gate_report is one effect of the journal.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from ai_scientist.execution.laboratory import Laboratory
from ai_scientist.execution.observation import Observation
from ai_scientist.judging.changes import changed_lines, describe_seed_only_change
from ai_scientist.judging.rehearsals import Rehearsals
from ai_scientist.protocols import Journal
from ai_scientist.records import Check, Code, GateReport, Json, MetricSpec, Run, Scalar
from ai_scientist.results.reading import config_diff

MAIN_FILE = "experiment.py"
ON_ITS_WORD = "identical in the smoke profile; the coder says why"


class Gates:
    """Judges candidates for one run folder."""

    def __init__(self, laboratory: Laboratory, journal: Journal) -> None:
        self.laboratory = laboratory
        self._journal = journal
        self._rehearsals = Rehearsals(laboratory)
        self._trusted: set[str] = set()
        """Runs that one code was let through to on the coder's word."""

    def judge(
        self, step: str, old: Code, new: Code, *, smoke_invariant: str | None = None
    ) -> GateReport:
        """Judge `new` against the code of the last valid run.

        `smoke_invariant` is the coder's reason why the smoke profile cannot show the effect; it
        counts once for each run.
        """

        def perform() -> Json:
            gate_report = self._judge(step, old, new, smoke_invariant)
            return {
                "checks": [asdict(check) for check in gate_report.checks],
                "repairable": gate_report.repairable,
                "log_tail": gate_report.log_tail,
                "rehearsed": self._rehearsals.stored(old, new),
                "lines_ran": gate_report.lines_ran,
            }

        stored = self._journal.effect(f"{step}/gates", perform)
        self._rehearsals.restore(stored["rehearsed"])
        checks = tuple(Check(**check) for check in stored["checks"])
        if any(check.detail.startswith(ON_ITS_WORD) for check in checks):
            self._trusted.add(run_of(step))
        return GateReport(
            checks=checks,
            repairable=stored["repairable"],
            log_tail=stored["log_tail"],
            lines_ran=None if stored["lines_ran"] is None else tuple(stored["lines_ran"]),
        )

    def _judge(self, step: str, old: Code, new: Code, smoke_invariant: str | None) -> GateReport:
        checks: list[Check] = []
        for gate in (check_meaning, check_lint, check_draw):
            start = time.monotonic()
            check = gate(old.files, new.files)
            check = replace(check, seconds=round(time.monotonic() - start, 3))
            checks.append(check)
            if check.verdict == "refused":
                return GateReport(checks=tuple(checks), repairable=gate is check_lint)
        if not self.laboratory.has_smoke:
            detail = "the template has no smoke profile"
            checks.append(Check(gate="runs", verdict="not decidable", detail=detail))
            checks.append(Check(gate="has an effect", verdict="not decidable", detail=detail))
            return GateReport(checks=tuple(checks))
        start = time.monotonic()
        self._rehearsals.make(step, old, new)
        check = self._check_runs(new)
        checks.append(replace(check, seconds=round(time.monotonic() - start, 2)))
        if check.verdict == "refused":
            failed = (one for one in self._rehearsals.of(new) if one.failure is not None)
            tail = next(failed).log_tail
            return GateReport(checks=tuple(checks), repairable=True, log_tail=tail)
        checks.append(self._check_effect(step, old, new, smoke_invariant))
        return GateReport(checks=tuple(checks), lines_ran=self._rehearsals.lines_of(new))

    def _check_runs(self, new: Code) -> Check:
        """Refuse a code that fails in a rehearsal, also where it fails in one of two only."""
        seen = self._rehearsals.of(new)
        failed = next((one for one in seen if one.failure is not None), None)
        if failed is None:
            return Check(gate="runs", verdict="passed")
        where = "in the smoke profile (CPU, seconds, before any full run)"
        if any(one.failure is None for one in seen):
            where = f"in one of {len(seen)} rehearsals of the same code {where}"
        return Check(gate="runs", verdict="refused", detail=f"{where}: {failed.problem}")

    def _check_effect(self, step: str, old: Code, new: Code, smoke_invariant: str | None) -> Check:
        before, after = (self._rehearsals.of(code) for code in (old, new))
        effect = compare_smoke(before, after, self.laboratory.bench.template.metrics)
        gate = "has an effect"
        if effect.moved:
            return Check(gate=gate, verdict="passed", detail=effect.describe())
        if not effect.steady:
            detail = "every metric of the smoke profile differs between two runs of the same code"
            return Check(gate=gate, verdict="not decidable", detail=detail)
        if smoke_invariant and run_of(step) not in self._trusted:
            detail = f"{ON_ITS_WORD}: {smoke_invariant}"
            return Check(gate=gate, verdict="not decidable", detail=detail)
        detail = self._explain_no_effect(old, new, effect)
        if smoke_invariant:
            detail += f"; SMOKE-INVARIANT was taken once for {run_of(step)} and counts no more"
        return Check(gate=gate, verdict="refused", detail=detail)

    def _explain_no_effect(self, old: Code, new: Code, effect: SmokeEffect) -> str:
        """Say what was compared, which changed lines never ran, and that no configuration moved."""
        parts = [
            f"all {len(effect.steady)} comparable metrics of the smoke profile are identical to "
            f"the last valid run's to the last bit (for example {effect.example()})"
        ]
        parts += describe_changed_lines(
            old.files[MAIN_FILE], new.files[MAIN_FILE], self._rehearsals.lines_of(new)
        )
        before, after = (self._rehearsals.of(code)[0].results for code in (old, new))
        if before and after and not config_diff(before, after):
            parts.append("no value of the resolved configuration moved")
        return "; ".join(parts)


@dataclass(frozen=True, kw_only=True)
class SmokeEffect:
    """Old against new code in the smoke profile, after each was compared with itself."""

    moved: Mapping[str, tuple[float, float]]
    steady: Mapping[str, float]
    """Metrics that two runs of the same code agree on, on both sides: only they can decide."""

    def describe(self) -> str:
        """Name a few of the metrics that moved."""
        shown = [
            f"{path} {old:.6g} -> {new:.6g}" for path, (old, new) in list(self.moved.items())[:3]
        ]
        return f"{len(self.moved)} of {len(self.steady)} smoke metrics moved: {'; '.join(shown)}"

    def example(self) -> str:
        """Name one metric that did not move."""
        path, value = next(iter(self.steady.items()))
        return f"{path} = {value!r}"


def compare_smoke(
    before: Iterable[Observation], after: Iterable[Observation], specs: Mapping[str, MetricSpec]
) -> SmokeEffect:
    """Compare two codes by rehearsals made at least twice each: A/A on both sides before A/B.

    A metric present on one side only counts as moved only where the other side measures something
    else in its place, which a renamed metric does not.
    """
    old, new = _steady(before, specs), _steady(after, specs)
    shared = old.keys() & new.keys()
    moved = {path: (old[path], new[path]) for path in sorted(shared) if old[path] != new[path]}
    return SmokeEffect(moved=moved, steady={path: new[path] for path in sorted(shared)})


def _steady(
    observations: Iterable[Observation], specs: Mapping[str, MetricSpec]
) -> dict[str, float]:
    results = [seen.results.metrics for seen in observations if seen.results]
    if len(results) < 2:
        return {}
    volatile = {name for name, spec in specs.items() if spec.volatile}
    return {
        path: value
        for path, value in results[0].items()
        if path.split("/")[-1] not in volatile
        and all(other.get(path) == value for other in results[1:])
    }


def check_meaning(old: Mapping[str, str], new: Mapping[str, str]) -> Check:
    """Refuse an edit after which every file means the same to Python: comments, layout."""
    if old == new:
        return Check(gate="meaningful", verdict="refused", detail="no file differs")
    try:
        same = all(_meaning(old[name]) == _meaning(new[name]) for name in new if name != "plot.py")
    except (SyntaxError, ValueError):
        same = False
    if same:
        detail = "experiment.py means the same to Python as before: only comments or layout differ"
        return Check(gate="meaningful", verdict="refused", detail=detail)
    return Check(gate="meaningful", verdict="passed")


def _meaning(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def check_lint(_old: Mapping[str, str], new: Mapping[str, str]) -> Check:
    """Refuse what cannot run: a syntax error, an undefined name."""
    from pyflakes import messages
    from pyflakes.checker import Checker

    fatal = (messages.UndefinedName, messages.UndefinedLocal, messages.ReturnOutsideFunction)
    for name, source in new.items():
        try:
            tree = ast.parse(source, filename=name)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            detail = f"{name}, line {line}: {getattr(error, 'msg', error)}"
            return Check(gate="runs", verdict="refused", detail=detail)
        for problem in Checker(tree, filename=name).messages:
            if isinstance(problem, fatal):
                text = problem.message % problem.message_args
                detail = f"{name}, line {problem.lineno}: {text}"
                return Check(gate="runs", verdict="refused", detail=detail)
    return Check(gate="lint", verdict="passed")


def check_draw(old: Mapping[str, str], new: Mapping[str, str]) -> Check:
    """Refuse an edit that only draws anew: by a seed, a shuffling, another evaluation sample."""
    said = describe_seed_only_change(old[MAIN_FILE], new[MAIN_FILE])
    if said:
        return Check(gate="has an effect", verdict="refused", detail=said)
    return Check(gate="draws", verdict="passed")


def run_of(step: str) -> str:
    """Return the run that a step such as `run_3/edit_2` is for."""
    return step.partition("/")[0]


def check_identical(run: Run, previous: Run, specs: Mapping[str, MetricSpec]) -> Check:
    """Find a full run whose every comparable metric equals the previous run's to the last bit."""
    volatile = {name for name, spec in specs.items() if spec.volatile}
    shared = [
        path
        for path in run.results.metrics.keys() & previous.results.metrics.keys()
        if path.split("/")[-1] not in volatile
    ]
    if not shared or any(run.results.metrics[p] != previous.results.metrics[p] for p in shared):
        return Check(gate="differs", verdict="passed")
    detail = f"all {len(shared)} comparable metrics are identical to {previous.name}'s"
    return Check(gate="differs", verdict="finding", detail=detail)


def check_measuring(now: str, baseline: str, touched: Iterable[str]) -> list[Check]:
    """Find that a run is measured otherwise than its baseline, or that its commit meant it to be.

    `now` and `baseline` are fingerprints; an empty one is of a baseline that others measured.
    """
    found = []
    if baseline and now != baseline:
        what = "evaluation, data, environment or machine is another"
        detail = f"measured otherwise than run_0: {what}"
        found.append(Check(gate="comparable", verdict="finding", detail=detail))
    if names := ", ".join(sorted(set(touched))):
        detail = f"the commit changed {names}; the template's own was run"
        found.append(Check(gate="frozen", verdict="finding", detail=detail))
    return found


def check_comparable(
    moved: Mapping[str, tuple[Scalar, Scalar]], varies: Iterable[str]
) -> tuple[Check, tuple[str, ...]]:
    """Name the configuration keys that moved against the baseline, and are not in `Varies`."""
    allowed = set(varies)
    keys = tuple(
        sorted(path for path in moved if path not in allowed and path.split("/")[-1] not in allowed)
    )
    if not keys:
        return Check(gate="comparable", verdict="passed"), ()
    shown = ", ".join(f"{key}: {moved[key][0]!r} -> {moved[key][1]!r}" for key in keys)
    detail = f"confounded: differs from the baseline outside the idea's `Varies`: {shown}"
    return Check(gate="comparable", verdict="finding", detail=detail), keys


def describe_changed_lines(old: str, new: str, ran: Collection[int] | None) -> list[str]:
    """Say which lines an edit changed and which of them ran, as far as that is known."""
    lines = changed_lines(old, new)
    if not lines:
        return []
    parts = [f"changed lines: {_ranges(lines)}"]
    never = [line for line in lines if ran is not None and line not in ran]
    if never:
        parts.append(f"of these, lines {_ranges(never)} never ran")
    elif ran is not None:
        parts.append("they ran, so what they compute is not used, or a later value overrides it")
    return parts


def _ranges(lines: Iterable[int]) -> str:
    """Write 3, 4, 5, 9 as `3-5, 9`."""
    parts: list[list[int]] = []
    for line in sorted(lines):
        if parts and line == parts[-1][1] + 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
