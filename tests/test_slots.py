from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ai_scientist.errors import SetupError
from ai_scientist.machine.slots import ElsewhereExecutor, SlotPool, list_gpus
from ai_scientist.records import Execution, ExitCause, RunRequest
from tests.doors import PROJECT
from tests.slurm_runs import slurm_request
from tests.waiting import PATIENCE_S, wait_until

HOLDER = """
import sys, time
from pathlib import Path
from ai_scientist.machine.slots import SlotPool
folder, name, count, seconds, *gpus = sys.argv[1:]
with SlotPool(Path(folder) / "locks", gpus=gpus).acquire(int(count)) as got:
    trace = (Path(folder) / "trace").open("a")
    print(name, "has", *got, file=trace, flush=True)
    time.sleep(float(seconds))
    print(name, "frees", *got, file=trace, flush=True)
"""


def _hold(
    folder: Path, name: str, count: int, seconds: float, *gpus: str
) -> subprocess.Popen[bytes]:
    arguments = [str(folder), name, str(count), str(seconds), *gpus]
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )


def _trace(folder: Path) -> list[str]:
    path = folder / "trace"
    return path.read_text().splitlines() if path.exists() else []


def _in_line(folder: Path, kind: str) -> int:
    """How many wait for a slot, or have just got one."""
    return len(list((folder / "locks").glob(f"{kind}-ticket.*")))


def test_a_gpu_is_lent_to_one_at_a_time(tmp_path: Path) -> None:
    """Six processes share two GPUs: never the same one twice at once."""
    holders = [_hold(tmp_path, f"p{n}", 1, 0.1, "0", "1") for n in range(6)]
    for holder in holders:
        assert holder.wait(PATIENCE_S) == 0
    held: set[str] = set()
    for line in _trace(tmp_path):
        _, word, gpu = line.split()
        if word == "has":
            assert gpu not in held
            held.add(gpu)
        else:
            held.remove(gpu)
    assert len(_trace(tmp_path)) == 12


def test_first_come_first_served(tmp_path: Path) -> None:
    """One that wants two GPUs is not passed for ever by those that want one."""
    pool = SlotPool(tmp_path / "locks", gpus=["0", "1"])
    order: list[str] = []

    def take(name: str, count: int) -> None:
        with pool.acquire(count):
            order.append(name)
            if count == 1:
                wait_until(lambda: len(order) > 2, what="the pair and two more")

    with pool.acquire(1):
        waiting: list[threading.Thread] = []
        for name, count in (("pair", 2), ("a", 1), ("b", 1), ("c", 1)):
            waiting.append(threading.Thread(target=take, args=(name, count)))
            waiting[-1].start()
            wait_until(lambda: _in_line(tmp_path, "gpu") == len(waiting), what="one more in line")
        assert order == []
    for thread in waiting:
        thread.join()
    assert order[0] == "pair"
    assert order[1:3] in (["a", "b"], ["b", "a"])


def test_death_frees(tmp_path: Path) -> None:
    """What a process killed with -9 held, or waited for, is free at once."""
    holder = _hold(tmp_path, "holder", 1, 600, "0")
    wait_until(lambda: _trace(tmp_path), what="the holder")
    waiter = _hold(tmp_path, "waiter", 1, 600, "0")
    wait_until(lambda: _in_line(tmp_path, "gpu") == 1, what="a ticket")
    last = _hold(tmp_path, "last", 1, 0, "0")
    wait_until(lambda: _in_line(tmp_path, "gpu") == 2, what="two")
    for process in (waiter, holder):
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert last.wait(PATIENCE_S) == 0
    assert _trace(tmp_path) == ["holder has 0", "last has 0", "last frees 0"]


