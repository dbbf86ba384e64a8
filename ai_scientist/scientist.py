"""One idea from end to end: baseline, plan, experiments, plots, paper, report.

    run_0 -> plan -> hypotheses -> loop -> last words -> confirm -> judge -> plots -> paper

Everything that costs goes through the journal, so this reads from top to bottom also when a folder
is resumed: what is done answers at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from ai_scientist.audit.paper import open_numbers
from ai_scientist.audit.runs import run_findings
from ai_scientist.errors import BudgetSpent, ReplyError, ScientistError, Waiting
from ai_scientist.execution.laboratory import Laboratory
from ai_scientist.inputs.settings import Places, Settings
from ai_scientist.judging.deviations import deviations
from ai_scientist.judging.hypotheses import contenders, digest, finalist, judge, parse_hypotheses
from ai_scientist.loop import run_experiments
from ai_scientist.model.client import ModelClient
from ai_scientist.notes.facts import best_run
from ai_scientist.preflight import describe_unknown_noise
from ai_scientist.protocols import Coder, Render
from ai_scientist.records import (
    NEVER_RAN,
    Attempt,
    AttemptKind,
    Code,
    Experiments,
    Hypothesis,
    Idea,
    Json,
    Message,
    Run,
    Study,
    Template,
)
from ai_scientist.run_folder.journal import FolderJournal, write_json
from ai_scientist.run_folder.workspace import RunFolder
from ai_scientist.steps.approval import Approvals
from ai_scientist.steps.confirmation import Confirmation
from ai_scientist.steps.keeping import keep_trained, remove_trained
from ai_scientist.steps.plots import Draughtsman, draw_plots, plot_findings
from ai_scientist.steps.references import place_references
from ai_scientist.steps.workbench import FolderWorkbench
from ai_scientist.writeup.authorship import Author

HYPOTHESIS_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """One idea, where it is worked on, and how."""

    folder: RunFolder
    idea: Idea
    template: Template
    settings: Settings
    places: Places


@dataclass(frozen=True, kw_only=True)
class Staff:
    """Everything that works on one idea; put together by the launch layer."""

    assignment: Assignment
    journal: FolderJournal
    model: ModelClient
    coder: Coder
    laboratory: Laboratory
    workbench: FolderWorkbench
    draughtsman: Draughtsman
    render: Render
    author: Author
    approvals: Approvals
    prepare_complete: Callable[[], None]
    """Makes what all evaluations share, once for all runs that measure everything."""
    spent: Callable[[], Json]
    """Money, tokens and calls so far."""
    report: Callable[[str], None]

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return self.assignment.folder

    @property
    def idea(self) -> Idea:
        """The idea that is tested."""
        return self.assignment.idea

    @property
    def template(self) -> Template:
        """The template it started from."""
        return self.assignment.template

    @property
    def settings(self) -> Settings:
        """What the person asked for."""
        return self.assignment.settings


def research(staff: Staff, start: Code) -> Json:
    """Do all that is left to do for one idea, and return what report.json holds.

    `start` is the template's code over the folder's first commit. Raises BudgetSpent, ModelError
    and Waiting after the report was written: the folder can be resumed.
    """
    began = time.monotonic()
    report: Json = {"stop": "unfinished", "idea": staff.idea.name}
    try:
        experiments, hypotheses = experiment(staff, start)
        conclude(staff, experiments, hypotheses, report)
        report["stop"] = str(experiments.stop)
    except BudgetSpent as error:
        report |= {"stop": "budget spent", "reason": error.message}
        raise
    except Waiting as error:
        report |= {"stop": "waiting", "reason": error.message}
        raise
    except ScientistError as error:
        report |= {"stop": "failed", "reason": error.message}
        raise
    finally:
        report |= describe_effort(staff, time.monotonic() - began)
        write_json(staff.folder.report, report)
    return report


def experiment(staff: Staff, start: Code) -> tuple[Experiments, tuple[Hypothesis, ...]]:
    """Measure the baseline, plan, fix the hypotheses, and run the loop to its end."""
    seeds = tuple(range(staff.settings.baseline_seeds))
    baseline = staff.workbench.measure_baseline(start, seeds)
    if isinstance(baseline, Attempt):
        raise ScientistError(
            f"the untouched template fails: {baseline.reason}\n{baseline.log}",
            hint=f"`python -m ai_scientist template check {staff.template.folder}`",
        )
    if warning := describe_unknown_noise(baseline.results, staff.template, staff.settings):
        staff.report(f"run_0: {warning}")
    staff.workbench.references = place_references(
        staff.folder,
        staff.journal,
        staff.laboratory.bench,
        staff.workbench.notebook,
        staff.report,
    )
    plan = ask(
        staff,
        "plan",
        "plan",
        "experiment/plan.j2",
        template=staff.template,
        limits=staff.settings.limits,
        code=start.files["experiment.py"],
    )
    hypotheses = fix_hypotheses(staff, plan, baseline)
    staff.workbench.settle = partial(let_losers_go, staff, hypotheses)
    experiments = run_experiments(
        staff.idea,
        plan=plan,
        system=staff.template.system,
        baseline=baseline,
        start=start,
        coder=staff.coder,
        workbench=staff.workbench,
        render=staff.render,
        limits=staff.settings.limits,
        report=staff.report,
    )
    last = experiments.uninterpreted
    if last is not None:
        step = f"{last.name}/interpret"
        prose = ask(staff, "interpret", step, "experiment/interpret.j2", run=last)
        staff.workbench.interpret(last, prose)
    return experiments, hypotheses


def conclude(
    staff: Staff,
    experiments: Experiments,
    hypotheses: Sequence[Hypothesis],
    outcome: Json,
) -> None:
    """Judge the hypotheses, draw, and write the paper; without a valid run, only report.

    `outcome` is filled step by step: who is asked whether there shall be a paper sees the verdicts.
    """
    if not experiments.succeeded:
        reason = experiments.attempts[-1].reason if experiments.attempts else "nothing was tried"
        outcome |= {"reason": f"no valid run: {reason}", "pdf": None}
        return
    best = choose_finalist(staff, experiments, hypotheses)
    fresh, failed = confirm(staff, experiments, best)
    outcome["trained"] = keep_trained(
        staff.folder, staff.journal, staff.settings.keep, {"run_0", best}
    )
    study = describe_study(staff, experiments, hypotheses)
    study = replace(study, attempts=(*study.attempts, *failed))
    judgements = judge(study, fresh)
    for one in judgements:
        staff.report(f"hypothesis on {one.hypothesis.metric}: {one.verdict}: {one.reason}")
    outcome["hypotheses"] = [asdict(one) for one in judgements]
    outcome["deviations"] = list(deviations(study))
    outcome["plots"] = draw(staff, experiments)
    drawing = plot_findings(outcome["plots"])
    findings = (*staff.workbench.notebook.findings, *run_findings(study), *drawing)
    outcome["findings"] = [asdict(finding) for finding in findings]
    if rejection := staff.approvals.approve_writeup() if staff.settings.writeup else "":
        outcome["paper"] = {"pdf": None, "message": f"a person wants no paper: {rejection}"}
    elif staff.settings.writeup:
        study = replace(study, judgements=judgements, findings=findings)
        outcome["paper"] = staff.author.write(study, outcome["plots"])
    outcome["open_numbers"] = [asdict(one) for one in open_numbers(study)]


def ask(staff: Staff, purpose: str, step: str, prompt: str, **variables: Any) -> str:
    """Ask for a plain text, with the template's system prompt and the table of results."""
    shared = {"idea": staff.idea, "table": staff.workbench.table()}
    content = staff.render(prompt, **shared, **variables)
    messages = (
        Message(role="system", content=staff.template.system),
        Message(role="user", content=content),
    )
    return staff.model.ask(purpose=purpose, step=step, messages=messages).text


