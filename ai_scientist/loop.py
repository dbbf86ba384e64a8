"""The experiment loop: ask for an edit, judge it, run it, tell what came of it, ask again.

    instruction -> coder -> gates -> commit -> run -> results
         ^                    |                 |        |
         +---- prompts/experiment/WHAT_HAPPENED.j2 <-----+

Nothing else in the package knows about order, retries or the number of runs; nothing in here knows
about resuming, files, git or processes.
"""

from __future__ import annotations

from collections.abc import Callable

from ai_scientist.progress import Progress, name_of, prose_of, title_of
from ai_scientist.protocols import Coder, Render, Workbench
from ai_scientist.records import (
    Attempt,
    AttemptKind,
    Code,
    Edit,
    EditStatus,
    Experiments,
    Idea,
    Limits,
    Run,
    Stop,
)


def run_experiments(
    idea: Idea,
    *,
    plan: str,
    system: str,
    baseline: Run,
    start: Code,
    coder: Coder,
    workbench: Workbench,
    render: Render,
    limits: Limits,
    report: Callable[[str], None],
) -> Experiments:
    """Drive `coder` through up to `limits.max_runs` valid runs and return them with every attempt.

    Raises BudgetSpent, ModelError and Waiting, with all that was done kept in the folder.
    """
    progress = Progress(runs={baseline.name: baseline}, accepted=start, draft=start)
    context = {"idea": idea, "plan": plan, "limits": limits, "progress": progress}
    happened = render("experiment/begin.j2", **context)
    while (stop := progress.stop(limits)) is None:
        progress.edits += 1
        step = f"{progress.name}/edit_{progress.edits}"
        now = {"happened": happened, "heard": workbench.hear(step), "table": workbench.table()}
        edit = coder.edit(
            step=step,
            purpose="edit",
            instruction=render("experiment/ask.j2", **now, **context),
            files=progress.draft.files,
            reminders=system,
        )
        if progress.uninterpreted is not None and edit.status is not EditStatus.NOT_APPLIED:
            workbench.interpret(progress.uninterpreted, prose_of(edit))
            progress.uninterpreted = None
        if edit.status is EditStatus.FINISHED and len(progress.runs) > 1:
            stop = Stop.COMPLETED
            break
        outcome = try_edit(edit, progress, workbench, report)
        happened = render(f"experiment/{name_of(outcome)}.j2", outcome=outcome, **context)
    return Experiments(
        stop=stop,
        runs=dict(progress.runs),
        attempts=tuple(progress.attempts),
        uninterpreted=progress.uninterpreted,
    )


def try_edit(
    edit: Edit, progress: Progress, workbench: Workbench, report: Callable[[str], None]
) -> Run | Attempt:
    """Take one edit as far as it goes: to a valid run, or to an attempt with its reason."""
    outcome = _judge_and_run(edit, progress, workbench)
    if isinstance(outcome, Attempt):
        outcome = workbench.keep_attempt(outcome)
        progress.attempts.append(outcome)
        progress.failures += 1
        report(f"{outcome.step}: {outcome.kind.replace('_', ' ')}: {outcome.reason}")
    else:
        progress.runs[outcome.name] = outcome
        progress.uninterpreted = outcome
        progress.failures = progress.edits = 0
    return outcome


def _judge_and_run(edit: Edit, progress: Progress, workbench: Workbench) -> Run | Attempt:
    name = progress.name
    if edit.status is not EditStatus.APPLIED:
        problem = edit.problem or "ALL_COMPLETED was said before there was a valid run"
        return Attempt(step=edit.step, run=name, kind=AttemptKind.NOT_APPLIED, reason=problem)
    accepted, draft = progress.accepted, progress.draft
    candidate = Code(commit=accepted.commit, files={**draft.files, **edit.files})
    gates = workbench.judge(edit.step, accepted, candidate, edit.smoke_invariant)
    if gates.refused:
        progress.draft = candidate if gates.repairable else accepted
        return Attempt(
            step=edit.step,
            run=name,
            kind=AttemptKind.REFUSED,
            gate=gates.refused.gate,
            reason=gates.refused.detail,
            seconds=gates.seconds,
            log=gates.log_tail,
        )
    if rejection := workbench.approve(edit.step, candidate):
        progress.draft = accepted
        return Attempt(
            step=edit.step,
            run=name,
            kind=AttemptKind.REJECTED,
            reason=rejection,
            seconds=gates.seconds,
        )
    title = title_of(edit)
    candidate = workbench.accept(edit.step, candidate, title)
    progress.draft = candidate
    number = progress.executions + 1
    outcome = workbench.execute(
        name, number, candidate, title=title, step=edit.step, checks=gates.checks
    )
    progress.executions += len(outcome.seeds) if isinstance(outcome, Run) else outcome.executions
    if isinstance(outcome, Run):
        progress.accepted = candidate
    return outcome
