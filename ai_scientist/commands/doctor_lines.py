"""What one look of the doctor is: where it looks, what it found, and how that is printed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ai_scientist.inputs.settings import Keys, Places


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one look found."""

    name: str
    state: Literal["ok", "missing", "absent"]
    """`missing` keeps the main job from running; `absent` is an extra that is not there."""
    detail: str
    remedy: str = ""

    def text(self) -> str:
        """Return it as it is printed."""
        mark = {"ok": "ok", "missing": "MISSING", "absent": "-"}[self.state]
        fix = "".join(f"\n{'':30}{line}" for line in self.remedy.splitlines())
        return f"{mark:<8}{self.name:<22}{self.detail}{fix}"


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What is looked at, and with what."""

    places: Places
    keys: Keys
    variables: Mapping[str, str]
    """The process's environment: where Hugging Face keeps its files, and what Slurm needs."""
    call: bool
    base_url: str | None


def first_line(
    command: list[str], *, environment: Mapping[str, str] | None = None, timeout_s: float = 20
) -> str | None:
    """Return the first line a program prints; None when it is not there or fails."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=dict(environment) if environment is not None else None,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None