def test_busy_gpus_are_passed_over(tmp_path: Path) -> None:
    """A GPU that others use is left alone until it is free; the person is told why one waits."""
    trouble = {"0": "is used by process 7", "1": ""}
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        trouble["0"] = ""

    pool = SlotPool(
        tmp_path, gpus=["0", "1"], trouble=lambda gpu: trouble[gpu], report=tell, say_after_s=0.1
    )
    with pool.acquire(1) as first:
        assert first == ("1",)
        with pool.acquire(1) as second:
            assert second == ("0",)
    (line,) = told
    assert line == (
        "waiting for 1 of 2 GPU slots; held by this launcher; GPU 0 is used by process 7"
    )


def test_who_waits_says_once_for_what(tmp_path: Path) -> None:
    """The line names the holder and its work, in the queue and at its head; for no slot of ours."""
    holder = _hold(tmp_path, "holder", 0, 600)
    wait_until(lambda: _trace(tmp_path), what="the holder")
    told: dict[str, list[str]] = {"first": [], "second": []}

    def wait(name: str) -> None:
        pool = SlotPool(
            tmp_path / "locks",
            work=lambda pid: "run_1 of a",
            report=told[name].append,
            say_after_s=0.1,
        )
        with pool.acquire(0):
            pass

    threads = [threading.Thread(target=wait, args=(name,)) for name in told]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(told.values()), what="both to say it")
    time.sleep(0.3)
    holder.kill()
    holder.wait()
    for thread in threads:
        thread.join(PATIENCE_S)
    line = f"waiting for 1 of 1 CPU slots; held by process {holder.pid} (run_1 of a)"
    assert told == {"first": [line], "second": [line]}


def test_who_waits_for_several_cores_does_not_name_itself(tmp_path: Path) -> None:
    """Of two cores one is taken while the other is waited for: only the other's holder is told."""
    told: list[str] = []
    holder = _hold(tmp_path, "holder", 0, 60)
    wait_until(lambda: _trace(tmp_path), what="the holder")
    pool = SlotPool(tmp_path / "locks", cores=2, report=told.append, say_after_s=0.3)

    def take() -> None:
        with pool.acquire(0, 2):
            pass

    waiter = threading.Thread(target=take)
    waiter.start()
    wait_until(lambda: told, what="a word")
    holder.kill()
    holder.wait()
    waiter.join(PATIENCE_S)
    assert told == [f"waiting for 2 of 2 CPU slots; held by process {holder.pid}"]


def test_who_waits_for_itself_says_nothing(tmp_path: Path) -> None:
    """Runs of one launcher that wait for each other are seen by their own lines."""
    told: list[str] = []
    pool = SlotPool(tmp_path / "locks", report=told.append, say_after_s=0.05)

    def wait() -> None:
        with pool.acquire(0):
            pass

    with pool.acquire(0):
        second = threading.Thread(target=wait)
        second.start()
        wait_until(lambda: _in_line(tmp_path, "cpu"), what="the second in line")
        time.sleep(0.3)  # six times what it waits before it would speak
    second.join(PATIENCE_S)
    assert told == []


def test_too_many_are_refused(tmp_path: Path) -> None:
    """A run that wants more GPUs than there are is refused at once, in words."""
    with (
        pytest.raises(SetupError, match="wants 2 GPUs, and this machine lends 1"),
        SlotPool(tmp_path, gpus=["0"]).acquire(2),
    ):
        pass


def test_a_link_in_the_place_of_the_locks_opens_nothing(tmp_path: Path) -> None:
    """Who puts a link to our folder where the locks belong does not get it opened to everybody."""
    ours = tmp_path / "ours"
    ours.mkdir(mode=0o700)
    (tmp_path / "locks").symlink_to(ours)
    with (
        pytest.raises(SetupError, match="lock folder"),
        SlotPool(tmp_path / "locks").acquire(0),
    ):
        pass
    assert ours.stat().st_mode & 0o7777 == 0o700


