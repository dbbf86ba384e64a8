"""Makes run folders on disk as the program leaves them, for the review's tests and benchmark.

Everything is written through the program's own writers where there is one, so that a change of
format reaches the pages under test.
"""

from __future__ import annotations

import json
import math
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from ai_scientist.judging.changes import unified_diff
from ai_scientist.records import Attempt, AttemptKind, Check, Hypothesis, Json, Results, Run, Scalar
from ai_scientist.run_folder.study import attempt_to_json, run_to_json

STAMP = "20261120T201500Z"
TOML = """[template]
description = "A toy that measures a loss."
editable = ["experiment.py", "plot.py"]
frozen = []
honours_seed = true
primary_metric = "test_accuracy"

[profiles.small]
description = "seconds"
run_timeout_s = 60

[metrics.test_accuracy]
description = "Share of test images that are right."
required = true
direction = "increase"

[metrics.test_loss]
description = "Plain cross-entropy on the test images."
direction = "decrease"
"""


def source(run: int) -> str:
    """Return an experiment's code that differs a little in each run."""
    smoothing = f"    smoothing: float = {run / 50!r}\n" if run else ""
    use = "targets = targets * (1 - config.smoothing) + config.smoothing / 10\n    " if run else ""
    body = "\n".join(
        f"def layer_{number}(x: float) -> float:\n"
        f'    """Return layer {number} of the network."""\n'
        f"    return x * {number}.5 + {number}\n\n"
        for number in range(40)
    )
    return (
        '"""Train a small network on digits."""\n\nfrom dataclasses import dataclass\n\n\n'
        f"@dataclass\nclass Config:\n    hidden: int = {64 + 8 * (run % 3)}\n{smoothing}"
        f"    epochs: int = 40\n\n\n{body}\n\ndef train(config, images, targets):\n"
        f"    {use}loss = ((images - targets) ** 2).mean()\n    return loss\n"
    )


def final_info(run: int, seeds: int = 5) -> Json:
    """Return a result whose numbers differ from run to run and from seed to seed."""
    accuracy = [
        0.913 + 0.004 * math.sin(run * 1.7) + 0.0011 * k + 0.0003 * run for k in range(seeds)
    ]
    loss = [0.3217 - 0.013 * math.cos(run) + 0.0023 * k for k in range(seeds)]
    values = {"test_accuracy": accuracy, "test_loss": loss}

    def spread(numbers: list[float]) -> float:
        mean = sum(numbers) / len(numbers)
        square = sum((one - mean) ** 2 for one in numbers) / (len(numbers) - 1)
        return math.sqrt(square / len(numbers))

    return {
        "digits": {
            "means": {name: sum(one) / len(one) for name, one in values.items()},
            "stderrs": {name: spread(one) for name, one in values.items()},
            "final_info_dict": values,
            "config": {"hidden": 64 + 8 * (run % 3), "epochs": 40, "smoothing": run / 50},
        }
    }


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


def idea_content(name: str, title: str) -> Json:
    """Return an idea file's content."""
    return {
        "Name": name,
        "Title": title,
        "Experiment": "Train on **smoothed** targets and measure what it costs.",
        "Template": "digits",
        "Varies": ["smoothing"],
        "Hypotheses": [{"metric": "test_accuracy", "direction": "increase", "against": "run_0"}],
    }


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


def report_content(name: str, runs: int) -> Json:
    """Return report.json's content."""
    hypothesis = asdict(Hypothesis(metric="test_accuracy", direction="increase"))
    verdict = {
        "hypothesis": hypothesis,
        "verdict": "confirmed",
        "reason": "0.4% higher in run_1, 5 paired seeds",
        "run": "run_1",
    }
    return {
        "stop": "run limit",
        "idea": name,
        "valid_runs": runs,
        "executions": runs + 1,
        "failed_executions": 1,
        "refused": 2,
        "hypotheses": [verdict],
        "findings": [
            {
                "kind": "unsupported_number",
                "run": "",
                "where": "latex/template.tex:6",
                "detail": "0.9971 is no stored value of run_2's test_accuracy",
            }
        ],
        "best": {
            "run": "run_1",
            "metric": "test_accuracy",
            "text": "0.4% higher",
            "share": 0.004,
            "good": True,
            "noise": "5 paired seeds, SE 0.0002",
        },
        "prompt_tokens": 7200,
        "cost_usd": 0.05,
        "gpu_hours": 0.0,
        "seconds": 61.0,
    }


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


def sae_info(run: int, shift: float) -> Json:
    """Return a frontier: L0, FVU and the target at three k."""
    info: Json = {"config": {"d_sae": 512, "tokens": 1_000_000}}
    for k in (4, 8, 16):
        fvu = 0.2 / k**0.5 + shift + 0.003 * run
        target = 1.9 + 0.05 * run - 0.01 * k - 4 * shift
        info[f"k_{k}"] = {
            "means": {"l0": float(k), "fvu": fvu, "test_accuracy": target},
            "final_info_dict": {
                "l0": [float(k)] * 3,
                "fvu": [fvu - 0.004, fvu, fvu + 0.004],
                "test_accuracy": [target - 0.1, target, target + 0.1],
            },
        }
    return info


def latent_report() -> Json:
    """Return a latent report with histograms, contexts, neighbors and clamping."""
    return {
        "width": 512,
        "histograms": {
            "firing_rate": {"edges": [0.001 * 2**n for n in range(12)], "counts": list(range(11))},
            "ratio": {"before": {"edges": [0, 1, 2, 3], "counts": [9, 4, 1]}},
        },
        "latents": [
            {
                "index": index,
                "firing_rate": 0.01 * index,
                "ratio": 3.5,
                "contexts": [
                    {
                        "tokens": ["the", "reactor", "<script>alert(1)</script>", "melts"],
                        "activations": [0.0, 2.5, 0.4, 1.1],
                    }
                ],
                "neighbors": [{"index": index + 1, "cosine": 0.71}],
            }
            for index in range(1, 9)
        ],
        "clamping": {"hazard": 2.75, "benign": 0.031},
    }


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


def png(width: int, height: int) -> bytes:
    """Return a picture of a slope."""
    rows = b"".join(
        b"\0"
        + bytes(
            255 if y * width > (width - x) * height else (x * 255 // width) for x in range(width)
        )
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


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
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()
