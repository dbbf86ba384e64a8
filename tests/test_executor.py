"""One run on this machine: observed from outside, and ended with all that it started."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ai_scientist.errors import InputError, SetupError
from ai_scientist.execution.local import LocalExecutor, work_of
from ai_scientist.execution.observation import describe_failure
from ai_scientist.machine.processes import marked
from ai_scientist.protocols import Sandbox
from ai_scientist.records import ExitCause, RunRequest
from ai_scientist.sandbox.tiers import mark_of
from tests.doors import PROJECT
from tests.hostile.suite import left_over
from tests.tier_runs import BY_TIER, FREE, TIERS, request_for
from tests.waiting import PATIENCE_S, wait_until

LEAVES_A_DAEMON = """
import os, subprocess, sys, time
command = [sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]]
if os.fork() == 0:
    os.setsid()
    subprocess.Popen(command, env={}, start_new_session=True)
    os._exit(0)
print("started", flush=True)
time.sleep(600)
"""


def has_started(staging: Path) -> bool:
    """Whether the experiment has said so."""
    log = staging / "stdout.log"
    return log.is_file() and "started" in log.read_text()


def wait_for_the_end_of(token: str, staging: Path) -> None:
    """Wait until no process of the tree is left; by itself it would end after ten minutes."""
    wait_until(lambda: not left_over(token, staging), what="the end of the tree")


def test_fonts_are_listed_before_a_run_draws(tmp_path: Path) -> None:
    """The list of fonts that came with an environment lies where matplotlib looks for it."""
    python = tmp_path / "environment" / "bin" / "python"
    (tmp_path / "environment" / "matplotlib").mkdir(parents=True)
    (tmp_path / "environment" / "matplotlib" / "fontlist-v1.json").write_text("[]")
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    code = "import os; print(os.listdir(os.environ['MPLCONFIGDIR']))"
    request = request_for(tmp_path / "staging", code)
    request = replace(request, command=(str(python), *request.command[1:]))
    execution = LocalExecutor(FREE).run(request)
    assert execution.stdout.read_text() == "['fontlist-v1.json']\n"


def test_a_crash_is_told_with_its_exception(tmp_path: Path) -> None:
    """The exception of the last traceback is named; without a traceback only the status is."""
    code = """
        import atexit, sys
        atexit.register(lambda: print("cleaned up", file=sys.stderr))
        try:
            1 / 0
        except ZeroDivisionError:
            raise ValueError("width 9")
    """
    request = request_for(tmp_path, code)
    done = LocalExecutor(FREE).run(request)
    assert describe_failure(done, request.limits) == "it ended with status 1: ValueError: width 9"
    request = request_for(tmp_path, "import sys; sys.exit('no data')")
    done = LocalExecutor(FREE).run(replace(request, key="run_1/execution_2"))
    assert describe_failure(done, request.limits) == "it ended with status 1"


@BY_TIER
def test_others_can_tell_what_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    """A process is known by the runs that its supervisors watch, whatever confines them."""
    staging = tmp_path / "20261126_bowl" / ".staging" / "work" / "run_1.execution_1"
    executor = LocalExecutor(sandbox)
    request = request_for(staging, "import time; print('started', flush=True); time.sleep(600)")
    runner = threading.Thread(target=executor.run, args=(request,))
    runner.start()
    wait_until(lambda: has_started(staging), what="the run's start")
    assert work_of(os.getpid()) == "run_1 of 20261126_bowl"
    executor.cancel()
    runner.join()
    assert work_of(os.getpid()) == ""


@BY_TIER
def test_a_run_is_observed(sandbox: Sandbox, tmp_path: Path) -> None:
    """Output, status, time, memory, tier and host are what was seen from outside."""
    code = """
        import sys
        kept = bytearray(80_000_000)
        open("run_1/final_info.json", "w").write("{}")
        print("out"); print("err", file=sys.stderr); sys.exit(3)
    """
    began = time.monotonic()
    done = LocalExecutor(sandbox).run(request_for(tmp_path, code))
    lasted = time.monotonic() - began
    assert (done.cause, done.returncode, done.sandbox_tier) == (ExitCause.CRASH, 3, sandbox.tier)
    assert (done.stdout.read_text(), done.stderr.read_text()) == ("out\n", "err\n")
    assert (tmp_path / "source" / "run_1" / "final_info.json").is_file()
    assert 0.08 < done.peak_memory_gb < 0.3
    assert 0 < done.seconds < lasted
    stored = json.loads((tmp_path / "outcome.json").read_text())
    assert (stored["key"], stored["cause"], stored["host"]) == (done.key, "crash", done.host)


@BY_TIER
@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (signal.SIGKILL, ExitCause.KILLED),
        (signal.SIGTERM, ExitCause.KILLED),
        (signal.SIGSEGV, ExitCause.CRASH),
        (signal.SIGABRT, ExitCause.CRASH),
        (signal.SIGXFSZ, ExitCause.DISK),
    ],
)
def test_signals_have_causes(
    sandbox: Sandbox, number: signal.Signals, cause: ExitCause, tmp_path: Path
) -> None:
    """A fault of its own is a crash; a signal that somebody sends is `killed`."""
    code = f"""
        import os, signal
        signal.signal({number.value}, signal.SIG_DFL) if {number.value} != 9 else None
        os.kill(os.getpid(), {number.value})
    """
    done = LocalExecutor(sandbox).run(request_for(tmp_path, code))
    assert (done.cause, number.name in done.reason or cause is ExitCause.DISK) == (cause, True)


def test_a_finished_run_is_not_made_again(tmp_path: Path) -> None:
    """The outcome of a key that is there is returned; another key, or a torn file, runs."""
    request = request_for(tmp_path, "import time; print(time.time_ns())")
    executor = LocalExecutor(FREE)
    first = executor.run(request)
    printed = first.stdout.read_text()
    assert LocalExecutor(FREE).run(request) == first
    assert first.stdout.read_text() == printed
    executor.run(replace(request, key="run_1/execution_2"))
    assert first.stdout.read_text() != printed
    (tmp_path / "outcome.json").write_text('{"key": "run_1/execution_2", "cau')
    assert executor.run(request).cause is ExitCause.EXIT


def test_what_an_earlier_run_left_is_cleared(tmp_path: Path) -> None:
    """A run begins with an empty folder and without the last one's logs."""
    request = request_for(tmp_path, "import os; print(os.listdir('run_1'))")
    (tmp_path / "source/run_1/deep").mkdir(parents=True)
    (tmp_path / "source/run_1/deep/old.json").write_text("{}")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "stderr.log").write_text("old")
    done = LocalExecutor(FREE).run(request)
    assert (done.stdout.read_text(), done.stderr.read_text()) == ("[]\n", "")