def fix_hypotheses(staff: Staff, plan: str, baseline: Run) -> tuple[Hypothesis, ...]:
    """Store the hypotheses, the idea's or else the model's, with their hash, before any edit.

    Those that were stored are returned, whatever the idea's file says by now.
    """
    hypotheses = staff.idea.hypotheses or propose_hypotheses(staff, plan, baseline)

    def perform() -> Json:
        content = {
            "sha256": digest(hypotheses),
            "hypotheses": [asdict(one) for one in hypotheses],
        }
        write_json(staff.folder.path / "hypotheses.json", content)
        commit = staff.folder.commit(
            "Fix the hypotheses before the first edit", ["hypotheses.json"]
        )
        return {"commit": commit, **content}

    stored = staff.journal.effect("hypotheses", perform)
    return tuple(Hypothesis(**one) for one in stored["hypotheses"])


def propose_hypotheses(staff: Staff, plan: str, baseline: Run) -> tuple[Hypothesis, ...]:
    """Ask the model for hypotheses; after a few replies that hold none, go on without."""
    problem = ""
    for number in range(1, HYPOTHESIS_TRIES + 1):
        reply = ask(
            staff,
            "hypotheses",
            f"hypotheses/try_{number}",
            "experiment/hypotheses.j2",
            plan=plan,
            metrics=list(staff.template.metrics.values()),
            problem=problem,
        )
        try:
            return parse_hypotheses(reply, baseline.results.metrics)
        except ReplyError as error:
            problem = error.message
    staff.report(f"hypotheses: none in {HYPOTHESIS_TRIES} replies, so none is judged: {problem}")
    return ()


