"""Slots: the GPU, or the share of the processors, that a run may use now; for all on a machine.

    ticket (first come, first served) ─► a free slot: flock on gpu-N.lock ─► the run ─► given back

Every launcher of every user takes its slots from one folder. A lock is the kernel's: it is free
the moment its holder dies, whatever killed it. Files there are only ever locked, never written, so
that reading them is all another user needs. Whoever waits sleeps in the kernel until the one
before has been served; only the first in line looks for a free slot. Who waits long says once for
what, and who has it.

Covered: several processes, threads and users; a holder killed with -9; GPUs that programs without
our locks are using, and GPUs that fell off the bus (`busy`).
Not covered: a user who means harm can hold every lock; other hosts (Slurm does those).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ai_scientist.errors import SetupError
from ai_scientist.protocols import Executor
from ai_scientist.records import Execution, ExitCause, RunRequest

POLL_S = 0.01
BUSY_AGAIN_S = 0.25
"""A GPU that others use is asked again after this."""
SAY_AFTER_S = 5.0
MOST_NAMED = 4
MOST_TRIES = 3
CUDA_ERROR = re.compile(r"CUDA|cuBLAS|CUBLAS|cuDNN|NCCL|NVML|out of memory")
USED_BYTES = 2_000_000_000
"""Memory in use from which a GPU without visible processes counts as somebody's."""


def default_lock_folder() -> Path:
    """Return the folder that every user of this machine agrees on."""
    shared = Path("/run/lock")
    writable = shared.is_dir() and os.access(shared, os.W_OK)
    return (shared if writable else Path(tempfile.gettempdir())) / "ai_scientist"