def test_bad_requests_are_refused(tmp_path: Path) -> None:
    """A run writes below source/ only: no `..`, no absolute name, no link in the way."""
    request = request_for(tmp_path / "staging", "")
    executor = LocalExecutor(FREE)
    for name in ("../out", "/etc", "a/../../b", "", "a//b", "./a"):
        with pytest.raises(InputError, match="not a folder below source/"):
            executor.run(replace(request, out_name=name))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("x")
    (tmp_path / "staging/source/run_1").symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="a link stands"):
        executor.run(request)
    assert (tmp_path / "precious/file").is_file()
    with pytest.raises(SetupError, match="needs 2 GPUs and 0"):
        executor.run(replace(request, gpus=2))


def test_100_mb_of_output_neither_block_nor_fill_anything(tmp_path: Path) -> None:
    """Up to ten times the cap a run goes on; the log keeps head and tail and says what is gone."""
    code = """
        import os, sys
        os.write(1, b"the head\\n")
        for _ in range(1000):
            os.write(1, b"x" * 99_999 + b"\\n")
        os.write(1, b"the tail\\n"); os.write(2, b"and an error\\n")
    """
    done = LocalExecutor(FREE).run(request_for(tmp_path, code, output_mb=16))
    assert done.cause is ExitCause.EXIT
    assert 16e6 <= done.stdout.stat().st_size < 16.1e6
    text = done.stdout.read_text()
    assert text.startswith("the head\n")
    assert text.endswith("the tail\n")
    assert "84,000,018 bytes cut out here" in text
    assert done.stderr.read_text() == "and an error\n"


