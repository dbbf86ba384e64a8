"""Launches of the complete digits idea, and what two of them must have in common."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.doors import LONGEST_S, PROJECT
from tests.waiting import PATIENCE_S

IDEA = "label_smoothing_digits"
NEW = (f"--idea={IDEA}", "--model=recorded")
# What no two runs have in common: hashes of commits, and times.
PASSING = re.compile(r"(?:Commit )\w+|[\d.]+ s;|^.*seconds = .*$", re.MULTILINE)


@contextmanager
def launcher(*options: str, cache: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start a launcher in a process group of its own, and leave nobody of it behind."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if cache is not None:
        environment["AI_SCIENTIST_CACHE"] = str(cache)
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / "launch_scientist.py"), *options],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill_group(process)
        assert process.stderr is not None
        process.stderr.close()


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a launcher and every process of its group with -9, at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def finish(*options: str, cache: Path | None = None) -> tuple[int, str]:
    """Launch, wait for the end, and return exit code and standard error."""
    with launcher(*options, cache=cache) as process:
        _, errors = process.communicate(timeout=LONGEST_S)
        return process.returncode, errors


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal or of calls.jsonl."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def paid_calls(folder: Path) -> list[tuple[str, int]]:
    """Step and number of each reply that was paid for; every launcher makes a preflight call."""
    calls = [call for call in lines_of(folder / "calls.jsonl") if call["outcome"] == "ok"]
    return sorted((c["step"], c["call"]) for c in calls if c["step"] != "preflight")


def end_state(folder: Path) -> Mapping[str, object]:
    """All that must not depend on where a launcher was killed."""
    report = json.loads((folder / "report.json").read_text())
    journal = lines_of(folder / "events.jsonl")
    kept = ("stop", "hypotheses", "plots", "valid_runs", "paper")
    return {
        "effects": sorted(line["key"] for line in journal if "note" not in line),
        "warnings": [line for line in journal if line.get("note") == "prompt_changed"],
        "paid": paid_calls(folder),
        "notes": PASSING.sub("", (folder / "notes.txt").read_text()),
        "code": (folder / "experiment.py").read_text() + (folder / "plot.py").read_text(),
        "attempts": {
            path.name: json.loads(path.read_text())["reason"]
            for path in (folder / "attempts").glob("*.json")
        },
        "results": {
            path.relative_to(folder).as_posix(): without_times(json.loads(path.read_text()))
            for path in folder.glob("run_*/**/final_info.json")
        },
        "report": {key: without_times(report[key]) for key in kept if key in report},
        "history": git(folder, "log", "--format=%s").splitlines(),
        "unclean": git(folder, "status", "--porcelain"),
        "staging": sorted(path.name for path in (folder / ".staging").glob("*")),
    }


def without_times(content: Any) -> Any:
    """A JSON value without what a clock or a commit says."""
    if isinstance(content, Mapping):
        passing = {"seconds", "time", "commit", "started_at"}
        return {k: without_times(v) for k, v in content.items() if k not in passing}
    if isinstance(content, list):
        return [without_times(value) for value in content]
    return content


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def left_running(folder: Path, patience_s: float = PATIENCE_S) -> Sequence[str]:
    """Command lines of processes that still name the folder, after some time to end by themselves.

    A killed launcher cannot end its experiment: the supervisor does, once it sees its pipe closed.
    """
    end = time.monotonic() + patience_s
    while True:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
                place = (process / "cwd").readlink()
            except OSError:
                continue
            if str(folder).encode() in command or place.is_relative_to(folder):
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.1)
