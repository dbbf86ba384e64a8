"""The appendix, all of it by code: what was set, run, refused, spent, and how to run it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ai_scientist.claims import Evidence
from ai_scientist.records import Attempt, Run, Scalar, Study
from ai_scientist.writeup.facts import (
    cell,
    comparison_note,
    key_metrics,
    seeds_of,
    show,
    verdicts_table,
)
from ai_scientist.writeup.typeset import breakable, clip, column, escape, long_table

SECRET = ("key", "token", "secret", "password")
MAX_CONFIGURATION_ROWS = 40
MAX_COMPARED = 3


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
        column(0.40) + column(0.60),
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
            str(seeds_of(run)),
            escape(f"{run.seconds:.1f}"),
            escape(f"{run.gpu_hours:.3f}"),
            breakable(_marks(run)),
        ]
        for run in study.runs.values()
    ]
    widths = (0.08, 0.28, 0.15, 0.10, 0.08, 0.08, 0.22)
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
        "".join(column(width) for width in (0.15, 0.13, 0.10, 0.44, 0.08, 0.10)),
        ["Step", "Kind", "Gate", "Reason", "s", "Cost"],
        [_attempt_row(attempt) for attempt in attempts],
        caption="Every attempt that led to no valid run, in order.",
        label="tab:attempts",
    )


def _attempt_row(attempt: Attempt) -> list[str]:
    cost = "not known" if attempt.cost_usd is None else f"${attempt.cost_usd:.3f}"
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
    return verdicts_table(study, [column(width) for width in (0.26, 0.09, 0.14, 0.09, 0.42)])


def _noise(study: Study) -> str:
    rows = [row for path in key_metrics(study)[:MAX_COMPARED] for row in _compared(study, path)]
    text = comparison_note(study) + (
        " The interval is of the change; MDE is the smallest change that would be found in four of"
        " five repetitions; n counts training seeds.\n"
    )
    return text + long_table(
        "".join(column(width) for width in (0.20, 0.17, 0.22, 0.09, 0.21, 0.11)),
        ["Metric", "Run", "Against the baseline", "n", r"95\% interval", "MDE"],
        rows,
        caption="Every run and control arm against the baseline, and its noise.",
        label="tab:noise",
    )


def _compared(study: Study, path: str) -> list[list[str]]:
    """Return a row for each run and arm that measured `path`, compared as the text does."""
    evidence = Evidence.from_study(study)
    base, *others = evidence.runs
    rows = []
    for name in others:
        if path not in evidence.runs[name].metrics or path not in evidence.runs[base].metrics:
            continue
        seen = evidence.compare(name, base, path)
        between = " to ".join(show(end) for end in seen.interval) if seen.interval else "not known"
        least = seen.minimum_detectable_effect
        rows.append(
            [
                breakable(evidence.names[path]),
                breakable(name),
                escape(seen.describe(base)),
                f"{seen.n}{' paired' if seen.paired else ''}",
                cell(between),
                cell(show(least)) if least is not None else "not known",
            ]
        )
    return rows


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
            "".join(column(width) for width in (0.32, 0.16, 0.40, 0.12)),
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
        "".join(column(width) for width in (0.24, 0.18, 0.58)),
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
