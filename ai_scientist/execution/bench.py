"""Making a bench: the template's environment, the data all its runs share, the readable folders."""

from __future__ import annotations

import ast
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ai_scientist.errors import InputError, SetupError
from ai_scientist.execution.environment import run_environment
from ai_scientist.execution.laboratory import Bench
from ai_scientist.execution.observation import tail_of_logs
from ai_scientist.inputs.foreign import data_beside
from ai_scientist.inputs.templates import evaluations_named, profile_of
from ai_scientist.machine.environments import Environment, environment_for
from ai_scientist.machine.interpreters import interpreter_for
from ai_scientist.machine.shared_cache import Use, trim, use
from ai_scientist.protocols import Executor
from ai_scientist.records import ExitCause, Idea, Profile, RunLimits, RunRequest, Template
from ai_scientist.run_folder.journal import write_atomically
from ai_scientist.run_folder.workspace import LEFT_IN_TEMPLATE

PREPARE_TIMEOUT_S = 4 * 3600.0
PREPARE_DISK_GB = 1000.0
PREPARED_FOR = "prepared_evaluations.json"
"""In a folder of shared data: hash of frozen code -> the evaluations that it prepared."""
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
    variables: Mapping[str, str] | None = None,
    cache_gb: float = math.inf,
    idea: Idea | None = None,
    complete: bool = False,
    prepared: bool = True,
) -> Bench:
    """Build what is missing for a template at one profile, and return the bench.

    `python` is the interpreter for a template without a lock, `variables` the environment that
    names the profile's input folders, `cache_gb` the cap of the shared caches; `idea` chooses what
    runs measure, `complete` chooses all. A bench that is not `prepared` has no data yet. Raises
    SetupError or InputError for the person.
    """
    profile = profile_of(template, profile_name)
    if template.lock is None:
        environment = interpreter_for(template.name, python)
    else:
        environment = environment_for(template.lock, cache, report=report)
    inputs = find_inputs(profile, variables or {})
    bench = Bench(
        template=template,
        profile=profile,
        python=environment.python,
        readable=(environment.folder,),
        versions=chosen_versions(environment),
        lock_sha256=environment.lock_sha256,
        beside=data_beside(template),
        inputs=inputs,
        inputs_sha256=_hash_listings(inputs.values()),
        evaluations=profile.evaluations if complete else evaluations_named(template, profile, idea),
    )
    if template.prepare is None or not prepared:
        return bench
    return _with_data(bench, executor=executor, cache=cache, report=report, cache_gb=cache_gb)


def _with_data(
    bench: Bench,
    *,
    executor: Executor,
    cache: Path,
    report: Callable[[str], None],
    cache_gb: float,
) -> Bench:
    profiles = bench.template.profiles
    rehearsal = [profiles["smoke"]] if "smoke" in profiles else []
    data: dict[str, Path] = {}
    held = []
    for needed in {one.name: one for one in (*rehearsal, bench.profile)}.values():
        data[needed.name], used = prepare_data(
            bench, needed, executor=executor, cache=cache, report=report, cache_gb=cache_gb
        )
        held.append(used)
    if cache_gb < math.inf:
        trim(cache, cache_gb, report)
    return replace(bench, data=data, held=tuple(held))


def find_inputs(profile: Profile, variables: Mapping[str, str]) -> dict[str, Path]:
    """Return the folders that a profile reads, by the name template.toml gives them.

    A name is a variable of the environment, or `VARIABLE/folder` for a part of what it names: the
    hub of HF_HOME, and not the token beside it. Raises InputError for one that is no folder.
    """
    found = {}
    for name in (*profile.inputs, *profile.prepared_from):
        variable, _, inner = name.partition("/")
        given = variables.get(variable)
        folder = Path(given or "/nonexistent", inner).expanduser().absolute()
        if not folder.is_dir():
            raise InputError(
                f"profile {profile.name} reads the folder {name}, and "
                + (f"there is no {folder}" if given else f"{variable} is not set"),
                hint="; ".join(profile.needs) or f"set {variable}, or take another --profile",
            )
        found[name] = folder
    return {name: found[name] for name in profile.inputs}


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
    cache_gb: float = math.inf,
) -> tuple[Path, Use]:
    """Return a profile's folder of shared data and our use of it, building it where it is missing.

    Of several processes one builds, and the others wait. What takes more than the cap is stopped.
    """
    from filelock import FileLock

    template = bench.template
    wanted = bench.evaluations if profile.name == bench.profile.name else ()
    code = _evaluating_code(template)
    place = cache / "data" / f"{template.name}_{profile.name}_{_data_key(bench, profile)}"
    if (used := use(place)) and not _unprepared(place, code, wanted):
        return place, used
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        about = f"the shared data of {template.name}/{profile.name}"
        if not place.is_dir():
            report(f"preparing {about}, once: minutes")
            with _prepared(bench, profile, place, executor=executor, cache_gb=cache_gb) as made:
                made.rename(place)
        used = use(place)
        if missing := _unprepared(place, code, wanted):
            report(f"adding to {about} what {', '.join(missing)} need, once")
            with _prepared(
                bench, profile, place, executor=executor, cache_gb=cache_gb, evaluations=missing
            ) as made:
                _add(made, place)
            known = _prepared_for(place)
            known |= {code: sorted({*wanted, *known.get(code, ())})}
            write_atomically(place / PREPARED_FOR, json.dumps(known))
    assert used is not None
    return place, used