class SlotPool:
    """The slots of one machine. `acquire` fits LocalExecutor.

    A run that wants GPUs gets that many of `gpus`; one that wants none gets one of `cores` for each
    of its threads, so that many ideas do not fight for few cores, and what computes on one thread
    leaves the others free. `trouble` says why a GPU cannot be used now, or nothing; it is asked
    under the GPU's lock, so our own runs never show there. Who waits for longer than `say_after_s`
    reports it, with what `work` says of each process that holds one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        gpus: Sequence[str] = (),
        cores: int = 1,
        trouble: Callable[[str], str] = lambda gpu: "",
        work: Callable[[int], str] = lambda pid: "",
        report: Callable[[str], None] = lambda line: None,
        say_after_s: float = SAY_AFTER_S,
    ) -> None:
        self._folder = folder
        self._slots = {"gpu": tuple(gpus), "cpu": tuple(str(n) for n in range(cores))}
        self._trouble = trouble
        self._work = work
        self._report = report
        self._say_after_s = say_after_s

    @contextmanager
    def acquire(self, gpus: int, threads: int = 1) -> Iterator[tuple[str, ...]]:
        """Wait for a turn and for slots, lend them, and take them back; yields the GPUs' ids.

        First come, first served, over all processes. More threads than there are cores get all of
        them. Raises SetupError when this machine has too few GPUs at all, or the lock folder cannot
        be used.
        """
        have = self._slots["gpu"]
        if gpus > len(have):
            raise SetupError(
                f"a run wants {gpus} GPUs, and this machine lends {len(have)}",
                hint="use a profile that needs fewer, or --executor slurm",
            )
        kind, count = ("gpu", gpus) if gpus else ("cpu", min(threads, len(self._slots["cpu"])))
        make_lock_folder(self._folder)
        with contextlib.ExitStack() as held:
            troubles: dict[str, str] = {}
            with self._telling(kind, count, troubles), self._turn(kind):
                slots = self._collect(kind, count, held, troubles)
            yield slots if kind == "gpu" else ()

    # --- taking turns ----------------------------------------------------------------------------

    @contextmanager
    def _turn(self, kind: str) -> Iterator[None]:
        """Draw a ticket and wait until nobody alive holds a lower one."""
        with locked(self._folder / f"{kind}.tickets"):
            number = max(self._tickets(kind), default=0) + 1
            path = self._folder / f"{kind}-ticket.{number}"
            ticket = open_lock(path)
            fcntl.flock(ticket, fcntl.LOCK_EX)
        try:
            ours_to_leave: set[int] = set()
            while lower := [
                n for n in self._tickets(kind) if n < number and n not in ours_to_leave
            ]:
                before = self._folder / f"{kind}-ticket.{max(lower)}"
                with contextlib.suppress(FileNotFoundError), locked(before, create=False):
                    pass  # served, given up or dead
                try:
                    before.unlink(missing_ok=True)
                except PermissionError:  # another user's, in a sticky folder: it stays, and is dead
                    ours_to_leave.add(max(lower))
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(ticket)

    def _tickets(self, kind: str) -> list[int]:
        start = f"{kind}-ticket."
        names = [path.name for path in self._folder.iterdir()]
        return [int(name[len(start) :]) for name in names if name.startswith(start)]

    def _collect(
        self, kind: str, count: int, held: contextlib.ExitStack, troubles: dict[str, str]
    ) -> tuple[str, ...]:
        """Take free slots until there are enough; only the first in line is here."""
        taken: list[str] = []
        ask_again: dict[str, float] = {}
        while True:
            for slot in self._slots[kind]:
                if len(taken) == count:
                    return tuple(taken)
                if slot in taken or ask_again.get(slot, 0) > time.monotonic():
                    continue
                lock = try_lock(self._folder / f"{kind}-{slot}.lock")
                if lock is None:
                    continue
                troubles[slot] = self._trouble(slot) if kind == "gpu" else ""
                if troubles[slot]:
                    os.close(lock)
                    ask_again[slot] = time.monotonic() + BUSY_AGAIN_S
                    continue
                held.callback(os.close, lock)
                taken.append(slot)
            if len(taken) == count:
                return tuple(taken)
            time.sleep(POLL_S)

    # --- saying why ------------------------------------------------------------------------------

    @contextmanager
    def _telling(self, kind: str, count: int, troubles: Mapping[str, str]) -> Iterator[None]:
        """Say once what is waited for, when it takes long."""
        timer = threading.Timer(self._say_after_s, self._tell, (kind, count, troubles))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _tell(self, kind: str, count: int, troubles: Mapping[str, str]) -> None:
        slots = self._slots[kind]
        held = holders(self._folder / f"{kind}-{slot}.lock" for slot in slots)
        why = [f"GPU {gpu} {what}" for gpu, what in sorted(troubles.items()) if what]
        if held == [os.getpid()] and not why:
            return  # our own runs, which are shown anyway
        if held:  # whoever waits for several cores may have some of them
            others = [pid for pid in held if pid != os.getpid()] or held
            why.insert(0, f"held by {', '.join(map(self._name, others[:MOST_NAMED]))}")
        what = f"waiting for {count} of {len(slots)} {kind.upper()} slots"
        self._report("; ".join([what, *why]))

    def _name(self, pid: int) -> str:
        if pid == os.getpid():
            return "this launcher"
        work = self._work(pid)
        return f"process {pid} ({work})" if work else f"process {pid}"


# --- lock files ----------------------------------------------------------------------------------


def make_lock_folder(folder: Path) -> None:
    """Create the folder so that every user may add to it and none may remove another's files.

    A link in its place is not followed: who made it could so open a folder of ours to everybody.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_uid == os.getuid():
                os.fchmod(descriptor, 0o1777)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SetupError(
            f"the lock folder {folder} cannot be made: {(error.strerror or '').lower()}",
            hint="make it once, writable by all who share the GPUs: mkdir -m 1777",
        ) from None


def open_lock(path: Path) -> int:
    """Open a lock file, made if it is not there; readable by all, whatever the umask.

    Opening with O_CREAT what another user made is refused in sticky folders (fs.protected_regular).
    """
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.fchmod(descriptor, 0o644)
            return descriptor
    raise SetupError(
        f"the lock file {path} comes and goes", hint=f"remove the folder {path.parent}"
    )


