"""Through the front door: experiments that fail, run wild or mean harm."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from tests.scripted_launches import DONE, RATE, SET_UP, Launch, at_start, block, change


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


BROKEN = {
    '{"digits": {"means"': "JSON",
    '{"digits": {"means": {"test_loss": NaN, "test_accuracy": 1, "train_loss": 1}}}': "test_loss",
    "{}": "no number",
}
WRITE = """
written = {}
if request.profile == "small":
    (request.out_dir / "final_info.json").write_text(written)
    raise SystemExit(0)
"""


def test_a_broken_result_is_no_run(launch: Launch) -> None:
    """Truncated, NaN and empty results are failures told by what is wrong with them."""
    first, *_ = BROKEN
    edits = [at_start(WRITE.format(repr(first)))] + [
        change(f"    written = {before!r}", f"    written = {after!r}")
        for before, after in pairwise(BROKEN)
    ]
    outcome = launch(edits, f"--max-failures={len(BROKEN)}")
    assert outcome.code == 1
    assert [attempt["kind"] for attempt in outcome.attempts()] == ["no_result"] * len(BROKEN)
    for attempt, words in zip(outcome.attempts(), BROKEN.values(), strict=True):
        assert words in attempt["reason"]


HOSTILE = """
import os, shutil, signal, subprocess, sys
if request.profile == "small":
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", "TOKEN"])
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
    token = secrets.token_hex(8)
    outcome = launch([at_start(HOSTILE.replace("TOKEN", token)), ("run_2/edit_1", DONE)])
    assert outcome.code == 0, outcome.err + outcome.out
    assert outcome.report["valid_runs"] == 1
    status = ["git", "-C", str(outcome.folder), "status", "--porcelain"]
    assert subprocess.run(status, capture_output=True, text=True, check=True).stdout == ""
    everything = "".join(
        path.read_text(errors="replace") for path in outcome.folder.rglob("*") if path.is_file()
    )
    assert "sk-secret-of-the-person" not in everything
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert token not in listed.stdout


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


@pytest.mark.slow
def test_a_seed_that_fails_counts_with_those_before_it(launch: Launch) -> None:
    """Each seed is an execution, also of a run that fails; what all of them left is kept."""
    code = "if request.seed == 1:\n    raise ValueError('odd seed')"
    outcome = launch([at_start(code)], "--seeds-per-run=3", "--max-executions=2")
    assert outcome.code == 1
    assert outcome.report["stop"] == "execution limit"
    assert outcome.report["executions"] == 2
    (attempt,) = outcome.attempts()
    assert (attempt["kind"], attempt["executions"]) == ("crashed", 2)
    assert "odd seed" in attempt["reason"]
    kept = outcome.folder / "attempts"
    assert (kept / "run_1.execution_1.seed_0" / "final_info.json").is_file()
    assert "odd seed" in (kept / "run_1.execution_1.seed_1" / "stderr.log").read_text()
    assert not list((outcome.folder / ".staging" / "work").glob("run_1.execution*"))
    baseline = json.loads((outcome.folder / "run_0" / "run.json").read_text())
    assert baseline["exit_cause"] == "exit"


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
        subprocess.Popen(["sleep", "600"])
    time.sleep(600)
"""


@pytest.mark.slow
def test_every_way_to_fail_has_its_own_cause_and_words(
    launch: Launch, project: Path, tmp_path: Path
) -> None:
    """Crash, kill, time, memory, disk, output, processes: each is recorded, told and counted.

    Of output without end the folder keeps head and tail.
    """
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
        edits, f"--template={tight}", "--run-timeout=25", f"--max-failures={len(causes)}"
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
    for words in ("status 1", "killed from outside", "0.05 GB", "printing without end", "0.5 GB",
                  "more than 512 processes", "25 s"):  # fmt: skip
        assert words in reasons
    assert "no good" in (outcome.folder / "calls.jsonl").read_text()
    logs = [path.stat().st_size for path in outcome.folder.rglob("std*.log")]
    assert 16_000_000 < max(logs) < 17_000_000, "of what was printed, head and tail"
