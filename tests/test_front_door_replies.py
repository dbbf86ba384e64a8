"""Through the front door: what becomes of a coder's replies, useless and misleading ones too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scripted_launches import DONE, RATE, Launch, block, change, recording_of, write_recording


def test_a_coder_that_never_edits_runs_nothing(launch: Launch) -> None:
    """Without an applicable edit, `done` is no success and no run starts: exit 1, all is kept."""
    bad = change("    nothing_like_this = 1\n    at_all = 2", "    x = 1")
    outcome = launch(["Done.\n\nALL_COMPLETED", *[("run_1/edit_2", bad)] * 3], "--max-failures=2")
    assert outcome.code == 1
    assert "no valid run" in outcome.err
    assert outcome.report["valid_runs"] == 0
    assert not list(outcome.folder.glob("run_1*"))
    assert [attempt["kind"] for attempt in outcome.attempts()] == ["not_applied", "not_applied"]
    assert "before there was a valid run" in outcome.attempts()[0]["reason"]
    assert not outcome.report.get("paper")


def test_a_half_applied_edit_leaves_nothing(launch: Launch) -> None:
    """Where one block of two fits and no more comes, the next step meets the file as it was."""
    half = change(RATE, "    learning_rate: float = 0.05") + block("no such line here", "x = 1")
    whole = change(RATE, "    learning_rate: float = 0.2", "a higher rate")
    gave_up = [("run_1/edit_1", text) for text in (half, "Sorry.", "I cannot.")]
    outcome = launch([*gave_up, ("run_1/edit_2", whole), ("run_2/edit_1", DONE)])
    assert outcome.code == 0, outcome.err
    capsules = [outcome.folder / run / "run.json" for run in ("run_0", "run_1")]
    assert len({json.loads(path.read_text())["measured_with"] for path in capsules}) == 1
    source = (outcome.folder / "experiment.py").read_text()
    assert "learning_rate: float = 0.2" in source
    assert "0.05" not in source


def test_a_truncated_reply_is_never_applied(launch: Launch) -> None:
    """A reply that was cut off is asked again, whatever blocks it holds."""
    cut = {"reply": change(RATE, "    learning_rate: float = 0.3"), "finish_reason": "length"}
    good = change(RATE, "    learning_rate: float = 0.2")
    outcome = launch([("run_1/edit_1", cut), ("run_1/edit_1", good), ("run_2/edit_1", DONE)])
    assert outcome.code == 0, outcome.err
    assert "learning_rate: float = 0.2" in (outcome.folder / "experiment.py").read_text()


WITHOUT_EFFECT = [
    (change("    repeats: int = 5", "    repeats: int = 5  # five"), "only comments or layout"),
    (
        change(
            "    rng = np.random.default_rng([request.seed, repeat])",
            "    rng = np.random.default_rng([request.seed + 7, repeat])",
        ),
        "the only change is to seeds or shuffling",
    ),
    (
        change("    repeats: int = 5", "    repeats: int = 5\n    smoothing: float = 0.1"),
        "they ran, so what they compute is not used, or a later value overrides it",
    ),
    (
        change(
            '    return hidden, hidden @ parameters["w2"] + parameters["b2"]',
            "    if hidden is None:\n        hidden = 2 * images\n"
            '    return hidden, hidden @ parameters["w2"] + parameters["b2"]',
        ),
        " never ran",
    ),
    (
        change("    epochs: int = 40", "    epochs: int = 50"),
        "no value of the resolved configuration moved",
    ),
]


@pytest.mark.slow
def test_edits_without_effect_are_refused_before_any_run(launch: Launch) -> None:
    """A comment, a seed, an unused variable, code that never runs, an overridden default."""
    outcome = launch([edit for edit, _ in WITHOUT_EFFECT], "--max-failures=5")
    assert outcome.code == 1
    assert [attempt["kind"] for attempt in outcome.attempts()] == ["refused"] * 5, outcome.err
    for attempt, (_, words) in zip(outcome.attempts(), WITHOUT_EFFECT, strict=True):
        assert words in attempt["reason"]
    assert [attempt["gate"] for attempt in outcome.attempts()] == [
        "meaningful",
        *["has an effect"] * 4,
    ]
    assert outcome.report["executions"] == 0
    assert not list(outcome.folder.glob("run_1*"))
    prompts = (outcome.folder / "calls.jsonl").read_text()
    for _, words in WITHOUT_EFFECT[:4]:  # the fifth ends the loop
        assert words in prompts


@pytest.mark.slow
def test_a_mechanism_that_disappears_is_a_finding(launch: Launch, tmp_path: Path) -> None:
    """The coder must point at the idea's code; what is gone or invented is written down."""
    idea = {
        "Name": "shrink_rate",
        "Title": "Halving the rate",
        "Experiment": "Halve the learning rate.",
        "Technical_Details": "The learning rate is multiplied by rate_factor in train.",
        "Template": "digits",
        "Varies": ["rate_factor", "learning_rate"],
        "Hypotheses": [{"metric": "test_loss", "direction": "decrease"}],
    }
    path = tmp_path / "shrink_rate.json"
    path.write_text(json.dumps(idea))
    step = "                velocity[name] = config.momentum * velocity[name]"
    with_factor = (
        change(RATE, f"{RATE}\n    rate_factor: float = 0.5", "with the factor")
        + block(
            "    config = request.config",
            "    config = request.config\n    rate = config.learning_rate * config.rate_factor",
        )
        + block(
            f"{step} - config.learning_rate * gradient",
            f"{step} - rate * gradient",
        )
    )
    without = change(
        "    rate = config.learning_rate * config.rate_factor", "    rate = 0.07", "without it"
    )
    reports = {
        "run_1": [
            {
                "mechanism": "factor",
                "present": True,
                "code": ["rate = config.learning_rate * config.rate_factor"],
            }
        ],
        "run_2": [
            {"mechanism": "factor", "present": False},
            {"mechanism": "invented", "present": True, "code": ["rate = magic()"]},
        ],
    }
    lines = [
        {"purpose": "mechanism", "step": f"{run}/mechanism", "reply": json.dumps(report)}
        for run, report in reports.items()
    ]
    edits = [with_factor, ("run_2/edit_1", without), ("run_3/edit_1", DONE)]
    recording = write_recording(tmp_path / "mechanism.jsonl", [*recording_of(edits), *lines])
    outcome = launch([], f"--idea={path}", f"--model=recorded:{recording}")
    assert outcome.code == 0, outcome.err
    first, second = outcome.notes.split("## Run 2:")
    assert "mechanism_missing" not in first
    assert "mechanism_missing: factor: the coder says" in second
    assert "`rate = magic()` does not stand in the code" in second


def test_plots_that_fail_fall_back_and_stay_visible(launch: Launch) -> None:
    """A plot.py that crashes each time leaves the template's pictures, and its failures told."""
    good = change(RATE, "    learning_rate: float = 0.2")
    broken = block('    "run_0": "Baseline",', '    "run_0": 1 / 0,').replace("experiment", "plot")
    again = block('    "run_0": 1 / 0,', '    "run_0": 2 / 0,').replace("experiment", "plot")
    plots = [("plot/edit_1", broken), ("plot/edit_2", again), ("plot/edit_3", "ALL_COMPLETED")]
    outcome = launch([good, ("run_2/edit_1", DONE), *plots])
    assert outcome.code == 0, outcome.err
    assert (outcome.folder / "test_metrics.png").read_bytes().startswith(b"\x89PNG")
    assert len(outcome.report["plots"]["failures"]) == 3
    assert "ZeroDivisionError" in outcome.report["plots"]["failures"][0]
