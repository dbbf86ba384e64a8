"""The main job through its front door: a real process, real HTTP, real aider, real runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ai_scientist.audit import audit
from ai_scientist.inputs.templates import load_template
from ai_scientist.notes.facts import facts
from ai_scientist.review.summaries import summarize
from ai_scientist.run_folder.study import read_study

SET_UP = "    request = read_request(Config(), PROFILES)"
RATE = "    learning_rate: float = 0.1"
DONE = "All is measured: {{run_1 vs run_0: test_loss}}.\n\nALL_COMPLETED"


def block(search: str, replace: str) -> str:
    """One SEARCH/REPLACE block on experiment.py."""
    lines = ("experiment.py", "```python", "<<<<<<< SEARCH", search, "=======", replace)
    return "\n".join([*lines, ">>>>>>> REPLACE", "```", ""])


def change(search: str, replace: str, title: str = "a change") -> str:
    """A whole reply with one edit."""
    return f"I change it.\n\nRUN: {title}\n\n{block(search, replace)}"


def at_start(code: str) -> str:
    """An edit that runs `code` in the experiment's main, and changes what it computes."""
    lines = "".join(f"\n    {line}" for line in code.strip().splitlines())
    return change(SET_UP, SET_UP + lines) + block(RATE, "    learning_rate: float = 0.07")


