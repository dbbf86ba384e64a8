"""Long runs show what they print, and a run's words cannot harm the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from ai_scientist.execution.local import LocalExecutor
from ai_scientist.execution.watching import WatchedExecutor, last_line
from ai_scientist.records import ExitCause, RunLimits, RunRequest
from ai_scientist.sandbox.tiers import LimitsOnly
from tests.waiting import PATIENCE_S

SCRIPT = """
import os, time
number = 0
while not os.path.exists("enough"):
    number += 1
    print(f"step {number}, \\x1b[31mred\\x1b[0m", flush=True)
    time.sleep(0.05)
"""


def test_a_long_run_shows_its_last_line(tmp_path: Path) -> None:
    """What is printed while a run lasts is repeated under its key, without control characters."""
    source = tmp_path / "staging" / "source"
    source.mkdir(parents=True)
    (source / "script.py").write_text(SCRIPT)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        (source / "enough").touch()

    executor = WatchedExecutor(LocalExecutor(LimitsOnly()), tell, every_s=0.2)
    execution = executor.run(
        RunRequest(
            key="run_1/execution_1",
            staging=tmp_path / "staging",
            out_name="out",
            command=(sys.executable, "script.py"),
            environment={},
            readable=(),
            limits=RunLimits(timeout_s=PATIENCE_S),
        )
    )
    assert execution.cause is ExitCause.EXIT
    assert all(line.startswith("run_1/execution_1: step ") for line in told)
    assert not any("\x1b" in line for line in told)


def test_a_log_that_is_missing_or_odd_says_nothing(tmp_path: Path) -> None:
    """No log, an empty one and one of bytes that are no text give an empty or a clean line."""
    assert last_line(tmp_path / "none.log") == ""
    log = tmp_path / "stdout.log"
    log.write_bytes(b"\n\n")
    assert last_line(log) == ""
    log.write_bytes(b"good\n\xff\xfe\x00\n" + b"x" * 10_000 + b"\n \n")
    assert last_line(log) == "x" * 160
