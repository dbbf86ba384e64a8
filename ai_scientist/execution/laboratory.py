"""Where experiments happen: a commit goes in, what was observed comes out.

    commit -> staging/source -> executor (sandboxed) -> observation -> run_N/ or attempts/

Every execution is one effect of the journal, so that a finished one is never made twice.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ai_scientist.errors import BudgetSpent, ResultError
from ai_scientist.execution import lines_ran
from ai_scientist.execution.baselines import Baselines, baseline_key, measuring_key
from ai_scientist.execution.environment import run_environment
from ai_scientist.execution.observation import (
    FAILURES,
    Observation,
    describe_failure,
    observation_from_json,
    tail_of_logs,
)
from ai_scientist.inputs.foreign import place_data
from ai_scientist.machine.shared_cache import Use
from ai_scientist.protocols import Executor, Journal
from ai_scientist.records import (
    AttemptKind,
    ExitCause,
    Json,
    Limits,
    Profile,
    RunLimits,
    RunRequest,
    Scalar,
    Template,
)
from ai_scientist.redaction import redact_files
from ai_scientist.results.files import results_to_json
from ai_scientist.results.reading import read_results
from ai_scientist.run_folder.journal import write_atomically
from ai_scientist.run_folder.workspace import RunFolder
from ai_scientist.sandbox.leftovers import collect

SMOKE_TIMEOUT_S = 120.0
"""A rehearsal takes seconds; a machine that is shared may take many times as long."""
EXPERIMENT = "experiment.py"
LINES_RECORD = ".lines_ran"
MAX_RECORD_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all executions of one idea share."""

    template: Template
    profile: Profile
    python: Path
    """Interpreter of the template's environment."""
    readable: tuple[Path, ...]
    """Folders of that interpreter."""
    data: Mapping[str, Path] = field(default_factory=dict)
    """Profile -> folder made by the template's prepare script."""
    held: tuple[Use, ...] = ()
    """What keeps these folders from being removed while this bench lives."""
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """Folders of the person's own that the profile reads, by the names in template.toml."""
    inputs_sha256: str = ""
    """Hash of what lies in them, "" where there are none: evaluations may read any of it."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Packages of the environment."""
    lock_sha256: str = ""
    evaluations: tuple[str, ...] = ()
    """What every run measures beyond the screen: what the idea's predictions are about."""

    def evaluations_at(self, *, complete: bool) -> tuple[str, ...]:
        """Return what a run measures beyond the screen; `complete` is all that the profile can."""
        return self.profile.evaluations if complete else self.evaluations

    beside: Path | None = None
    """Data that a foreign template reads as ../../data (run_0) or ../../../data (others)."""
    gpus: int = 0
    """How many this machine lends to runs."""

    @property
    def parallel_runs(self) -> int:
        """How many runs this machine carries at once, each with GPUs or cores of its own."""
        if self.profile.gpus:
            return max(1, self.gpus // self.profile.gpus)
        return max(1, len(os.sched_getaffinity(0)) // self.profile.cpu_threads)

    @property
    def data_name(self) -> str:
        """Name of the profile's shared data, a hash of what makes them; "" where there are none."""
        data = self.data.get(self.profile.name)
        return data.name if data else ""

    @property
    def measuring_key(self) -> str:
        """Hash what two executions must share for their numbers to be comparable."""
        return measuring_key(
            self.template, lock=self.lock_sha256, profile=self.profile.name, data=self.data_name
        )


class Laboratory:
    """Executes the code of commits and candidates for one run folder."""

    def __init__(
        self,
        folder: RunFolder,
        *,
        journal: Journal,
        executor: Executor,
        bench: Bench,
        limits: Limits,
        cache: Path,
        report: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.bench = bench
        self._journal = journal
        self._executor = executor
        self._limits = limits
        self._baselines = Baselines(
            cache=cache,
            template=bench.template,
            profile=bench.profile.name,
            inputs=bench.inputs_sha256,
        )
        self.report = report
        self.cache = cache
        self.executed: dict[str, float] = {}
        """Key of each execution, whatever came of it -> its GPU hours."""
        self._frozen: tuple[str, Mapping[str, str]] | None = None
        self._touched: dict[str, list[str]] = {}

    def run(
        self,
        key: str,
        commit: str,
        out_name: str,
        *,
        seed: int = 0,
        overrides: Mapping[str, Scalar] | None = None,
        cached: bool = False,
        complete: bool = False,
    ) -> Observation:
        """Run the experiment of a commit at the idea's profile and return what was observed.

        Where no rehearsal tells which lines run, the run itself does. `cached` (for baselines)
        takes an equal execution made on this kind of machine before, if it measured at least as
        much; `complete` measures all there is. Raises BudgetSpent when the GPU hours are used up.
        """
        self._keep_to_gpu_hours()

        def perform() -> Json:
            staging = self._stage(key, commit, {})
            evaluations = self.bench.evaluations_at(complete=complete)
            request = self._request(
                key,
                out_name,
                self.bench.profile,
                seed=seed,
                overrides=overrides,
                evaluations=evaluations,
                record_lines=not self.has_smoke,
            )
            known = self._baseline_key(commit, seed) if cached else ""
            left = staging / "source" / out_name
            if known and (taken := self._baselines.take(known, evaluations, left)):
                self.report(f"{out_name}: {taken[1]}, taken from there")
                return taken[0] | {"key": key}
            observation = self._observe(request)
            if known and observation["failure"] is None:
                self._baselines.put(known, evaluations, left, observation)
            return observation

        observation = observation_from_json(self._journal.effect(key, perform))
        self.executed[key] = observation.gpu_hours
        return observation

    def run_script(
        self,
        key: str,
        commit: str,
        script: str,
        out_name: str,
        *,
        overrides: Mapping[str, Scalar],
        readable: Sequence[Path] = (),
    ) -> Observation:
        """Run another script of a commit as the experiment is run, without its profile's timeout.

        It may read folders of its own, `readable`.
        """

        def perform() -> Json:
            self._stage(key, commit, {})
            request = self._request(
                key,
                out_name,
                self.bench.profile,
                seed=0,
                overrides=overrides,
                evaluations=self.bench.evaluations,
                script=script,
            )
            limits = replace(request.limits, timeout_s=self._limits.run_timeout_s)
            allowed = (*request.readable, *readable)
            return self._observe(replace(request, limits=limits, readable=allowed))

        return observation_from_json(self._journal.effect(key, perform))

    def smoke(
        self,
        key: str,
        commit: str,
        files: Mapping[str, str],
        *,
        seed: int = 0,
        record_lines: bool = False,
    ) -> Observation:
        """Rehearse a candidate (`files` over a commit) in the smoke profile, on the CPU.

        Journals nothing: it is part of the gate's effect.
        """
        profile = self.bench.template.profiles["smoke"]
        self._stage(key, commit, files)
        request = self._request(key, "run_1", profile, seed=seed, record_lines=record_lines)
        return observation_from_json(self._observe(request))

    @property
    def gpu_hours(self) -> float:
        """Those of all executions so far."""
        return sum(self.executed.values())

    @property
    def has_smoke(self) -> bool:
        """Tell whether the template can be rehearsed."""
        return "smoke" in self.bench.template.profiles

    def keep(self, key: str, out_name: str, destination: Path) -> None:
        """Move what an execution left, logs included, to its place. Harmless to repeat."""
        staging = self.folder.staging(key)
        if (staging / "source" / out_name).is_dir():
            collect(staging, out_name, destination)
        for log in redact_files(staging / name for name in ("stdout.log", "stderr.log")):
            destination.mkdir(parents=True, exist_ok=True)
            shutil.move(log, destination / log.name)

    def discard(self, key: str) -> None:
        """Remove a staging folder whose content is kept elsewhere."""
        shutil.rmtree(self.folder.staging(key), ignore_errors=True)

    def _keep_to_gpu_hours(self) -> None:
        cap = self._limits.max_gpu_hours
        if self.bench.profile.gpus and cap is not None and self.gpu_hours >= cap:
            raise BudgetSpent(
                f"the GPU hours are used up: {self.gpu_hours:.2f} of {cap:g}",
                hint=f"resume with more: --resume {self.folder.path} --max-gpu-hours N",
            )

    # --- one execution ---------------------------------------------------------------------------

    def _stage(self, key: str, commit: str, files: Mapping[str, str]) -> Path:
        staging = self.folder.staging(key)
        if any((staging / name).is_file() for name in ("outcome.json", "job.json")):
            return staging  # it has ended, or runs as a job elsewhere
        staging = self.folder.clear_staging(key)
        self.folder.export(commit, staging / "source")
        self._restore_frozen(key, commit, staging / "source")
        for name, content in files.items():
            write_atomically(staging / "source" / name, content)
        return staging

    def _restore_frozen(self, key: str, commit: str, source: Path) -> None:
        """Compare the frozen files of a commit with the first one's by hash, and put those back."""
        names = self.bench.template.frozen
        if not names:
            return
        if self._frozen is None:
            first = self.folder.git("rev-list", "--max-parents=0", commit).split()[0]
            self._frozen = (first, self.folder.hashes(first, names))
        first, known = self._frozen
        found = known if commit == first else self.folder.hashes(commit, names)
        self._touched[key] = [name for name in names if found.get(name) != known.get(name)]
        for name in self._touched[key]:
            self._journal.note("frozen_touched", {"about": key, "file": name})
            self.report(f"{key}: frozen file {name} was changed; it is restored for the run")
            write_atomically(source / name, self.folder.read(first, name))

    def _request(
        self,
        key: str,
        out_name: str,
        profile: Profile,
        *,
        seed: int,
        overrides: Mapping[str, Scalar] | None = None,
        record_lines: bool = False,
        evaluations: tuple[str, ...] = (),
        script: str = EXPERIMENT,
    ) -> RunRequest:
        python = str(self.bench.python)
        command: tuple[str, ...] = (python, script, f"--out_dir={out_name}")
        if record_lines:
            recorder = Path(lines_ran.__file__).read_text(encoding="utf-8")
            command = (python, "-c", recorder, f"{out_name}/{LINES_RECORD}", *command[1:])
        data_folder = self.bench.data.get(profile.name)
        inputs = {name: self.bench.inputs[name] for name in profile.inputs}
        environment = run_environment(profile, seed, data_folder, overrides or {}, inputs)
        if evaluations:
            environment["AI_SCIENTIST_EVALUATIONS"] = " ".join(evaluations)
        smoke = profile.name == "smoke"
        timeout_s = SMOKE_TIMEOUT_S if smoke else self._limits.run_timeout_s
        return RunRequest(
            key=key,
            staging=self.folder.staging(key),
            out_name=out_name,
            command=command,
            environment=environment,
            readable=(
                *self.bench.readable,
                *([data_folder] if data_folder else []),
                *inputs.values(),
                *place_data(self.folder.staging(key), self.bench.beside),
            ),
            limits=RunLimits(
                timeout_s=min(timeout_s, profile.run_timeout_s or timeout_s),
                memory_gb=profile.memory_gb,
                disk_gb=profile.disk_gb,
            ),
            gpus=0 if smoke else profile.gpus,
        )

    def _observe(self, request: RunRequest) -> Json:
        execution = self._executor.run(request)
        tail = tail_of_logs(execution)
        observation: Json = {
            "key": request.key,
            "cause": str(execution.cause),
            "returncode": execution.returncode,
            "seconds": round(execution.seconds, 3),
            "gpu_hours": round(request.gpus * execution.seconds / 3600, 6),
            "started_at": execution.started_at,
            "sandbox_tier": execution.sandbox_tier,
            "peak_memory_gb": round(execution.peak_memory_gb, 3),
            "log_tail": tail,
            "results": None,
            "failure": None,
            "problem": "",
            "frozen_touched": self._touched.pop(request.key, []),
            "lines_ran": _take_record(request.staging / "source" / request.out_name),
        }
        if execution.cause is not ExitCause.EXIT:
            observation["failure"] = str(FAILURES[execution.cause])
            observation["problem"] = describe_failure(execution, request.limits)
            return observation
        final = request.staging / "source" / request.out_name / "final_info.json"
        try:
            results = read_results(final, self.bench.template.metrics)
            observation["results"] = results_to_json(results)
        except ResultError as error:
            observation["failure"] = str(AttemptKind.NO_RESULT)
            observation["problem"] = error.message
        return observation

    def _baseline_key(self, commit: str, seed: int) -> str:
        """Hash what makes two baselines equal in all that can move a number."""
        tree = self.folder.git("ls-tree", "-r", commit)
        names = set(self.bench.template.frozen)  # of foreign templates: data files as well
        lines = [(line, line.partition("\t")[2]) for line in tree.splitlines()]
        return baseline_key(
            [line for line, name in lines if name.endswith(".py") or name in names],
            lock=self.bench.lock_sha256,
            profile=self.bench.profile.name,
            data=self.bench.data_name,
            seed=seed,
        )


def _take_record(out: Path) -> list[int] | None:
    """Return the lines that an execution recorded, if it did, and remove the record."""
    record = out / LINES_RECORD
    if not record.is_file() or record.stat().st_size > MAX_RECORD_BYTES:
        return None
    found = lines_ran.lines_of(record.read_bytes())
    record.unlink()
    return None if found is None else list(found)
