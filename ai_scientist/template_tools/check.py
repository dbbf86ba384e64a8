"""`template check`: read a template, then rehearse it as an idea would, and name each defect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ai_scientist.errors import InputError, SetupError
from ai_scientist.execution.observation import Observation
from ai_scientist.inputs.foreign import copy_given_baseline, has_given_baseline, read_given_baseline
from ai_scientist.records import Limits, Template
from ai_scientist.results.naming import ends_with
from ai_scientist.steps.keeping import kept_in_git
from ai_scientist.template_tools.defects import Defect, read_template
from ai_scientist.template_tools.scratch import Scratch, scratch_laboratory

SMOKE_LIMIT_S = 4.0
SHOWN = 5
STOPPING = {"syntax", "lock", "given_baseline", "no_interpreter", "no_profile"}
NO_WRITING = ("Read-only file system", "Permission denied", "PermissionError")


def check_template(
    folder: Path,
    *,
    cache: Path,
    report: Callable[[str], None],
    variables: Mapping[str, str],
    python: Path | None = None,
    run: bool = False,
    allow_unsandboxed: bool = False,
) -> list[Defect]:
    """Return all that is wrong with the template in `folder`; empty when nothing is.

    A smoke profile is run three times: twice with one seed, once with another. Without it the
    script is run only when `run` asks for it, since that may take hours; `python` is the
    interpreter of a template without a lock, `variables` the environment that names its input
    folders.
    """
    template, found = read_template(folder)
    if template is None:
        return found
    profile = "smoke" if "smoke" in template.profiles else next(iter(template.profiles), "")
    found += _obstacles(template, profile, python)
    if any(one.kind in STOPPING for one in found):
        return found
    try:
        with scratch_laboratory(
            template,
            profile,
            cache=cache,
            report=report,
            variables=variables,
            python=python,
            limits=Limits(max_gpu_hours=None),
            allow_unsandboxed=allow_unsandboxed,
        ) as scratch:
            if profile == "smoke" or run:
                found += _rehearse(scratch, template, report)
            else:
                problem = "experiment.py was not run: there is no smoke profile"
                often = "twice" if template.foreign else "three times"
                found.append(_note("not_run", "experiment.py", problem, f"--run runs it, {often}"))
                found += _draw_given(scratch, template)
    except (InputError, SetupError) as error:
        found.append(_defect("environment", "requirements.lock", error.message, error.hint))
    return found


def _obstacles(template: Template, profile: str, python: Path | None) -> Iterator[Defect]:
    """What makes a rehearsal impossible, or its outcome plain."""
    if has_given_baseline(template):
        try:
            read_given_baseline(template)
        except InputError as error:
            message = error.message.partition(": ")[2]
            yield _defect("given_baseline", "run_0/final_info.json", message)
    if template.lock is None and python is None:
        problem = "no interpreter was named, so that nothing was run"
        remedy = "--python PATH: one that has the packages its scripts import"
        yield _defect("no_interpreter", "template.toml", problem, remedy)
    if not profile:
        yield _defect("no_profile", "template.toml", "has no [profiles.…]")


def _defect(kind: str, where: str, problem: str, remedy: str = "") -> Defect:
    return Defect(kind=kind, where=where, problem=problem, remedy=remedy)


def _note(kind: str, where: str, problem: str, remedy: str = "") -> Defect:
    return Defect(kind=kind, where=where, problem=problem, remedy=remedy, severity="note")


def _rehearse(
    scratch: Scratch, template: Template, report: Callable[[str], None]
) -> Iterator[Defect]:
    """Run the untouched code, twice with one seed and once with another, and draw."""
    seeds = {"run_0": 0, "run_1": 0, **({} if template.foreign else {"run_2": 1})}
    seen: dict[str, Observation] = {}
    for name, seed in seeds.items():
        report(f"running experiment.py as {name}, seed {seed}")
        key = f"{name}/execution_1"
        seen[name] = scratch.laboratory.run(key, scratch.code.commit, name, seed=seed)
        if seen[name].failure:
            yield _failure(seen[name], template, name)
            return
        scratch.laboratory.keep(key, name, scratch.folder.run(name))
    first = seen["run_0"]
    noise = _moved(first, seen["run_1"], template)
    yield from _determinism(noise, template)
    if "run_2" in seen and not noise:
        yield from _seed(first, seen["run_2"], template)
    yield from _results(first, template)
    slow = first.seconds > SMOKE_LIMIT_S
    if slow and scratch.laboratory.bench.profile.name == "smoke":
        problem = f"took {first.seconds:.1f} s; every edit pays for four such runs"
        remedy = f"shrink the smoke profile to {SMOKE_LIMIT_S:g} s or less"
        yield _note("slow_smoke", "experiment.py", problem, remedy)
    yield from _draw(scratch, template, ["run_0", "run_1"])


def _failure(seen: Observation, template: Template, name: str) -> Defect:
    last = seen.log_tail.strip().splitlines()[-1:] or ["no output"]
    if any(word in seen.log_tail for word in NO_WRITING):
        touched = [one for one in template.frozen if one in last[0]]
        what = f"the frozen {touched[0]}" if touched else "outside its --out_dir"
        remedy = f"it may write {name}/ when it is run with --out_dir={name}, and $TMPDIR"
        return _defect("writes_elsewhere", "experiment.py", f"writes {what}: {last[0]}", remedy)
    if str(seen.failure) == "no_result":
        kind = "no_result" if "without writing" in seen.problem else "wrong_result"
        return _defect(kind, f"{name}/final_info.json", seen.problem)
    problem = _with_last_line(seen.problem, last[0])
    return _defect("fails", "experiment.py", f"run as {name}, {problem}")


def _with_last_line(problem: str, line: str) -> str:
    """Add the last line that was printed, where the problem does not end in it already."""
    return problem if problem.endswith(line) else f"{problem}: {line}"


def _moved(a: Observation, b: Observation, template: Template) -> list[str]:
    assert a.results
    assert b.results
    volatile = {name for name, spec in template.metrics.items() if spec.volatile}
    values = a.results.metrics, b.results.metrics
    return [
        path
        for path in dict.fromkeys((*values[0], *values[1]))
        if not any(ends_with(path, name) for name in volatile)
        and values[0].get(path) != values[1].get(path)
    ]


def _determinism(moved: list[str], template: Template) -> Iterator[Defect]:
    if not moved:
        return
    shown = ", ".join(moved[:SHOWN])
    problem = f"two runs of the same code with the same seed differ in {len(moved)}: {shown}"
    if template.foreign:
        yield _note("not_deterministic", "experiment.py", problem)
        return
    remedy = "draw everything from the seed, one thread; mark clocks as volatile in template.toml"
    yield _defect("not_deterministic", "experiment.py", problem, remedy)


def _seed(a: Observation, b: Observation, template: Template) -> Iterator[Defect]:
    moved = _moved(a, b, template)
    if template.honours_seed and not moved:
        problem = "honours_seed is true, and another AI_SCIENTIST_SEED changes no metric"
        remedy = "draw from the seed, or say honours_seed = false: noise is then not measurable"
        yield _defect("ignores_seed", "experiment.py", problem, remedy)
    elif moved and not template.honours_seed:
        problem = "another AI_SCIENTIST_SEED changes the metrics, and honours_seed is false"
        yield _note("undeclared_seed", "template.toml", problem, "say honours_seed = true")


def _results(seen: Observation, template: Template) -> Iterator[Defect]:
    assert seen.results
    paths = (*seen.results.metrics, *seen.results.not_run)
    unknown = [
        name for name in template.metrics if not any(ends_with(path, name) for path in paths)
    ]
    if unknown:
        problem = f"final_info.json has no {', '.join(unknown)}, and no reason under `not run`"
        remedy = "fine when a larger profile measures them; else take them out"
        yield _note("unknown_metric", "template.toml", problem, remedy)
    if not seen.results.config:
        problem = "final_info.json holds no `config`: a change of the configuration is not seen"
        yield _note("no_config", "experiment.py", problem, "write the resolved configuration")


def _draw_given(scratch: Scratch, template: Template) -> Iterator[Defect]:
    if has_given_baseline(template):
        copy_given_baseline(template, scratch.folder.run("run_0"))
        yield from _draw(scratch, template, ["run_0"])


def _draw(scratch: Scratch, template: Template, runs: list[str]) -> Iterator[Defect]:
    folder = scratch.folder
    kept = [name for run in runs for name in kept_in_git(folder, run, everything=template.foreign)]
    commit = folder.commit("Results to draw", kept)
    drawn = scratch.draughtsman.draw("plot", commit, {})
    if drawn["problem"]:
        lines = str(drawn["problem"]).strip().splitlines()
        problem = _with_last_line(lines[0], lines[-1])
        yield _defect("plot", "plot.py", problem, "it must leave PNG files in the current folder")
