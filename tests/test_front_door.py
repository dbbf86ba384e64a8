"""The main job through its front door: a real process, real HTTP, real aider, real runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ai_scientist.cli import guard
from tests.doors import PROJECT, ai_scientist, launch_scientist
from tests.scripted_launches import DONE, RATE, Launch, at_start, change, resume


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        (["--idea=label_smothing"], "no idea `label_smothing`", "label_smoothing_digits"),
        (["--idea=broken.json"], "line 1, column 2", ""),
        (["--idea=label_smoothing_digits", "--template=digit"], "no template `digit`", "digits"),
        (["--idea=label_smoothing_digits", "--model=gtp-4"], "gtp-4", ""),
        (["--idea=label_smoothing_digits", "--model=openai/gpt-4o"], "no API key", "recorded"),
        pytest.param(
            ["--idea=label_smoothing_digits", "--model=m", "--base-url=http://127.0.0.1:9/v1"],
            "127.0.0.1:9",
            "",
            marks=pytest.mark.slow,  # it is tried again, for half a minute
        ),
        (["--idea=label_smoothing_digits", "--model=recorded:none.jsonl"], "none.jsonl", ""),
        (["--idea=label_smoothing_digits", "--max-runs=-1"], "-1", "--help"),
        (["--idea=label_smoothing_digits", "--max-cost-usd=nan"], "nan", "--help"),
        (["--idea=label_smoothing_digits", "--profile=huge"], "huge", "--help"),
        ([], "no idea was named", "--idea"),
        (["--resume=nowhere"], "nowhere", ""),
    ],
)
def test_bad_input_is_one_error_and_one_hint(
    tmp_path: Path, options: list[str], error: str, hint: str
) -> None:
    """Exit 2 with `error:` and `hint:`, no traceback, and nothing begun."""
    (tmp_path / "broken.json").write_text("{")
    done = launch_scientist(*options, cwd=tmp_path)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert [line.split(":")[0] for line in lines] == ["error", "hint"], done.stderr
    assert error in lines[0]
    assert hint in lines[1]
    unreachable = any(option.startswith("--base-url") for option in options)  # may come up again
    assert (tmp_path / "runs").exists() == unreachable


def test_a_full_disk_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing more can be written, the person is told what to do; what was done is kept."""

    def write() -> int:
        with Path("/dev/full").open("w") as file:
            file.write("x")
        return 0

    assert guard(write) == 1
    assert capsys.readouterr().err.splitlines()[0] == "error: the disk is full"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`python -m ai_scientist audit … | head` ends without a word."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "ai_scientist", "audit", "tests/fixtures/audit/widths"],
        cwd=PROJECT,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (130, b"")


def test_a_dry_run_leaves_nothing(launch: Launch) -> None:
    """--dry-run checks everything, estimates, and makes no run folder."""
    outcome = launch([], "--dry-run")
    assert outcome.code == 0, outcome.err
    assert "estimate for 10 runs" in outcome.out
    assert not outcome.folder.exists()


