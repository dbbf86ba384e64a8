"""The appendix, all of it by code: what was set, run, refused, spent, and how to run it again."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ai_scientist.claims import Evidence
from ai_scientist.judging.deviations import deviations
from ai_scientist.judging.statistics import Comparison
from ai_scientist.records import Attempt, Run, Scalar, Study
from ai_scientist.results.naming import metric_names
from ai_scientist.writeup.facts import (
    cell,
    comparison_note,
    key_metrics,
    seeds_of,
    show,
    spoken,
    verdicts_table,
)
from ai_scientist.writeup.typeset import breakable, clip, code, column, escape, long_table, said

SECRET = ("key", "token", "secret", "password")
UNITS = {"s": "s", "usd": "USD", "gb": "GB", "hours": "h"}
MAX_CONFIGURATION_ROWS = 40
ROOM_LINES = 9
"""A heading with less room below it begins on the next page."""
MAX_COMPARED = 3


def appendix(study: Study, *, figures: str = "") -> str:
    """Return latex/appendix.tex; `figures` is the LaTeX of those that no section shows.

    They stand before the settings, so that the last page never holds a figure alone.
    """
    parts: Sequence[tuple[str, str, Callable[[Study], str]]] = (
        ("Runs", "app:runs", _runs),
        ("Attempts that led to no valid run", "app:attempts", _attempts),
        ("Hypotheses and verdicts", "app:verdicts", _verdicts),
        ("Noise", "app:noise", _noise),
        ("What moved in the configuration", "app:configuration", _configuration),
        ("Findings of the checks", "app:findings", _findings),
        *([("Further figures", "app:figures", lambda study: figures)] if figures else []),
        ("Settings and machine", "app:settings", _settings),
        ("How to run it again", "app:replay", _replay),
    )
    opening = (
        "\\section{Record of the experiments}\\label{app:record}\n"
        "This appendix is written by code from the stored records.\n"
    )
    return opening + "".join(
        f"{heading_of(heading, label)}{write(study)}\n" for heading, label, write in parts
    )


def heading_of(heading: str, label: str) -> str:
    """Return a heading that stays with what follows it."""
    return f"\\roomfor{{{ROOM_LINES}\\baselineskip}}\n\\subsection{{{heading}}}\\label{{{label}}}\n"


def _settings(study: Study) -> str:
    run = next(iter(study.runs.values()))
    settings = {n: v for n, v in _flat(study.settings).items() if not _secret(n)}
    machine = {**run.hardware, "sandbox": run.sandbox_tier or "not recorded"}
    pairs = [(_setting(name), _shown(value)) for name, value in settings.items() if _given(value)]
    pairs += [(_setting(name), _shown(value)) for name, value in machine.items() if _given(value)]
    pairs += [(breakable(name), _shown(version)) for name, version in run.versions.items()]
    half = -(-len(pairs) // 2)
    right = [*pairs[half:], *[("", "")] * (len(pairs) % 2)]
    rows = [[*one, *other] for one, other in zip(pairs[:half], right, strict=True)]
    return long_table(
        [column(width) for width in (0.19, 0.31, 0.19, 0.31)],
        ["Setting", "Value", "Setting", "Value"],
        rows,
        caption="Settings of this idea, the machine of its baseline, and versions of software.",
        label="tab:settings",
    )


def _secret(name: str) -> bool:
    return any(word in name.lower() for word in SECRET)


def _given(value: object) -> bool:
    return value not in (None, "", 0)


def _setting(name: str) -> str:
    """Return a setting's name as words, its unit in parentheses."""
    words, _, unit = name.rsplit(".", 1)[-1].rpartition("_")
    if words and unit in UNITS:
        return f"{escape(spoken(words))} ({UNITS[unit]})"
    return escape(spoken(name.rsplit(".", 1)[-1]))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return breakable(clip(f"{value:g}" if isinstance(value, float) else str(value), 80))


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
            _cost(run.cost_usd) if run.step else "",
            said(_marks(run)),
        ]
        for run in study.runs.values()
    ]
    return _without_empty(
        (0.08, 0.20, 0.14, 0.08, 0.10, 0.12, 0.08, 0.20),
        ["Run", "What it was", "Commit", "Seeds", "Seconds", "GPU hours", "Cost", "Remarks"],
        rows,
        empty={"", "0.000"},
        caption="Valid runs. Each commit holds the code that ran; cost is that of its edit.",
        label="tab:runs",
    )


def _without_empty(
    widths: Sequence[float],
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    empty: Collection[str],
    caption: str,
    label: str,
) -> str:
    """Return a long table without the columns that say nothing; the second one gets their room."""
    kept = [n for n in range(len(head)) if not {row[n] for row in rows} <= set(empty)]
    spare = 1 - sum(widths[n] for n in kept)
    return long_table(
        [column(widths[n] + (spare if n == 1 else 0)) for n in kept],
        [head[n] for n in kept],
        [[row[n] for n in kept] for row in rows],
        caption=caption,
        label=label,
        gap_pt=1,
    )


def _marks(run: Run) -> str:
    marks = [f"confounded by {', '.join(run.confounded)}"] if run.confounded else []
    marks += [f"controls: {', '.join(map(spoken, run.arms))}"] if run.arms else []
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
        f" {len(attempts)} attempt{'' if len(attempts) == 1 else 's'} that"
        " led to none: not applied, refused, crashed, stopped or rejected. Together they took"
        f" {seconds:.0f} seconds of execution and rehearsal, and {_hours(gpu_hours)}."
        f" Model cost of the failed attempts: {cost if attempts else 'none'}."
        f" Why the experiments ended: {escape(study.stop or 'not recorded')}.\n"
    )
    if not attempts:
        return text
    return text + long_table(
        [column(width) for width in (0.16, 0.11, 0.13, 0.40, 0.11, 0.09)],
        ["Step", "Kind", "Gate", "Reason", "Seconds", "Cost"],
        [_attempt_row(attempt) for attempt in attempts],
        caption="Every attempt that led to no valid run, in order.",
        label="tab:attempts",
        gap_pt=2,
    )


