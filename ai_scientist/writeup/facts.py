"""What code says in the body of the paper: disclosure, verdicts, the table of results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ai_scientist.errors import ReplyError
from ai_scientist.records import Judgement, Results, Run, Study, Verdict
from ai_scientist.results.naming import metric_names, resolve, spec_at
from ai_scientist.results.tables import format_with_error
from ai_scientist.writeup.typeset import breakable, clip, column, escape, long_table, said, table

MAX_COLUMNS = 5


def paths_of(study: Study) -> list[str]:
    """Return every metric path of the study, in the order of first appearance."""
    return list(dict.fromkeys(p for run in study.runs.values() for p in run.results.metrics))


def key_metrics(study: Study) -> list[str]:
    """Return the paths that the table of results shows: what the idea is judged by comes first."""
    paths = paths_of(study)
    judged = [j.hypothesis.metric for j in study.judgements]
    wanted = [study.primary_metric or "", *judged, *(h.metric for h in study.hypotheses)]
    wanted += [guard.metric for guard in study.idea.guards]
    wanted += [name for name, spec in study.metrics.items() if spec.required]
    wanted += [name for name, spec in study.metrics.items() if not spec.volatile]
    found: list[str] = []
    for name in wanted:
        try:
            found.append(resolve(name, paths))
        except ReplyError:
            continue  # a metric that no run measured has no column
    steady = [p for p in paths if not getattr(spec_at(p, study.metrics), "volatile", False)]
    return list(dict.fromkeys(found or steady))[:MAX_COLUMNS]


def rows_of(study: Study) -> Iterator[tuple[str, str, Results]]:
    """Yield (run, arm or "", results) of each run and of its control arms."""
    for run in study.runs.values():
        yield run.name, "", run.results
        for arm, results in run.arms.items():
            yield run.name, arm, results


def show(value: float | None, stderr: float | None = None) -> str:
    """Return a value as plain text, with its standard error where there is one."""
    return "not run" if value is None else format_with_error(value, stderr)


def cell(text: str) -> str:
    """Return the plain text of a value as LaTeX."""
    return escape(text).replace("-", "$-$") if text != "not run" else r"\emph{not run}"


def results_table(study: Study) -> str:
    """Return latex/tables/results.tex: runs and arms as rows, what counts as columns."""
    paths = key_metrics(study)
    names = metric_names(paths_of(study))
    head = ["Run", "What it was", *(_head(names[p], _arrow(study, p)) for p in paths)]
    rows = []
    for run, arm, results in rows_of(study):
        title = f"control: {spoken(arm)}" if arm else study.runs[run].title
        marks = "*" if study.runs[run].confounded and not arm else ""
        rows.append(
            [
                rf"\texttt{{{escape(run)}}}{marks}" if not arm else "",
                escape(clip(title, 70)),
                *(cell(show(results.metrics.get(p), results.stderr.get(p))) for p in paths),
            ]
        )
    return table(
        r"l>{\raggedright\arraybackslash}p{0.26\linewidth}" + "r" * len(paths),
        head,
        rows,
        caption="All valid runs and control arms. Values are read from the stored results.",
        label="tab:results",
        note=comparison_note(study),
    )


def spoken(name: str) -> str:
    """Return the name of a metric or an arm as words."""
    return " ".join(name.replace("_", " ").split())


def _head(name: str, arrow: str) -> str:
    """Return a metric's name as the head of a narrow column, broken at its underscores."""
    lines = [""]
    for piece in re.findall(r"[^_/ -]+[_/ -]*", name):
        if lines[-1] and len(lines[-1]) + len(piece) > 15:
            lines.append("")
        lines[-1] += piece
    cells = r" \\ ".join(rf"\texttt{{{escape(line)}}}" for line in lines)
    return rf"\begin{{tabular}}[b]{{@{{}}r@{{}}}}{cells}{arrow}\end{{tabular}}"


def _arrow(study: Study, path: str) -> str:
    spec = spec_at(path, study.metrics)
    arrows = {"increase": r"~$\uparrow$", "decrease": r"~$\downarrow$"}
    return arrows.get(spec.direction, "") if spec else ""


def seeds_of(run: Run) -> int:
    """Return how many training seeds a run's values come from, inside its process or over it."""
    return max([len(run.seeds), *(len(values) for values in run.results.seeds.values())])


def comparison_note(study: Study) -> str:
    """Return what the values are compared with: seeds, profile, noise. LaTeX."""
    base = next(iter(study.runs.values()))
    seeds = sorted({seeds_of(run) for run in study.runs.values()})
    counts = " or ".join(map(str, seeds))
    words = [f"Baseline: \\texttt{{{escape(base.name)}}}"]
    words.append(f"profile {escape(base.profile or 'not recorded')}")
    words.append(f"{counts} seed{'s' if seeds != [1] else ''} per run")
    if any(results.stderr for _, _, results in rows_of(study)):
        words.append(r"$\pm$ is the standard error over seeds")
    if seeds == [1] and not any(r.stderr for _, _, r in rows_of(study)):
        words.append("one seed, noise not measured")
    if len(study.runs) > 2:
        words.append(f"{len(study.runs) - 1} variants were tried against one baseline")
    if any(run.confounded for run in study.runs.values()):
        words.append("* also differs in settings that the idea did not mean to change")
    return "; ".join(words) + "."


def results_text(study: Study) -> str:
    """Return the same table as plain text, for the prompt."""
    paths = key_metrics(study)
    names = metric_names(paths_of(study))
    lines = [" | ".join(["run", "what it was", *(names[p] for p in paths)])]
    for run, arm, results in rows_of(study):
        title = f"control arm: {arm}" if arm else clip(study.runs[run].title, 60)
        values = (show(results.metrics.get(p), results.stderr.get(p)) for p in paths)
        lines.append(" | ".join([run, title, *values]))
    return "\n".join(lines)