@dataclass
class Outcome:
    """What a launch left."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        """report.json."""
        content: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return content

    @property
    def notes(self) -> str:
        """notes.txt."""
        return (self.folder / "notes.txt").read_text()

    def events(self) -> list[dict[str, Any]]:
        """The lines of the journal."""
        return [
            json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()
        ]

    def attempts(self) -> list[dict[str, Any]]:
        """Every attempt, in the order of their names."""
        return [
            json.loads(p.read_text()) for p in sorted((self.folder / "attempts").glob("*.json"))
        ]


Launch = Callable[..., Outcome]


@pytest.fixture
def launch(project: Path, tmp_path: Path) -> Launch:
    """Launch the label smoothing idea with scripted replies."""

    def start(edits: Sequence[str | dict[str, Any] | tuple[str, Any]], *options: str) -> Outcome:
        recording = tmp_path / "recording.jsonl"
        recording.write_text("".join(json.dumps(line) + "\n" for line in lines_of(edits)))
        runs = tmp_path / "runs"
        given = ["--idea=label_smoothing_digits", f"--model=recorded:{recording}"]
        if any(option.startswith("--idea=") for option in options):
            given = []
        done = subprocess.run(
            [
                sys.executable,
                "launch_scientist.py",
                *given,
                f"--runs-dir={runs}",
                "--no-writeup",
                *options,
            ],
            cwd=project,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=170,
            check=False,
        )
        folders = list(runs.iterdir()) if runs.is_dir() else [runs]
        return Outcome(done.returncode, done.stdout, done.stderr, folders[0])

    return start


def lines_of(edits: Sequence[str | dict[str, Any] | tuple[str, Any]]) -> list[dict[str, Any]]:
    """Recording lines: a plan, the edits at their steps, and what follows the loop.

    An edit is the reply of the next step of run_1, or (step, reply). A mapping scripts faults.
    """
    lines: list[dict[str, Any]] = [{"purpose": "plan", "step": "plan", "reply": "1. One change."}]
    plots = [edit for edit in edits if isinstance(edit, tuple) and edit[0].startswith("plot")]
    for number, edit in enumerate([edit for edit in edits if edit not in plots], 1):
        step, reply = edit if isinstance(edit, tuple) else (f"run_1/edit_{number}", edit)
        faults = reply if isinstance(reply, dict) else {"reply": reply}
        lines.append({"purpose": "edit", "step": step, **faults})
    for step, reply in plots or [("plot/edit_1", "ALL_COMPLETED")]:
        lines.append({"purpose": "plot", "step": step, "reply": reply})
    for step in ("plot/notes", *(f"run_{number}/interpret" for number in range(1, 11))):
        lines.append({"purpose": "interpret", "step": step, "reply": "It is drawn."})
    return lines


def test_a_coder_that_never_edits_runs_nothing(launch: Launch) -> None:
    """Replies without an applicable edit start no run: exit 1, and every attempt is kept."""
    bad = change("    nothing_like_this = 1\n    at_all = 2", "    x = 1")
    edits = [(f"run_1/edit_{n}", bad) for n in (1, 2) for _ in range(3)]
    outcome = launch(edits, "--max-failures=2")
    assert outcome.code == 1
    assert "no valid run" in outcome.err
    assert outcome.report["valid_runs"] == 0
    assert not list(outcome.folder.glob("run_1*"))
    assert [attempt["kind"] for attempt in outcome.attempts()] == ["not_applied", "not_applied"]
    assert not outcome.report.get("paper")


def test_all_completed_first_is_no_success(launch: Launch) -> None:
    """A coder that says it is done before any valid run has done nothing."""
    outcome = launch(["Done.\n\nALL_COMPLETED", "Really.\n\nALL_COMPLETED"], "--max-failures=2")
    assert outcome.code == 1
    assert outcome.report["valid_runs"] == 0
    assert "before there was a valid run" in outcome.attempts()[0]["reason"]


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


def test_a_crash_and_a_missing_result_are_told_and_repaired(launch: Launch) -> None:
    """A failure in the rehearsal, and a run without a result, go back to the coder in words."""
    crash = at_start('raise RuntimeError("boom at the start")')
    silent = change(
        '    raise RuntimeError("boom at the start")',
        '    if request.profile == "small":\n        raise SystemExit(0)',
    )
    repair = change(
        f'{SET_UP}\n    if request.profile == "small":\n        raise SystemExit(0)',
        SET_UP,
        "repaired",
    )
    outcome = launch([crash, silent, repair, ("run_2/edit_1", DONE)])
    assert outcome.code == 0, outcome.err
    kinds = {attempt["step"]: attempt["kind"] for attempt in outcome.attempts()}
    assert kinds == {"run_1/edit_1": "refused", "run_1/execution_1": "no_result"}
    assert "boom" in outcome.attempts()[0]["log"]
    assert "final_info.json" in outcome.attempts()[1]["reason"]
    assert "repaired" in outcome.notes
    prompts = (outcome.folder / "calls.jsonl").read_text()
    assert "boom at the start" in prompts
    assert outcome.report["valid_runs"] == 1


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
    calls = [json.loads(line) for line in (outcome.folder / "calls.jsonl").read_text().splitlines()]
    assert mark in next(c["prompt"][-1]["content"] for c in calls if c["step"] == "run_1/edit_2")
    assert mark in next(call["reply"] for call in calls if call["step"] == "run_2/edit_1")
    assert token not in outcome.out + outcome.err


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "open(f'{request.out_dir}/final_info.json', 'w').write('{\"digits\": {\"means\"')",
            "JSON",
        ),
        (
            "open(f'{request.out_dir}/final_info.json', 'w').write("
            '\'{"digits": {"means": {"test_loss": NaN, "test_accuracy": 1, "train_loss": 1}}}\')',
            "test_loss",
        ),
        ("open(f'{request.out_dir}/final_info.json', 'w').write('{}')", "no number"),
    ],
)
def test_a_broken_result_is_no_run(launch: Launch, code: str, words: str) -> None:
    """Truncated, NaN and empty results are failures told by what is wrong with them."""
    edit = at_start(f'if request.profile == "small":\n    {code}\n    raise SystemExit(0)')
    outcome = launch([edit], "--max-failures=1")
    assert outcome.code == 1
    attempt = outcome.attempts()[0]
    assert attempt["kind"] == "no_result"
    assert words in attempt["reason"]


HOSTILE = """
import os, shutil, signal, subprocess, sys
if request.profile == "small":
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(4321.5)"])
    here = os.getcwd()
    run_folder = here.split("/.staging")[0]
    for place in (run_folder, here):
        for name in (".git", "run_0", "events.jsonl"):
            shutil.rmtree(os.path.join(place, name), ignore_errors=True)
        for name in ("experiment.py", "data.py", "events.jsonl", "run_0/final_info.json"):
            try:
                open(os.path.join(place, name), "w").write("gone")
            except OSError:
                pass
    shutil.rmtree(run_folder, ignore_errors=True)
    print("key:", os.environ.get("OPENAI_API_KEY"), [n for n in os.environ if "KEY" in n])
