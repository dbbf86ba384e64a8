from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from ai_scientist.errors import InputError, SetupError
from ai_scientist.machine.environments import Environment, default_cache_root, environment_for


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that is all pip can see."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def _add_wheel(index: Path, name: str, *, needs: str = "") -> None:
    """Put version 1.0 of a package into the index: one module, one value."""
    info = f"{name}-1.0.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    files = {
        f"{name}.py": "ANSWER = 42\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(index / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)


def _lock(folder: Path, text: str) -> Path:
    lock = folder / "requirements.lock"
    lock.write_text(text)
    return lock


def _imports(environment: Environment, module: str) -> bool:
    command = [str(environment.python), "-I", "-c", f"import {module}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_built_once_for_all_callers(tmp_path: Path, index: Path) -> None:
    """Of callers at the same time one builds, all get the same, and a later one reads a file."""
    _add_wheel(index, "toy")
    lock = _lock(tmp_path, "# a comment\ntoy==1.0\n")
    said: list[str] = []
    got: list[Environment] = []

    def call() -> None:
        got.append(environment_for(lock, tmp_path / "cache", report=said.append))

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert got[0] == got[1] == got[2]
    assert got[0].packages == ("toy==1.0",)
    assert _imports(got[0], "toy")
    assert sum(line.startswith("building") for line in said) == 1
    said.clear()
    copy = _lock(index, lock.read_text())  # the same content elsewhere is the same environment
    assert environment_for(copy, tmp_path / "cache", report=said.append) == got[0]
    assert said == []


def test_unfinished_is_built_again(tmp_path: Path, index: Path) -> None:
    """A folder that a killed builder left is removed, and the environment built anew."""
    _add_wheel(index, "toy")
    lock = _lock(tmp_path, "toy==1.0\n")
    sha256 = hashlib.sha256(lock.read_bytes()).hexdigest()
    name = "{}-py{}.{}".format(sha256[:16], *sys.version_info[:2])
    leftover = tmp_path / "cache" / "environments" / name / "bin" / "leftover"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    said: list[str] = []
    environment = environment_for(lock, tmp_path / "cache", report=said.append)
    assert environment.folder == leftover.parent.parent
    assert environment.lock_sha256 == sha256
    assert said[0].startswith("removing the unfinished")
    assert not leftover.exists()
    assert _imports(environment, "toy")


def test_torch_brings_what_its_build_needs(tmp_path: Path, index: Path) -> None:
    """Packages that torch requires are installed though the lock cannot name them; others not."""
    _add_wheel(index, "torch", needs="nvidia_library")
    _add_wheel(index, "nvidia_library")
    _add_wheel(index, "toy", needs="never_wanted")
    lock = _lock(tmp_path, "toy==1.0\ntorch==1.0\n")
    environment = environment_for(lock, tmp_path / "cache", report=print)
    assert environment.packages == ("nvidia_library==1.0", "torch==1.0", "toy==1.0")


def test_pip_failure_is_told(tmp_path: Path, index: Path) -> None:
    """What pip said comes back in one sentence with a remedy, and nothing half-built stays."""
    lock = _lock(tmp_path, "toy==9.9\n")
    with pytest.raises(SetupError) as caught:
        environment_for(lock, tmp_path / "cache", report=print)
    assert "No matching distribution found for toy==9.9" in caught.value.message
    assert str(lock) in caught.value.message
    assert "\n" not in caught.value.message
    log = next((tmp_path / "cache" / "environments").glob("*.log"))
    assert str(log) in caught.value.hint
    assert not log.with_suffix("").exists()


def test_wrong_places_are_told(tmp_path: Path) -> None:
    """A lock that is not there and a cache that cannot be written name themselves."""
    with pytest.raises(InputError, match=r"nowhere\.lock cannot be read"):
        environment_for(tmp_path / "nowhere.lock", tmp_path, report=print)
    lock = _lock(tmp_path, "toy==1.0\n")
    with pytest.raises(SetupError) as caught:
        environment_for(lock, lock, report=print)
    assert "AI_SCIENTIST_CACHE" in caught.value.hint


def test_cache_root_rule() -> None:
    """Our own variable wins over XDG's, and that over the home folder."""
    both = {"AI_SCIENTIST_CACHE": "/big/disk", "XDG_CACHE_HOME": "/shared"}
    assert default_cache_root(both) == Path("/big/disk")
    assert default_cache_root({"XDG_CACHE_HOME": "/shared"}) == Path("/shared/ai_scientist")
    assert default_cache_root({}) == Path.home() / ".cache" / "ai_scientist"


@pytest.fixture
def checkout(tmp_path: Path, project: Path) -> Path:
    """The two doors, and behind them a command line that only says where it runs."""
    package = tmp_path / "ai_scientist"
    package.mkdir()
    shutil.copy(project / "launch_scientist.py", tmp_path)
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(project / "ai_scientist" / name, package)
    (package / "cli.py").write_text(
        "import sys\n"
        "def launch(argv): print('launch', argv, sys.prefix); return 3\n"
        "def main(argv): print('main', argv, sys.prefix); return 1\n"
    )
    return tmp_path


def _enter(checkout: Path, *door: str) -> subprocess.CompletedProcess[str]:
    """Go through a door with an interpreter that sees no installed package."""
    return subprocess.run(
        [sys.executable, "-S", *door, "--idea", "a b"],
        cwd=checkout,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )


DOORS = [("launch", 3, ["launch_scientist.py"]), ("main", 1, ["-m", "ai_scientist"])]


@pytest.mark.parametrize(("function", "exit_code", "door"), DOORS)
def test_doors_hand_over_to_the_built_environment(
    checkout: Path, function: str, exit_code: int, door: list[str]
) -> None:
    """Under any Python both doors go on in .venv, with the same arguments and exit code."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    (checkout / ".venv" / "requirements.lock").touch()
    done = _enter(checkout, *door)
    assert (done.returncode, done.stderr) == (exit_code, "")
    assert done.stdout == f"{function} ['--idea', 'a b'] {checkout / '.venv'}\n"


@pytest.mark.parametrize(("function", "exit_code", "door"), DOORS)
def test_doors_say_what_builds_the_environment(
    checkout: Path, function: str, exit_code: int, door: list[str]
) -> None:
    """Without an environment, or with an unfinished one, they say so in two lines and exit 2."""
    (checkout / ".venv").mkdir()
    done = _enter(checkout, *door)
    assert (done.returncode, done.stdout) == (2, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint == "hint: make demo"