def try_lock(path: Path) -> int | None:
    """Return an open and locked descriptor, or None when somebody has it."""
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def locked(path: Path, *, create: bool = True) -> Iterator[None]:
    """Hold a lock file, waiting for it in the kernel."""
    descriptor = open_lock(path) if create else os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def holders(paths: Iterable[Path]) -> list[int]:
    """Return the processes that hold lock files, as far as the kernel shows them here.

    /proc/locks names a file by device and inode; the device is another one on some file systems.
    """
    inodes = set()
    for path in paths:
        with contextlib.suppress(OSError):
            inodes.add(str(path.stat().st_ino))
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    locks = [line.split() for line in lines if "->" not in line and "FLOCK" in line]
    found = {int(lock[4]) for lock in locks if lock[5].rpartition(":")[2] in inodes}
    return sorted(pid for pid in found if pid > 0)


# --- NVIDIA --------------------------------------------------------------------------------------


def list_gpus(visible: str | None = None) -> tuple[str, ...]:
    """Return the numbers N of the /dev/nvidiaN of this machine; none without a driver.

    `visible` is a CUDA_VISIBLE_DEVICES (numbers in PCI order, or UUIDs) that narrows them.
    """
    found = _ask_nvml()
    if visible is None:
        return tuple(number for number, _ in found)
    chosen = []
    for name in filter(None, (part.strip() for part in visible.split(","))):
        if name.isdecimal() and int(name) < len(found):
            chosen.append(found[int(name)][0])
        else:
            chosen += [number for number, uuid in found if name in ("all", uuid)]
    return tuple(dict.fromkeys(chosen))


def _ask_nvml() -> list[tuple[str, str]]:
    """Return (device number, UUID) of each GPU, in PCI order."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        with contextlib.suppress(pynvml.NVMLError):  # one that fell off the bus
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            number = str(pynvml.nvmlDeviceGetMinorNumber(handle))
            found.append((number, str(pynvml.nvmlDeviceGetUUID(handle))))
    return found


def gpu_trouble(gpu: str) -> str:
    """Say why a GPU cannot be used now: somebody's processes, or it is lost; empty when free."""
    import pynvml

    try:
        pynvml.nvmlInit()
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            if str(pynvml.nvmlDeviceGetMinorNumber(handle)) == gpu:
                break
        else:
            return "is no longer there"
        pids = [process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)]
        if pids:
            return f"is used by process {', '.join(map(str, pids[:4]))}"
        used = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
    except pynvml.NVMLError as error:
        return f"does not answer: {error}"
    return f"has {used / 1e9:.1f} GB in use" if used > USED_BYTES else ""


# --- runs that failed because of their GPU -------------------------------------------------------


class ElsewhereExecutor:
    """Implements protocols.Executor: makes a run again that failed because of its GPU.

    That is one that crashed with a CUDA error while somebody's process is on its GPU, or the GPU
    does not answer any more. The slots pass such a GPU over, so the next try is on another one.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        trouble: Callable[[str], str],
        report: Callable[[str], None],
    ) -> None:
        self._executor = executor
        self._trouble = trouble
        self._report = report

    def run(self, request: RunRequest) -> Execution:
        """Run `request`, up to MOST_TRIES times, and return the last execution."""
        for left in reversed(range(MOST_TRIES)):
            execution = self._executor.run(request)
            blame = self._blame(execution) if left else ""
            if not blame:
                break
            self._report(f"{request.key}: failed on a GPU that {blame}; running it again")
            (request.staging / "outcome.json").unlink(missing_ok=True)
        return execution

    def _blame(self, execution: Execution) -> str:
        """Return what is wrong with the GPU that a failed run had, or nothing."""
        if execution.cause not in (ExitCause.CRASH, ExitCause.KILLED):
            return ""
        try:
            said = execution.stderr.read_text(encoding="utf-8", errors="replace")[-20_000:]
        except OSError:
            said = ""
        if not CUDA_ERROR.search(said):
            return ""
        return next(filter(None, map(self._trouble, execution.gpus)), "")