"""


@pytest.mark.slow
def test_a_hostile_experiment_harms_nothing(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It forks a daemon, deletes the run folder, edits itself, run_0 and git: all is as before."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-person")
    outcome = launch([at_start(HOSTILE), ("run_2/edit_1", DONE)])
    assert outcome.code == 0, outcome.err + outcome.out
    assert outcome.report["valid_runs"] == 1
    status = ["git", "-C", str(outcome.folder), "status", "--porcelain"]
    assert subprocess.run(status, capture_output=True, text=True, check=True).stdout == ""
    everything = "".join(
        path.read_text(errors="replace") for path in outcome.folder.rglob("*") if path.is_file()
    )
    assert "sk-secret-of-the-person" not in everything
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "sleep(4321.5)" not in listed.stdout


@pytest.mark.slow
def test_a_hundred_megabytes_of_output_are_cut(launch: Launch) -> None:
    """Output is kept as head and tail; the launcher and the folder stay small."""
    flood = at_start(
        'if request.profile == "small":\n    for _ in range(1_000_000):\n        print("x" * 99)'
    )
    outcome = launch([flood, ("run_2/edit_1", DONE)])
    assert outcome.code == 0, outcome.err
    size = sum(path.stat().st_size for path in outcome.folder.rglob("*") if path.is_file())
    assert size < 40_000_000


@pytest.mark.slow
def test_a_run_over_its_time_is_stopped_and_told(launch: Launch) -> None:
    """The limit is out of the script's reach, and the coder hears of it."""
    edit = at_start('if request.profile == "small":\n    time.sleep(600)')
    began = time.monotonic()
    outcome = launch([edit], "--run-timeout=3", "--max-failures=1")
    assert time.monotonic() - began < 60
    assert outcome.code == 1
    assert outcome.attempts()[0]["kind"] == "timed_out"
    assert "3 s" in outcome.attempts()[0]["reason"]


TROUBLES = """
trouble = "crash"
if request.profile == "small":
    import os, signal, subprocess, sys
    hoard = bytearray(600_000_000 if trouble == "memory" else 1)
    if trouble == "crash":
        raise RuntimeError("no good")
    if trouble == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "disk":
        (request.out_dir / "big").write_bytes(bytes(80_000_000))
    while trouble == "output":
        print("x" * 99_999)
    for _ in range(600 if trouble == "processes" else 0):
        subprocess.Popen(["sleep", "60"])
    time.sleep(60)
"""


@pytest.mark.slow
def test_every_way_to_fail_has_its_own_cause_and_words(
    launch: Launch, project: Path, tmp_path: Path
) -> None:
    """Crash, kill, time, memory, disk, output, processes: each is recorded, told and counted."""
    tight = tmp_path / "digits"
    shutil.copytree(project / "templates" / "digits", tight)
    described = (tight / "template.toml").read_text()
    small = "[profiles.small]\nmemory_gb = 0.5\ndisk_gb = 0.05\n"
    (tight / "template.toml").write_text(described.replace("[profiles.small]\n", small))
    causes = ["crash", "killed", "disk", "output", "memory", "processes", "timeout"]
    edits = [at_start(TROUBLES)] + [
        change(f'    trouble = "{before}"', f'    trouble = "{after}"', after)
        for before, after in pairwise(causes)
    ]
    outcome = launch(
        edits, f"--template={tight}", "--run-timeout=15", f"--max-failures={len(causes)}"
    )
    assert outcome.code == 1, outcome.out
    seen = [
        line["result"]["cause"]
        for line in outcome.events()
        if re.fullmatch(r"run_1/execution_\d+", line.get("key", ""))
    ]
    assert seen == causes, outcome.out
    kinds = [attempt["kind"] for attempt in outcome.attempts()]
    assert kinds == ["crashed", "crashed", "limit", "limit", "limit", "limit", "timed_out"]
    reasons = " ".join(attempt["reason"] for attempt in outcome.attempts())
    for words in ("status 1", "killed from outside", "0.05 GB", "printing without end", "0.5 GB"):
        assert words in reasons
    assert "more than 512 processes" in reasons
    assert "no good" in (outcome.folder / "calls.jsonl").read_text()


