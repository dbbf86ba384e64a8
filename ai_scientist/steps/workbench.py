"""What the loop does to one run folder: judge, accept, execute, keep, interpret.

Implements protocols.Workbench. Each method is one effect (or a few) of the journal; an effect that
changes tracked files ends in a commit named in its result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ai_scientist.audit.runs import run_findings
from ai_scientist.claims import Evidence
from ai_scientist.execution.laboratory import Laboratory
from ai_scientist.execution.observation import Observation
from ai_scientist.inputs.foreign import (
    copy_given_baseline,
    has_given_baseline,
    read_given_baseline,
)
from ai_scientist.judging.changes import unified_diff
from ai_scientist.judging.gates import (
    MAIN_FILE,
    Gates,
    check_identical,
    describe_changed_lines,
)
from ai_scientist.judging.mechanism import check_mechanisms
from ai_scientist.notes.facts import notes_header, results_table, run_section
from ai_scientist.notes.notebook import Notebook, Repair
from ai_scientist.protocols import Journal
from ai_scientist.records import (
    Attempt,
    AttemptKind,
    Check,
    Code,
    GateReport,
    Idea,
    Json,
    Results,
    Run,
    Study,
)
from ai_scientist.redaction import redacted
from ai_scientist.results.files import (
    results_from_json,
    results_to_final_info,
    results_to_json,
)
from ai_scientist.run_folder.journal import write_atomically, write_json
from ai_scientist.run_folder.study import (
    attempt_from_json,
    attempt_to_json,
    run_from_json,
    run_to_json,
)
from ai_scientist.steps.approval import Approvals
from ai_scientist.steps.capsules import Origin, make_capsule
from ai_scientist.steps.keeping import kept_in_git

FINDINGS_ON_A_RUN = ("mechanism_inactive", "foreign_result")


class FolderWorkbench:
    """Everything one idea does to its folder, over the laboratory and the gates."""

    def __init__(
        self,
        *,
        idea: Idea,
        journal: Journal,
        laboratory: Laboratory,
        seeds_per_run: int,
        repair: Repair,
        examine: Callable[[str, str, str, str], str],
        cost_of: Callable[[str], float | None],
        approvals: Approvals | None = None,
        report: Callable[[str], None],
    ) -> None:
        self.folder = laboratory.folder
        self._idea = idea
        self._journal = journal
        self._laboratory = laboratory
        self._gates = Gates(laboratory, journal)
        self._seeds = tuple(range(seeds_per_run))
        self.notebook = Notebook(
            self.folder,
            journal=journal,
            evidence=lambda: self.evidence,
            repair=repair,
            report=report,
        )
        self._examine = examine
        self._cost_of = cost_of
        self._approvals = approvals or Approvals(self.folder, journal, "none")
        self._report = report
        self.runs: dict[str, Run] = {}
        self.references: Mapping[str, Results] = {}
        self.settle: Callable[[], None] = lambda: None
        """Called after each valid run."""
        self._code: dict[str, Code] = {}
        self._lines_ran: dict[str, tuple[int, ...] | None] = {}

    # --- the baseline ----------------------------------------------------------------------------

    def measure_baseline(self, code: Code, seeds: Sequence[int]) -> Run | Attempt:
        """Run the untouched template as run_0, once per seed, and begin the notes with it.

        Results that a foreign template brings along are taken instead, as `given`.
        """
        template = self._laboratory.bench.template
        if has_given_baseline(template):
            return self._take_given_baseline(code)
        if template.foreign:
            self._report("run_0: the template brings no results of its own")
        self._report("run_0: measuring the untouched template")
        observations = self._run_seeds("run_0", 1, code, seeds, cached=True)
        if observations[-1].failure:
            return self._fail("run_0", "run_0/execution_1", observations, code)
        origin = Origin(
            name="run_0", title="Baseline", commit=code.commit, diff="", seeds=tuple(seeds)
        )
        run = self._describe(origin, observations)
        return self._record(run, code, observations, "Measure the baseline")

    def _take_given_baseline(self, code: Code) -> Run:
        template = self._laboratory.bench.template
        self._report("run_0: the template's own results, taken as given and not measured here")

        def perform() -> Json:
            copy_given_baseline(template, self.folder.run("run_0"))
            return results_to_json(read_given_baseline(template))

        run = Run(
            name="run_0",
            title="Baseline",
            results=results_from_json(self._journal.effect("run_0/given", perform)),
            commit=code.commit,
            diff_sha256=hashlib.sha256(b"").hexdigest(),
            profile=self._laboratory.bench.profile.name,
            provenance="given",
        )
        return self._record(run, code, (), "Take the template's own baseline")

    # --- protocols.Workbench ---------------------------------------------------------------------

    def judge(self, step: str, old: Code, new: Code, smoke_invariant: str | None) -> GateReport:
        """Put a candidate through the gates."""
        self._code[step] = new
        gates = self._gates.judge(step, old, new, smoke_invariant=smoke_invariant)
        self._lines_ran[step] = gates.lines_ran
        for check in gates.checks:
            words = f": {check.detail}" if check.detail and check.verdict != "refused" else ""
            self._report(f"{step}: gate `{check.gate}` {check.verdict}{words}")
        return gates

    def hear(self, step: str) -> str:
        """Return what people have said since the last step."""
        return self._approvals.hear(step)

    def approve(self, step: str, new: Code) -> str:
        """Return why a person rejects a candidate, or nothing. Raises Waiting."""
        return self._approvals.approve_edit(step, self._diff_to_last_run(new))

    def accept(self, step: str, new: Code, title: str) -> Code:
        """Commit a candidate and return it over its own commit."""

        def perform() -> Json:
            self.folder.write(new.files)
            commit = self.folder.commit(f"{step}: {title}", new.files)
            return {"commit": commit}

        return replace(new, commit=self._journal.effect(f"{step}/accept", perform)["commit"])

    def execute(
        self, name: str, number: int, code: Code, *, title: str, step: str, checks: Sequence[Check]
    ) -> Run | Attempt:
        """Run the experiment of `code` with every seed; record a run `name` or an attempt."""
        self._report(f"{name}: running ({title})")
        observations = self._run_seeds(name, number, code, self._seeds)
        key = f"{name}/execution_{number}"
        if observations[-1].failure:
            return self._fail(name, key, observations, code)
        origin = Origin(
            name=name,
            title=title,
            commit=code.commit,
            diff=self._diff_to_last_run(code),
            seeds=self._seeds,
            checks=tuple(checks),
            step=step,
            cost_usd=self._cost_of(step),
        )
        run = self._describe(origin, observations)
        previous = list(self.runs.values())[-1]
        self._lines_ran[step] = self._lines_ran.get(step) or observations[0].lines_ran
        identical = check_identical(run, previous, self._laboratory.bench.template.metrics)
        if identical.verdict == "finding":
            last = self.folder.read(previous.commit, MAIN_FILE)
            evidence = describe_changed_lines(last, code.files[MAIN_FILE], self._lines_ran[step])
            detail = "; ".join([identical.detail, *evidence])
            identical = replace(identical, detail=detail)
            return self._fail(name, key, observations, code, gate=identical)
        run = replace(run, checks=(*run.checks, *self._verify_mechanisms(run, code)))
        for check in run.checks:
            if check.verdict == "finding":
                self._report(f"{name}: finding: {check.detail}")
        recorded = self._record(run, code, observations, f"{name}: {title}")
        self._report(f"{name}: valid, {recorded.seconds:.1f} s")
        self.settle()
        return recorded

    def keep_attempt(self, attempt: Attempt) -> Attempt:
        """Store an attempt as attempts/STEP.json, with its diff and log as files of their own."""

        def perform() -> Json:
            name = attempt.step.replace("/", ".")
            candidate = self._code.get(attempt.step)
            diff = attempt.diff or (self._diff_to_last_run(candidate) if candidate else "")
            kept = replace(
                attempt,
                diff=redacted(diff),
                log=redacted(attempt.log),
                cost_usd=self._cost_of(attempt.step),
            )
            write_json(self.folder.attempts / f"{name}.json", attempt_to_json(kept))
            for suffix, content in (("diff", kept.diff), ("log", kept.log)):
                if content:
                    write_atomically(self.folder.attempts / f"{name}.{suffix}", content)
            return attempt_to_json(kept)

        return attempt_from_json(self._journal.effect(f"{attempt.step}/attempt", perform))

    def interpret(self, run: Run, prose: str) -> None:
        """Add the coder's words to the notes, its named numbers expanded by our code."""
        self.notebook.interpret(run, prose)

    def table(self) -> str:
        """Return the table of results that prompts carry; it does not grow with the runs."""
        return results_table(self.runs, self._laboratory.bench.template, self.references)

    @property
    def evidence(self) -> Evidence:
        """What a sentence about the runs so far may name."""
        template = self._laboratory.bench.template
        return Evidence.from_runs(self.runs, template.metrics, idea=self._idea)

    def _verify_mechanisms(self, run: Run, code: Code) -> list[Check]:
        """Check that the run holds what the idea is about, and that its loss terms act."""
        study = Study(
            folder=self.folder.path,
            idea=self._idea,
            runs={**self.runs, run.name: run},
            metrics=self._laboratory.bench.template.metrics,
        )
        checks = [
            Check(gate="believable", verdict="finding", detail=f"{one.kind}: {one.detail}")
            for one in run_findings(study)
            if one.run == run.name and one.kind in FINDINGS_ON_A_RUN
        ]
        if self._idea.technical_details:
            source = code.files[MAIN_FILE]
            reply = self._examine(f"{run.name}/mechanism", run.name, run.title, source)
            checks += check_mechanisms(reply, source, self._lines_ran.get(run.step))
        return checks

    # --- how a run comes about -------------------------------------------------------------------

    def _run_seeds(
        self, name: str, number: int, code: Code, seeds: Sequence[int], *, cached: bool = False
    ) -> list[Observation]:
        """Run one execution per seed, stopping at the first that fails."""
        observations: list[Observation] = []
        for seed in seeds:
            key = execution_key(name, number, seed if len(seeds) > 1 else None)
            seen = self._laboratory.run(key, code.commit, name, seed=seed, cached=cached)
            observations.append(seen)
            if seen.failure:
                break
        return observations

    def _describe(self, origin: Origin, observations: Sequence[Observation]) -> Run:
        bench, earlier = self._laboratory.bench, list(self.runs.values())
        return make_capsule(origin, observations, bench=bench, idea=self._idea, earlier=earlier)

    def _record(
        self, run: Run, code: Code, observations: Sequence[Observation], message: str
    ) -> Run:
        """Move what the executions left to run_N/, write its capsule and notes, and commit."""

        def perform() -> Json:
            place = self.folder.run(run.name)
            single = len(observations) == 1
            for seed, seen in enumerate(observations):
                destination = place if single else place / f"seed_{seed}"
                self._laboratory.keep(seen.key, run.name, destination)
            if len(observations) > 1:
                write_json(place / "final_info.json", results_to_final_info(run.results))
            write_json(place / "run.json", run_to_json(run))
            source = f"{run.name}.py"
            self.folder.write({source: code.files[MAIN_FILE]})
            specs = self._laboratory.bench.template.metrics
            first = not self.runs
            baseline = run if first else next(iter(self.runs.values()))
            section = (
                notes_header(self._idea, run, specs) if first else run_section(run, baseline, specs)
            )
            notes = ("" if first else self.folder.read("HEAD", "notes.txt")) + section
            self.folder.write({"notes.txt": notes})
            foreign = self._laboratory.bench.template.foreign
            kept = kept_in_git(self.folder, run.name, everything=foreign)
            tracked = [source, "notes.txt", *kept]
            commit = self.folder.commit(message, tracked)
            return {"commit": commit, "run": {"capsule": run_to_json(run)}}

        stored = self._journal.effect(f"{run.name}/record", perform)
        for seen in observations:
            self._laboratory.discard(seen.key)
        recorded = run_from_json(stored["run"]["capsule"], run.results)
        self.runs[run.name] = recorded
        return recorded

    def _fail(
        self,
        name: str,
        key: str,
        observations: Sequence[Observation],
        code: Code,
        gate: Check | None = None,
    ) -> Attempt:
        """Move what the executions left to attempts/ and say why they make no run."""
        for seen in observations:
            place = self.folder.attempts / seen.key.replace("/", ".")
            self._laboratory.keep(seen.key, name, place)
            self._laboratory.discard(seen.key)
        self._code[key] = code
        failed = failed_attempt(key, name, observations)
        if gate is None:
            return failed
        return replace(failed, kind=AttemptKind.NO_RESULT, reason=gate.detail, gate=gate.gate)

    def _diff_to_last_run(self, code: Code) -> str:
        runs = list(self.runs.values())
        old: Mapping[str, str] = {}
        if runs:
            old = {name: self.folder.read(runs[-1].commit, name) for name in code.files}
        parts = [unified_diff(old.get(name, ""), text, name) for name, text in code.files.items()]
        return "".join(parts) if runs else ""


def failed_attempt(step: str, run: str, observations: Sequence[Observation]) -> Attempt:
    """Return the attempt that executions came to whose last one gave no result."""
    last = observations[-1]
    return Attempt(
        step=step,
        run=run,
        kind=last.failure or AttemptKind.CRASHED,
        reason=last.problem,
        executions=len(observations),
        seconds=sum(seen.seconds for seen in observations),
        gpu_hours=sum(seen.gpu_hours for seen in observations),
        log=last.log_tail,
    )


def execution_key(name: str, number: int, seed: int | None) -> str:
    """Return the journal's key of one execution; a run of several seeds has one each."""
    return f"{name}/execution_{number}" + ("" if seed is None else f"/seed_{seed}")
