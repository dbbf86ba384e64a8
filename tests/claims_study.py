"""A study of three runs that claims are checked against."""

from __future__ import annotations

from ai_scientist.claims import Evidence, check_prose
from ai_scientist.records import Idea, Results, Run

CONFIG = {"train/config/lr": 0.0003, "train/config/k": 20, "train/config/batch_size": 2048}


def run(name: str, title: str, loss: float, accuracy: float) -> Run:
    """Return a run of two metrics with three seeds each."""
    seeds = {
        "train/final_loss": (loss - 1, loss, loss + 1),
        "eval/test_accuracy": (accuracy - 0.01, accuracy, accuracy + 0.01),
    }
    return Run(
        name=name,
        title=title,
        results=Results(
            metrics={"train/final_loss": loss, "eval/test_accuracy": accuracy},
            seeds=seeds,
            stderr={"train/final_loss": 0.57735, "eval/test_accuracy": 0.0057735},
            config=CONFIG,
        ),
    )


EVIDENCE = Evidence.from_runs(
    {
        "run_0": run("run_0", "Baseline", 200.2254, 0.6412),
        "run_1": run("run_1", "Ranked weights", 232.1225, 0.6553),
        "run_2": run("run_2", "Cubic scaling", 192.6032, 0.6718),
    },
    idea=Idea(name="i", title="I", experiment="Try λ = 0.05.", technical_details="Aim: 0.7."),
)


def verdicts(text: str, kind: str = "notes") -> list[tuple[str, str]]:
    """Return (number, verdict) of each number of a text."""
    report = check_prose(text, EVIDENCE, kind="latex" if kind == "latex" else "notes")
    return [(n.text, n.verdict) for n in report.numbers]


def kinds(text: str, kind: str = "notes") -> list[str]:
    """Return the kinds of the findings of a text."""
    report = check_prose(text, EVIDENCE, kind="latex" if kind == "latex" else "notes")
    return [f.kind for f in report.findings]
