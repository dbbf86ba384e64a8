from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ai_scientist.errors import InputError, SetupError
from ai_scientist.execution.local import LocalExecutor
from ai_scientist.protocols import Sandbox
from ai_scientist.records import Execution, ExitCause, RunLimits, RunRequest
from ai_scientist.sandbox.choice import (
    UBUNTU_PROFILE,
    Trial,
    choose_sandbox,
    strongest,
)
from ai_scientist.sandbox.tiers import Bubblewrap, Landlock, all_tiers, interpreter_roots
from tests.doors import PROJECT
from tests.hostile.suite import BOMBS, LISTED, SLEEPS_S, Bomb, attempt_all, explode
from tests.tier_runs import BY_TIER, TIERS

ISOLATING = pytest.mark.parametrize("sandbox", TIERS[:-1], ids=lambda sandbox: sandbox.tier)

# What a tier does not stop, as docs/security.md says. None of it reads, changes or reaches a thing.
KNOWN_GAPS = {
    "bubblewrap": set[str](),
    "bubblewrap without fresh /proc": {LISTED},
    "landlock": {LISTED},
}
NETWORK = {"tcp", "tcp to an address of the host", "udp", "dns"}


def run(
    sandbox: Sandbox,
    staging: Path,
    code: str,
    *,
    environment: Mapping[str, str] | None = None,
    python: Path = Path(sys.executable),
    readable: tuple[Path, ...] = (),
    gpus: tuple[str, ...] = (),
    network: bool = False,
) -> Execution:
    """Run a few lines as an experiment."""
    source = staging / "source"
    source.mkdir(parents=True, exist_ok=True)
    (source / "experiment.py").write_text(code)
    request = RunRequest(
        key="run_1/execution_1",
        staging=staging,
        out_name="run_1",
        command=(str(python), "experiment.py"),
        environment=environment or {},
        readable=readable,
        limits=RunLimits(timeout_s=20, memory_gb=1, disk_gb=0.1),
        gpus=len(gpus),
        network=network,
    )
    return LocalExecutor(sandbox, gpus=gpus).run(request)


def words(execution: Execution) -> list[str]:
    """What the experiment printed, once it is sure that it ran."""
    assert execution.cause is ExitCause.EXIT, execution.stderr.read_text()
    return execution.stdout.read_text().split()


# --- the choice -----------------------------------------------------------------------------------


def test_every_tier_is_probed_once_and_nothing_is_left(tmp_path: Path) -> None:
    """Choosing a sandbox is a real probe, made once per process, and its folder is empty again."""
    chosen = choose_sandbox(allow_unsandboxed=False, probe_folder=tmp_path)
    assert choose_sandbox(allow_unsandboxed=False, probe_folder=tmp_path) is chosen
    assert list(tmp_path.iterdir()) == []


def test_the_strongest_tier_that_passed_is_taken() -> None:
    """The ladder goes from bubblewrap down; plain limits are taken only when the person says so."""
    trials = tuple(Trial(sandbox=tier, passed=True) for tier in all_tiers())
    assert strongest(trials, allow_unsandboxed=True) is trials[0].sandbox
    failed = tuple(Trial(sandbox=each.sandbox, passed=False, leaks=("file",)) for each in trials)
    assert strongest((*failed[:-1], trials[-1]), allow_unsandboxed=True).tier == "rlimits"
    with pytest.raises(SetupError, match="lets through: file") as caught:
        strongest((*failed[:-1], trials[-1]), allow_unsandboxed=False)
    assert "--allow-unsandboxed" in caught.value.hint


def test_the_remedy_names_what_is_missing() -> None:
    """Without bubblewrap the hint installs it; with it, the hint is about user namespaces."""
    landlock = Trial(sandbox=Landlock(), passed=False, problem="this kernel has no Landlock")
    blocked = Trial(
        sandbox=Bubblewrap(bwrap="/usr/bin/bwrap"),
        passed=False,
        problem="bwrap: setting up uid map: Permission denied",
    )
    with pytest.raises(SetupError, match="no Landlock") as caught:
        strongest((landlock,), allow_unsandboxed=False)
    assert "apt-get install bubblewrap" in caught.value.hint
    with pytest.raises(SetupError, match="uid map") as caught:
        strongest((blocked, landlock), allow_unsandboxed=False)
    assert "/etc/apparmor.d/bwrap" in caught.value.hint
    assert UBUNTU_PROFILE in (PROJECT / "docs" / "security.md").read_text()


