"""Hostile experiments that use too much or will not end: `python bombs.py NAME TOKEN SECONDS`.

Each is bounded in count and time, so that it stays harmless where a limit fails. Processes that
are started anew carry TOKEN on their command line.
"""

# As blunt as a model's code: pathlib is left to those who ask before they act.
# ruff: noqa: PTH102, PTH123, PTH208

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TOKEN = sys.argv[2]
LONG_S = int(sys.argv[3])


def detach(environment: dict[str, str] | None = None) -> None:
    """Leave a sleeping process behind: own session, double fork, closed files."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            code = f"import time; time.sleep({LONG_S}) # {TOKEN}"
            os.closerange(0, 64)
            arguments = [sys.executable, "-c", code, TOKEN]
            os.execve(
                sys.executable, arguments, dict(os.environ if environment is None else environment)
            )
        os._exit(0)
    os.wait()


def fork_bomb() -> None:
    """Fork until refused, at most 600 times; the children stay."""
    end = time.monotonic() + LONG_S
    for _ in range(600):
        if os.fork() == 0:
            time.sleep(max(0.0, end - time.monotonic()))
            os._exit(0)
    time.sleep(LONG_S)


def memory_hog() -> None:
    """Take 2 GB in steps and keep them."""
    kept = []
    for _ in range(200):
        kept.append(b"x" * 10_000_000)
        time.sleep(0.002)
    time.sleep(LONG_S)


def shared_hog() -> None:
    """Take memory in children, none of which is large."""
    for _ in range(20):
        if os.fork() == 0:
            kept = os.urandom(1) * 40_000_000
            time.sleep(LONG_S)
            os._exit(len(kept) % 2)
    time.sleep(LONG_S)


def big_file() -> None:
    """Write one file of 3 GB."""
    with open("run_1/big", "wb", buffering=0) as file:
        for _ in range(3000):
            file.write(b"x" * 1_000_000)


def many_files() -> None:
    """Write 3,000 files of 1 MB."""
    for number in range(3000):
        Path(f"run_1/{number}").write_bytes(b"x" * 1_000_000)


def nameless_file() -> None:
    """Write into a file that no folder lists any more."""
    with open("run_1/gone", "wb", buffering=0) as file:
        Path("run_1/gone").unlink()
        for _ in range(400):
            file.write(b"x" * 1_000_000)
            time.sleep(0.02)
        time.sleep(LONG_S)


def deep_folders() -> None:
    """Hide 400 MB below folders whose path is longer than any call takes."""
    os.chdir("run_1")
    for _ in range(300):
        os.mkdir("d" * 50)
        os.chdir("d" * 50)
    for number in range(400):
        Path(str(number)).write_bytes(b"x" * 1_000_000)
    time.sleep(LONG_S)


def output_flood() -> None:
    """Print without end."""
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        os.write(1, b"flood " * 10_000)


def daemon() -> None:
    """Leave a daemon and end well."""
    detach()


def nameless_daemon() -> None:
    """Leave a daemon that does not carry the run's mark."""
    detach({})


def deaf() -> None:
    """Ignore every signal that can be ignored, in two generations."""
    for number in range(1, 65):
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    os.fork()
    time.sleep(LONG_S)


def relaunch() -> None:
    """Start itself again, out of sight, and end with an error."""
    subprocess.Popen(
        [sys.executable, *sys.argv[:1], "daemon", *sys.argv[2:]], start_new_session=True
    )
    detach()
    sys.exit(3)


def kill_the_watchers() -> None:
    """Kill every process it can find above it, leaving a daemon."""
    detach({})
    parent = os.getppid()
    for _ in range(4):
        if parent <= 1:
            break
        line = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{parent}/cmdline").read_bytes()
        if b"supervisor" in command:
            for name in (str(parent), *os.listdir(f"/proc/{parent}/task")):
                with contextlib.suppress(OSError):
                    os.kill(int(name), signal.SIGKILL)
        parent = int(line[1])
    time.sleep(LONG_S)


if __name__ == "__main__":
    {name: what for name, what in list(globals().items()) if callable(what)}[sys.argv[1]]()
