"""The numbers of a run for a reader: value, error, delta, noise, and compared with what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ai_scientist.judging.statistics import compare
from ai_scientist.notes.facts import describe_comparison
from ai_scientist.records import MetricSpec, Results, Run, Scalar, Study
from ai_scientist.results.naming import ends_with, metric_names, spec_at
from ai_scientist.results.tables import format_number, format_percent, format_with_error

L0 = ("l0", "mean_l0", "l0_sparsity")
FVU = ("fvu", "frac_variance_unexplained", "fraction_variance_unexplained")
WIDTH = ("d_sae", "dict_size", "width", "dictionary_size", "latents", "n_latents", "hidden", "f")
TOKENS = ("tokens", "n_tokens", "num_tokens", "training_tokens")
STEPS = ("steps", "training_steps")
HASHES = ("evaluation_sha256", "evaluation_hash", "eval_hash", "weights_sha256", "weight_sha256")


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric of one run beside the baseline's."""

    path: str
    name: str
    value: str
    exact: float
    seeds: int
    baseline: str = ""
    delta: str = ""
    share: float | None = None
    good: bool | None = None
    """Whether it moved as the template wants; None where it wants nothing, or within noise."""
    noise: str = ""
    known: bool = False
    """The template describes it."""
    primary: bool = False


def spec_of(path: str, specs: Mapping[str, MetricSpec]) -> MetricSpec:
    """Return what the template says of a metric; of one that it does not know, only the name."""
    return spec_at(path, specs) or MetricSpec(name=path.rsplit("/", maxsplit=1)[-1])


def metric_rows(study: Study, run: Run, against: Run | None = None) -> list[MetricRow]:
    """Return the run's metrics, the primary one first, then those the template describes."""
    base = against or study.runs.get("run_0")
    if base is not None and base.name == run.name and against is None:
        base = None
    names = metric_names(run.results.metrics)
    primary = primary_path(study, run)
    rows = [
        metric_row(path, names[path], run, base, study, primary=path == primary) for path in names
    ]
    return sorted(rows, key=lambda row: (not row.primary, not row.known))


def metric_row(
    path: str, name: str, run: Run, base: Run | None, study: Study, *, primary: bool = False
) -> MetricRow:
    """Return one row."""
    value = run.results.metrics[path]
    spec = spec_of(path, study.metrics)
    seeds = len(run.results.seeds.get(path, ())) or len(run.seeds)
    known = spec.name in study.metrics
    row = MetricRow(
        path=path,
        name=name,
        value=format_with_error(value, run.results.stderr.get(path)),
        exact=value,
        seeds=seeds,
        known=known,
        primary=primary,
    )
    if base is None or path not in base.results.metrics or spec.volatile:
        return row
    old = base.results.metrics[path]
    tried = sum(path in one.results.metrics for one in study.runs.values()) - 1
    against_baseline = base.name == "run_0" and run.name in study.runs
    n_tried = max(1, tried) if against_baseline else 1
    comparison = compare(base.results, run.results, path, spec=spec, n_tried=n_tried)
    good = None
    if comparison.verdict in ("higher", "lower") and comparison.noise_known:
        wanted = {"increase": "higher", "decrease": "lower"}.get(spec.direction)
        good = comparison.verdict == wanted if wanted else None
    return replace(
        row,
        baseline=format_with_error(old, base.results.stderr.get(path)),
        delta=signed(value - old),
        share=(value - old) / abs(old) if old else None,
        good=good,
        noise=describe_comparison(comparison),
    )


def primary_path(study: Study, run: Run) -> str | None:
    """Return the path of a run's primary metric: the template's, else the first hypothesis's."""
    wanted = [study.primary_metric, *(one.metric for one in study.hypotheses)]
    for name in wanted:
        found = [path for path in run.results.metrics if name and ends_with(path, name)]
        if found:
            return min(found, key=len)
    return None


def find_metric(results: Results, names: tuple[str, ...]) -> str | None:
    """Return the shortest path whose last word is one of the names, whatever its case."""
    found = [path for path in results.metrics if path.split("/")[-1].lower() in names]
    return min(found, key=len) if found else None


def compared_with(study: Study, run: Run) -> list[tuple[str, str]]:
    """Return what stands beside every delta: arm, L0, width, tokens, seeds, evaluation hash."""
    base = study.runs.get("run_0", run)
    facts = [("against", f"{base.name}, {base.title or 'untitled'}")] if base is not run else []
    path, old = find_metric(run.results, L0), find_metric(base.results, L0)
    if path and old:
        values = base.results.metrics[old], run.results.metrics[path]
        facts.append(("L0", shown_pair(*map(format_number, values))))
    for label, names in (("width", WIDTH), ("tokens", TOKENS), ("steps", STEPS)):
        new, old_value = find_config(run.results, names), find_config(base.results, names)
        if new is not None or old_value is not None:
            facts.append((label, shown_pair(old_value, new)))
    facts.append(("seeds", shown_pair(len_seeds(base), len_seeds(run))))
    for name in HASHES:
        hashes = {
            one[:12]
            for facts_ in run.results.measured.values()
            for one in str(facts_.get(name, "")).split(", ")
            if one
        }
        if hashes:
            facts.append((name.replace("_", " "), ", ".join(sorted(hashes))))
    if run.profile:
        facts.append(("profile", run.profile))
    return facts


def find_config(results: Results, names: tuple[str, ...]) -> Scalar:
    """Return the first configuration value whose last word is one of the names."""
    for name in names:
        for path, value in results.config.items():
            if path.split("/")[-1].lower() == name:
                return value
    return None


def len_seeds(run: Run) -> int:
    """Return the number of seeds a run's values come from."""
    return max([len(values) for values in run.results.seeds.values()] or [len(run.seeds)])


def shown_pair(old: Scalar, new: Scalar) -> str:
    """Return one value, or both when they differ."""
    return f"{new}" if old == new else f"{old} → {new}"


def signed(value: float) -> str:
    """Return a difference with its sign."""
    if not math.isfinite(value):
        return "not a number"
    text = format_number(abs(value))
    return f"+{text}" if value > 0 else f"−{text}" if value < 0 else "0"


def percent(share: float | None) -> str:
    """Return a relative change in percent, with its sign."""
    if share is None or not math.isfinite(share):
        return ""
    sign = "+" if share > 0 else "−" if share < 0 else ""
    return sign + format_percent(abs(share))
