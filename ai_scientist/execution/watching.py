"""Long work shows itself: an executor that repeats, now and then, what a run last printed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ai_scientist.protocols import Executor
from ai_scientist.records import Execution, RunRequest

EVERY_S = 15.0
LONGEST_LINE = 160
TAIL_BYTES = 4096


class WatchedExecutor:
    """Implements protocols.Executor around another; runs shorter than `every_s` stay silent."""

    def __init__(
        self, executor: Executor, report: Callable[[str], None], *, every_s: float = EVERY_S
    ) -> None:
        self._executor = executor
        self._report = report
        self._every_s = every_s

    def run(self, request: RunRequest) -> Execution:
        """Run `request`, reporting its last line of output from time to time."""
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(request, ended), daemon=True)
        watcher.start()
        try:
            return self._executor.run(request)
        finally:
            ended.set()
            watcher.join()

    def _watch(self, request: RunRequest, ended: threading.Event) -> None:
        told = ""
        while not ended.wait(self._every_s):
            line = last_line(request.staging / "stdout.log")
            if line and line != told:
                self._report(f"{request.key}: {line}")
                told = line


def last_line(log: Path) -> str:
    """Return the last line that is not empty, without control characters; empty without a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    shown = ["".join(sign for sign in line if sign.isprintable()).strip() for line in lines]
    return next((line[-LONGEST_LINE:] for line in reversed(shown) if line), "")
