"""What a sentence may name: runs and their control arms, metrics, configuration, the idea."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ai_scientist.errors import ReplyError
from ai_scientist.judging.statistics import Comparison, compare
from ai_scientist.records import Idea, MetricSpec, Results, Run, Scalar, Study
from ai_scientist.results.naming import ends_with, metric_names, nearest, resolve, spec_at

LOWER_IS_BETTER = (
    "loss",
    "error",
    "mse",
    "fvu",
    "perplexity",
    "dead",
    "absorption",
    "kl_div",
    "mae",
)
HIGHER_IS_BETTER = (
    "accuracy",
    "acc",
    "explained",
    "recovered",
    "f1",
    "auc",
    "selectivity",
    "cossim",
)


@dataclass(frozen=True)
class Evidence:
    """The runs of one study as sentences name them; an arm is a run named `run_3/uniform`."""

    runs: Mapping[str, Results]
    specs: Mapping[str, MetricSpec] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    idea: Idea | None = None
    configs: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    """Configuration values by run, with what the run's capsule knows beside its results."""
    seeds: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_runs(
        cls,
        runs: Mapping[str, Run],
        specs: Mapping[str, MetricSpec] | None = None,
        *,
        idea: Idea | None = None,
    ) -> Evidence:
        """Build the evidence of some runs."""
        every: dict[str, Results] = {}
        for name, run in runs.items():
            every[name] = run.results
            every |= {f"{name}/{arm}": results for arm, results in run.arms.items()}
        return cls(
            runs=every,
            specs=dict(specs or {}),
            titles={name: run.title for name, run in runs.items()},
            idea=idea,
            configs={name: results.config for name, results in every.items()},
            seeds={name: len(run.seeds) for name, run in runs.items()},
        )

    @classmethod
    def from_study(cls, study: Study) -> Evidence:
        """Build the evidence of a study."""
        return cls.from_runs(study.runs, study.metrics, idea=study.idea)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Every metric path that some run has."""
        return tuple(dict.fromkeys(p for results in self.runs.values() for p in results.metrics))

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Metric path -> name."""
        return metric_names(self.paths)

    @cached_property
    def numbered(self) -> tuple[str, ...]:
        """The runs without their arms."""
        return tuple(name for name in self.runs if "/" not in name)

    def run(self, name: str) -> Results:
        """Return the results of a run or arm. Raises ReplyError with the runs there are."""
        found = self.runs.get(name.strip())
        if found is None:
            raise ReplyError(
                f"There is no run named {name.strip()!r}.{nearest(name.strip(), self.runs)}"
            )
        return found

    def path(self, metric: str, *runs: str) -> str:
        """Return the path `metric` names, a number in each of `runs`.

        Raises ReplyError, worded for the model, with the nearest names or the reason.
        """
        path = resolve(metric, self._candidates(metric, runs))
        for name in runs:
            results = self.run(name)
            if path not in results.metrics:
                why = next(
                    (w for p, w in results.not_run.items() if path.startswith(p) or p == path), ""
                )
                raise ReplyError(
                    f"{name} has no number for {self.names.get(path, path)}"
                    + (f": it was not run ({why})." if why else ".")
                )
        return path

    def left_out(self, metric: str, *runs: str) -> bool:
        """Say whether one of `runs` was free to leave `metric` unmeasured, and did."""
        spec = self.specs.get(metric.strip())
        return (
            spec is not None
            and not spec.required
            and any(
                not any(ends_with(path, spec.name) for path in self.run(name).metrics)
                for name in runs
            )
        )

    def _candidates(self, metric: str, runs: Iterable[str]) -> Iterable[str]:
        """Prefer paths that every named run has, so that a name is as short as it can be."""
        shared = [p for p in self.paths if all(p in self.run(name).metrics for name in runs)]
        try:
            resolve(metric, shared)
        except ReplyError:
            return self.paths
        return shared

    def compare(self, run: str, base: str, path: str) -> Comparison:
        """Compare two runs in one metric, counting how many variants were tried."""
        tried = max(1, sum(path in self.runs[n].metrics for n in self.numbered if n != "run_0"))
        return compare(
            self.runs[base],
            self.runs[run],
            path,
            spec=spec_at(path, self.specs),
            n_tried=tried if base == "run_0" else 1,
        )

    def better(self, path: str) -> int:
        """Return +1 where higher is better, -1 where lower is, 0 where nobody says."""
        spec = spec_at(path, self.specs)
        if spec is not None and spec.direction != "none":
            return 1 if spec.direction == "increase" else -1
        last = path.rsplit("/", 1)[-1].lower()
        if any(word in last for word in LOWER_IS_BETTER):
            return -1
        return 1 if any(word in last for word in HIGHER_IS_BETTER) else 0

    def final_run(self) -> str | None:
        """Return the last run."""
        return self.numbered[-1] if len(self.numbered) > 1 else None

    def best_run(self, path: str) -> str | None:
        """Return the run that is best in `path`, the baseline left out."""
        sign = self.better(path)
        having = [n for n in self.numbered if n != "run_0" and path in self.runs[n].metrics]
        if not sign or not having:
            return None
        return max(having, key=lambda name: sign * self.runs[name].metrics[path])
