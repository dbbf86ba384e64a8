"""The appendix, all of it by code: what was set, run, refused, spent, and how to run it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ai_scientist.naming import metric_names
from ai_scientist.records import Attempt, Run, Scalar, Study
from ai_scientist.writeup.facts import (
    comparison_note,
    key_metrics,
    paths_of,
    show,
    spec_of,
    verdicts_table,
)
from ai_scientist.writeup.typeset import breakable, clip, column, escape, long_table

SECRET = ("key", "token", "secret", "password")
MAX_CONFIGURATION_ROWS = 40


def appendix(study: Study) -> str:
    """Return latex/appendix.tex."""
    parts: Sequence[tuple[str, str, Callable[[Study], str]]] = (
        ("Settings and machine", "app:settings", _settings),
        ("Runs", "app:runs", _runs),
        ("Attempts that led to no valid run", "app:attempts", _attempts),
        ("Hypotheses and verdicts", "app:verdicts", _verdicts),
        ("Noise", "app:noise", _noise),
        ("What moved in the configuration", "app:configuration", _configuration),
        ("Findings", "app:findings", _findings),
        ("How to run it again", "app:replay", _replay),
    )
    opening = (
        "\\section{Record of the experiments}\\label{app:record}\n"
        "This appendix is written by code from the stored records.\n"
    )
    return opening + "".join(
        f"\\subsection{{{heading}}}\\label{{{label}}}\n{write(study)}\n"
        for heading, label, write in parts
    )


LABELS = (
    "app:record",
    "app:settings",
    "app:runs",
    "app:attempts",
    "app:verdicts",
    "app:noise",
    "app:configuration",
    "app:findings",
    "app:replay",
)


def _settings(study: Study) -> str:
    rows = [
        [breakable(name), breakable(clip(str(value), 200))]
        for name, value in _flat(study.settings).items()
        if value not in (None, "") and not any(word in name.lower() for word in SECRET)
    ]
    run = next(iter(study.runs.values()))
    rows += [[breakable(k), breakable(clip(str(v), 200))] for k, v in run.hardware.items()]
    rows.append(["sandbox", breakable(run.sandbox_tier or "not recorded")])
    rows += [
        [breakable(f"{k} version"), breakable(clip(str(v), 80))] for k, v in run.versions.items()
    ]
    return long_table(
        column(0.38) + column(0.55),
        ["Setting", "Value"],
        rows,
        caption="Settings of this idea and the machine of its baseline.",
        label="tab:settings",
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _runs(study: Study) -> str:
    rows = [
        [
            rf"\texttt{{{escape(run.name)}}}",
            escape(clip(run.title, 120)),
            rf"\texttt{{{escape(run.commit[:10])}}}" if run.commit else escape(run.provenance),
            escape(", ".join(map(str, run.seeds))),
            escape(f"{run.seconds:.1f}"),
            escape(f"{run.gpu_hours:.3f}"),
            breakable(_marks(run)),
        ]
        for run in study.runs.values()
    ]
    widths = (0.08, 0.28, 0.12, 0.08, 0.08, 0.08, 0.16)
    return long_table(
        "".join(column(width) for width in widths),
        ["Run", "What it was", "Commit", "Seeds", "s", "GPU h", "Remarks"],
        rows,
        caption="Valid runs. Each commit holds the code that ran.",
        label="tab:runs",
    )


def _marks(run: Run) -> str:
    marks = [f"confounded by {', '.join(run.confounded)}"] if run.confounded else []
    marks += [f"arms: {', '.join(run.arms)}"] if run.arms else []
    marks += [
        f"{c.gate}: {c.verdict}" for c in run.checks if c.verdict in ("finding", "not decidable")
    ]
    return clip("; ".join(marks), 200)


def _attempts(study: Study) -> str:
    runs, attempts = list(study.runs.values()), study.attempts
    seconds = sum(r.seconds for r in runs) + sum(a.seconds for a in attempts)
    gpu_hours = sum(r.gpu_hours for r in runs) + sum(a.gpu_hours for a in attempts)
    known = [a.cost_usd for a in attempts if a.cost_usd is not None]
    cost = f"\\${sum(known):.2f}" if known and len(known) == len(attempts) else "not known"
    text = (
        f"The complete denominator: {len(runs)} valid runs, the baseline included, and"
        f" {len(attempts)} attempts that were not applied, refused, crashed, stopped or rejected;"
        f" together {seconds:.0f} seconds of execution and {gpu_hours:.3f} GPU-hours. Model cost of"
        f" the failed attempts: {cost if attempts else 'none'}. The experiments ended for this"
        f" reason: {escape(study.stop or 'not recorded')}.\n"
    )
    if not attempts:
        return text
    return text + long_table(
        "".join(column(width) for width in (0.16, 0.13, 0.09, 0.40, 0.07, 0.07)),
        ["Step", "Kind", "Gate", "Reason", "s", "Cost"],
        [_attempt_row(attempt) for attempt in attempts],
        caption="Every attempt that led to no valid run, in order.",
        label="tab:attempts",
    )


def _attempt_row(attempt: Attempt) -> list[str]:
    cost = "?" if attempt.cost_usd is None else f"${attempt.cost_usd:.3f}"
    return [
        breakable(attempt.step),
        escape(attempt.kind.value.replace("_", " ")),
        breakable(attempt.gate),
        breakable(clip(attempt.reason, 320)),
        escape(f"{attempt.seconds:.1f}"),
        escape(cost),
    ]


def _verdicts(study: Study) -> str:
    if not study.judgements:
        return "No hypothesis was fixed before the runs.\n"
    return verdicts_table(study, [column(width) for width in (0.24, 0.07, 0.13, 0.07, 0.40)])


def _noise(study: Study) -> str:
    base = next(iter(study.runs.values()))
    names = metric_names(paths_of(study))
    rows = []
    for path in key_metrics(study):
        values, spec = base.results.seeds.get(path, ()), spec_of(study, path)
        spread = base.results.stderr.get(path)
        rows.append(
            [
                breakable(names[path]),
                escape(show(base.results.metrics.get(path))),
                escape(show(spread)) if spread is not None else r"\emph{not measured}",
                str(max(len(values), 1)),
                escape(show(spec.noise)) if spec and spec.noise is not None else "",
            ]
        )
    return (comparison_note(study) + "\n") + long_table(
        "".join(column(width) for width in (0.34, 0.14, 0.16, 0.08, 0.20)),
        ["Metric", "Baseline", "Standard error", "Seeds", "Spread the template states"],
        rows,
        caption="Noise of the baseline.",
        label="tab:noise",
    )


def _configuration(study: Study) -> str:
    moved: dict[str, dict[str, tuple[Scalar, Scalar]]] = {}
    for run in study.runs.values():
        for path, pair in run.config_diff_baseline.items():
            moved.setdefault(path, {})[run.name] = pair
    if not moved:
        return "No recorded configuration value differs from the baseline in any run.\n"
    rows = []
    for path, pairs in list(moved.items())[:MAX_CONFIGURATION_ROWS]:
        base = next(iter(pairs.values()))[0]
        values = "; ".join(f"{run}: {_value(after)}" for run, (_, after) in pairs.items())
        named = path in study.idea.varies or path.rsplit("/", 1)[-1] in study.idea.varies
        rows.append(
            [breakable(path), breakable(_value(base)), breakable(values), "yes" if named else "no"]
        )
    left = len(moved) - len(rows)
    more = (
        f"{left} further values moved; see \\texttt{{run.json}} of each run.\n" if left > 0 else ""
    )
    return (
        long_table(
            "".join(column(width) for width in (0.30, 0.14, 0.36, 0.10)),
            ["Configuration value", "Baseline", "Runs that differ", "Meant"],
            rows,
            caption="What moved per run. Meant: the idea names the value as one that it varies.",
            label="tab:configuration",
        )
        + more
    )


def _value(value: Scalar) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "absent" if value is None else clip(str(value), 60)


def _findings(study: Study) -> str:
    if not study.findings:
        return "None.\n"
    rows = [
        [breakable(f.kind), breakable(f.run or f.where), breakable(clip(f.detail, 300))]
        for f in study.findings
    ]
    return long_table(
        "".join(column(width) for width in (0.22, 0.16, 0.54)),
        ["Kind", "Where", "What"],
        rows,
        caption="What the checks of this study found.",
        label="tab:findings",
    )


def _replay(study: Study) -> str:
    return (
        "Each run is a commit of the run folder, with its command, seeds, versions and results in"
        f" \\texttt{{run.json}}. The folder is \\texttt{{{breakable(study.folder.name)}}}; a run is"
        " repeated from its record, and called the same, within noise or different, by\n"
        "\\begin{quote}\\raggedright\\small\\texttt{python -m ai\\_scientist replay "
        f"{breakable(study.folder.name)} run\\_1}}\\end{{quote}}\n"
    )
