"""Makes run folders on disk as the program leaves them, for the review's tests and benchmark.

Everything is written through the program's own writers where there is one, so that a change of
format reaches the pages under test.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import httpx

from ai_scientist.judging.changes import unified_diff
from ai_scientist.records import Attempt, AttemptKind, Check, Hypothesis, Json, Results, Run, Scalar
from ai_scientist.run_folder.study import attempt_to_json, run_to_json
from tests.png import png
from tests.review_contents import (
    TOML,
    final_info,
    idea_content,
    latent_report,
    report_content,
    sae_info,
    source,
)
from tests.waiting import PATIENCE_S

STAMP = "20261120T201500Z"
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>[x](javascript:alert(3))"
LOG_LINE = "needle in a very long log"


def make_idea(
    runs_dir: Path,
    *,
    name: str = "label_smoothing_digits",
    title: str = "Label smoothing for a small network that overfits few digits",
    stamp: str = STAMP,
    runs: int = 3,
    git: bool = True,
    log_lines: int = 60,
    finished: bool = True,
) -> Path:
    """Write an idea with a baseline, `runs` runs and three attempts; return its folder."""
    folder = runs_dir / f"{stamp}_{name}"
    for part in ("attempts", "inbox", "latex"):
        (folder / part).mkdir(parents=True)
    write(folder / "idea.json", idea_content(name, title))
    write(folder / "settings.json", {"template": "digits", "model": "recorded", "approve": "edits"})
    (folder / "template.toml").write_text(TOML)
    (folder / "prompt.json").write_text('{"system": "You are careful.", "task_description": "x"}')
    (folder / "plot.py").write_text("print('plots')\n")
    hypotheses = [asdict(Hypothesis(metric="test_accuracy", direction="increase"))]
    write(folder / "hypotheses.json", {"sha256": "0" * 64, "hypotheses": hypotheses})
    events: list[Json] = [{"key": "plan/call_1", "result": {}}]
    commits = start_history(folder) if git else []
    for number in range(runs + 1):
        add_run(folder, number, events, commits, git=git, log_lines=log_lines)
    add_attempts(folder, events)
    add_notes(folder, runs)
    add_paper(folder)
    add_calls(folder, runs)
    (folder / "experiment.py").write_text(source(runs))
    (folder / "test_accuracy.png").write_bytes(png(900, 500))
    (folder / f"{name}.pdf").write_bytes(b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n")
    write_lines(
        folder / "events.jsonl", [{"time": "2026-11-20T20:16:00+00:00", **one} for one in events]
    )
    if finished:
        write(folder / "report.json", report_content(name, runs))
    return folder


def add_run(
    folder: Path, number: int, events: list[Json], commits: list[str], *, git: bool, log_lines: int
) -> None:
    """Write one run's folder, capsule, code and commit."""
    name = f"run_{number}"
    place = folder / name
    place.mkdir()
    info = final_info(number)
    write(place / "final_info.json", info)
    (folder / f"{name}.py").write_text(source(number))
    (folder / "experiment.py").write_text(source(number))
    lines = [f"epoch {line}: loss {1 / (line + 1):.6f}" for line in range(log_lines)]
    mean = info["digits"]["means"]["test_accuracy"]
    (place / "stdout.log").write_text("\n".join([*lines, f"test_accuracy {mean:.6f}", "done", ""]))
    (place / "stderr.log").write_text("")
    curve = [{"epoch": e, "train_loss": 1 / (e + 1 + number), "seed": 0} for e in range(40)]
    write_lines(place / "metrics.jsonl", curve)
    commit = commit_all(folder, f"{name}: smoothing") if git else ""
    commits.append(commit)
    moved: dict[str, tuple[Scalar, Scalar]] = {"smoothing": (None, number / 50)}
    hidden = 64 + 8 * (number % 3)
    moved |= {"hidden": (64, hidden)} if hidden != 64 else {}
    run = Run(
        name=name,
        title="Baseline" if not number else f"Smoothing of {number / 50}",
        results=Results(metrics={}),
        commit=commit,
        command=("python", "experiment.py", f"--out_dir={name}"),
        profile="small",
        seeds=(0, 1, 2, 3, 4),
        config_diff_baseline=moved if number else {},
        config_diff_previous=moved if number else {},
        confounded=("hidden",) if number and hidden != 64 else (),
        checks=(
            Check(gate="meaningful", verdict="passed"),
            Check(gate="comparable", verdict="finding", detail="hidden moved too"),
        )
        if number and hidden != 64
        else (Check(gate="meaningful", verdict="passed"),),
        versions={"numpy": "2.1.0"},
        hardware={"cpus": 2},
        sandbox_tier="bubblewrap",
        started_at="2026-11-20T20:16:00+00:00",
        seconds=0.8 + number / 10,
        step=f"{name}/edit_1" if number else "",
    )
    write(place / "run.json", run_to_json(run))
    events += [
        {"key": f"{name}/execution_{number + 1}", "result": {"cause": "exit"}},
        {"key": f"{name}/record", "result": {"commit": commit}},
    ]


