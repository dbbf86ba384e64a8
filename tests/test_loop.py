"""The loop alone, between a scripted coder and a bench that only says what it was asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from ai_scientist.loop import run_experiments
from ai_scientist.records import (
    Attempt,
    AttemptKind,
    Check,
    Code,
    Edit,
    EditStatus,
    Experiments,
    GateReport,
    Idea,
    Limits,
    Results,
    Run,
    Stop,
)
from ai_scientist.testing import ScriptedCoder

START = Code(commit="c0", files={"experiment.py": "start", "plot.py": "plot"})
IDEA = Idea(name="idea", title="An Idea", experiment="Try it.")
DONE = "ALL_COMPLETED"


def code(text: str) -> Mapping[str, str]:
    """An edit of experiment.py."""
    return {"experiment.py": text}


class ScriptedBench:
    """Implements protocols.Workbench: the new content says what becomes of it.

    `refused …`, `crashes …` (refused, worth a repair), `rejected …` (by a person), `fails …` (when
    it runs), `seeds …` (three executions); anything else is a valid run.
    """

    def __init__(self) -> None:
        self.did: list[str] = []

    def judge(self, step: str, old: Code, new: Code, smoke_invariant: str | None) -> GateReport:
        """Refuse what says that it is refused or crashes."""
        text = new.files["experiment.py"]
        self.did.append(f"judge {step}: {old.files['experiment.py']} -> {text}")
        refused = text.startswith(("refused", "crashes"))
        verdict: Literal["refused", "passed"] = "refused" if refused else "passed"
        read = Check(gate="lint", verdict="passed", seconds=0.5)
        effect = Check(gate="effect", verdict=verdict, detail=text, seconds=2.0)
        return GateReport(
            checks=(read, effect), repairable=text.startswith("crashes"), log_tail=f"log of {text}"
        )

    def hear(self, step: str) -> str:
        """Say at which step it was heard."""
        return f"heard at {step}"

    def approve(self, step: str, new: Code) -> str:
        """Reject what says that it is rejected."""
        text = new.files["experiment.py"]
        return "not so" if text.startswith("rejected") else ""

    def accept(self, step: str, new: Code, title: str) -> Code:
        """Name the commit after the step."""
        self.did.append(f"accept {step}: {title}")
        return Code(commit=f"commit of {step}", files=new.files)

    def execute(
        self, name: str, number: int, code: Code, *, title: str, step: str, checks: Sequence[Check]
    ) -> Run | Attempt:
        """Crash where the code says so, else return a valid run."""
        text = code.files["experiment.py"]
        self.did.append(f"execute {name}, {number}: {text} at {code.commit}")
        if text.startswith("fails"):
            kind, ran = AttemptKind.CRASHED, 2 if "second seed" in text else 1
            return Attempt(step=step, run=name, kind=kind, reason="no result", executions=ran)
        seeds = (0, 1, 2) if text.startswith("seeds") else (0,)
        return Run(
            name=name, title=title, results=Results(metrics={}), seeds=seeds, checks=tuple(checks)
        )

    def keep_attempt(self, attempt: Attempt) -> Attempt:
        """Keep it as it is."""
        self.did.append(f"keep {attempt.step}: {attempt.kind}")
        return attempt

    def interpret(self, run: Run, prose: str) -> None:
        """Note the words."""
        self.did.append(f"interpret {run.name}: {prose}")

    def table(self) -> str:
        """Return words."""
        return "the table"


class Loop:
    """One run of the loop, and what everybody in it saw."""

    def __init__(self, script: Sequence[Any], **limits: int) -> None:
        self.bench, self.coder = ScriptedBench(), ScriptedCoder(script)
        self.told: list[str] = []
        self.ended: Experiments = run_experiments(
            IDEA,
            plan="plan",
            system="reminders",
            baseline=Run(name="run_0", title="Baseline", results=Results(metrics={})),
            start=START,
            coder=self.coder,
            workbench=self.bench,
            render=self.render,
            limits=Limits(**limits),
            report=self.told.append,
        )

    @staticmethod
    def render(name: str, /, **variables: Any) -> str:
        """Show the prompt's name and what it is told."""
        outcome = variables.get("outcome")
        said = f"{variables.get('happened', '')} {variables.get('heard', '')}".strip()
        return f"<{name} {getattr(outcome, 'reason', '')}{said}>"

    @property
    def did(self) -> list[str]:
        """What the bench was asked to do."""
        return self.bench.did

    @property
    def kinds(self) -> list[AttemptKind]:
        """How the attempts ended."""
        return [attempt.kind for attempt in self.ended.attempts]


def test_a_run_is_judged_committed_executed_and_then_interpreted() -> None:
    """The order of one run; the next reply's prose is the interpretation of the run before."""
    titled = Edit(
        step="", status=EditStatus.APPLIED, files=code("one"), prose="RUN: First", calls=1
    )
    loop = Loop([titled, DONE])
    assert loop.did == [
        "judge run_1/edit_1: start -> one",
        "accept run_1/edit_1: First",
        "execute run_1, 1: one at commit of run_1/edit_1",
        "interpret run_1: scripted",
    ]
    assert loop.ended.stop is Stop.COMPLETED
    assert list(loop.ended.runs) == ["run_0", "run_1"]
    assert loop.ended.runs["run_1"].checks[0].verdict == "passed"
    assert loop.ended.uninterpreted is None
    assert loop.told == []