@pytest.mark.parametrize(("threads_each", "at_once"), [(1, 4), (2, 2), (3, 1), (9, 1)])
def test_cores_are_slots_too(tmp_path: Path, threads_each: int, at_once: int) -> None:
    """Without GPUs, as many runs go on at once as the cores hold threads of theirs, and no more."""
    pool = SlotPool(tmp_path, cores=4)
    all_of_them = threading.Barrier(at_once, timeout=PATIENCE_S)
    at_work: list[int] = []
    seen: set[int] = set()

    def work(number: int) -> None:
        with pool.acquire(0, threads_each) as gpus:
            assert gpus == ()
            at_work.append(number)
            all_of_them.wait()  # fewer wait in vain
            time.sleep(0.05)  # for one more, if it could come
            seen.add(len(at_work))
            all_of_them.wait()
            at_work.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert seen == {at_once}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may look into."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_users_share(open_folder: Path) -> None:
    """Another user can take what one left dead, and cannot remove what is not his."""
    dead = _hold(open_folder, "dead", 1, 600, "0")
    wait_until(lambda: _trace(open_folder), what="the holder")
    waits = _hold(open_folder, "waits", 1, 600, "0")
    locks = open_folder / "locks"
    wait_until(lambda: _in_line(open_folder, "gpu"), what="a ticket")
    for process in (waits, dead):
        process.kill()
        process.wait()
    python = ["/usr/bin/python3", "-c", SHARES, str(locks)]
    stranger = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *python]
    done = subprocess.run(
        stranger if os.geteuid() == 0 else python, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == ("0\n" if os.geteuid() == 0 else "")


SHARES = """
import fcntl, os, sys
folder = sys.argv[1]
lock = os.open(folder + "/gpu-0.lock", os.O_RDONLY)
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
ticket, = [name for name in os.listdir(folder) if "ticket." in name]
fcntl.flock(os.open(folder + "/" + ticket, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
try:
    os.unlink(folder + "/" + ticket)
except PermissionError:
    print(0)
"""


def test_lending_costs_little(tmp_path: Path) -> None:
    """Taking and giving back a slot costs far less than the tenth of a second that is promised."""
    pool = SlotPool(tmp_path, gpus=["0"])
    took = []
    for _ in range(50):
        began = time.perf_counter()
        with pool.acquire(1):
            pass
        took.append(time.perf_counter() - began)
    assert min(took) < 0.02


def test_no_driver_means_no_gpus() -> None:
    """Where NVML is missing there are no GPUs, and no error."""
    assert isinstance(list_gpus(), tuple)
    assert list_gpus("") == ()


class OnTheseGpus:
    """An executor that answers with a crash, or an end, on one GPU after the other."""

    def __init__(self, folder: Path, said: str, causes: dict[str, ExitCause]) -> None:
        self._stderr = folder / "stderr.log"
        self._stderr.write_text(said)
        self._left = list(causes.items())

    def run(self, request: RunRequest) -> Execution:
        """Return the next answer."""
        gpu, cause = self._left.pop(0)
        return Execution(
            key=request.key, cause=cause, returncode=1, seconds=1.0, stdout=self._stderr,
            stderr=self._stderr, started_at="", gpus=(gpu,),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "trouble", "last"),
    [
        ("CUDA error: out of memory", "is used by process 7", "1"),
        ("CUDA error: out of memory", "", "0"),
        ("IndexError", "is used by process 7", "0"),
    ],
)
def test_a_gpus_fault_is_not_the_codes(tmp_path: Path, said: str, trouble: str, last: str) -> None:
    """A CUDA error on a GPU that others use is tried elsewhere; the code's own errors are not."""
    request = slurm_request(tmp_path, "run_1/execution_1")
    inner = OnTheseGpus(tmp_path, said, {"0": ExitCause.CRASH, "1": ExitCause.EXIT})
    told: list[str] = []
    executor = ElsewhereExecutor(
        inner, trouble=lambda gpu: trouble if gpu == "0" else "", report=told.append
    )
    assert executor.run(request).gpus == (last,)
    assert bool(told) == (last == "1")