def test_this_host_has_isolating_tiers() -> None:
    """The suite below is about something: set-up brought at least one tier that isolates."""
    assert TIERS[0].tier != "rlimits"
    assert TIERS[-1].tier == "rlimits"


# --- the hostile suite ----------------------------------------------------------------------------


@ISOLATING
def test_an_isolating_tier_stops_every_attempt(sandbox: Sandbox, tmp_path: Path) -> None:
    """No key is read, nothing outside is written, nobody is reached, no right is gained."""
    got = attempt_all(sandbox, tmp_path, sys.executable)
    assert len(got) > 40
    assert {name for name, through in got.items() if through} <= KNOWN_GAPS[sandbox.tier]


def test_plain_limits_still_keep_keys_and_network_away(tmp_path: Path) -> None:
    """Without isolation an experiment still has no key of its own and no internet socket."""
    got = attempt_all(TIERS[-1], tmp_path, sys.executable)
    through = {name for name, passed in got.items() if passed}
    assert through.isdisjoint(NETWORK | {"key in its own environment", "raise its own limits"})


@pytest.mark.slow
@BY_TIER
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.name)
def test_what_uses_too_much_is_ended_with_its_cause(
    bomb: Bomb, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A limit ends the whole tree in time, names the cause, and leaves nobody running."""
    execution, left = explode(sandbox, bomb, tmp_path, sys.executable)
    assert left == []
    assert execution.cause in bomb.causes, execution
    assert execution.seconds < SLEEPS_S / 2
    assert not (execution.stdout.parent / "tmp").exists()


# --- what a run sees ------------------------------------------------------------------------------


@BY_TIER
def test_the_environment_is_exactly_what_was_asked_for(sandbox: Sandbox, tmp_path: Path) -> None:
    """Nothing is inherited; libraries are pointed into a private folder that is removed."""
    code = """
import json, os
open(os.environ["TEXMFVAR"] + ".x", "w").close()
print(json.dumps(dict(os.environ)))
"""
    given = {"AI_SCIENTIST_SEED": "7", "TEXMFVAR": "$TMPDIR/tex", "MPLCONFIGDIR": "/elsewhere"}
    done = run(sandbox, tmp_path / "staging", code, environment=given)
    seen = json.loads(" ".join(words(done)))
    assert seen["AI_SCIENTIST_SEED"] == "7"
    assert seen["TEXMFVAR"] == f"{seen['TMPDIR']}/tex"
    assert seen["MPLCONFIGDIR"] == "/elsewhere"
    assert seen["HOME"] == seen["TMPDIR"]
    assert "PYTEST_CURRENT_TEST" not in seen
    assert "PYTEST_CURRENT_TEST" in os.environ
    assert not (tmp_path / "staging" / "tmp").exists()


def test_a_variable_named_like_a_secret_is_refused(tmp_path: Path) -> None:
    """A key cannot reach an experiment by mistake; harmless names that look alike can."""
    for name in ("OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "db_password"):
        with pytest.raises(InputError, match=name):
            run(TIERS[0], tmp_path / "staging", "", environment={name: "x"})
    done = run(TIERS[0], tmp_path / "staging", "", environment={"TOKENIZERS_PARALLELISM": "false"})
    assert done.cause is ExitCause.EXIT


@BY_TIER
def test_an_interpreter_below_a_home_folder_works(sandbox: Sandbox, tmp_path: Path) -> None:
    """A venv in a home folder, reached through a link, runs, and does not open that home."""
    home = tmp_path / "home"
    venv = home / "envs" / "experiment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (home / "envs" / "current").symlink_to(venv)
    (home / "key").write_text("secret")
    code = f"""
import sqlite3, sys
print(sys.prefix)
try:
    print(open({str(home / "key")!r}).read())
except OSError:
    print("closed")
"""
    python = home / "envs" / "current" / "bin" / "python"
    prefix, key = words(run(sandbox, tmp_path / "staging", code, python=python))
    assert prefix in (str(venv), str(home / "envs" / "current"))
    assert key == ("secret" if sandbox.tier == "rlimits" else "closed")
    assert home not in interpreter_roots(str(python))


@ISOLATING
def test_readable_folders_are_readable_and_no_more(sandbox: Sandbox, tmp_path: Path) -> None:
    """Data that was handed over is read; it cannot be written, and its neighbours are not there."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "corpus.txt").write_text("corpus")
    (tmp_path / "other.txt").write_text("other")
    code = f"""
print(open({str(data / "corpus.txt")!r}).read())
for path, mode in (({str(data / "corpus.txt")!r}, "a"), ({str(tmp_path / "other.txt")!r}, "r")):
    try:
        open(path, mode)
    except OSError as error:
        print(type(error).__name__)
"""
    seen = words(run(sandbox, tmp_path / "staging", code, readable=(data, tmp_path / "absent")))
    assert seen[0] == "corpus"
    assert len(seen) == 3


@ISOLATING
def test_libraries_that_share_memory_and_fork_still_work(sandbox: Sandbox, tmp_path: Path) -> None:
    """Process pools, shared memory and compiled subprocesses are not what a sandbox is against."""
    code = """
import multiprocessing, subprocess
from multiprocessing import shared_memory
def double(value):
    return 2 * value
if __name__ == "__main__":
    block = shared_memory.SharedMemory(create=True, size=64)
    block.buf[0] = 7
    block.close(); block.unlink()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(sum(pool.map(double, range(4))))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(sum(pool.map(double, range(4))))
    print(subprocess.run(["true"]).returncode)
"""
    assert words(run(sandbox, tmp_path / "staging", code)) == ["12", "12", "0"]


@ISOLATING
def test_network_is_there_only_when_asked_for(sandbox: Sandbox, tmp_path: Path) -> None:
    """A request with `network` reaches a server of this host; without it the same code fails."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2); print('yes')"
        assert words(run(sandbox, tmp_path / "with", code, network=True)) == ["yes"]
        without = run(sandbox, tmp_path / "without", code)
        assert without.cause is ExitCause.CRASH


@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_only_the_assigned_gpu_can_be_opened(name: str, tmp_path: Path) -> None:
    """Of the device nodes only the assigned GPU's and the driver's are there, counted from 0.

    The nodes are stand-ins: this says what a sandbox passes on, not that CUDA works in it.
    """
    devices = tmp_path / "dev"
    devices.mkdir()
    for node in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        stand_in(devices / node)
    tiers = {tier.tier: tier for tier in all_tiers(devices)}
    working = {tier.tier for tier in TIERS}
    assert name in working
    place = Path("/dev") if name == "bubblewrap" else devices
    code = f"""
import os
for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "sda"):
    try:
        os.close(os.open(f"{place}/{{name}}", os.O_RDWR)); print(name)
    except OSError:
        pass
