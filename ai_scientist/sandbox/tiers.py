"""Tiers of isolation for code that a model wrote, and the strongest one that works on this host.

    bubblewrap                      own namespaces, no network, a fresh /proc; inside, Landlock
    bubblewrap without fresh /proc  the same where containers refuse to mount /proc
    landlock                        kernel rules on paths, seccomp on calls; host processes listed
    rlimits                         limits only, with what seccomp offers; asked for by the person

What each one stops, as a table of measurements: docs/security.md. Every tier ends in `confine.py`,
which sets the environment; nothing of ours is inherited. A run sees its files at their own paths,
but for the private temporary folder, which the bubblewrap tiers mount at /tmp.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.errors import InputError
from ai_scientist.machine.processes import MARKER
from ai_scientist.records import RunLimits, RunRequest
from ai_scientist.sandbox.confine import Cage

CONFINE = Path(__file__).with_name("confine.py")
DEVICES = Path("/dev")
TMP_TOKEN = "$TMPDIR"
"""At the start of a value in RunRequest.environment: the run's private temporary folder."""

BASE_INTERPRETER = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
MERGED = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM = ("/usr", "/nix/store", "/gnu/store", "/sys/devices/system")
ETC = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "fonts", "localtime", "timezone",
    "mime.types",
)  # fmt: skip
ETC_NETWORK = (
    "resolv.conf", "hosts", "host.conf", "nsswitch.conf", "gai.conf", "services", "ssl/certs",
    "ssl/openssl.cnf", "ca-certificates.conf", "pki/tls/certs", "pki/ca-trust",
)  # fmt: skip
HARMLESS_DEVICES = ("null", "zero", "full", "random", "urandom", "shm")
NVIDIA_CONTROL = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "nvidia-caps")

IN_TMP = {
    "HOME": "", "TMPDIR": "", "TMP": "", "TEMP": "",
    "XDG_CACHE_HOME": "cache", "XDG_CONFIG_HOME": "config", "XDG_DATA_HOME": "data",
    "MPLCONFIGDIR": "matplotlib", "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton", "NUMBA_CACHE_DIR": "numba", "CUDA_CACHE_PATH": "cuda",
    "TEXMFVAR": "texmf",
}  # fmt: skip
"""Folders that libraries write to, all below the private temporary folder."""
SECRET_NAME = re.compile(
    r"(^|_)(API_?KEY|ACCESS_KEY|PRIVATE_KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIALS?)(_|$)", re.I
)


def out_folder(staging: Path, out_name: str) -> Path:
    """Return the folder below source/ that a run may write; `.` is the whole throw-away copy.

    Raises InputError for the person when `out_name` leads anywhere else.
    """
    if out_name == ".":
        return staging / "source"
    parts = out_name.split("/")
    if not out_name or any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise InputError(f"not a folder below source/: {out_name!r}")
    return staging / "source" / out_name


def tmp_folder(staging: Path) -> Path:
    """Return the private temporary folder of a run."""
    return staging / "tmp"


def mark_of(staging: Path) -> str:
    """Return what the processes of this staging folder carry in their environment."""
    import hashlib

    return hashlib.sha256(os.fsencode(staging.resolve())).hexdigest()[:24]


def interpreter_roots(program: str) -> tuple[Path, ...]:
    """Return the folders an interpreter needs: its venv, and its base wherever that lives.

    Follows each link of the chain, and pyvenv.cfg; a folder counts only if it holds pyvenv.cfg or
    Python's own library, so that a link in a home folder never opens that home.
    """
    roots: dict[Path, None] = {}
    todo, seen = [Path(program)], set()
    while todo:
        path = todo.pop()
        if path in seen or not path.is_absolute():
            continue
        seen.add(path)
        prefix = path.parent.parent
        configuration = prefix / "pyvenv.cfg"
        if configuration.is_file():
            roots[prefix] = None
            home = re.search(r"^home\s*=\s*(.+?)\s*$", configuration.read_text(), re.M)
            if home:
                todo.append(Path(home[1]) / path.name)
        elif any(prefix.glob("lib*/python3*/os.py")):
            roots[prefix] = None
        if path.is_symlink():
            todo.append(path.parent / path.readlink())
        todo.append(path.resolve())
    return tuple(root for root in roots if root not in (Path("/"), Path("/usr")))