# --- verdicts ------------------------------------------------------------------------------------


def outcome_sentence(study: Study) -> str:
    """Return one plain sentence on what came of the hypotheses."""
    total = len(study.judgements)
    if total == 0:
        return "No hypothesis was fixed before the runs; all comparisons are exploratory."
    confirmed = sum(j.verdict is Verdict.CONFIRMED for j in study.judgements)
    if confirmed == 0:
        each = "The hypothesis" if total == 1 else f"None of the {total} hypotheses"
        return f"{each} fixed before the runs was {'not ' if total == 1 else ''}confirmed."
    return (
        f"{confirmed} of the {total} hypotheses fixed before the runs {_were(confirmed)} confirmed."
    )


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def hypothesis_text(judgement: Judgement) -> str:
    """Return a hypothesis in plain words."""
    h = judgement.hypothesis
    least = f" by at least {h.min_effect:g}" if h.min_effect else ""
    return f"{h.metric} {h.direction}s{least} against {h.against}"


def verdicts_text(study: Study) -> str:
    """Return the verdicts as plain lines, for the prompt."""
    lines = [outcome_sentence(study)]
    lines += [
        f"- {hypothesis_text(j)}: {j.verdict.value}"
        f"{f' (decided by {j.run})' if j.run else ''}. {clip(j.reason, 300)}"
        for j in study.judgements
    ]
    return "\n".join(lines)


def verdicts_box(study: Study) -> str:
    """Return latex/verdicts.tex: the summary at the head of the results."""
    lines = [escape(outcome_sentence(study))]
    for number, judgement in enumerate(study.judgements, 1):
        lines.append(
            rf"\textbf{{H{number}, {escape(judgement.verdict.value)}.}}"
            f" {said(hypothesis_text(judgement))}. {said(clip(judgement.reason, 260))}"
        )
    return "\\bycode{Summary of verdicts, written by code}{%\n" + "\\par\n".join(lines) + "}\n"


# --- disclosure ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Who wrote this paper, and who looked."""

    model: str
    supervision: str
    date: str = ""
    """Of the runs: UTC day."""

    @property
    def recorded(self) -> bool:
        """Whether the replies were stored beforehand."""
        return self.model.split(":")[0] == "recorded"


def provenance_of(study: Study) -> Provenance:
    """Return what settings and runs say of how the paper came about."""
    settings: dict[str, Any] = dict(study.settings)
    approve = str(settings.get("approve") or "none")
    supervision = {
        "edits": "A person approved each edit of the code before it ran; none edited the text.",
        "writeup": "A person approved the start of the writeup; no person approved single edits of"
        " the code or edited the text.",
    }.get(approve, "No person approved or edited code or text before this PDF was made.")
    starts = sorted(run.started_at for run in study.runs.values() if run.started_at)
    return Provenance(
        model=str(settings.get("model") or "a model that was not recorded"),
        supervision=supervision,
        date=starts[-1][:10] if starts else "",
    )


def author_line(provenance: Provenance) -> str:
    """Return latex/author.tex."""
    date = rf" \\ \small {escape(provenance.date)}" if provenance.date else ""
    model = "recorded replies" if provenance.recorded else escape(provenance.model)
    return rf"Written by an AI system: \texttt{{ai\_scientist}} with {model}{date}" + "\n"


def disclosure(study: Study, provenance: Provenance) -> str:
    """Return latex/disclosure.tex: the box on the first page."""
    day = f"on {escape(provenance.date)}" if provenance.date else "afterwards"
    if provenance.recorded:
        who = (
            "The edits of the code and the prose of this paper are model replies that the authors"
            " of the software wrote for this idea beforehand and that were replayed; the edits were"
            f" applied, and runs, numbers, figures and verdicts were made, {day}."
        )
    else:
        who = (
            f"The experiments were planned and programmed, and the prose of this paper was written,"
            f" by the language model \\texttt{{{breakable(provenance.model)}}}."
        )
    valid, failed = len(study.runs) - 1, len(study.attempts)
    runs = f"{valid} valid run{'s' if valid != 1 else ''}"
    attempts = f"{failed} failed or refused attempt{'s' if failed != 1 else ''}"
    lines = [
        who + " " + escape(provenance.supervision),
        "Tables, verdicts, appendix, and every number or direction named in the text come from the"
        f" stored results by code. {runs} and {attempts} are listed in Appendices~\\ref{{app:runs}}"
        " and~\\ref{app:attempts}.",
        f"\\textbf{{Outcome:}} {escape(outcome_sentence(study))}",
    ]
    return "\\bycode{This paper was written by an AI system}{%\n" + "\\par\n".join(lines) + "}\n"


def verdicts_table(study: Study) -> str:
    """Return the appendix's table of hypotheses."""
    rows = [
        [
            f"H{number}",
            said(hypothesis_text(j)),
            escape(j.hypothesis.proposed_by),
            escape(j.verdict.value),
            rf"\texttt{{{escape(j.run)}}}" if j.run else "",
            said(clip(j.reason, 400)),
        ]
        for number, j in enumerate(study.judgements, 1)
    ]
    return long_table(
        [column(width) for width in (0.06, 0.25, 0.08, 0.12, 0.09, 0.40)],
        ["", "Hypothesis", "By", "Verdict", "Run", "Why"],
        rows,
        caption="Hypotheses, fixed before the first edit, and what code says of them.",
        label="tab:verdicts",
        gap_pt=2,
    )