def add_attempts(folder: Path, events: list[Json]) -> None:
    """Write a refused edit, one that did not apply, and a crash."""
    diff = unified_diff(source(1), source(2).replace("config.smoothing / 10", "0"), "experiment.py")
    kept = [
        Attempt(
            step="run_2/edit_1",
            run="run_2",
            kind=AttemptKind.REFUSED,
            gate="has an effect",
            reason="All metrics are bit-identical with and without this edit: the default is "
            "overridden at the call site.",
            diff=diff,
        ),
        Attempt(
            step="run_2/edit_2",
            run="run_2",
            kind=AttemptKind.NOT_APPLIED,
            reason="The SEARCH block does not match any lines of experiment.py.",
        ),
        Attempt(
            step="run_3/execution_3",
            run="run_3",
            kind=AttemptKind.CRASHED,
            reason="it ended with status 1",
            diff=diff,
            log='Traceback (most recent call last):\n  File "experiment.py", line 9\nNameError: x',
            seconds=0.4,
        ),
    ]
    for attempt in kept:
        name = attempt.step.replace("/", ".")
        write(folder / "attempts" / f"{name}.json", attempt_to_json(attempt))
        events.append({"key": f"{attempt.step}/attempt", "result": {}})


def add_notes(folder: Path, runs: int) -> None:
    """Write notes.txt in its two voices."""
    lines = [
        "# Title: Label smoothing for a small network",
        "# Experiment description: Train on smoothed targets",
        "",
    ]
    for number in range(runs + 1):
        means = final_info(number)["digits"]["means"]
        accuracy, loss = means["test_accuracy"], means["test_loss"]
        lines += [
            f"## Run {number}: {'Baseline' if not number else f'Smoothing of {number / 50}'}",
            f"[facts of run_{number}, by code from run_{number}/run.json]",
            f"digits/test_accuracy = {accuracy:.4f}; 0.3% higher than run_0",
            f"digits/test_loss = {loss:.4f}; 1.2% lower than run_0",
            "[end of facts]",
            "### Interpretation (by the coder)",
            f"Accuracy is **{accuracy:.4f}** here, and the loss {loss:.4f}; see `experiment.py`.",
            "- a point with <b>markup</b> and a [link](https://example.org/)",
            "",
        ]
    (folder / "notes.txt").write_text("\n".join(lines))


def add_paper(folder: Path) -> None:
    """Write a short TeX source with macros and a typed number."""
    (folder / "latex" / "template.tex").write_text(
        "\\documentclass{article}\n\\begin{document}\n\\title{Smoothing}\n\\section{Results}\n"
        "Accuracy reached \\result{run_1}{test_accuracy}, that is \\compare{run_1}{run_0}"
        "{test_accuracy} the baseline.\nRun 2 had an accuracy of 0.9971.\n\\end{document}\n"
    )


def add_calls(folder: Path, runs: int) -> None:
    """Write the model calls."""
    steps = [("plan", "plan"), *[("edit", f"run_{n}/edit_1") for n in range(1, runs + 1)]]
    lines = [
        {
            "model": "recorded",
            "purpose": purpose,
            "step": step,
            "call": 1,
            "try": 1,
            "messages": [
                {"role": "system", "content": "You are careful."},
                {"role": "user", "content": "Here is the code:\n" + source(0)},
            ],
            "reply": "1. Add the key.\n2. Measure a *strong* and a weak smoothing."
            if purpose == "plan"
            else "RUN: smoothing\n\nThe edit follows.",
            "prompt_tokens": 1800,
            "completion_tokens": 240,
            "cost_usd": 0.0123,
            "seconds": 2.5,
            "outcome": "ok",
            "time": "2026-11-20T20:16:00+00:00",
        }
        for purpose, step in steps
    ]
    write_lines(folder / "calls.jsonl", lines)


def make_summary(runs_dir: Path, number: int) -> Path:
    """Write the least a finished folder has, for lists of a thousand."""
    day = 1 + number % 28
    folder = runs_dir / f"202610{day:02}T{number % 24:02}{number % 60:02}00Z_idea_{number:04}"
    folder.mkdir()
    write(folder / "idea.json", idea_content(f"idea_{number:04}", f"The {number}th idea of many"))
    write(folder / "settings.json", {"template": "digits"})
    write(folder / "report.json", report_content(f"idea_{number:04}", 1 + number % 10))
    write_lines(folder / "events.jsonl", [{"key": "plan/call_1", "result": {}}])
    return folder