# --- deaths ---------------------------------------------------------------------------------------


LAUNCHER = """
import pickle, sys
sys.path.insert(0, sys.argv[1])
from ai_scientist.execution.local import LocalExecutor, work_of
from ai_scientist.execution.observation import describe_failure
sandbox, request = pickle.load(sys.stdin.buffer)
try:
    LocalExecutor(sandbox).run(request)
except KeyboardInterrupt:
    sys.exit(130)
"""


def launch(sandbox: Sandbox, request: RunRequest) -> subprocess.Popen[bytes]:
    """Start a launcher of its own that runs `request`; return once the experiment runs."""
    import pickle

    command = [sys.executable, "-c", LAUNCHER, str(PROJECT)]
    launcher = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert launcher.stdin is not None
    launcher.stdin.write(pickle.dumps((sandbox, request)))
    launcher.stdin.close()
    wait_until(lambda: has_started(request.staging), what="the run's start")
    return launcher


@BY_TIER
def test_nothing_outlives_a_launcher_killed_with_9(sandbox: Sandbox, tmp_path: Path) -> None:
    """Kill -9 of the launcher ends the tree, daemons included; the key runs again afterwards."""
    token = secrets.token_hex(8)
    launcher = launch(sandbox, request_for(tmp_path, LEAVES_A_DAEMON, token))
    assert left_over(token, tmp_path)
    launcher.kill()
    launcher.wait()
    wait_for_the_end_of(token, tmp_path)
    assert not (tmp_path / "outcome.json").exists()
    again = LocalExecutor(sandbox).run(request_for(tmp_path, "print('again')"))
    assert (again.cause, again.stdout.read_text()) == (ExitCause.EXIT, "again\n")


@BY_TIER
@pytest.mark.parametrize("victim", ["supervisor", "guard"])
def test_nothing_outlives_a_supervisor_killed_with_9(
    sandbox: Sandbox, victim: str, tmp_path: Path
) -> None:
    """Kill -9 of either process that watches ends the tree, and the run is reported as killed."""
    token = secrets.token_hex(8)
    request = request_for(tmp_path, LEAVES_A_DAEMON, token)
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(LocalExecutor(sandbox).run(request)))
    thread.start()
    wait_until(lambda: has_started(tmp_path), what="the run's start")
    watchers = [pid for pid in marked(mark_of(tmp_path)) if b"supervisor" in command_of(pid)]
    os.kill(max(watchers) if victim == "supervisor" else min(watchers), signal.SIGKILL)
    thread.join(PATIENCE_S)
    (done,) = seen
    assert getattr(done, "cause", None) is ExitCause.KILLED
    assert "the supervisor ended without an outcome" in getattr(done, "reason", "")
    wait_for_the_end_of(token, tmp_path)


def command_of(pid: int) -> bytes:
    """The command line of a process, empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@BY_TIER
def test_ctrl_c_ends_the_tree_and_is_passed_on(sandbox: Sandbox, tmp_path: Path) -> None:
    """A KeyboardInterrupt in the launcher leaves nobody behind and is not swallowed."""
    token = secrets.token_hex(8)
    launcher = launch(sandbox, request_for(tmp_path, LEAVES_A_DAEMON, token))
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(PATIENCE_S) == 130
    assert left_over(token, tmp_path) == []


def test_cancel_ends_every_run_at_once(tmp_path: Path) -> None:
    """`cancel` from another thread returns CANCELLED, which does not count as finished."""
    token = secrets.token_hex(8)
    executor = LocalExecutor(TIERS[0])
    request = request_for(tmp_path, LEAVES_A_DAEMON, token)

    def stop() -> None:
        wait_until(lambda: has_started(tmp_path), what="the run's start")
        executor.cancel()

    thread = threading.Thread(target=stop)
    thread.start()
    done = executor.run(request)
    thread.join()
    assert (done.cause, done.returncode) == (ExitCause.CANCELLED, None)
    assert left_over(token, tmp_path) == []
    again = executor.run(request_for(tmp_path, "print('again')"))
    assert again.cause is ExitCause.EXIT