@pytest.mark.slow
def test_a_dry_run_prepares_no_data(fresh_cache: Path, sae_python: Path) -> None:
    """The estimate comes before what takes hours, in `full` on a GPU; a dry run ends there."""
    done = subprocess.run(
        [
            *(sys.executable, "launch_scientist.py", "--idea=ratio_ranked_orthogonal_sae"),
            *("--model=recorded", "--profile=smoke", "--dry-run"),
        ],
        cwd=PROJECT,
        env=os.environ | {"AI_SCIENTIST_CACHE": str(fresh_cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "estimate for 10 runs" in done.stdout
    assert "preparing the shared data" not in done.stdout
    assert not list(fresh_cache.glob("data/*"))


def test_a_persons_rejection_is_the_coders_next_instruction(launch: Launch) -> None:
    """With --approve the launcher waits (3); a rejection reaches the coder, and is kept."""
    first = change(RATE, "    learning_rate: float = 0.2", "too high")
    second = change(RATE, "    learning_rate: float = 0.15", "as the person asked")
    edits = [first, second, ("run_2/edit_1", DONE)]
    outcome = launch(edits, "--approve=edits", "--max-runs=1")
    assert outcome.code == 3, outcome.err

    def decide(step: str, *words: str) -> None:
        assert ai_scientist("decide", outcome.folder, step, *words).returncode == 0

    decide("run_1/edit_1", "reject", "--comment=Try 0.15 first.")
    resume(outcome, code=3)
    decide("run_1/edit_2", "approve")
    resume(outcome)
    source = (outcome.folder / "experiment.py").read_text()
    assert "learning_rate: float = 0.15" in source
    assert outcome.attempts()[0]["kind"] == "rejected"
    assert "Try 0.15 first." in (outcome.folder / "calls.jsonl").read_text()
    decided = [line for line in outcome.events() if line.get("key") == "run_1/edit_1/decision"]
    assert decided[0]["result"]["comment"] == "Try 0.15 first."
    assert decided[0]["result"]["user"]


def test_who_decides_on_the_paper_sees_what_it_would_say(launch: Launch) -> None:
    """With --approve writeup the launcher waits, and verdicts and pictures are there by then."""
    edits = [change(RATE, "    learning_rate: float = 0.2"), ("run_2/edit_1", DONE)]
    outcome = launch(edits, "--approve=writeup")
    assert outcome.code == 3, outcome.err
    assert outcome.report["stop"] == "waiting"
    assert [one["verdict"] for one in outcome.report["hypotheses"]] == ["not testable"] * 2
    assert outcome.report["plots"]["pictures"]


def test_passing_faults_of_the_server_are_survived(launch: Launch) -> None:
    """429, 5xx and a dropped connection are tried again, and recorded."""
    at_once = {"call": 1, "headers": {"Retry-After": "0"}}
    replies = [
        ("run_1/edit_1", {**at_once, "status": 429}),
        ("run_1/edit_1", {**at_once, "status": 500}),
        ("run_1/edit_1", {"call": 1, "reply": change(RATE, "    learning_rate: float = 0.2")}),
        ("run_2/edit_1", {**at_once, "status": 503}),
        ("run_2/edit_1", {"call": 1, "drop": True}),
        ("run_2/edit_1", {"call": 1, "reply": DONE}),
    ]
    outcome = launch(replies)
    assert outcome.code == 0, outcome.err
    tries = [(one["step"], one["outcome"]) for one in outcome.calls() if one["purpose"] == "edit"]
    assert tries == [
        ("run_1/edit_1", "429"),
        ("run_1/edit_1", "500"),
        ("run_1/edit_1", "ok"),
        ("run_2/edit_1", "503"),
        ("run_2/edit_1", "connection"),
        ("run_2/edit_1", "ok"),
    ]


def test_a_key_that_is_printed_or_replied_is_stored_nowhere(launch: Launch) -> None:
    """In logs, attempts, prompts, recorded calls and notes a key's place says what stood there."""
    token = "ghp_" + "aZ9" * 12
    leak = 'if request.profile == "small":\n    raise RuntimeError("ghp_" + "aZ9" * 12)'
    repaired = change(
        '    if request.profile == "small":\n        raise RuntimeError("ghp_" + "aZ9" * 12)',
        "    pass",
    )
    done = f"I was given {token}.\n\n{DONE}"
    outcome = launch([at_start(leak), repaired, ("run_2/edit_1", done)])
    assert outcome.code == 0, outcome.err
    files = [path for path in outcome.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if token in path.read_text(errors="replace")]
    mark = "[redacted: GitHub Token]"
    assert f"I was given {mark}." in outcome.notes
    assert mark in outcome.attempts()[0]["log"]
    calls = outcome.calls()
    assert mark in next(c["prompt"][-1]["content"] for c in calls if c["step"] == "run_1/edit_2")
    assert mark in next(call["reply"] for call in calls if call["step"] == "run_2/edit_1")
    assert token not in outcome.out + outcome.err