def make_foreign(runs_dir: Path) -> Path:
    """Write a folder as AI-Scientist v1 leaves it: two runs with equal metrics, a false number."""
    folder = runs_dir / "20240812_101500_adaptive_smoothing"
    (folder / "latex").mkdir(parents=True)
    for number in range(3):
        (folder / f"run_{number}").mkdir()
        write(folder / f"run_{number}" / "final_info.json", final_info(min(number, 1)))
        if number:
            (folder / f"run_{number}.py").write_text(source(number))
    (folder / "experiment.py").write_text(source(2))
    (folder / "plot.py").write_text("labels = {'run_0': 'Baseline', 'run_1': 'First'}\n")
    (folder / "notes.txt").write_text(
        "# Title: Adaptive smoothing\n# Experiment description: smooth\n## Run 0: Baseline\n"
        "Results: {'digits': {'test_accuracy': 0.9152}}\nDescription: Baseline results.\n\n"
        "## Run 1: First try\nAccuracy rose to 0.9871, a clear win over run 0.\n"
    )
    (folder / "latex" / "template.tex").write_text(
        "\\documentclass{article}\n\\begin{document}\n\\section{Results}\n"
        "Our method reaches an accuracy of 0.9871 in run 1.\n\\end{document}\n"
    )
    return folder


def make_sae(runs_dir: Path) -> Path:
    """Write an SAE study: a frontier of three k per arm, a control arm, and a latent report."""
    folder = make_idea(
        runs_dir, name="ratio_ranked_sae", title="Ratio-ranked SAE", stamp="20261119T080000Z"
    )
    for number in range(4):
        place = folder / f"run_{number}"
        write(place / "final_info.json", sae_info(number, 0.0))
        if number:
            (place / "arm_uniform").mkdir()
            write(place / "arm_uniform" / "final_info.json", sae_info(number, 0.012))
        write(place / "latents.json", latent_report())
    return folder


def make_hostile(root: Path) -> Path:
    """Write an idea whose every text tries to run, with a huge log, binary files and links out."""
    folder = make_idea(root, name="hostile", title=EVIL, stamp="20261117T000000Z")
    (folder / "notes.txt").write_text(
        f"# Title: {EVIL}\n## Run 1: {EVIL}\n{EVIL}\n\ue0000\ue001x\ue002\n"
    )
    (folder / "run_1.py").write_text(f'TEXT = """{EVIL}"""\n')
    (folder / "run_1" / "stderr.log").write_text(EVIL + "\n\x1b[31mred\n")
    (folder / "run_2" / "blob.log").write_bytes(b"\0\1\2" * 5000)
    (folder / "latex" / "template.tex").write_text(f"\\section{{{EVIL}}}\n{EVIL}\n")
    name = "<img src=x onerror=alert(4)>.png"
    (folder / name).write_text("no picture")
    (folder / "drawn.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(5)</script></svg>'
    )
    (folder / "outside.dat").symlink_to("/etc/passwd")
    (folder / "run_3" / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    with (folder / "run_1" / "stdout.log").open("w") as file:
        for _ in range(50):
            file.write("x" * 99 + "\n" + ("y" * 99 + "\n") * 10_485)
        file.write(LOG_LINE + "\n")
    return folder


# --- small parts ---------------------------------------------------------------------------------


def write(path: Path, content: Json) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_lines(path: Path, lines: list[Json]) -> None:
    """Write a JSON-lines file."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder."""
    pairs = ("user.name=t", "user.email=t@t", "core.fsync=none", "gc.auto=0")
    settings = [part for pair in pairs for part in ("-c", pair)]
    done = subprocess.run(
        ["git", *settings, "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def start_history(folder: Path) -> list[str]:
    """Make the folder a repository."""
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / ".git" / "info" / "exclude").write_text("events.jsonl\ncalls.jsonl\nattempts/\n")
    return []


def commit_all(folder: Path, message: str) -> str:
    """Commit everything and return the hash."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


# --- a real server -------------------------------------------------------------------------------


SERVE = (
    "import sys; from pathlib import Path; from ai_scientist import review; "
    "review.serve(Path(sys.argv[1]), port=0, token=sys.argv[2] or None)"
)


@contextmanager
def served(runs_dir: Path, token: str = "") -> Iterator[str]:
    """Serve a folder of runs in a process of its own, and yield its address without the token."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(runs_dir), token],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://[^/ ]+", line)
        assert found, f"the review printed {line!r} instead of its address"
        yield found[0]
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


def visit(address: str) -> httpx.Client:
    """Return a client of a server that may take its time."""
    return httpx.Client(base_url=address, timeout=PATIENCE_S)


@contextmanager
def visited(runs_dir: Path, token: str = "") -> Iterator[httpx.Client]:
    """Serve a folder of runs and yield a client of it."""
    with served(runs_dir, token) as address, visit(address) as client:
        yield client