def choose_finalist(
    staff: Staff, experiments: Experiments, hypotheses: Sequence[Hypothesis]
) -> str:
    """Return the variant that decides what was predicted first, else the best by primary metric."""
    variants = {name: run for name, run in experiments.runs.items() if name != "run_0"}
    decisive = finalist(hypotheses, experiments.runs, staff.template.metrics)
    return decisive or best_run(variants, staff.template)


def let_losers_go(staff: Staff, hypotheses: Sequence[Hypothesis]) -> None:
    """Remove what runs trained that can no longer be the finalist: it takes gigabytes."""
    runs = dict(staff.workbench.runs)
    left = contenders(hypotheses, runs, staff.template.metrics)
    del runs["run_0"]
    left |= {"run_0", best_run(runs, staff.template)}
    remove_trained(staff.folder, staff.journal, staff.settings.keep, left)


def confirm(
    staff: Staff, experiments: Experiments, name: str
) -> tuple[Mapping[str, Run], Sequence[Attempt]]:
    """Run the best variant's control arms, and with --confirm-best all of it on fresh seeds.

    Returns the runs on fresh seeds, and the executions that failed.
    """
    keep = staff.settings.keep
    confirmation = Confirmation(staff.workbench, staff.laboratory, staff.journal, keep)
    controls = staff.idea.controls
    for control in controls:
        staff.report(f"{name}: control arm `{control.name}` follows")
    best = confirmation.run_controls(experiments.runs[name], controls)
    fresh: Mapping[str, Run] = {}
    if seeds := staff.settings.confirm_best:
        staff.prepare_complete()
        fresh = confirmation.confirm(best, experiments.runs["run_0"], controls, seeds)
    return fresh, confirmation.attempts


def describe_study(
    staff: Staff, experiments: Experiments, hypotheses: Sequence[Hypothesis]
) -> Study:
    """Return all that was done, as whoever judges, writes or shows takes it."""
    return Study(
        folder=staff.folder.path,
        idea=replace(staff.idea, guards=staff.idea.guards or staff.template.guards),
        runs=dict(staff.workbench.runs),
        attempts=experiments.attempts,
        hypotheses=tuple(hypotheses),
        settings=staff.settings.to_json(),
        metrics=staff.template.metrics,
        primary_metric=staff.template.primary_metric,
        stop=str(experiments.stop),
    )


def draw(staff: Staff, experiments: Experiments) -> Json:
    """Draw the plots and describe them in the notes; a failure is told, and stays visible."""

    def look() -> Json:
        return {"commit": staff.folder.git("rev-parse", "HEAD").strip()}

    # Kept, since a resumed folder stands at a later commit, whose plot.py is changed already.
    commit = staff.journal.effect("plot/begin", look)["commit"]
    plot = staff.folder.read(commit, "plot.py")
    context = {
        "idea": staff.idea,
        "runs": list(experiments.runs.values()),
        "table": staff.workbench.table(),
    }
    drawn = draw_plots(
        staff.coder,
        staff.draughtsman,
        staff.render,
        system=staff.template.system,
        commit=commit,
        plot=plot,
        context=context,
    )
    for failure in drawn["failures"]:
        staff.report(f"plots: {failure.splitlines()[0] if failure else 'failed'}")
    if drawn["pictures"]:
        prose = ask(
            staff,
            "interpret",
            "plot/notes",
            "plot/notes.j2",
            runs=context["runs"],
            pictures=drawn["pictures"],
        )
        staff.workbench.notebook.add_prose("plot/notes_kept", "Plots", prose)
    return {name: value for name, value in drawn.items() if name != "commit"}


def describe_effort(staff: Staff, seconds: float) -> Json:
    """Return what the whole has cost so far, earlier processes included."""
    earlier = sum(session["seconds"] for session in staff.journal.notes("session"))
    staff.journal.note("session", {"seconds": round(seconds, 1)})
    runs: Sequence[Run] = list(staff.workbench.runs.values())
    attempts = [json.loads(path.read_text()) for path in staff.folder.attempts.glob("*.json")]
    return {
        "valid_runs": max(0, len(runs) - 1),
        "executions": sum(not key.startswith("run_0/") for key in staff.laboratory.executed),
        "failed_executions": sum(attempt["kind"] not in NEVER_RAN for attempt in attempts),
        "refused": sum(attempt["kind"] == AttemptKind.REFUSED for attempt in attempts),
        "gpu_hours": round(staff.laboratory.gpu_hours, 4),
        "seconds": round(earlier + seconds, 1),
        "attempts": len(attempts),
        **staff.spent(),
    }
