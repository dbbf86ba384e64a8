"""notes.txt, in two voices: facts by our code, interpretation by the coder.

    # Title: …                                  AI-Scientist's header
    ## Run 0: Baseline
    ## Run n: TITLE
    [facts of run_n] … [end of facts]           a pure function of run.json and the baseline
    ### Interpretation                          the coder's prose, its named numbers expanded

Within a run the file only grows. `facts` regenerated from the stored records are byte-equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice

from ai_scientist.judging.items import Spread, spreads
from ai_scientist.judging.statistics import Comparison, compare
from ai_scientist.records import Idea, MetricSpec, Results, Run, Scalar, Template
from ai_scientist.results.naming import spec_at
from ai_scientist.results.tables import format_number, format_with_error
from ai_scientist.run_folder.workspace import run_number

END_OF_FACTS = "[end of facts]"
MAX_CONFIGURATION_ROWS = 12
MAX_VALUE = 120
MAX_METRIC_ROWS = 24
MAX_TABLE_METRICS = 8
MAX_ITEM_ROWS = 6


def notes_header(idea: Idea, baseline: Run, specs: Mapping[str, MetricSpec]) -> str:
    """Return the head of notes.txt: AI-Scientist's lines, and the baseline's facts."""
    return (
        f"# Title: {_one_line(idea.title)}\n"
        f"# Experiment description: {_one_line(idea.experiment)}\n\n"
        "## Run 0: Baseline\n"
        f"{facts(baseline, baseline, specs)}\n"
        "Description: Baseline results.\n"
    )


def run_section(run: Run, baseline: Run, specs: Mapping[str, MetricSpec]) -> str:
    """Return the section of one run up to the coder's part."""
    number = run_number(run.name)
    return f"\n## Run {number}: {_one_line(run.title)}\n{facts(run, baseline, specs)}\n"


def interpretation(prose: str) -> str:
    """Return the coder's part of a run's section; headings in it are set below the section's."""
    lines = [
        f"#### {line.lstrip('# ')}" if line.startswith("#") else line for line in prose.splitlines()
    ]
    text = "\n".join(lines).strip() or "(The coder wrote nothing about this run.)"
    return f"### Interpretation (by the coder)\n{text}\n"


def facts(run: Run, baseline: Run, specs: Mapping[str, MetricSpec]) -> str:
    """Return the marked block of what was measured in `run`."""
    lines = [
        f"[facts of {run.name}, by code from {run.name}/run.json]",
        f"Commit {run.commit[:12] or 'none'}; profile {run.profile or 'unknown'}; "
        f"seeds {', '.join(map(str, run.seeds))}; {run.seconds:.1f} s; "
        f"sandbox: {run.sandbox_tier or 'unknown'}; provenance: {run.provenance}",
    ]
    if run.name != baseline.name:
        lines += _configuration_lines("run_0", run.config_diff_baseline)
    if run.confounded:
        lines.append(f"Confounded by: {', '.join(_some(run.confounded))}")
    lines += [
        _one_line(f"Gate `{check.gate}`: {check.verdict}: {check.detail}")
        for check in run.checks
        if check.verdict in ("finding", "not decidable")
    ]
    lines += metric_rows(run, baseline, specs)
    lines += item_rows(run, baseline)
    left_out = sorted(run.results.not_run.items())
    lines += [_one_line(f"Not run: {name}: {reason}") for name, reason in left_out]
    return "\n".join([*lines, END_OF_FACTS])


def metric_rows(
    run: Run, baseline: Run, specs: Mapping[str, MetricSpec], limit: int = MAX_METRIC_ROWS
) -> list[str]:
    """Return one line per metric with its change against the baseline and the noise."""
    paths = shown_metrics(run, specs)
    rows = []
    for path in paths[:limit]:
        error = run.results.stderr.get(path)
        row = f"{path} = {format_with_error(run.results.metrics[path], error)}"
        spec = spec_at(path, specs)
        compared = run.name != baseline.name and path in baseline.results.metrics
        if compared and not (spec and spec.volatile):
            seen = compare(baseline.results, run.results, path, spec=spec)
            row += f"; {describe_comparison(seen)}"
        rows.append(row)
    if len(paths) > limit:
        rows.append(f"… and {len(paths) - limit} more metrics in {run.name}/final_info.json")
    return rows


def item_rows(run: Run, baseline: Run, limit: int = MAX_ITEM_ROWS) -> list[str]:
    """Return one line per number that an evaluation lists by item: how firmly it was measured."""
    changes: dict[str, Spread] = {}
    if run.name != baseline.name:
        changes = {one.place: one for one in spreads(run.results, baseline.results)}
    rows = []
    for seen in islice(spreads(run.results), limit):
        row = f"Within this model: {seen.place}: {_by_resampling(seen)}"
        if change := changes.get(seen.place):
            row += f"; against run_0 on the same items {_by_resampling(change)}"
        rows.append(f"{row}; says nothing of other training seeds")
    return rows


def _by_resampling(seen: Spread) -> str:
    low, high = (format_number(end) for end in seen.interval)
    return f"{format_number(seen.mean)} over {seen.items} items, 95% {low} to {high}"