@pytest.mark.slow
def test_ten_runs_and_the_tenth_is_in_the_notes(launch: Launch, project: Path) -> None:
    """The last run is interpreted like any other, prompts do not grow, facts can be made again."""
    rates = ["0.1", *(f"0.{number:02d}" for number in range(11, 21))]
    edits = [
        (
            f"run_{number}/edit_1",
            change(
                f"    learning_rate: float = {rates[number - 1]}",
                f"    learning_rate: float = {rates[number]}",
                f"rate {rates[number]}",
            ),
        )
        for number in range(1, 11)
    ]
    outcome = launch(edits)
    assert outcome.code == 0, outcome.err
    assert outcome.report["stop"] == "run limit"
    assert outcome.report["valid_runs"] == 10
    capsule = json.loads((outcome.folder / "run_10" / "run.json").read_text())
    assert capsule["cost_usd"] == 0.0  # replayed; null would be a price nobody knows
    section = outcome.notes.split("## Run 10:")[1]
    assert "test_loss" in section
    assert "It is drawn." in section
    kinds = {one.kind for one in audit(outcome.folder)}
    assert kinds == {"config_drift", "not_comparable", "run_not_in_plots"}  # as the replies made it
    template = load_template(project / "templates" / "digits")
    study = read_study(outcome.folder, template.metrics)
    for run in study.runs.values():
        assert facts(run, study.runs["run_0"], template.metrics) in outcome.notes
    sizes = {}
    for line in (outcome.folder / "calls.jsonl").read_text().splitlines():
        call = json.loads(line)
        if call["purpose"] == "edit":
            sizes[call["step"]] = call["prompt_tokens"]
    assert sizes["run_10/edit_1"] < 1.1 * sizes["run_2/edit_1"] + 100


@pytest.mark.parametrize(
    "faults",
    [
        [{"status": 429, "headers": {"Retry-After": "0"}}, {"status": 500}],
        [{"status": 503, "headers": {"Retry-After": "0"}}, {"drop": True}],
    ],
)
def test_passing_faults_of_the_server_are_survived(
    launch: Launch, faults: list[dict[str, Any]]
) -> None:
    """429, 5xx and a dropped connection are tried again, and recorded."""
    good = change(RATE, "    learning_rate: float = 0.2")
    lines = [("run_1/edit_1", {**fault, "call": 1, "reply": ""}) for fault in faults]
    edits = [*lines, ("run_1/edit_1", {"reply": good, "call": 1}), ("run_2/edit_1", DONE)]
    outcome = launch(edits)
    assert outcome.code == 0, outcome.err
    calls = [json.loads(line) for line in (outcome.folder / "calls.jsonl").read_text().splitlines()]
    tries = [call["outcome"] for call in calls if call["step"] == "run_1/edit_1"]
    assert len(tries) == 3
    assert tries[-1] == "ok"


