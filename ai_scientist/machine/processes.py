"""The processes below this one and what they use, read from /proc with the standard library only.

Linux only. Everything here holds against a tree that resists: daemons, fork bombs, links and
folders that hide, files without a name. Sizes are bytes.
"""

# Start-up counts, so pathlib is not imported.
# ruff: noqa: PTH116, PTH123, PTH208, SIM117

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from collections.abc import Iterator

MARKER = "AI_SCIENTIST_RUN"
"""Environment variable that every process of a run carries, supervisor included."""
GONE_S = 15.0
MOST_ENTRIES, DEEPEST = 200_000, 64
"""Files and depth below which a folder can be measured; beyond, the disk limit counts as passed."""
PAGE = os.sysconf("SC_PAGE_SIZE")


# --- the process tree ----------------------------------------------------------------------------


class Tree:
    """All descendants of this process, daemons included, because it is a subreaper."""

    def __init__(self) -> None:
        self._foreign: set[int] = set()
        self._since = 0.0
        self.status: dict[int, int] = {}
        """Wait status of every reaped child."""

    def processes(self, *, thorough: bool = False) -> list[int]:
        """Return the pids of living descendants.

        Pids once seen elsewhere are looked at again once a second, or now when `thorough`: sooner
        or later a pid is given out again.
        """
        now = time.monotonic()
        if thorough or now - self._since > 1:
            self._foreign, self._since = set(), now
        present = {int(name) for name in os.listdir("/proc") if name.isdigit()}
        self._foreign &= present
        children: dict[int, list[int]] = {}
        living = set()
        for pid in present - self._foreign:
            with contextlib.suppress(OSError, ValueError):
                line = read(f"/proc/{pid}/stat")
                state, parent = line[line.rindex(b")") + 2 :].split(b" ", 2)[:2]
                children.setdefault(int(parent), []).append(pid)
                if state not in b"ZX":
                    living.add(pid)
        found, todo = [], [os.getpid()]
        while todo:
            below = children.get(todo.pop(), [])
            found += below
            todo += below
        self._foreign |= present - set(found) - {os.getpid()}
        return [pid for pid in found if pid in living]

    def reap(self) -> None:
        """Collect every child that has ended, without waiting."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self.status[pid] = status

    def kill(self) -> list[int]:
        """Kill until nobody is left, also in the GPU's driver; return who could not be killed."""
        deadline = time.monotonic() + GONE_S
        pause = 0.001
        while True:
            alive = self.processes(thorough=True)
            for pid in alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self.reap()
            if not alive or time.monotonic() > deadline:
                return alive
            time.sleep(pause)
            pause = min(2 * pause, 0.02)


def read(path: str) -> bytes:
    """Return the content of a small file of /proc."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


def resident(processes: list[int]) -> int:
    """Sum resident memory; pages that are shared count once for each who shares them."""
    total = 0
    for pid in processes:
        with contextlib.suppress(OSError, IndexError):
            total += int(read(f"/proc/{pid}/statm").split()[1]) * PAGE
    return total


def proportional(processes: list[int]) -> int:
    """Sum memory with shared pages counted once; slower, so only asked before killing."""
    total = 0
    for pid in processes:
        try:
            rollup = read(f"/proc/{pid}/smaps_rollup")
            total += int(rollup.split(b"\nPss:", 1)[1].split(None, 1)[0]) * 1024
        except (OSError, IndexError, ValueError):
            total += resident([pid])
    return total


# --- the disk ------------------------------------------------------------------------------------


def entries(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield each entry of a folder with its own state; links are not followed."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with os.scandir(descriptor) as listing:
            for entry in listing:
                with contextlib.suppress(FileNotFoundError):
                    yield f"{folder}/{entry.name}", entry.stat(follow_symlinks=False)
    finally:
        os.close(descriptor)


def disk_used(folders: list[str], limit: int) -> int:
    """Return the blocks that hang below `folders`, or more than `limit` if they hide from us."""
    used = count = 0
    todo = [(folder, 0) for folder in folders]
    while todo:
        folder, depth = todo.pop()
        try:
            for path, state in entries(folder):
                used += state.st_blocks * 512
                count += 1
                if stat.S_ISDIR(state.st_mode):
                    todo.append((path, depth + 1))
        except FileNotFoundError:
            continue
        except OSError:
            return limit + 1
        if count > MOST_ENTRIES or depth > DEEPEST or used > limit:
            return max(used, limit + 1)
    return used


def deleted_but_open(processes: list[int], device: int) -> int:
    """Return the blocks of files that have no name any more and are kept open on `device`."""
    sizes: dict[int, int] = {}
    for pid in processes:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd")[:1024]:
                with contextlib.suppress(OSError):
                    state = os.stat(f"/proc/{pid}/fd/{name}")
                    plain = stat.S_ISREG(state.st_mode) and state.st_dev == device
                    if plain and state.st_nlink == 0:
                        sizes[state.st_ino] = state.st_blocks * 512
    return sum(sizes.values())


# --- leftovers -----------------------------------------------------------------------------------


def marked(mark: str) -> list[int]:
    """Return the living processes on this machine whose environment carries `mark`."""
    wanted = f"{MARKER}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                with open(f"/proc/{name}/environ", "rb") as file:
                    if wanted in file.read().split(b"\0"):
                        found.append(int(name))
    return found


def is_watcher(pid: int) -> bool:
    """Tell whether a process is a guard or a supervisor, by its command line."""
    with contextlib.suppress(OSError):
        return b"ai_scientist.execution.supervisor" in read(f"/proc/{pid}/cmdline")
    return False


def kill_marked(mark: str) -> list[int]:
    """Kill until no process carries `mark`; return those that could not be killed.

    A watcher that still lives is asked to end first: it alone knows descendants without a mark.
    """
    asked_until = time.monotonic() + GONE_S
    while (left := marked(mark)) and time.monotonic() < asked_until + GONE_S:
        patient = time.monotonic() < asked_until
        for pid in left:
            number = signal.SIGTERM if patient and is_watcher(pid) else signal.SIGKILL
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        time.sleep(0.005)
    return left
