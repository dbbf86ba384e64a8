"""Run a script as `python SCRIPT ARGUMENT …` does, and record which of its lines ran.

    python -c THIS_FILE RECORD SCRIPT [ARGUMENT …]

It runs inside the experiment's process, in whatever environment that has, so it needs nothing but
the standard library. RECORD gets one byte per line of SCRIPT, as that line runs: what a killed
process did is there, too, and forked children write into the same pages. Other files' frames are
left alone. After BUDGET lines recording ends, for it costs time; the record then says that it is
not whole.
"""

# The experiment waits for this, so pathlib is not imported.
# ruff: noqa: PTH100, PTH120, PTH123

from __future__ import annotations

import builtins
import mmap
import os
import sys
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any

BUDGET = 10_000_000
"""Lines that are recorded, each as often as it runs: a few seconds."""
WHOLE, CUT = 1, 2
"""First byte of a record."""


def main() -> None:
    """Run the script named on the command line."""
    record, script = sys.argv[1:3]
    sys.argv = sys.argv[2:]
    path = os.path.abspath(script)
    sys.path[0] = os.path.dirname(path)
    with open(path, "rb") as file:
        source = file.read()
    module = types.ModuleType("__main__")
    module.__file__ = path
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    code = compile(source, path, "exec", dont_inherit=True)
    trace = tracer(path, new_record(record, source.count(b"\n") + 1))
    builtins.__import__ = untraced(builtins.__import__)
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        exec(code, module.__dict__)
    finally:
        sys.settrace(None)


def untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` without tracing inside: importing torch would take half as long again."""

    def call(*arguments: Any, **named: Any) -> Any:
        trace = sys.gettrace()
        sys.settrace(None)
        try:
            return function(*arguments, **named)
        finally:
            sys.settrace(trace)

    return call


def new_record(path: str, lines: int) -> mmap.mmap:
    """Make the file of a record, with nothing recorded, and map it."""
    with open(path, "w+b") as file:
        file.write(bytes([WHOLE]) + bytes(lines))
        file.flush()
        return mmap.mmap(file.fileno(), 0)


def tracer(path: str, ran: mmap.mmap) -> Callable[..., Any]:
    """Return the function for sys.settrace that records the lines of the file at `path`."""
    left = BUDGET
    size = len(ran)

    def step(frame: types.FrameType, event: str, _argument: object) -> Callable[..., Any]:
        nonlocal left
        if event == "line":
            line = frame.f_lineno
            if line is not None and line < size:
                ran[line] = 1
            left -= 1
            if left < 0:
                ran[0] = CUT
                frame.f_trace_lines = False
        return step

    def enter(frame: types.FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
        return step if frame.f_code.co_filename == path and left >= 0 else None

    return enter


def lines_of(record: bytes) -> Sequence[int] | None:
    """Return the lines that a record names; None when it is not whole, so that nobody knows."""
    if record[:1] != bytes([WHOLE]):
        return None
    return [line for line, ran in enumerate(record) if ran and line]


if __name__ == "__main__":
    main()
