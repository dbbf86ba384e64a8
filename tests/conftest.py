"""What several test modules share."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import hypothesis
import pytest
from filelock import FileLock

from ai_scientist.execution.bench import make_bench, prepare_data
from ai_scientist.execution.local import LocalExecutor
from ai_scientist.inputs.templates import load_template
from ai_scientist.machine.environments import default_cache_root, environment_for
from ai_scientist.sandbox.choice import choose_sandbox
from tests.digits_runs import NEW, finish
from tests.doors import PROJECT
from tests.sae_runs import call
from tests.scripted_launches import Launch, launch_scripted

# A shell that starts the suite in the background ignores Ctrl-C for it, and so would every process
# that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no finding, and the same tree passes or fails alike everywhere.
hypothesis.settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("steady")

# Whatever could make a test reach a paid model, or change what it measures.
NOT_FOR_TESTS = ("_API_KEY", "_BASE_URL", "AI_SCIENTIST_PROFILE", "AI_SCIENTIST_SEED")


@pytest.fixture(autouse=True, scope="session")
def no_money_is_spent() -> Iterator[None]:
    """Take every key and endpoint out of the environment before the first test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.endswith(NOT_FOR_TESTS):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def project() -> Path:
    """The checkout."""
    return PROJECT


@pytest.fixture(scope="session")
def cache_root() -> Path:
    """The cache root that `make` builds the environments of the shipped templates under."""
    return default_cache_root(os.environ)


@pytest.fixture(scope="session")
def digits_python(cache_root: Path) -> Path:
    """The interpreter that runs the digits template."""
    lock = PROJECT / "templates" / "digits" / "requirements.lock"
    return environment_for(lock, cache_root, report=print).python


@pytest.fixture(scope="session")
def finished_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a complete digits idea without a paper, for reading only."""
    folder = _shared(tmp_path_factory) / "finished_digits"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            code, errors = finish(*NEW, "--no-writeup", f"--run-dir={folder}")
            assert code == 0, errors
    assert (folder / "report.json").exists(), "the worker that made it says why"
    return folder


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Launch the label smoothing idea with scripted replies."""
    return partial(launch_scripted, tmp_path)


@pytest.fixture
def fresh_cache(tmp_path: Path, cache_root: Path) -> Path:
    """A cache root that has the environments, and nothing that was ever measured."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "environments").symlink_to(cache_root / "environments")
    return cache


def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the workers of one test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def sae_python(cache_root: Path) -> Path:
    """The interpreter that runs the sae template."""
    lock = PROJECT / "templates" / "sae" / "requirements.lock"
    return environment_for(lock, cache_root, report=print).python


@pytest.fixture(scope="session")
def smoke_data(sae_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the sae template's prepare.py builds for the rehearsal, for reading only."""
    folder = _shared(tmp_path_factory) / "sae_smoke"
    command = ("prepare.py", "--profile=smoke", f"--out_dir={folder}")
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            done = call(sae_python, PROJECT / "templates" / "sae", *command)
            assert done.returncode == 0, done.stderr
    assert (folder / "meta.json").exists(), "the worker that made it says why"
    return folder


@pytest.fixture(scope="session")
def small_data(cache_root: Path) -> Path:
    """What prepare.py builds for small and all evaluations, once in minutes, kept in the cache."""
    template = load_template(PROJECT / "templates" / "sae")
    sandbox = choose_sandbox(allow_unsandboxed=True, probe_folder=cache_root / "probe")
    executor = LocalExecutor(sandbox)
    bench = make_bench(template, "small", executor=executor, cache=cache_root, report=print)
    bench = replace(bench, evaluations=bench.profile.evaluations)
    return prepare_data(bench, bench.profile, executor=executor, cache=cache_root, report=print)[0]


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A copy of the sae template, as a run folder holds it."""
    ignored = shutil.ignore_patterns("baselines", "__pycache__")
    return Path(shutil.copytree(PROJECT / "templates" / "sae", tmp_path / "sae", ignore=ignored))