def test_the_coder_is_asked_with_what_happened() -> None:
    """Each request carries the outcome of the last one, what people said, and the latest files."""
    loop = Loop([code("refused"), code("one"), DONE])
    begin, after_refusal, after_run = loop.coder.instructions
    assert "experiment/begin.j2" in begin
    assert "heard at run_1/edit_1" in begin
    assert "experiment/refused.j2 refused" in after_refusal
    assert "heard at run_1/edit_2" in after_refusal
    assert "experiment/ran.j2" in after_run
    assert "heard at run_2/edit_1" in after_run
    files = [files["experiment.py"] for files in loop.coder.files]
    assert files == ["start", "start", "one"]
    assert all(files["plot.py"] == "plot" for files in loop.coder.files)


def test_only_code_that_crashed_is_gone_on_from() -> None:
    """After a crash the coder repairs its draft; after any other refusal it starts from before."""
    loop = Loop([code("crashes a"), code("refused b"), code("rejected c"), code("one"), DONE])
    files = [files["experiment.py"] for files in loop.coder.files]
    assert files == ["start", "crashes a", "start", "start", "one"]
    judged = [line for line in loop.did if line.startswith("judge")]
    assert all(": start -> " in line for line in judged)  # never against a draft
    assert loop.kinds == [AttemptKind.REFUSED, AttemptKind.REFUSED, AttemptKind.REJECTED]
    first = loop.ended.attempts[0]
    assert (first.gate, first.reason, first.log) == ("effect", "crashes a", "log of crashes a")
    assert loop.told[0] == "run_1/edit_1: refused: crashes a"


def test_an_attempt_that_never_ran_took_as_long_as_its_gates() -> None:
    """Rehearsing costs time, and is told: of what was refused, and of what a person rejected."""
    loop = Loop([code("refused"), code("rejected"), "no block matched", code("one"), DONE])
    assert [attempt.seconds for attempt in loop.ended.attempts] == [2.5, 2.5, 0.0]


def test_nothing_runs_that_was_refused_or_rejected() -> None:
    """Neither a refused edit nor a rejected one is committed or executed."""
    loop = Loop([code("refused"), code("rejected"), "no block matched", code("one"), DONE])
    assert [line for line in loop.did if line.startswith(("accept", "execute"))] == [
        "accept run_1/edit_4: without a title",
        "execute run_1, 1: one at commit of run_1/edit_4",
    ]
    assert loop.ended.attempts[2].reason == "no block matched"


def test_a_failed_execution_counts_and_its_code_stays_the_draft() -> None:
    """A run without a result takes a number of the budget, and the next edit builds on its code."""
    loop = Loop([code("fails"), code("one"), DONE])
    assert loop.coder.files[1]["experiment.py"] == "fails"
    assert "judge run_1/edit_2: start -> one" in loop.did
    assert "execute run_1, 2: one at commit of run_1/edit_2" in loop.did
    assert loop.kinds == [AttemptKind.CRASHED]


def test_no_words_are_taken_from_a_reply_that_did_not_apply() -> None:
    """A run is interpreted once, by the first reply that is in order."""
    loop = Loop([code("one"), "no block matched", code("two"), DONE])
    said = [line for line in loop.did if line.startswith("interpret")]
    assert said == ["interpret run_1: scripted", "interpret run_2: scripted"]
    assert loop.did.index("keep run_2/edit_1: not_applied") < loop.did.index(said[0])


def test_completed_before_a_valid_run_is_no_end() -> None:
    """ALL_COMPLETED without a run is an edit that was not applied."""
    loop = Loop([DONE, code("one"), DONE])
    assert loop.kinds == [AttemptKind.NOT_APPLIED]
    assert "before there was a valid run" in loop.ended.attempts[0].reason
    assert loop.ended.stop is Stop.COMPLETED


@pytest.mark.parametrize(
    ("script", "limits", "stop", "runs"),
    [
        ([code("1"), code("2")], {"max_runs": 2}, Stop.RUN_LIMIT, 2),
        ([code("fails 1"), code("fails 2")], {"max_executions": 2}, Stop.EXECUTION_LIMIT, 0),
        ([code("fails at the second seed")], {"max_executions": 2}, Stop.EXECUTION_LIMIT, 0),
        ([code("seeds")], {"max_executions": 3}, Stop.EXECUTION_LIMIT, 1),
        ([code("seeds"), code("2")], {"max_executions": 4}, Stop.EXECUTION_LIMIT, 2),
        ([code("refused"), "no", code("fails")], {"max_failures": 3}, Stop.FAILURE_LIMIT, 0),
        (
            [code("refused"), code("1"), code("refused"), code("refused")],
            {"max_failures": 2},
            Stop.FAILURE_LIMIT,
            1,
        ),
    ],
)
def test_the_limits_end_the_experiments(
    script: list[Any], limits: dict[str, int], stop: Stop, runs: int
) -> None:
    """Valid runs, executions (each seed is one) and failures in a row end it at their number."""
    loop = Loop(script, **limits)
    assert loop.ended.stop is stop
    assert len(loop.ended.runs) == runs + 1
    assert not loop.coder.script
    last = loop.ended.uninterpreted
    if stop is not Stop.FAILURE_LIMIT and runs:
        assert last is not None
        assert last.name == f"run_{runs}"
