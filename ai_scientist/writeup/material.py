"""What the author is given to write from, and the files of the paper that code writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ai_scientist.naming import metric_names
from ai_scientist.protocols import Render
from ai_scientist.records import Study
from ai_scientist.writeup import appendix, facts
from ai_scientist.writeup.bibliography import Entry, read_bibliography, write_bibliography
from ai_scientist.writeup.lint import CITATION, LABEL, figures_in
from ai_scientist.writeup.parts import PARTS, Figure, Numbers, PaperFolder
from ai_scientist.writeup.placing import float_of

LABELED = tuple(part.name for part in PARTS if part.name not in {"title", "abstract"})


def read_references(paper: PaperFolder) -> tuple[dict[str, Entry], list[str]]:
    """Return what the person's and the template's bibliographies hold, and what is unreadable."""
    own = [paper.references] if paper.references else []
    shipped = (
        [paper.template / n for n in ("references.bib", "template.tex")] if paper.template else []
    )
    return read_bibliography([*own, *shipped])


def author_material(
    study: Study,
    render: Render,
    *,
    notes: str,
    figures: Sequence[Figure],
    entries: Mapping[str, Entry],
) -> str:
    """Return the system message of every call: the rules, and all that may be spoken of."""
    tables = [label for label in labels_of(fixed_files(study), ()) if label.startswith("tab:")]
    return render(
        "writeup/system.j2",
        idea=study.idea,
        runs=list(study.runs.values()),
        names=list(metric_names(facts.paths_of(study)).values()),
        table=facts.results_text(study),
        verdicts=facts.verdicts_text(study),
        notes=notes,
        figures=figures,
        references=[entries[key] for key in sorted(entries)],
        tables=tables,
        parts=[part for part in PARTS if part.name in LABELED],
    )


def fixed_files(study: Study) -> dict[str, str]:
    """Return the files that depend on the study alone: path under latex/ -> content."""
    provenance = facts.provenance_of(study)
    return {
        "author.tex": facts.author_line(provenance),
        "disclosure.tex": facts.disclosure(study, provenance),
        "verdicts.tex": facts.verdicts_box(study),
        "tables/results.tex": facts.results_table(study),
        "appendix.tex": appendix.appendix(study),
    }


def labels_of(files: Mapping[str, str], figures: Sequence[Figure]) -> list[str]:
    """Return every label that code gives."""
    written = [label for text in files.values() for label in LABEL.findall(text)]
    sections = [f"sec:{name}" for name in LABELED]
    return [*sections, *written, *(figure.label for figure in figures)]


def bound_files(
    texts: Mapping[str, str],
    *,
    numbers: Numbers,
    figures: Sequence[Figure],
    entries: Mapping[str, Entry],
) -> dict[str, str]:
    """Return the files that depend on the sections: numbers, bibliography, default figures."""
    shown = figures_shown(texts)
    left = [figure for figure in figures if figure.by_code and figure.name not in shown]
    lists = [keys for text in texts.values() for keys in CITATION.findall(text)]
    cited = {key.strip() for keys in lists for key in keys.split(",")}
    return {
        "results.tex": numbers.definitions(list(texts.values())),
        "references.bib": write_bibliography(entries, cited),
        "references.tex": "\\bibliography{references}\n" if cited & set(entries) else "",
        "figures.tex": "".join(float_of(figure, figure.caption) for figure in left),
    }


def figures_shown(texts: Mapping[str, str]) -> set[str]:
    """Return the names of the figures that the sections place."""
    return {name for text in texts.values() for name in figures_in(text)}
