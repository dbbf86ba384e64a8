"""After the loop: is the best run better than its placebos, and on seeds nobody chose by?

best run --same code--> control arms (the idea's `Controls`: configuration values set otherwise)
best run, baseline, arms --fresh seeds--> what the hypotheses are judged by, with --confirm-best
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ai_scientist.execution.laboratory import Laboratory
from ai_scientist.execution.observation import Observation
from ai_scientist.notes.facts import arm_lines
from ai_scientist.protocols import Journal
from ai_scientist.records import Attempt, Control, Json, Results, Run, Scalar
from ai_scientist.results.files import results_to_final_info
from ai_scientist.results.reading import combine
from ai_scientist.run_folder.journal import write_json
from ai_scientist.steps.keeping import TRAINED, Keep, is_kept, remove_models
from ai_scientist.steps.workbench import FolderWorkbench, failed_attempt

FRESH_SEED = 1000
"""First seed of a confirmation: no run of the loop uses it or a later one."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One variant of a run that we make ourselves."""

    label: str
    """Names its folder below the run's, such as `arm_uniform`."""
    overrides: Mapping[str, Scalar]
    seeds: tuple[int, ...]
    complete: bool = False
    """Whether all that the profile can measure is measured."""


class Confirmation:
    """Runs control arms and fresh seeds; each execution is an effect, and counted.

    What they train goes at once where `keep` would not keep it: it takes gigabytes.
    """

    def __init__(
        self, workbench: FolderWorkbench, laboratory: Laboratory, journal: Journal, keep: Keep
    ) -> None:
        self._keep = keep
        self._workbench = workbench
        self._laboratory = laboratory
        self._journal = journal
        self.attempts: list[Attempt] = []

    def run_controls(self, run: Run, controls: Sequence[Control]) -> Run:
        """Run the code of `run` once per control arm and return the run with its arms."""
        arms = [
            Arm(label=f"arm_{control.name}", overrides=control.overrides, seeds=run.seeds)
            for control in controls
        ]
        measured = self._measure([(run, arm) for arm in arms])
        results = {
            control.name: found
            for control, found in zip(controls, measured, strict=True)
            if found is not None
        }
        if not results:
            return run
        specs = self._laboratory.bench.template.metrics
        lines = [f"## Control arms of {run.name}", *arm_lines(results, specs)]
        self._workbench.notebook.add_facts(f"{run.name}/arms", "\n".join(lines))
        tried = replace(run, arms=results)
        self._workbench.runs[run.name] = tried
        return tried

    def confirm(
        self, best: Run, baseline: Run, controls: Sequence[Control], seeds: int
    ) -> Mapping[str, Run]:
        """Measure the winner, its arms and the baseline on fresh seeds, for the judgement.

        What the loop measured stays as it is: the winner was chosen by it, and is flattered by it.
        Empty when the winner or the baseline fails.
        """
        fresh = tuple(range(FRESH_SEED, FRESH_SEED + seeds))
        plain = Arm(label="confirmation", overrides={}, seeds=fresh, complete=True)
        placebos = [
            replace(plain, label=f"confirmation_{control.name}", overrides=control.overrides)
            for control in controls
        ]
        wanted = [(baseline, plain), (best, plain), *((best, arm) for arm in placebos)]
        base, winner, *others = self._measure(wanted)
        if base is None or winner is None:
            return {}
        named = zip(controls, others, strict=True)
        arms = {control.name: found for control, found in named if found is not None}
        return {
            baseline.name: replace(baseline, results=base, seeds=fresh, arms={}),
            best.name: replace(best, results=winner, seeds=fresh, arms=arms),
        }

    def _measure(self, wanted: Sequence[tuple[Run, Arm]]) -> list[Results | None]:
        """Run arms, as many at once as the bench carries; one that fails is an attempt."""
        with ThreadPoolExecutor(self._laboratory.bench.parallel_runs) as pool:
            seen = list(pool.map(lambda pair: self._execute(*pair), wanted))
        return [
            self._settle(run, arm, observations)
            for (run, arm), observations in zip(wanted, seen, strict=True)
        ]

    def _execute(self, run: Run, arm: Arm) -> list[Observation]:
        """Run one arm seed by seed, up to the first that fails."""
        observations: list[Observation] = []
        for seed in arm.seeds:
            key = f"{run.name}/{arm.label}/seed_{seed}"
            seen = self._laboratory.run(
                key,
                run.commit,
                run.name,
                seed=seed,
                overrides=arm.overrides,
                complete=arm.complete,
            )
            observations.append(seen)
            name = f"{run.name}/{arm.label}/{TRAINED}"
            if not is_kept(name, self._keep, {run.name}):
                left = self._laboratory.folder.staging(key) / "source" / run.name
                remove_models(left / TRAINED, name, self._journal)
            if seen.failure is not None:
                break
        return observations

    def _settle(self, run: Run, arm: Arm, observations: Sequence[Observation]) -> Results | None:
        """Keep what an arm left: its results, or the attempt."""
        if observations[-1].failure is not None:
            self._keep_failure(run, observations)
            return None
        results = combine([seen.results for seen in observations if seen.results])
        self._keep_results(run, arm, observations, results)
        return results

    def _keep_results(
        self, run: Run, arm: Arm, observations: Sequence[Observation], results: Results
    ) -> None:
        def perform() -> Json:
            place = self._workbench.folder.run(run.name) / arm.label
            single = len(observations) == 1
            for seed, seen in zip(arm.seeds, observations, strict=True):
                destination = place if single else place / f"seed_{seed}"
                self._laboratory.keep(seen.key, run.name, destination)
            if not single:
                write_json(place / "final_info.json", results_to_final_info(results))
            tracked = [f"{run.name}/{arm.label}/final_info.json"]
            return {"commit": self._workbench.folder.commit(f"{run.name}: {arm.label}", tracked)}

        self._journal.effect(f"{run.name}/{arm.label}/kept", perform)
        for seen in observations:
            self._laboratory.discard(seen.key)

    def _keep_failure(self, run: Run, observations: Sequence[Observation]) -> None:
        for seen in observations:
            place = self._workbench.folder.attempts / seen.key.replace("/", ".")
            self._laboratory.keep(seen.key, run.name, place)
            self._laboratory.discard(seen.key)
        failed = failed_attempt(observations[-1].key, run.name, observations)
        self.attempts.append(self._workbench.keep_attempt(failed))