def prepare_complete(bench: Bench, *, report: Callable[[str], None], **given: Any) -> None:
    """Add what all evaluations of the profile need to its shared data; `given` as prepare_data.

    It comes after all runs: what cannot be prepared is told, and left to each run.
    """
    if bench.template.prepare is None:
        return
    complete = replace(bench, evaluations=bench.profile.evaluations)
    try:
        prepare_data(complete, bench.profile, report=report, **given)
    except SetupError as error:
        report(f"{error}; each run makes its own set-up")


def _prepared_for(place: Path) -> dict[str, list[str]]:
    """Return the evaluations that a folder of shared data serves, by the code that measures."""
    try:
        known: dict[str, list[str]] = json.loads((place / PREPARED_FOR).read_text())
    except OSError:
        return {}
    return known


def _unprepared(place: Path, code: str, wanted: Sequence[str]) -> list[str]:
    known = _prepared_for(place).get(code, [])
    return [name for name in wanted if name not in known]


def _evaluating_code(template: Template) -> str:
    """Hash the code that may prepare evaluations; that of prepare.py names the data already."""
    digest = hashlib.sha256()
    for name in sorted(template.frozen) if template.prepare_evaluations else ():
        digest.update(name.encode() + (template.folder / name).read_bytes())
    return digest.hexdigest()[:16]


def _add(made: Path, place: Path) -> None:
    """Move what `place` lacks into it, each file or folder whole; runs may be reading it."""
    for path in sorted(made.iterdir()):
        there = place / path.name
        if not there.exists():
            path.rename(there)
        elif path.is_dir() and there.is_dir():
            _add(path, there)


@contextmanager
def _prepared(
    bench: Bench,
    profile: Profile,
    place: Path,
    *,
    executor: Executor,
    cache_gb: float,
    evaluations: Sequence[str] = (),
) -> Iterator[Path]:
    """Run a prepare script and yield the folder it made; what is left of it goes at the end.

    With `evaluations` it reads the data that lie in `place`, and makes what these need beside them.
    """
    template = bench.template
    inputs = {name: bench.inputs[name] for name in profile.inputs}
    environment = run_environment(profile, 0, place if evaluations else None, {}, inputs)
    if evaluations:
        environment["AI_SCIENTIST_EVALUATIONS"] = " ".join(evaluations)
    staging = place.with_name(f".{place.name}.building")
    shutil.rmtree(staging, ignore_errors=True)
    _copy_code(template, staging / "source")
    script = str((evaluations and template.prepare_evaluations) or template.prepare)
    request = RunRequest(
        key=f"prepare/{place.name}",
        staging=staging,
        out_name="data",
        command=(str(bench.python), script, f"--profile={profile.name}", "--out_dir=data"),
        environment=environment,
        readable=(*bench.readable, *inputs.values(), *([place] if evaluations else [])),
        limits=RunLimits(
            timeout_s=PREPARE_TIMEOUT_S,
            memory_gb=profile.memory_gb,
            disk_gb=min(cache_gb, PREPARE_DISK_GB),
        ),
        gpus=profile.gpus,
    )
    try:
        execution = executor.run(request)
        if execution.cause is not ExitCause.EXIT:
            too_large = execution.cause is ExitCause.DISK
            raise SetupError(
                f"{template.name}/{script} failed ({execution.cause}): "
                f"{tail_of_logs(execution)[-600:]}",
                hint="raise --cache-gb: its data are larger"
                if too_large
                else "mend what it says and run again; nothing was left behind",
            )
        yield staging / "source" / "data"
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _copy_code(template: Template, destination: Path) -> None:
    ignored = shutil.ignore_patterns(*LEFT_IN_TEMPLATE, "latex")
    shutil.copytree(template.folder, destination, ignore=ignored)


def _data_key(bench: Bench, profile: Profile) -> str:
    """Hash everything that can move the data: the code that makes them, lock, profile, inputs."""
    template = bench.template
    assert template.prepare is not None
    digest = hashlib.sha256(f"{bench.lock_sha256} {profile.name}".encode())
    modules = modules_reached(template.folder, template.prepare)
    others = {name for name in template.frozen if not name.endswith(".py")}
    for name in sorted(modules | others):
        digest.update(name.encode() + (template.folder / name).read_bytes())
    for name in profile.prepared_from or profile.inputs:
        whole = next(one for one in profile.inputs if f"{name}/".startswith(f"{one}/"))
        folder = bench.inputs[whole] / name.removeprefix(whole).removeprefix("/")
        digest.update(f"{name} {_listing(folder)}".encode())
    return digest.hexdigest()[:16]


def modules_reached(folder: Path, script: str) -> set[str]:
    """Return the script and the modules of its folder that its imports lead to."""
    reached: set[str] = set()
    waiting = [script]
    while waiting:
        name = waiting.pop()
        if name in reached or not (folder / name).is_file():
            continue
        reached.add(name)
        for node in ast.walk(ast.parse((folder / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                waiting += [f"{alias.name.partition('.')[0]}.py" for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                waiting.append(f"{node.module.partition('.')[0]}.py")
    return reached


def _hash_listings(folders: Iterable[Path]) -> str:
    listed = "".join(map(_listing, folders))
    return hashlib.sha256(listed.encode()).hexdigest() if listed else ""


def _listing(folder: Path) -> str:
    """Return path, size and time of each file of an input folder; its content may be too large.

    Hidden ones are marks that programs set, as huggingface_hub does for what it did not find.
    """
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*"))}
    states = [
        (name, path.stat())
        for name, path in files.items()
        if path.is_file() and not any(part.startswith(".") for part in Path(name).parts)
    ]
    return str([folder, *((name, one.st_size, one.st_mtime_ns) for name, one in states)])
