"""Try, from inside a tier, what an experiment must not be able to do; print what worked.

Run by path with the standard library only: `python -I -S probe.py JSON`. Prints one JSON object:
`{"writes": true, "leaks": ["file", …]}`. Everything it aims at was planted by `choice.py`.
"""

# Start-up counts, so pathlib is not imported.
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping


def read(path: str) -> bytes:
    """Return a file's content."""
    with open(path, "rb") as file:
        return file.read()


def write(path: str) -> bool:
    """Create a file; whether it arrived is for the host to say."""
    with open(path, "w") as file:
        file.write("x")
    return True


def environ_of_others(secret: bytes) -> bool:
    """Look for the planted secret in the environment of every process that is listed."""
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and secret in read(f"/proc/{name}/environ"):
                return True
    return False


def connect(family: int, kind: int, address: object) -> bool:
    """Reach a socket of the host."""
    with socket.socket(family, kind) as client:
        client.settimeout(1)
        client.connect(address)  # type: ignore[arg-type]
        client.send(b"x")
    return True


def main() -> None:
    """Make each attempt, and report."""
    aims = json.loads(sys.argv[1])
    secret = aims["secret"].encode()
    attempts: Mapping[str, Callable[[], bool]] = {
        "file": lambda: secret in read(aims["file"]),
        "environment": lambda: secret.decode() in str(dict(os.environ)),
        "proc": lambda: environ_of_others(secret),
        "tcp": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", aims["port"])),
        "unix socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, aims["socket"]),
    }
    leaks = []
    for name, attempt in attempts.items():
        with contextlib.suppress(Exception):
            if attempt():
                leaks.append(name)
    for path in (aims["outside"], "planted.txt"):
        with contextlib.suppress(OSError):
            write(path)
    writes = write(aims["inside"]) and write(f"{os.environ['TMPDIR']}/probe")
    print(json.dumps({"writes": writes, "leaks": leaks}))


if __name__ == "__main__":
    main()