def _hours(gpu_hours: float) -> str:
    return f"{gpu_hours:.3f} GPU-hours" if gpu_hours else "no GPU time"


def _cost(cost_usd: float | None) -> str:
    return "not known" if cost_usd is None else escape(f"${cost_usd:.3f}")


def _attempt_row(attempt: Attempt) -> list[str]:
    return [
        code(attempt.step),
        escape(attempt.kind.value.replace("_", " ")),
        breakable(attempt.gate),
        breakable(clip(attempt.reason, 320)),
        escape(f"{attempt.seconds:.1f}"),
        _cost(attempt.cost_usd),
    ]


def _verdicts(study: Study) -> str:
    table = verdicts_table(study) if study.judgements else ""
    told = deviations(study)
    if not told:
        return table + "The experiments kept to what was fixed before them.\n"
    items = "".join(f"\\item {said(one)}\n" for one in told)
    return table + (
        "Deviations from what was fixed before the first edit:\n"
        f"\\begin{{itemize}}\n{items}\\end{{itemize}}\n"
    )


def _noise(study: Study) -> str:
    evidence = Evidence.from_study(study)
    rows: list[list[str]] = []
    counts: set[str] = set()
    for path in key_metrics(study)[:MAX_COMPARED]:
        name = (r"\addlinespace[3pt] " if rows else "") + code(evidence.names[path])
        for run, seen in _compared(evidence, path):
            counts.add(f"{seen.n} {'paired' if seen.paired else 'unpaired'}")
            rows.append([name, *_comparison(run, seen)])
            name = ""
    text = comparison_note(study) + (
        " The interval is of the change against the baseline, in the metric's unit, for that"
        " comparison alone; the words beside it allow for every variant tried, so that an interval"
        r" may leave out zero where they say \emph{not distinguishable}. MDE is the"
        " smallest change that would be found in four of five repetitions. Seeds compared:"
        f" {', '.join(sorted(counts))}.\n"
    )
    return text + long_table(
        [column(width) for width in (0.22, 0.24, 0.20, 0.23, 0.11)],
        ["Metric", "Run", "Compared", r"95\% interval", "MDE"],
        rows,
        caption="Every run and control arm against the baseline, and its noise.",
        label="tab:noise",
    )


def _compared(evidence: Evidence, path: str) -> Iterator[tuple[str, Comparison]]:
    """Yield each run and arm that measured `path`, compared as the text does."""
    base, *others = evidence.runs
    for name in others:
        if path in evidence.runs[name].metrics and path in evidence.runs[base].metrics:
            yield name, evidence.compare(name, base, path)


def _comparison(run: str, seen: Comparison) -> list[str]:
    words = re.sub(r"\s+(?:than|from|to)$", "", seen.describe())
    between = " to ".join(show(end) for end in seen.interval) if seen.interval else "not known"
    least = seen.minimum_detectable_effect
    return [
        code(run),
        escape(words),
        cell(between),
        cell(show(least)) if least is not None else "not known",
    ]


def _configuration(study: Study) -> str:
    moved: dict[str, dict[str, tuple[Scalar, Scalar]]] = {}
    for run in study.runs.values():
        for path, pair in run.config_diff_baseline.items():
            moved.setdefault(path, {})[run.name] = pair
    if not moved:
        return "No recorded configuration value differs from the baseline in any run.\n"
    names = metric_names(moved)
    rows = []
    for path, pairs in list(moved.items())[:MAX_CONFIGURATION_ROWS]:
        base = next(iter(pairs.values()))[0]
        values = "; ".join(f"{run}: {_value(after)}" for run, (_, after) in pairs.items())
        named = path in study.idea.varies or path.rsplit("/", 1)[-1] in study.idea.varies
        rows.append(
            [
                code(names[path]),
                breakable(_value(base)),
                said(values),
                "yes" if named else "no",
            ]
        )
    left = len(moved) - len(rows)
    more = (
        f"{left} further values moved; see \\texttt{{run.json}} of each run.\n" if left > 0 else ""
    )
    return (
        long_table(
            [column(width) for width in (0.28, 0.14, 0.48, 0.10)],
            ["Configuration value", "Baseline", "Runs that differ", "Meant"],
            rows,
            caption="What moved per run. Meant: the idea names the value as one that it varies.",
            label="tab:configuration",
            gap_pt=2,
        )
        + more
    )


def _value(value: Scalar) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "absent" if value is None else clip(str(value), 60)


def _findings(study: Study) -> str:
    if not study.findings:
        return "The checks of runs, configuration and code found nothing.\n"
    rows = [
        [
            escape(spoken(f.kind)),
            said(f.run) if f.run else breakable(f.where),
            said(clip(f.detail, 300)),
        ]
        for f in study.findings
    ]
    return long_table(
        [column(width) for width in (0.22, 0.18, 0.60)],
        ["Kind", "Where", "What"],
        rows,
        caption="What the checks of this study found.",
        label="tab:findings",
        gap_pt=2,
    )


def _replay(study: Study) -> str:
    return (
        "Each run is a commit of the run folder, with its command, seeds, versions and results in"
        " \\texttt{run.json}. A run is repeated from its record, and called the same, within noise"
        " or different, by\n\\par\\nopagebreak\\smallskip{\\raggedright\\small\\texttt{"
        f"python -m ai\\_scientist replay {breakable(study.folder.name)} run\\_1}}\\par}}\n"
    )
