"""Run again what a run folder holds: one run from its record, or the whole loop from its replies.

    run_3/run.json --commit--> code, lock --> environment --> sandbox --> final_info.json
                                                         compared with run_3/final_info.json

Nothing in the run folder is touched: its history is cloned, and the clone is thrown away.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ai_scientist.errors import InputError, ResultError
from ai_scientist.execution.bench import make_bench
from ai_scientist.execution.laboratory import Laboratory
from ai_scientist.execution.local import LocalExecutor
from ai_scientist.execution.observation import Observation
from ai_scientist.execution.watching import WatchedExecutor
from ai_scientist.inputs.ideas import find_idea
from ai_scientist.inputs.settings import Places, Settings, read_settings
from ai_scientist.inputs.templates import find_template, load_template
from ai_scientist.machine.hardware import describe_hardware
from ai_scientist.machine.slots import list_gpus
from ai_scientist.records import Idea, MetricSpec, Results, Run, Scalar, Template
from ai_scientist.results.reading import combine, read_results
from ai_scientist.run_folder.journal import FolderJournal
from ai_scientist.run_folder.study import read_study, run_names
from ai_scientist.run_folder.workspace import RunFolder, create_run_folder, open_run_folder
from ai_scientist.sandbox.choice import choose_sandbox

Report = Callable[[str], None]
Sameness = Literal["same", "within noise", "different"]
WIDTH = 2 * math.sqrt(2)
"""Two runs of one code differ by less than this many of a run's own deviations, 95 times in 100."""
SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Moved:
    """One metric that is not what it was, to the last bit."""

    path: str
    stored: float | None
    now: float | None
    noise: float | None
    """How far it may move by chance; None where no noise was ever measured."""

    @property
    def within_noise(self) -> bool:
        """Whether chance explains it."""
        if self.stored is None or self.now is None or self.noise is None:
            return False
        return abs(self.now - self.stored) <= self.noise

    @property
    def sentence(self) -> str:
        """Say it in a line."""
        if self.stored is None or self.now is None:
            return (
                f"{self.path}: {'not measured before' if self.now is not None else 'missing now'}"
            )
        noise = "noise not measured" if self.noise is None else f"noise ±{self.noise:.3g}"
        return f"{self.path}: {self.stored!r} -> {self.now!r} ({noise})"


@dataclass(frozen=True, kw_only=True)
class ReplayOutcome:
    """What became of one run when it was made again."""

    run: str
    sameness: Sameness
    compared: int = 0
    """Metrics that were compared; volatile ones are not."""
    moved: tuple[Moved, ...] = ()
    machine: tuple[str, ...] = ()
    """What differs in hardware, versions and sandbox, a line each."""
    problem: str = ""
    """Why there is nothing to compare."""

    @property
    def code(self) -> int:
        """The command's exit code."""
        return 1 if self.sameness == "different" else 0

    def lines(self) -> list[str]:
        """Say it all, for a person."""
        counted = f"{self.compared} metrics compared, {len(self.moved)} not equal to the last bit"
        lines = [f"{self.run}: {self.sameness}: {self.problem or counted}"]
        worst = sorted(self.moved, key=lambda one: one.within_noise)
        lines += [f"  {one.sentence}" for one in worst[:SHOWN]]
        if len(worst) > SHOWN:
            lines.append(f"  … and {len(worst) - SHOWN} more")
        lines += [f"  {one}" for one in self.machine]
        if not self.machine:
            lines.append("  same hardware, versions and sandbox as then")
        return lines


# --- one run -------------------------------------------------------------------------------------


