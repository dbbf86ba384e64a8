"""The two doors of the program, each gone through in a process of its own and to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The checkout."""
LONGEST_S = 280.0
"""What a command may take on a busy machine; pytest ends a test at 300 s."""


def launch_scientist(
    *options: object, cwd: Path = PROJECT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `python launch_scientist.py …` with further environment variables."""
    return _run([str(PROJECT / "launch_scientist.py"), *map(str, options)], cwd, "", variables)


def ai_scientist(
    *arguments: object, cwd: Path = PROJECT, answer: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m ai_scientist …` with an answer on standard input, which is no terminal."""
    variables = {"PYTHONPATH": str(PROJECT), **variables}
    return _run(["-m", "ai_scientist", *map(str, arguments)], cwd, answer, variables)


def _run(
    arguments: list[str], cwd: Path, answer: str, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        input=answer,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
    )
