"""Making a bench: the template's environment, the data all its runs share, the readable folders."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from ai_scientist.errors import SetupError
from ai_scientist.execution.laboratory import Bench, run_environment
from ai_scientist.execution.observation import tail_of_logs
from ai_scientist.inputs.foreign import data_beside
from ai_scientist.inputs.templates import profile_of
from ai_scientist.machine.environments import Environment, environment_for
from ai_scientist.machine.interpreters import interpreter_for
from ai_scientist.protocols import Executor
from ai_scientist.records import ExitCause, Profile, RunLimits, RunRequest, Template
from ai_scientist.run_folder.workspace import LEFT_IN_TEMPLATE

PREPARE_TIMEOUT_S = 4 * 3600.0
NAMED_PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "transformers",
    "transformer-lens",
    "sae-bench",
    "sae-lens",
    "matplotlib",
)


def make_bench(
    template: Template,
    profile_name: str,
    *,
    executor: Executor,
    cache: Path,
    report: Callable[[str], None],
    python: Path | None = None,
) -> Bench:
    """Build what is missing for a template at one profile, and return the bench.

    `python` is the interpreter for a template without a lock. Raises SetupError or InputError for
    the person.
    """
    profile = profile_of(template, profile_name)
    if template.lock is None:
        environment = interpreter_for(template.name, python)
    else:
        environment = environment_for(template.lock, cache, report=report)
    bench = Bench(
        template=template,
        profile=profile,
        python=environment.python,
        readable=(environment.folder,),
        versions=chosen_versions(environment),
        lock_sha256=environment.lock_sha256,
        beside=data_beside(template),
    )
    if template.prepare is None:
        return bench
    rehearsal = [template.profiles["smoke"]] if "smoke" in template.profiles else []
    data = {
        needed.name: prepare_data(bench, needed, executor=executor, cache=cache, report=report)
        for needed in {one.name: one for one in (*rehearsal, profile)}.values()
    }
    return Bench(**{**bench.__dict__, "data": data})


def chosen_versions(environment: Environment) -> dict[str, str]:
    """Return the versions that a run's capsule names; the lock's hash stands for all others."""
    installed = dict(line.split("==", 1) for line in environment.packages if "==" in line)
    named = {name: installed[name] for name in NAMED_PACKAGES if name in installed}
    return {"python": environment.python_version, **named, "lock": environment.lock_sha256[:16]}


def prepare_data(
    bench: Bench,
    profile: Profile,
    *,
    executor: Executor,
    cache: Path,
    report: Callable[[str], None],
) -> Path:
    """Return a profile's folder of shared data, building it once per code, lock and profile."""
    from filelock import FileLock

    template = bench.template
    place = cache / "data" / f"{template.name}_{profile.name}_{_data_key(bench, profile)}"
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        if place.is_dir():
            return place
        report(f"preparing the shared data of {template.name}/{profile.name}, once: minutes")
        staging = place.with_name(f".{place.name}.building")
        shutil.rmtree(staging, ignore_errors=True)
        _copy_code(template, staging / "source")
        command = (str(bench.python), str(template.prepare), f"--profile={profile.name}")
        request = RunRequest(
            key=f"prepare/{place.name}",
            staging=staging,
            out_name="data",
            command=(*command, "--out_dir=data"),
            environment=run_environment(profile, 0, None, {}),
            readable=bench.readable,
            limits=RunLimits(timeout_s=PREPARE_TIMEOUT_S, disk_gb=max(profile.disk_gb, 200.0)),
            gpus=profile.gpus,
        )
        execution = executor.run(request)
        if execution.cause is not ExitCause.EXIT:
            tail = tail_of_logs(execution)
            shutil.rmtree(staging, ignore_errors=True)
            raise SetupError(
                f"{template.name}/{template.prepare} failed ({execution.cause}): {tail[-600:]}",
                hint="mend what it says and run again; nothing was left behind",
            )
        (staging / "source" / "data").rename(place)
        shutil.rmtree(staging, ignore_errors=True)
    return place


def _copy_code(template: Template, destination: Path) -> None:
    ignored = shutil.ignore_patterns(*LEFT_IN_TEMPLATE, "latex")
    shutil.copytree(template.folder, destination, ignore=ignored)


def _data_key(bench: Bench, profile: Profile) -> str:
    """Hash everything that can move the data: the frozen code, the lock, the profile."""
    digest = hashlib.sha256(f"{bench.lock_sha256} {profile.name}".encode())
    for name in sorted({*bench.template.frozen, str(bench.template.prepare)}):
        digest.update(name.encode() + (bench.template.folder / name).read_bytes())
    return digest.hexdigest()[:16]
