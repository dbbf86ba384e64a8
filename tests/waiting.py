"""Waits for what a test needs to see: a condition, never a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 120.0
"""More than any of it takes on a machine that does ten things at once."""


def wait_until(true: Callable[[], object], *, what: str, seconds: float = PATIENCE_S) -> None:
    """Wait for a condition, and fail with its name."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.02)