def test_a_truncated_reply_is_never_applied(launch: Launch) -> None:
    """A reply that was cut off is asked again, whatever blocks it holds."""
    cut = {"reply": change(RATE, "    learning_rate: float = 0.3"), "finish_reason": "length"}
    good = change(RATE, "    learning_rate: float = 0.2")
    outcome = launch([("run_1/edit_1", cut), ("run_1/edit_1", good), ("run_2/edit_1", DONE)])
    assert outcome.code == 0, outcome.err
    assert "learning_rate: float = 0.2" in (outcome.folder / "experiment.py").read_text()


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        (["--idea=label_smothing"], "no idea `label_smothing`", "label_smoothing_digits"),
        (["--idea=broken.json"], "line 1, column 2", ""),
        (["--idea=label_smoothing_digits", "--template=digit"], "no template `digit`", "digits"),
        (["--idea=label_smoothing_digits", "--model=gtp-4"], "gtp-4", ""),
        (["--idea=label_smoothing_digits", "--model=openai/gpt-4o"], "no API key", "recorded"),
        (
            ["--idea=label_smoothing_digits", "--model=m", "--base-url=http://127.0.0.1:9/v1"],
            "127.0.0.1:9",
            "",
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
    project: Path, tmp_path: Path, options: list[str], error: str, hint: str
) -> None:
    """Exit 2 with `error:` and `hint:`, no traceback, and nothing begun."""
    (tmp_path / "broken.json").write_text("{")
    done = subprocess.run(
        [sys.executable, str(project / "launch_scientist.py"), *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert [line.split(":")[0] for line in lines] == ["error", "hint"], done.stderr
    assert error in lines[0]
    assert hint in lines[1]
    unreachable = any(option.startswith("--base-url") for option in options)  # may come up again
    assert (tmp_path / "runs").exists() == unreachable


def test_a_persons_rejection_is_the_coders_next_instruction(launch: Launch, project: Path) -> None:
    """With --approve the launcher waits (3); a rejection reaches the coder, and is kept."""
    first = change(RATE, "    learning_rate: float = 0.2", "too high")
    second = change(RATE, "    learning_rate: float = 0.15", "as the person asked")
    edits = [first, second, ("run_2/edit_1", DONE)]
    outcome = launch(edits, "--approve=edits", "--max-runs=1")
    assert outcome.code == 3, outcome.err

    def go_on(step: str, *words: str) -> int:
        door = [sys.executable, "-m", "ai_scientist", "decide", str(outcome.folder), step, *words]
        subprocess.run(door, cwd=project, check=True, capture_output=True)
        resume = [sys.executable, "launch_scientist.py", f"--resume={outcome.folder}"]
        return subprocess.run(resume, cwd=project, capture_output=True, check=False).returncode

    assert go_on("run_1/edit_1", "reject", "--comment=Try 0.15 first.") == 3
    assert go_on("run_1/edit_2", "approve") == 0
    source = (outcome.folder / "experiment.py").read_text()
    assert "learning_rate: float = 0.15" in source
    assert outcome.attempts()[0]["kind"] == "rejected"
    assert "Try 0.15 first." in (outcome.folder / "calls.jsonl").read_text()
    decided = [line for line in outcome.events() if line.get("key") == "run_1/edit_1/decision"]
    assert decided[0]["result"]["comment"] == "Try 0.15 first."
    assert decided[0]["result"]["user"]


def resume(outcome: Outcome, project: Path) -> Outcome:
    """Go on with a run folder to its end and return what came of it."""
    resumed = subprocess.run(
        [sys.executable, "launch_scientist.py", f"--resume={outcome.folder}"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert resumed.returncode == 0, resumed.stderr
    return Outcome(0, "", "", outcome.folder)


def test_a_kill_between_two_effects_costs_nothing(launch: Launch, project: Path) -> None:
    """Cut after any journal line, a folder resumes to the same end without paying a reply again."""
    edits = [change(RATE, "    learning_rate: float = 0.2"), ("run_2/edit_1", DONE)]
    outcome = launch(edits)
    assert outcome.code == 0, outcome.err
    events = (outcome.folder / "events.jsonl").read_text().splitlines(keepends=True)
    replies = [n for n, line in enumerate(events) if '"reply"' in line]
    middle = replies[len(replies) // 2] + 1
    (outcome.folder / "events.jsonl").write_text("".join(events[:middle]))
    after = resume(outcome, project)
    assert after.report["valid_runs"] == 1
    clean = re.compile(r"(Commit \w+|[\d.]+ s;|seconds = \S+.*)")
    assert clean.sub("", after.notes) == clean.sub("", outcome.notes)


def test_hypotheses_changed_after_they_were_fixed_are_told(launch: Launch, project: Path) -> None:
    """A resumed idea that states other hypotheses is judged by the fixed ones, and this is said.

    A number whose words leave open what it is stands in report.json as well.
    """
    told = "Before the last epoch of run_1 the test_loss was 0.4321.\n\nALL_COMPLETED"
    outcome = launch([change(RATE, "    learning_rate: float = 0.2"), ("run_2/edit_1", told)])
    assert outcome.code == 0, outcome.err
    fixed = [one["hypothesis"] for one in outcome.report["hypotheses"]]
    assert [(one["text"], one["where"].partition(":")[0]) for one in
            outcome.report["open_numbers"]] == [("0.4321", "notes.txt")]  # fmt: skip
    events = (outcome.folder / "events.jsonl").read_text().splitlines(keepends=True)
    (outcome.folder / "events.jsonl").write_text("".join(events[: len(events) // 2]))
    idea = json.loads((outcome.folder / "idea.json").read_text())
    idea["Hypotheses"] = [idea["Hypotheses"][0] | {"direction": "decrease"}]
    (outcome.folder / "idea.json").write_text(json.dumps(idea))
    after = resume(outcome, project).report
    assert [one["hypothesis"] for one in after["hypotheses"]] == fixed
    assert after["deviations"][0] == (
        "The idea states other hypotheses now than were fixed before the first edit; the fixed "
        "ones are judged."
    )


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
    recording = tmp_path / "mechanism.jsonl"
    edits = [with_factor, ("run_2/edit_1", without), ("run_3/edit_1", DONE)]
    recording.write_text("".join(json.dumps(line) + "\n" for line in [*lines_of(edits), *lines]))
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


HOSTILE_PLOT = """
    Path("plot.py").unlink()
    os.mkfifo("plot.py")
    os.mkfifo("watched.json")
    picture = Path("test_metrics.png").read_bytes()
    for name in (":!x", "n" * 240, "line\\nbreak"):
        Path(f"{name}.png").write_bytes(picture)
    Path("linked.png").symlink_to("test_metrics.png")
    os._exit(0)"""


def test_a_hostile_plot_harms_nothing(launch: Launch) -> None:
    """A plot.py that replaces itself and its notes by pipes, and gives its pictures odd names."""
    good = change(RATE, "    learning_rate: float = 0.2")
    last = "    draw_training(found)"
    hostile = block(last, last + HOSTILE_PLOT) + block("import json", "import json\nimport os")
    plots = [("plot/edit_1", hostile.replace("experiment.py", "plot.py"))]
    outcome = launch([good, ("run_2/edit_1", DONE), *plots])
    assert outcome.code == 0, outcome.err
    assert outcome.report["plots"]["failures"] == []
    assert outcome.report["plots"]["pictures"] == [
        ":!x.png",
        "test_metrics.png",
        "training_loss.png",
    ]
    tracked = subprocess.run(
        ["git", "-C", str(outcome.folder), "ls-files"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert ":!x.png" in tracked
    assert not {"events.jsonl", "calls.jsonl"} & set(tracked)


def test_a_dry_run_leaves_nothing(launch: Launch) -> None:
    """--dry-run checks everything, estimates, and makes no run folder."""
    outcome = launch([], "--dry-run")
    assert outcome.code == 0, outcome.err
    assert "estimate for 10 runs" in outcome.out
    assert not outcome.folder.exists()


@pytest.mark.slow
def test_noise_is_measured_and_the_winner_meets_its_placebo(launch: Launch, tmp_path: Path) -> None:
    """Seeds, control arms and fresh seeds are run by us, and decide the hypotheses of the model."""
    idea = {
        "Name": "decay",
        "Title": "Weight decay",
        "Experiment": "Add weight decay.",
        "Template": "digits",
        "Varies": ["weight_decay"],
        "Controls": [
            {"name": "no_decay", "set": {"weight_decay": 0.0}},
            {"name": "wrong_key", "set": {"no_such_key": 1}},
        ],
    }
    path = tmp_path / "decay.json"
    path.write_text(json.dumps(idea))
    edit = change("    weight_decay: float = 0.0", "    weight_decay: float = 0.003", "decay")
    proposed = (
        '```json\n[{"metric": "test_loss", "direction": "decrease", "min_effect": 0.001}]\n```'
    )
    lines = lines_of([edit, ("run_2/edit_1", DONE)])
    lines.append({"purpose": "hypotheses", "step": "hypotheses/try_1", "reply": "None."})
    lines.append({"purpose": "hypotheses", "step": "hypotheses/try_2", "reply": proposed})
    recording = tmp_path / "decay.jsonl"
    recording.write_text("".join(json.dumps(line) + "\n" for line in lines))
    seeds = ("--baseline-seeds=2", "--seeds-per-run=2", "--confirm-best=2")
    outcome = launch([], f"--idea={path}", f"--model=recorded:{recording}", *seeds)
    assert outcome.code == 0, outcome.err
    study = read_study(outcome.folder)
    assert [len(values) for values in study.runs["run_1"].results.seeds.values()] == [10] * 4
    assert list(study.runs["run_1"].arms) == ["no_decay"]
    base = study.runs["run_0"].results.metrics["digits/test_loss"]
    assert study.runs["run_1"].arms["no_decay"].metrics["digits/test_loss"] == pytest.approx(base)
    kinds = {attempt["step"]: attempt["kind"] for attempt in outcome.attempts()}
    assert kinds["run_1/arm_wrong_key/seed_0"] == "crashed"
    told = summarize(outcome.folder)
    (outcome.folder / "report.json").rename(outcome.folder / "kept.json")
    assert told.crashed == summarize(outcome.folder).crashed == [*kinds.values()].count("crashed")
    (outcome.folder / "kept.json").rename(outcome.folder / "report.json")
    assert (outcome.folder / "run_1" / "confirmation" / "seed_1001" / "stdout.log").is_file()
    hypothesis = outcome.report["hypotheses"][0]
    assert hypothesis["hypothesis"]["proposed_by"] == "model"
    assert "wrong_key" in hypothesis["reason"]
    assert outcome.report["deviations"] == [
        "The control arm wrong_key was declared and has no result."
    ]
    # Seeds of the run, of each arm up to its failure, and the same once more with fresh seeds.
    assert outcome.report["executions"] == 2 + (2 + 1) + 2 + (2 + 1)
    stored = json.loads((outcome.folder / "hypotheses.json").read_text())
    assert len(stored["sha256"]) == 64


def test_trained_models_stay_where_they_are_asked_for(launch: Launch, project: Path) -> None:
    """With --keep best the finalist's are kept, another run's go, and resuming changes nothing."""
    leaves = (
        'kept = request.out_dir / "sae" / "seed_0"\n'
        "kept.mkdir(parents=True)\n"
        '(kept / "weights").write_text("w" * 100)'
    )
    weaker = change("    learning_rate: float = 0.07", "    learning_rate: float = 0.001")
    edits = [at_start(leaves), ("run_2/edit_1", weaker), ("run_3/edit_1", DONE)]
    outcome = launch(edits)
    assert outcome.code == 0, outcome.err
    wanted = {
        "keep": "best",
        "kept": ["run_1/sae"],
        "removed": ["run_2/sae"],
        "freed_bytes": 100,
    }
    assert outcome.report["trained"] == wanted
    assert (outcome.folder / "run_1" / "sae" / "seed_0" / "weights").is_file()
    assert not (outcome.folder / "run_2" / "sae").exists()
    journal = outcome.folder / "events.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if '"keep"' in line)
    journal.write_text("".join(lines[:place]))
    resume = [sys.executable, "launch_scientist.py", f"--resume={outcome.folder}"]
    assert subprocess.run(resume, cwd=project, capture_output=True, check=False).returncode == 0
    assert outcome.report["trained"] == wanted | {"removed": [], "freed_bytes": 0}
    assert (outcome.folder / "run_1" / "sae" / "seed_0" / "weights").is_file()
