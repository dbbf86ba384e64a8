"""A few lines of code as a run, in each tier of confinement that works here."""

from __future__ import annotations

import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from ai_scientist.records import RunLimits, RunRequest
from ai_scientist.sandbox.choice import available_tiers

TIERS = available_tiers(Path(tempfile.gettempdir()))
BY_TIER = pytest.mark.parametrize("sandbox", TIERS, ids=lambda sandbox: sandbox.tier)
FREE = TIERS[-1]
"""The tier with the fewest fences: the executor may not lean on any."""


def request_for(staging: Path, code: str, *arguments: str, output_mb: float = 16.0) -> RunRequest:
    """A request that runs a few lines."""
    source = staging / "source"
    source.mkdir(parents=True, exist_ok=True)
    (source / "experiment.py").write_text(textwrap.dedent(code))
    return RunRequest(
        key="run_1/execution_1",
        staging=staging,
        out_name="run_1",
        command=(sys.executable, "experiment.py", *arguments),
        environment={},
        readable=(),
        limits=RunLimits(timeout_s=600, memory_gb=1, disk_gb=1, output_mb=output_mb),
    )