def describe_comparison(seen: Comparison) -> str:
    """Write a comparison with what it rests on: seeds, standard error, detectable effect."""
    parts = [seen.describe("run_0")]
    if seen.standard_error is not None:
        pairing = "paired seeds" if seen.paired else "seeds"
        parts.append(f"{seen.n} {pairing}, SE {format_number(seen.standard_error)}")
    if seen.minimum_detectable_effect is not None:
        smallest = format_number(seen.minimum_detectable_effect)
        parts.append(f"detectable from {smallest}")
    return ", ".join([*parts, *([seen.multiplicity] if seen.multiplicity else [])])


def shown_metrics(run: Run, specs: Mapping[str, MetricSpec]) -> list[str]:
    """Return the run's metric paths, those the template describes first, in its order."""
    order = {name: number for number, name in enumerate(specs)}
    found = {path: spec_at(path, specs) for path in run.results.metrics}
    places = {path: order.get(spec.name, 0) for path, spec in found.items() if spec}
    return sorted(found, key=lambda path: places.get(path, len(order)))


def results_table(
    runs: Mapping[str, Run], template: Template, references: Mapping[str, Results] | None = None
) -> str:
    """Return the results as prompts carry them: the baseline, the best and the last two runs.

    A row per run and a column per described metric, so that its length does not grow with the runs;
    below them the references.
    """
    baseline = next(iter(runs.values()))
    specs = template.metrics
    paths = [path for path in shown_metrics(baseline, specs) if _is_compared(path, specs)]
    paths = (paths or list(baseline.results.metrics))[:MAX_TABLE_METRICS]
    best = best_run(runs, template)
    shown = {"run_0", best, *list(runs)[-2:]}
    lines = [f"run | {' | '.join(path.split('/')[-1] for path in paths)} | what it was"]
    for name in [name for name in runs if name in shown]:
        run = runs[name]
        cells = [_cell(run.results, path) for path in paths]
        mark = " (best so far)" if name == best != "run_0" else ""
        lines.append(f"{name} | {' | '.join(cells)} | {run.title}{mark}")
    hidden = len(runs) - len(lines) + 1
    for name, results in (references or {}).items():
        cells = [_cell(results, path) for path in paths]
        lines.append(f"({name}) | {' | '.join(cells)} | {about_reference(results)}")
    return "\n".join([*lines, f"({hidden} more valid runs are not shown)"] if hidden else lines)


def best_run(runs: Mapping[str, Run], template: Template) -> str:
    """Return the run that is best in the template's primary metric, by its mean."""
    specs = template.metrics
    spec = specs.get(template.primary_metric or "")
    if spec is None or spec.direction == "none":
        return list(runs)[-1]
    sign = 1.0 if spec.direction == "increase" else -1.0

    def score(name: str) -> float:
        metrics = runs[name].results.metrics
        values = [value for path, value in metrics.items() if spec_at(path, specs) == spec]
        return sign * values[0] if values else -math.inf

    return max(runs, key=score)


def _cell(results: Results, path: str) -> str:
    value = results.metrics.get(path)
    return "not run" if value is None else format_number(value, results.stderr.get(path))


def _configuration_lines(against: str, moved: Mapping[str, tuple[Scalar, Scalar]]) -> Sequence[str]:
    if not moved:
        return [f"Configuration: no value differs from {against}"]
    shown = [
        f"{key.rpartition('config/')[2]}: {_short(old)} -> {_short(new)}"
        for key, (old, new) in moved.items()
    ]
    return [f"Configuration against {against}: {'; '.join(_some(shown))}"]


def _some(rows: Sequence[str]) -> list[str]:
    """Return the first rows, and how many more there are."""
    left = len(rows) - MAX_CONFIGURATION_ROWS
    return [*rows[:MAX_CONFIGURATION_ROWS], *([f"{left} more"] if left > 0 else [])]


def _short(value: Scalar) -> str:
    text = repr(value)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def arm_lines(arms: Mapping[str, Results], specs: Mapping[str, MetricSpec]) -> list[str]:
    """Return one line per control arm with the metrics that the template describes."""
    return [f"Control arm {arm}: {_described(results, specs)}" for arm, results in arms.items()]


def reference_lines(
    references: Mapping[str, Results], specs: Mapping[str, MetricSpec]
) -> list[str]:
    """Return one line per reference with the metrics that the template describes."""
    return [
        f"Reference {name} ({about_reference(results)}): {_described(results, specs)}"
        for name, results in references.items()
    ]


def about_reference(results: Results) -> str:
    """Say that a reference is no run, and what stands between it and a comparison."""
    said = results.config.get("reference/config/sparsity")
    return f"a reference, no run; {said}" if said else "a reference, no run"


def _described(results: Results, specs: Mapping[str, MetricSpec]) -> str:
    described = [path for path in results.metrics if _is_compared(path, specs)]
    return "; ".join(
        f"{path.split('/')[-1]} = "
        f"{format_with_error(results.metrics[path], results.stderr.get(path))}"
        for path in (described or list(results.metrics))[:MAX_TABLE_METRICS]
    )


def _is_compared(path: str, specs: Mapping[str, MetricSpec]) -> bool:
    spec = spec_at(path, specs)
    return spec is not None and not spec.volatile


def _one_line(text: str) -> str:
    return " ".join(text.split())