def replay_run(
    run_dir: Path,
    run_name: str,
    *,
    places: Places,
    report: Report,
    variables: Mapping[str, str],
    allow_unsandboxed: bool = False,
) -> ReplayOutcome:
    """Make one run again from its record and compare the two.

    `variables` is the environment that names the folders its profile reads.
    Raises InputError when there is no such run or its record is gone, SetupError when environment
    or sandbox cannot be had; both for the person.
    """
    folder = open_run_folder(run_dir)
    run = stored_run(folder, run_name)
    settings = read_settings(folder.path / "settings.json")
    idea = read_study(folder.path).idea
    with cloned(folder, places.cache) as clone:
        template = template_at(clone, run.commit, settings, places)
        stored = read_results(folder.run(run_name) / "final_info.json", template.metrics)
        bench = Replay(
            clone=clone,
            template=template,
            run=run,
            settings=replace(
                settings, allow_unsandboxed=allow_unsandboxed or settings.allow_unsandboxed
            ),
            places=places,
            idea=idea,
            variables=variables,
        )
        with bench.laboratory(report) as laboratory:
            seen = repeat(laboratory, run, report)
            versions = laboratory.bench.versions
    machine = machine_differences(run, versions, seen[-1])
    if seen[-1].failure:
        problem = f"it fails now: {seen[-1].problem}\n{seen[-1].log_tail}".strip()
        return ReplayOutcome(run=run_name, sameness="different", machine=machine, problem=problem)
    parts = [one.results for one in seen if one.results]
    # A mean of one execution's seeds taken anew may round otherwise than the script wrote it.
    now = parts[0] if len(parts) == 1 else combine(parts)
    return replace(compare(run_name, stored, now, template.metrics), machine=machine)


def stored_run(folder: RunFolder, name: str) -> Run:
    """Return a run with its capsule. Raises InputError naming the runs there are."""
    runs = read_study(folder.path).runs
    if name not in runs:
        have = ", ".join(runs) or "none"
        raise InputError(f"{folder.path} holds no run `{name}`", hint=f"it has: {have}")
    run = runs[name]
    if not run.commit or run.provenance != "measured":
        raise InputError(
            f"{name} was not measured by this program: there is nothing to make again",
            hint="a replay needs the run.json that this program writes",
        )
    return run


@contextmanager
def cloned(folder: RunFolder, cache: Path) -> Iterator[RunFolder]:
    """Yield a clone of a run folder's history, gone afterwards."""
    place = cache / "scratch"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as aside:
        clone = RunFolder(Path(aside).resolve() / folder.name)
        folder.git("clone", "--quiet", "--no-hardlinks", "--no-checkout", ".", str(clone.path))
        yield clone


def template_at(clone: RunFolder, commit: str, settings: Settings, places: Places) -> Template:
    """Return the template as it is in a commit, its lock included.

    A foreign one is taken from templates/: what it brings along does not stand in the history.
    """
    name = Path(settings.template or "template").name
    source = clone.path / "template" / name
    if not source.exists():
        clone.export(commit, source)
    template = load_template(source)
    if template.foreign:
        return find_template(settings.template or name, places.templates)
    return template


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a run is made again from."""

    clone: RunFolder
    template: Template
    run: Run
    settings: Settings
    places: Places
    idea: Idea
    """What its runs were measured for."""
    variables: Mapping[str, str]
    """The environment that names the folders its profile reads."""

    @contextmanager
    def laboratory(self, report: Report) -> Iterator[Laboratory]:
        """Open a laboratory in the clone, at the run's profile, that knows of no measurement."""
        sandbox = choose_sandbox(
            allow_unsandboxed=self.settings.allow_unsandboxed,
            probe_folder=self.places.cache / "probe",
        )
        executor = WatchedExecutor(LocalExecutor(sandbox, gpus=list_gpus()), report)
        python = self.settings.python
        bench = make_bench(
            self.template,
            self.run.profile,
            executor=executor,
            cache=self.places.cache,
            report=report,
            python=Path(python) if python else None,
            idea=self.idea,
            variables=self.variables,
        )
        with closing(FolderJournal(self.clone.path / "replay.jsonl")) as journal:
            yield Laboratory(
                self.clone,
                journal=journal,
                executor=executor,
                bench=bench,
                limits=replace(self.settings.limits, max_gpu_hours=None),
                cache=self.clone.path / "nothing",
                report=report,
            )


def repeat(laboratory: Laboratory, run: Run, report: Report) -> list[Observation]:
    """Run every seed again, until one fails."""
    seen: list[Observation] = []
    for seed in run.seeds:
        report(f"{run.name}: running again, seed {seed}, profile {run.profile}")
        seen.append(
            laboratory.run(f"replay/{run.name}/seed_{seed}", run.commit, run.name, seed=seed)
        )
        if seen[-1].failure:
            break
    return seen


