"""Find the strongest tier that holds on this host, by trying to break out of each."""

from __future__ import annotations

import functools
import json
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.errors import SetupError
from ai_scientist.protocols import Sandbox
from ai_scientist.records import Json, RunLimits, RunRequest
from ai_scientist.sandbox.leftovers import remove_tree
from ai_scientist.sandbox.tiers import (
    BASE_INTERPRETER,
    LimitsOnly,
    all_tiers,
    outer_environment,
    tmp_folder,
)

PROBE = Path(__file__).with_name("probe.py")

UBUNTU_PROFILE = """\
abi <abi/4.0>,
include <tunables/global>

profile bwrap /usr/bin/bwrap flags=(unconfined) {
  userns,
  include if exists <local/bwrap>
}
"""
"""What /etc/apparmor.d/bwrap must hold on Ubuntu 23.10 and newer."""
INSTALL = "apt-get install bubblewrap (as root; on RHEL: dnf install bubblewrap)"
REMEDY_USERNS = (
    "Ubuntu 23.10 and newer: write the profile in docs/security.md to /etc/apparmor.d/bwrap, then "
    "`systemctl reload apparmor`; elsewhere: `sysctl user.max_user_namespaces=15000`"
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How one tier did on this host."""

    sandbox: Sandbox
    passed: bool
    leaks: tuple[str, ...] = ()
    """What the probe could do and must not: file, environment, proc, tcp, …"""
    problem: str = ""
    """Why the tier did not start at all."""

    @property
    def sentence(self) -> str:
        """Say it in a line."""
        if self.passed:
            return f"{self.sandbox.tier}: works"
        seen = self.problem or f"lets through: {', '.join(self.leaks)}"
        return f"{self.sandbox.tier}: {seen}"


def choose_sandbox(*, allow_unsandboxed: bool, probe_folder: Path) -> Sandbox:
    """Return the strongest tier that passes a real probe in `probe_folder`, on this host.

    The probes are made once per process. Raises SetupError for the person, with the remedy, when
    only `rlimits` is left and `allow_unsandboxed` does not allow it.
    """
    return strongest(try_tiers(probe_folder), allow_unsandboxed=allow_unsandboxed)


def strongest(trials: tuple[Trial, ...], *, allow_unsandboxed: bool) -> Sandbox:
    """Return the first tier that passed; raises SetupError for the person when none may be used."""
    for trial in trials:
        if trial.passed and (allow_unsandboxed or not isinstance(trial.sandbox, LimitsOnly)):
            return trial.sandbox
    seen = "; ".join(trial.sentence for trial in trials if not trial.passed)
    raise SetupError(f"no sandbox works on this machine ({seen})", hint=remedy(trials))


def available_tiers(probe_folder: Path) -> tuple[Sandbox, ...]:
    """Return every tier that works on this host, strongest first."""
    return tuple(trial.sandbox for trial in try_tiers(probe_folder) if trial.passed)


def remedy(trials: tuple[Trial, ...]) -> str:
    """Return what would bring a sandbox to this host."""
    if not any(trial.sandbox.tier == "bubblewrap" for trial in trials):
        return f"{INSTALL}; or --allow-unsandboxed, at your own risk"
    return f"{REMEDY_USERNS}; or --allow-unsandboxed, at your own risk"


@functools.cache
def try_tiers(probe_folder: Path) -> tuple[Trial, ...]:
    """Probe every tier; the answer holds for the life of this process."""
    with planted(probe_folder) as (request, aims):
        return tuple(try_tier(sandbox, request, aims) for sandbox in all_tiers())


@contextmanager
def planted(probe_folder: Path) -> Iterator[tuple[RunRequest, Json]]:
    """Plant a secret file, a process with a secret environment and sockets; yield the aims."""
    probe_folder.mkdir(parents=True, exist_ok=True)
    secret = f"planted-{secrets.token_hex(8)}"
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix=".probe-", dir=probe_folder)).resolve()
        stack.callback(remove_tree, folder)
        staging = folder / "staging"
        (staging / "source" / "out").mkdir(parents=True)
        (folder / "secret").write_text(secret)
        waiting = subprocess.Popen(
            [shutil.which("sleep") or "/bin/sleep", "20"], env={"PLANTED": secret}
        )
        stack.callback(waiting.wait)
        stack.callback(waiting.kill)
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="probe-")))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(short / "socket"))
        unix.listen()
        aims: Json = {
            "secret": secret,
            "file": str(folder / "secret"),
            "outside": str(folder / "outside"),
            "inside": "out/inside",
            "port": tcp.getsockname()[1],
            "socket": str(short / "socket"),
        }
        yield request_of(staging, aims), aims


def request_of(staging: Path, aims: Json) -> RunRequest:
    """Return the request that runs the probe."""
    return RunRequest(
        key="probe",
        staging=staging,
        out_name="out",
        command=(str(BASE_INTERPRETER), "-I", "-S", str(PROBE), json.dumps(aims)),
        environment={},
        readable=(PROBE,),
        limits=RunLimits(timeout_s=10, memory_gb=1, disk_gb=0.1),
    )


def try_tier(sandbox: Sandbox, request: RunRequest, aims: Json) -> Trial:
    """Run the probe in one tier."""
    tmp, source = tmp_folder(request.staging), request.staging / "source"
    remove_tree(tmp)
    tmp.mkdir()
    try:
        done = subprocess.run(
            sandbox.wrap(request, ()),
            env=dict(outer_environment(request.staging)),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=10,
            check=False,
        )
        found: Json = json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Trial(sandbox=sandbox, passed=False, problem=str(error))
    except ValueError:
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["no answer"]
        return Trial(sandbox=sandbox, passed=False, problem=words[-1][:200])
    # What counts is what arrived here: a write into the run's own /tmp reaches nobody.
    written = {"write outside": Path(aims["outside"]), "write source": source / "planted.txt"}
    leaks = (*found["leaks"], *(name for name, path in written.items() if path.exists()))
    for path in written.values():
        path.unlink(missing_ok=True)
    unguarded = isinstance(sandbox, LimitsOnly)
    return Trial(sandbox=sandbox, passed=found["writes"] and (unguarded or not leaks), leaks=leaks)
