"""Plant what a hostile experiment goes for, run it in a tier, and look at what it got."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_scientist.execution.local import LocalExecutor
from ai_scientist.machine.processes import marked
from ai_scientist.protocols import Sandbox
from ai_scientist.records import Execution, ExitCause, RunLimits, RunRequest
from ai_scientist.sandbox.tiers import mark_of

HERE = Path(__file__).resolve().parent
LISTED = "list of the host's processes"
SOURCE_WRITES = {
    "edit experiment.py": "experiment.py",
    "edit a frozen file": "frozen.py",
    "delete source files": "helper.py",
}
RUN_WRITES = {
    "change the journal": "events.jsonl",
    "change an earlier run": "run_0/final_info.json",
    "delete git": ".git/HEAD",
    "delete a folder of the run": "latex/paper.tex",
}
OUTSIDE_WRITES = (
    "new file outside", "change a file outside", "truncate a file outside", "truncate by open",
    "write through a link", "write through a hard link", "write through ..", "rename outside",
    "change mode outside", "change times outside",
)  # fmt: skip
SLEEPS_S = 120
"""How long a bomb goes on by itself."""


@dataclass(frozen=True)
class Bomb:
    """One program of bombs.py, the limits it runs under and how it must end."""

    name: str
    causes: tuple[ExitCause, ...]
    timeout_s: float = 40.0
    memory_gb: float = 0.4
    processes: int = 30
    disk_gb: float = 0.1
    output_mb: float = 1.0


BOMBS = (
    Bomb("fork_bomb", (ExitCause.PROCESSES,)),
    Bomb("memory_hog", (ExitCause.MEMORY,)),
    Bomb("shared_hog", (ExitCause.MEMORY,)),
    Bomb("big_file", (ExitCause.DISK,)),
    Bomb("many_files", (ExitCause.DISK,)),
    Bomb("nameless_file", (ExitCause.DISK,)),
    Bomb("deep_folders", (ExitCause.DISK,)),
    Bomb("output_flood", (ExitCause.OUTPUT,)),
    Bomb("daemon", (ExitCause.EXIT,)),
    Bomb("nameless_daemon", (ExitCause.EXIT,)),
    Bomb("relaunch", (ExitCause.CRASH,)),
    Bomb("deaf", (ExitCause.TIMEOUT,), timeout_s=0.5),
    # Out of sight or out of reach, it sleeps until its time is over; else it is reported.
    Bomb("kill_the_watchers", (ExitCause.TIMEOUT, ExitCause.KILLED), timeout_s=1.0),
)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """The host's side of the attempts."""

    secret: str
    folder: Path
    staging: Path
    host: subprocess.Popen[bytes]
    listeners: Mapping[str, socket.socket]
    aims: Mapping[str, Any]


def make_staging(folder: Path, program: Path) -> Path:
    """Make a staging folder below a run folder, with a program as its experiment.py."""
    staging = folder / "run_folder" / ".staging" / "run_1"
    source = staging / "source"
    source.mkdir(parents=True)
    (source / "experiment.py").write_bytes(program.read_bytes())
    (source / "frozen.py").write_text("FROZEN = True\n")
    (source / "helper.py").write_text("HELPER = True\n")
    return staging