def experiment_environment(
    request: RunRequest, tmp: str, gpus: Sequence[str], *, hidden: bool
) -> dict[str, str]:
    """Return the whole environment: the request's, and what keeps libraries inside the sandbox.

    `hidden`: unassigned GPUs cannot be opened, so that the assigned ones are counted from 0.
    Raises InputError for the person when a variable is named like a secret.
    """
    given = {
        name: tmp + value.removeprefix(TMP_TOKEN) if value.startswith(TMP_TOKEN) else value
        for name, value in request.environment.items()
    }
    for name in given:
        if SECRET_NAME.search(name):
            raise InputError(
                f"the environment of an experiment may not hold `{name}`: it looks like a secret",
                hint="prefetch what needs a key, and hand over the data",
            )
    ours = {name: f"{tmp}/{below}".rstrip("/") for name, below in IN_TMP.items()}
    ours |= {"PATH": "/usr/local/bin:/usr/bin:/bin", "USER": "scientist", "LOGNAME": "scientist"}
    visible = range(len(gpus)) if hidden else gpus
    fixed = {
        MARKER: mark_of(request.staging),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, visible)),
    }
    return ours | given | fixed


def backstops(limits: RunLimits) -> dict[str, int]:
    """Return rlimits somewhat above the limits that the supervisor measures.

    Never RLIMIT_AS: CUDA reserves hundreds of gigabytes of addresses. RLIMIT_NPROC counts threads,
    and outside a user namespace everything this user runs, so it is wide; root is not held by it.
    """
    return {
        "CORE": 0,
        "FSIZE": int(limits.disk_gb * 1.25e9),
        "DATA": int(limits.memory_gb * 2e9) + 1_000_000_000,
        "NPROC": tasks_of_this_user() + 8 * limits.processes + 256,
    }