def compare(
    name: str, stored: Results, now: Results, specs: Mapping[str, MetricSpec]
) -> ReplayOutcome:
    """Compare two results of the same code, metric by metric.

    Chance may move a metric by 2 sqrt(2) of its deviation: the template's `noise` (between runs at
    an equal seed), or else the stored standard error.
    """
    volatile = {metric for metric, spec in specs.items() if spec.volatile}
    paths = [
        path
        for path in dict.fromkeys((*stored.metrics, *now.metrics))
        if path.rsplit("/", 1)[-1] not in volatile
    ]
    moved = tuple(
        Moved(
            path=path,
            stored=stored.metrics.get(path),
            now=now.metrics.get(path),
            noise=noise_of(path, stored, specs),
        )
        for path in paths
        if stored.metrics.get(path) != now.metrics.get(path)
    )
    sameness: Sameness = "same"
    if moved:
        sameness = "within noise" if all(one.within_noise for one in moved) else "different"
    return ReplayOutcome(run=name, sameness=sameness, compared=len(paths), moved=moved)


def noise_of(path: str, stored: Results, specs: Mapping[str, MetricSpec]) -> float | None:
    """Return how far a metric may move by chance, or None where that was never measured."""
    spec = specs.get(path.rsplit("/", 1)[-1])
    known = spec.noise if spec and spec.noise is not None else stored.stderr.get(path)
    return WIDTH * known if known else None


def machine_differences(
    run: Run, versions: Mapping[str, str], seen: Observation
) -> tuple[str, ...]:
    """Say what differs between the machine of the record and this one, a line each."""
    then: dict[str, Scalar] = {**run.hardware, **run.versions, "sandbox": run.sandbox_tier}
    now: dict[str, Scalar] = {**describe_hardware(), **versions, "sandbox": seen.sandbox_tier}
    return tuple(
        f"{name}: then {then.get(name)}, now {now.get(name)}"
        for name in dict.fromkeys((*then, *now))
        if then.get(name) != now.get(name)
    )


# --- the whole loop ------------------------------------------------------------------------------


def replay_model(run_dir: Path, *, places: Places, report: Report) -> int:
    """Do the whole idea again in a new run folder with the stored replies, and pay nothing.

    Prints for each run how it compares; returns 0 when all are the same or within noise, else 1.
    Raises InputError when the folder holds no calls, ModelError when the loop asks for what it
    did not ask then: on another machine a gate may decide otherwise.
    """
    from ai_scientist.launch import stored_settings, work_on
    from ai_scientist.scientist import Assignment

    old = open_run_folder(run_dir)
    if not (old.calls.is_file() and old.calls.stat().st_size):
        raise InputError(f"{old.calls} holds no call that could be replayed")
    stored = stored_settings(old)
    settings = replace(
        stored,
        model=f"recorded:{old.calls}",
        base_url=None,
        limits=replace(stored.limits, max_cost_usd=None, max_prompt_tokens=None),
        approve="none",
    )
    idea = find_idea(str(old.path / "idea.json"), places.ideas)
    with cloned(old, places.cache) as clone:
        first = old.git("rev-list", "--max-parents=0", "HEAD").split()[0]
        template = template_at(clone, first, settings, places)
        new = create_run_folder(places.runs, idea, template, settings.to_json())
        code = work_on(
            Assignment(folder=new, idea=idea, template=template, settings=settings, places=places)
        )
        outcomes = compare_folders(old.path, new.path, template.metrics)
    for outcome in outcomes:
        report(outcome.lines()[0])
    return max([code, *(outcome.code for outcome in outcomes)])


def compare_folders(old: Path, new: Path, specs: Mapping[str, MetricSpec]) -> list[ReplayOutcome]:
    """Compare the runs of two folders by name; one that is missing on a side is different."""
    names = sorted({*run_names(old), *run_names(new)}, key=lambda name: int(name[4:]))
    outcomes = []
    for name in names:
        try:
            then, now = (
                read_results(side / name / "final_info.json", specs) for side in (old, new)
            )
        except ResultError as error:
            problem = f"only one of the two has it: {error.message}"
            outcomes.append(ReplayOutcome(run=name, sameness="different", problem=problem))
        else:
            outcomes.append(compare(name, then, now, specs))
    return outcomes
