"""Leases: who works on an idea, over processes and hosts, on any shared file system.

    lease.1  lease.2  lease.3      the highest number counts; its content says who holds it

A lease is taken by creating the next number with O_EXCL, which only one can do. It is kept by
touching the file, given back by setting its time to 0, and ends by itself when it is not touched
for `expiry_s`, or at once when its holder is known to be dead (same boot and process namespace).

Covered: kill -9, reboot, clocks that differ between hosts (only the file system's clock is read).
Not covered: a holder that was frozen for longer than `expiry_s` works on until its next `beat`,
which then raises LeaseLost; the run folder's own lock keeps it from writing there meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from ai_scientist.errors import FolderBusy

EXPIRY_S = 90.0


class LeaseLost(FolderBusy):
    """Somebody else has taken the lease, because it was not touched in time."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process, so that another one with the same number is not taken for it."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @property
    def is_near(self) -> bool:
        """Whether we can see it: same boot of the same machine, same process namespace."""
        return (self.boot, self.namespace) == _here()

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have ended; False where that cannot be seen from here."""
        return self.is_near and start_of(self.pid) != self.started


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A lease we hold."""

    path: Path
    number: int

    def beat(self) -> None:
        """Say that we are alive. Raises LeaseLost when somebody took over."""
        successor = self.path.with_name(f"lease.{self.number + 1}")
        with contextlib.suppress(FileNotFoundError), successor.open():
            raise LeaseLost(f"the lease {self.path} was taken over by another process")
        os.utime(self.path)

    def release(self) -> None:
        """Give it back: the next one need not wait."""
        with contextlib.suppress(OSError):
            os.utime(self.path, (0, 0))

    def name_child(self, pid: int) -> None:
        """Write down the process that works for us, so that who takes over can end it first."""
        content = json.dumps({"holder": asdict(this_process()), "child": asdict(process(pid))})
        with contextlib.suppress(OSError):
            self.path.write_text(content)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """What is known of the newest lease of a folder."""

    number: int
    alive: bool
    holder: Process | None
    child: Process | None


def take_lease(folder: Path, *, expiry_s: float = EXPIRY_S) -> Lease | None:
    """Return a lease on `folder`, or None when somebody holds one. Never waits."""
    newest = look_at_lease(folder, expiry_s=expiry_s)
    if newest is not None and newest.alive:
        return None
    number = newest.number + 1 if newest else 1
    path = folder / f"lease.{number}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return None
    try:
        content = json.dumps({"holder": asdict(this_process()), "child": None})
        with contextlib.suppress(OSError):  # on a full disk it is a lease without a name
            os.write(descriptor, content.encode())
    finally:
        os.close(descriptor)
    if max(lease_numbers(folder)) != number:  # the listing we began with was old
        return None
    return Lease(path=path, number=number)


def look_at_lease(folder: Path, *, expiry_s: float = EXPIRY_S) -> Holder | None:
    """Return what the newest lease says, or None when there never was one."""
    numbers = lease_numbers(folder)
    if not numbers:
        return None
    path = folder / f"lease.{max(numbers)}"
    holder: Process | None = None
    child: Process | None = None
    try:
        with path.open(encoding="utf-8") as file:  # opening makes NFS ask the server
            touched = os.fstat(file.fileno()).st_mtime
            content = json.load(file)
        holder = Process(**content["holder"])
        child = Process(**content["child"]) if content["child"] else None
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        pass  # killed between creating and writing: only its time speaks
    alive = touched > 0 and not (holder is not None and holder.is_dead)
    if alive and not (holder is not None and holder.is_near):
        alive = file_system_now(folder) - touched < expiry_s
    return Holder(number=max(numbers), alive=alive, holder=holder, child=child)


def lease_numbers(folder: Path) -> list[int]:
    """Return the numbers of the leases that were ever taken here."""
    names = [path.name for path in folder.iterdir()]
    return [int(name[6:]) for name in names if name.startswith("lease.") and name[6:].isdigit()]


def file_system_now(folder: Path) -> float:
    """Return the time as the file system of `folder` tells it: on NFS, the server's clock."""
    probe = folder / f".clock.{secrets.token_hex(4)}"
    try:
        with probe.open("x") as file:
            now = os.fstat(file.fileno()).st_mtime
        probe.unlink()
    except OSError:  # we may only read here
        return time.time()
    return now


# --- processes -----------------------------------------------------------------------------------


def process(pid: int) -> Process:
    """Describe a process of this host."""
    boot, namespace = _here()
    return Process(
        host=socket.gethostname(), boot=boot, namespace=namespace, pid=pid, started=start_of(pid)
    )


def this_process() -> Process:
    """Describe ourselves."""
    return process(os.getpid())


def start_of(pid: int) -> str:
    """Return when a process began, in clock ticks since boot; empty when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


@cache
def _here() -> tuple[str, str]:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return boot, str(Path("/proc/self/ns/pid").readlink())