def host_address() -> str:
    """Return an address of this host that is not loopback, where it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"


def listen(stack: ExitStack, folder: Path, abstract: str) -> dict[str, socket.socket]:
    """Open the sockets that a sandboxed process must not reach."""
    tcp = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
    udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("127.0.0.1", 0))
    unix = stack.enter_context(socket.socket(socket.AF_UNIX))
    unix.bind(str(folder / "s"))
    unix.listen()
    nameless = stack.enter_context(socket.socket(socket.AF_UNIX))
    nameless.bind("\0" + abstract)
    nameless.listen()
    listeners = {"tcp": tcp, "udp": udp, "unix": unix, "abstract": nameless}
    for listener in listeners.values():
        listener.setblocking(False)
    return listeners


@contextmanager
def plant(folder: Path) -> Iterator[Planted]:
    """Plant keys, a run folder, victims, a host process and sockets below `folder`."""
    secret = f"sk-planted-{secrets.token_hex(8)}"
    staging = make_staging(folder, HERE / "attempts.py")
    run_folder = folder / "run_folder"
    files = {folder / "home" / name: secret for name in (".ssh/id_ed25519", ".config/keys.env")}
    files |= {run_folder / name: secret for name in RUN_WRITES.values()}
    files |= {folder / "victims" / name / "file.txt": "precious" for name in OUTSIDE_WRITES}
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    name = f"64.{secrets.randbelow(10**9):09d}"
    with ExitStack() as stack:
        host = subprocess.Popen(["sleep", name], env={"API_KEY": secret, "PATH": "/usr/bin:/bin"})
        stack.callback(host.wait)
        stack.callback(host.kill)
        listeners = listen(stack, folder, name)
        aims = {
            "secret": secret,
            "victims": str(folder / "victims"),
            "dots": f"run_1/../../../../../victims/{OUTSIDE_WRITES[6]}/file.txt",
            "run_folder": str(run_folder),
            "host_pid": host.pid,
            "host_name": name,
            "key_file": str(folder / "home/.config/keys.env"),
            "ssh_key": str(folder / "home/.ssh/id_ed25519"),
            "tcp": listeners["tcp"].getsockname()[1],
            "udp": listeners["udp"].getsockname()[1],
            "unix": str(folder / "s"),
            "abstract": name,
            "in_usr": f"/usr/local/planted-by-hostile-{name}",
            "address": host_address(),
            "launcher": str(HERE.parent.parent / "launch_scientist.py"),
        }
        yield Planted(
            secret=secret, folder=folder, staging=staging, host=host, listeners=listeners, aims=aims
        )


def arrived(planted: Planted) -> set[str]:
    """Return the network attempts whose words reached the host."""
    names = {b"tcp": "tcp", b"address": "tcp to an address of the host", b"udp": "udp",
             b"unix": "unix socket", b"abstract": "abstract unix socket"}  # fmt: skip
    words = []
    for kind, listener in planted.listeners.items():
        with suppress(BlockingIOError):
            while True:
                if kind == "udp":
                    words.append(listener.recv(100))
                    continue
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(1)
                    words.append(connection.recv(100))
    return {names.get(word, "dns") for word in words}


def changed(planted: Planted) -> set[str]:
    """Return the attempts to write that left a trace on the host."""
    found = set()
    for name in OUTSIDE_WRITES:
        folder = planted.folder / "victims" / name
        names = [path.name for path in folder.iterdir()]
        whole = names == ["file.txt"] and (folder / "file.txt").read_text() == "precious"
        state = (folder / "file.txt").lstat() if whole else None
        if state is None or state.st_mode & 0o777 == 0o777 or state.st_mtime == 1:
            found.add(name)
    for name, where in RUN_WRITES.items():
        path = planted.folder / "run_folder" / where
        if not path.is_file() or path.read_text() != planted.secret:
            found.add(name)
    moved = planted.staging / "gone"
    source = moved if moved.is_dir() else planted.staging / "source"
    original = (HERE / "attempts.py").read_text()
    for name, where in SOURCE_WRITES.items():
        path = source / where
        expected = original if where == "experiment.py" else f"{where[:-3].upper()} = True\n"
        if not path.is_file() or path.read_text() != expected:
            found.add(name)
    if moved.is_dir():
        found.add("move source away")
    if (planted.staging / "forged.json").exists():
        found.add("forge its outcome")
    in_usr = Path(planted.aims["in_usr"])
    if in_usr.exists():
        found.add("write to /usr")
        in_usr.unlink()
    return found


def attempt_all(sandbox: Sandbox, folder: Path, python: str) -> dict[str, bool]:
    """Run every attempt in a tier; return for each whether it got through."""
    with plant(folder) as planted:
        command = (python, "experiment.py", json.dumps(planted.aims))
        execution = LocalExecutor(sandbox).run(request_of(planted.staging, command, RunLimits(
            timeout_s=30, memory_gb=1, disk_gb=0.2, output_mb=1)))  # fmt: skip
        output = execution.stdout.read_text()
        if execution.cause is not ExitCause.EXIT:
            raise AssertionError(f"{execution}: {output}{execution.stderr.read_text()}")
        got: dict[str, bool] = json.loads(output)
        for name in (*changed(planted), *arrived(planted)):
            got[name] = True
        got["kill a host process"] = planted.host.poll() is not None
    return got


def request_of(staging: Path, command: tuple[str, ...], limits: RunLimits) -> RunRequest:
    """Return the request of a hostile run."""
    return RunRequest(
        key="run_1/execution_1",
        staging=staging,
        out_name="run_1",
        command=command,
        environment={},
        readable=(),
        limits=limits,
    )


def explode(sandbox: Sandbox, bomb: Bomb, folder: Path, python: str) -> tuple[Execution, list[str]]:
    """Run one bomb; return how it ended, and every process of it that is still there."""
    staging = make_staging(folder, HERE / "bombs.py")
    token = f"token-{secrets.token_hex(8)}"
    limits = RunLimits(
        timeout_s=bomb.timeout_s,
        memory_gb=bomb.memory_gb,
        processes=bomb.processes,
        disk_gb=bomb.disk_gb,
        output_mb=bomb.output_mb,
    )
    command = (python, "experiment.py", bomb.name, token, str(SLEEPS_S))
    execution = LocalExecutor(sandbox).run(request_of(staging, command, limits))
    return execution, left_over(token, staging)


def left_over(token: str, staging: Path) -> list[str]:
    """Return the processes that carry a token on their command line, or the staging's mark."""
    found = [f"{pid}: marked" for pid in marked(mark_of(staging))]
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if token.encode() in command:
                found.append(f"{folder.name}: {command!r}")
    return found


def interpreter() -> str:
    """Return the interpreter that hostile programs run with: a venv's, where this is one."""
    return sys.executable