def tasks_of_this_user() -> int:
    """Count the threads that run under this user id now."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == os.getuid():
                count += folder.joinpath("task").stat().st_nlink - 2
        except OSError:
            continue
    return count


def gpu_nodes(gpus: Sequence[str], devices: Path) -> tuple[Path, ...]:
    """Return the device nodes of the assigned GPUs (N of /dev/nvidiaN) and NVIDIA's control nodes.

    Raises InputError for the person when an id is no number.
    """
    if not gpus:
        return ()
    for gpu in gpus:
        if not gpu.isdecimal():
            raise InputError(f"not the number of a GPU: {gpu!r}")
    names = [f"nvidia{gpu}" for gpu in gpus] + list(NVIDIA_CONTROL)
    return tuple(devices / name for name in names if (devices / name).exists())


@functools.cache
def bwrap_options(bwrap: str) -> frozenset[str]:
    """Return the options this bubblewrap knows; old ones lack some that are good to have."""
    shown = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False)
    return frozenset(re.findall(r"--[a-z-]+", shown.stdout + shown.stderr))


@dataclass(frozen=True, kw_only=True)
class Bubblewrap:
    """Namespaces by bubblewrap; inside, the same Landlock and seccomp once more."""

    bwrap: str
    fresh_proc: bool = True
    devices: Path = DEVICES
    in_namespace: bool = True

    @property
    def tier(self) -> str:
        """Name the tier."""
        return "bubblewrap" if self.fresh_proc else "bubblewrap without fresh /proc"

    def wrap(self, request: RunRequest, gpus: Sequence[str]) -> list[str]:
        """Return the argv that runs the command in namespaces of its own."""
        source = request.staging / "source"
        out = out_folder(request.staging, request.out_name)
        known = bwrap_options(self.bwrap)
        argv = [self.bwrap, "--unshare-all", "--unshare-user"]
        argv += [option for option in ("--disable-userns",) if option in known]
        argv += ["--share-net"] if request.network else []
        argv += ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
        argv += self._system(request, gpus, sized="--size" in known)
        argv += ["--bind", str(tmp_folder(request.staging)), "/tmp"]
        roots = (*interpreter_roots(str(BASE_INTERPRETER)), *interpreter_roots(request.command[0]))
        for path in dict.fromkeys((*roots, *request.readable)):
            argv += ["--ro-bind-try", str(path), str(path)]
        confine = "/run/confine.py"
        argv += ["--ro-bind", str(CONFINE), confine]
        argv += ["--ro-bind", str(source), str(source), "--bind", str(out), str(out)]
        argv += ["--remount-ro", "/", "--chdir", str(source), "--"]
        cage = Cage(
            landlock="try",
            readable=["/"],
            writable=[str(out), "/tmp", "/dev", *(["/proc"] if gpus else [])],
            sockets="internet",  # of the namespace, which holds nothing but its own loopback
            freeze_modes=False,
            rlimits=backstops(request.limits),
            environment=experiment_environment(request, "/tmp", gpus, hidden=True),
            folder=str(source),
        )
        return argv + confined(cage, confine, request.command)

    def _system(self, request: RunRequest, gpus: Sequence[str], *, sized: bool) -> list[str]:
        """Mount what every program needs to start, and the assigned GPUs."""
        argv = []
        for name in MERGED:
            path = Path(name)
            if path.is_symlink():
                argv += ["--symlink", str(path.readlink()), name]
            elif path.is_dir():
                argv += ["--ro-bind", name, name]
        for name in (*SYSTEM, *(["/sys"] if gpus else [])):
            argv += ["--ro-bind-try", name, name]
        for name in (*ETC, *(ETC_NETWORK if request.network else [])):
            argv += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        argv += ["--proc", "/proc"] if self.fresh_proc else ["--ro-bind", "/proc", "/proc"]
        argv += ["--dev", "/dev"]
        size = ["--size", str(int(request.limits.memory_gb * 5e8))] if sized else []
        argv += [*size, "--tmpfs", "/dev/shm"]
        for node in gpu_nodes(gpus, self.devices):
            argv += ["--dev-bind", str(node), f"/dev/{node.name}"]
        return [*argv, "--remount-ro", "/dev"]


@dataclass(frozen=True, kw_only=True)
class Landlock:
    """Kernel rules on paths, and a filter on calls: no namespaces are needed."""

    devices: Path = DEVICES
    tier: str = "landlock"
    in_namespace: bool = False

    def wrap(self, request: RunRequest, gpus: Sequence[str]) -> list[str]:
        """Return the argv that runs the command under Landlock and seccomp."""
        source = request.staging / "source"
        out = out_folder(request.staging, request.out_name)
        tmp = tmp_folder(request.staging)
        roots = (*interpreter_roots(str(BASE_INTERPRETER)), *interpreter_roots(request.command[0]))
        etc = [f"/etc/{name}" for name in (*ETC, *(ETC_NETWORK if request.network else []))]
        devices = [f"/dev/{name}" for name in HARMLESS_DEVICES]
        nodes = gpu_nodes(gpus, self.devices)
        if nodes:  # the driver names its threads through /proc/…/comm
            devices += [*map(str, nodes), "/proc"]
        cage = Cage(
            landlock="must",
            readable=[*SYSTEM, *MERGED, *etc, "/proc", *(["/sys"] if gpus else []),
                      *map(str, (*roots, *request.readable, source))],
            writable=[str(out), str(tmp), *devices],
            sockets="internet" if request.network else "none",
            freeze_modes=True,
            rlimits=backstops(request.limits),
            environment=experiment_environment(request, str(tmp), gpus, hidden=True),
            folder=str(source),
        )  # fmt: skip
        return confined(cage, str(CONFINE), request.command)


@dataclass(frozen=True, kw_only=True)
class LimitsOnly:
    """No isolation of files or processes; what seccomp offers on any kernel is taken along."""

    tier: str = "rlimits"
    in_namespace: bool = False

    def wrap(self, request: RunRequest, gpus: Sequence[str]) -> list[str]:
        """Return the argv that runs the command with limits and without network."""
        tmp = str(tmp_folder(request.staging))
        out_folder(request.staging, request.out_name)
        cage = Cage(
            landlock="off",
            readable=[],
            writable=[],
            sockets="internet" if request.network else "unix",
            freeze_modes=False,
            rlimits=backstops(request.limits),
            environment=experiment_environment(request, tmp, gpus, hidden=False),
            folder=str(request.staging / "source"),
        )
        return confined(cage, str(CONFINE), request.command)


def confined(cage: Cage, confine: str, command: Sequence[str]) -> list[str]:
    """Return the argv of the last step: confine.py, then the command."""
    python = [str(BASE_INTERPRETER), "-I", "-S", confine]
    return [*python, json.dumps(cage), "--", *command]


def all_tiers(devices: Path = DEVICES) -> tuple[Bubblewrap | Landlock | LimitsOnly, ...]:
    """Return the tiers that can be tried here, strongest first."""
    bwrap = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    spaces = (
        (
            Bubblewrap(bwrap=bwrap, devices=devices),
            Bubblewrap(bwrap=bwrap, fresh_proc=False, devices=devices),
        )
        if bwrap
        else ()
    )
    return (*spaces, Landlock(devices=devices), LimitsOnly())


def outer_environment(staging: Path) -> Mapping[str, str]:
    """Return the environment of supervisor and wrapper: the mark, and no more."""
    return {MARKER: mark_of(staging), "PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
