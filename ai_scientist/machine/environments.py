"""One Python environment per experiment lock, built once under a cache root.

    CACHE_ROOT/environments/
        <lock hash>-py3.11/                   a venv
        <lock hash>-py3.11/environment.json   written last: a folder without it is unfinished
        <lock hash>-py3.11/matplotlib/        matplotlib's list of this machine's fonts
        <lock hash>-py3.11.log                all that pip said
        <lock hash>-py3.11.lock               held while building

A venv cannot be moved, so it is built in place: an unfinished one is removed and built again.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.errors import InputError, SetupError

Report = Callable[[str], None]

REPORT_EVERY_S = 10.0
FONT_LISTS = "matplotlib"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """An environment that is ready to run experiments."""

    python: Path
    lock_sha256: str
    folder: Path
    python_version: str
    packages: tuple[str, ...]
    """What is installed, as `name==version`: with a GPU build of torch more than the lock says."""


def default_cache_root(variables: Mapping[str, str]) -> Path:
    """Return where environments and cached data live, from the process's environment variables."""
    if chosen := variables.get("AI_SCIENTIST_CACHE"):
        return Path(chosen).expanduser().absolute()
    if shared := variables.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser().absolute() / "ai_scientist"
    return Path.home() / ".cache" / "ai_scientist"


def environment_for(lock: Path, cache_root: Path, *, report: Report) -> Environment:
    """Return the environment of a lock file; build it first where there is none.

    A finished one costs a file read. Of several callers one builds and the others wait. `report`
    gets a line now and then while that lasts. Raises InputError when the lock cannot be read and
    SetupError, with pip's own last words and the remedy, when the environment cannot be built.
    """
    folder, sha256 = _place_of(lock, cache_root)
    if found := _read_finished(folder, sha256):
        return found
    with _building_alone(folder, report):
        if found := _read_finished(folder, sha256):
            return found
        try:
            built = _build(lock, sha256, folder, report)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _list_fonts(built)
        return built


def finished_environment(lock: Path, cache_root: Path) -> Environment | None:
    """Return the environment of a lock file where it is built already.

    Raises InputError when the lock cannot be read.
    """
    return _read_finished(*_place_of(lock, cache_root))


def _place_of(lock: Path, cache_root: Path) -> tuple[Path, str]:
    """Return the folder of a lock's environment, and the lock's hash."""
    try:
        content = lock.read_bytes()
    except OSError as error:
        raise InputError(
            f"the lock file {lock} cannot be read: {error.strerror}",
            hint="a template's `lock` names a file in its folder, made by pip freeze",
        ) from None
    sha256 = hashlib.sha256(content).hexdigest()
    name = f"{sha256[:16]}-py{sys.version_info.major}.{sys.version_info.minor}"
    return cache_root.absolute() / "environments" / name, sha256


def _read_finished(folder: Path, sha256: str) -> Environment | None:
    try:
        facts = json.loads((folder / "environment.json").read_text())
    except (OSError, ValueError):
        return None
    python = folder / "bin" / "python"
    # Its python is a link: dead once the interpreter it was made from is removed.
    if facts.get("lock_sha256") != sha256 or not python.exists():
        return None
    return Environment(
        python=python,
        lock_sha256=sha256,
        folder=folder,
        python_version=facts["python"],
        packages=tuple(facts["packages"]),
    )


@contextmanager
def _building_alone(folder: Path, report: Report) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f"{folder.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report(f"waiting for another process that builds {folder.name}")
            lock.acquire()
    except OSError as error:
        raise SetupError(
            f"environments cannot be built in {folder.parent}: {error.strerror}",
            hint="set AI_SCIENTIST_CACHE to a folder that can be written",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _build(lock: Path, sha256: str, folder: Path, report: Report) -> Environment:
    started = time.monotonic()
    if folder.exists():
        report(f"removing the unfinished environment {folder.name}")
        shutil.rmtree(folder)
    pins = _read_pins(lock)
    report(f"building the environment of {lock}: {len(pins)} packages, the first time only")
    log = folder.with_name(f"{folder.name}.log")
    log.unlink(missing_ok=True)
    _call(lock, [sys.executable, "-I", "-m", "venv", str(folder)], log, report)
    python = folder / "bin" / "python"
    pip = [str(python), "-I", "-m", "pip", "--no-input", "--disable-pip-version-check"]
    if "torch" in pins:
        # Which packages torch needs depends on its build: a CUDA one brings its own libraries,
        # which the lock cannot name. The lock holds all others to their versions.
        report(f"installing torch {pins['torch']} with what its build needs")
        torch = f"torch=={pins['torch']}"
        _call(lock, [*pip, "install", "--constraint", str(lock), torch], log, report)
    _call(lock, [*pip, "install", "--no-deps", "--requirement", str(lock)], log, report)
    freeze = subprocess.run([*pip, "freeze"], capture_output=True, text=True, check=True)
    facts = {
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "lock_sha256": sha256,
        "packages": freeze.stdout.split("\n")[:-1],
    }
    unfinished = folder / "environment.json.part"
    unfinished.write_text(json.dumps(facts, indent=2) + "\n")
    unfinished.replace(folder / "environment.json")
    report(f"the environment of {lock} is ready after {time.monotonic() - started:.0f} s")
    built = _read_finished(folder, sha256)
    assert built is not None
    return built


def _list_fonts(environment: Environment) -> None:
    """Let matplotlib look through this machine's fonts once, not in every run that draws."""
    if any(package.startswith("matplotlib==") for package in environment.packages):
        subprocess.run(
            [str(environment.python), "-I", "-c", "import matplotlib.font_manager"],
            env={"MPLCONFIGDIR": str(environment.folder / FONT_LISTS), "MPLBACKEND": "Agg"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,  # a run that draws then looks for itself
        )


def font_lists(python: Path) -> list[Path]:
    """Return the lists of fonts that came with the environment of an interpreter."""
    return sorted((python.parent.parent / FONT_LISTS).glob("fontlist-*.json"))


def _read_pins(lock: Path) -> dict[str, str]:
    lines = lock.read_text(encoding="utf-8", errors="replace").splitlines()
    pins = (re.match(r"([A-Za-z0-9][\w.-]*)\s*==\s*([^\s;#]+)", line) for line in lines)
    return {pin[1].lower(): pin[2] for pin in pins if pin}


def _call(lock: Path, command: Sequence[str], log: Path, report: Report) -> None:
    """Run a command, its output to the log; SetupError when it fails."""
    last_report = time.monotonic()
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            file.flush()
            if line.startswith("Collecting ") and time.monotonic() - last_report > REPORT_EVERY_S:
                last_report = time.monotonic()
                report(f"  at {line.split()[1]}")
    if process.returncode != 0:
        raise SetupError(
            f"the environment of {lock} cannot be built: {_last_words(log)}",
            hint=_remedy(log),
        )


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8").splitlines()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    chosen = errors or [line for line in lines if line and not line.startswith("WARNING:")]
    return "; ".join(chosen[-3:]) or "no output"


def _remedy(log: Path) -> str:
    text = log.read_text(encoding="utf-8")
    if "No space left on device" in text:
        return f"free some space on the disk of {log.parent}, or set AI_SCIENTIST_CACHE elsewhere"
    if "ensurepip is not" in text:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"sudo apt-get install python{version}-venv, then the same command again"
    if "NewConnectionError" in text or "NameResolutionError" in text or "timed out" in text:
        return f"is the package index reachable? then the same command again; all of it: {log}"
    return f"mend the lock, or wait for the package index, and try again; all of it: {log}"