print(os.environ["CUDA_VISIBLE_DEVICES"], os.access("/sys/kernel", os.R_OK))
"""
    done = run(tiers[name], tmp_path / "staging", code, gpus=("1",))
    assert words(done) == ["nvidia1", "nvidiactl", "nvidia-uvm", "0", "True"]
    assert done.gpus == ("1",)
    without = run(tiers[name], tmp_path / "no_gpu", code)
    assert words(without)[0] in ("True", "False")


def stand_in(path: Path) -> None:
    """Make a device node like /dev/null, or a plain file where that needs root."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        path.write_text("")


@ISOLATING
def test_latex_runs_in_it(sandbox: Sandbox, tmp_path: Path) -> None:
    """Model-written LaTeX goes the same way: it compiles, and cannot take in a file of the host."""
    (tmp_path / "key.tex").write_text(r"\typeout{READ-IT}")
    plain = compile_latex(sandbox, tmp_path / "plain", "ok")
    assert plain.cause is ExitCause.EXIT, plain.stdout.read_text()
    assert (tmp_path / "plain/source/paper.pdf").read_bytes().startswith(b"%PDF")
    curious = compile_latex(sandbox, tmp_path / "curious", rf"\input{{{tmp_path}/key.tex}} ok")
    assert curious.cause is ExitCause.CRASH
    assert "READ-IT" not in curious.stdout.read_text()


def compile_latex(sandbox: Sandbox, staging: Path, body: str) -> Execution:
    """Compile a small document; all of the throw-away source/ may be written."""
    (staging / "source").mkdir(parents=True)
    document = rf"\documentclass{{article}}\begin{{document}}{body}\end{{document}}"
    (staging / "source" / "paper.tex").write_text(document)
    request = RunRequest(
        key="paper",
        staging=staging,
        out_name=".",
        command=("/usr/bin/pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"),
        environment={"TEXMFVAR": "$TMPDIR/texmf-var"},
        readable=(Path("/etc/texmf"), Path("/var/lib/texmf")),
        limits=RunLimits(timeout_s=30, memory_gb=1, disk_gb=0.1),
    )
    return LocalExecutor(sandbox).run(request)
