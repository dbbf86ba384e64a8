"""The paper of one study, in order.

    figures -> bibliography -> sections (draft, refine, whole) -> references -> compile -> judge

The model writes section texts; everything else is placed by code. All sources are written anew each
time, so that the same replies give the same paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ai_scientist.protocols import Journal, Literature, Model, Render
from ai_scientist.records import Finding, Study
from ai_scientist.writeup.citations import gather_citations
from ai_scientist.writeup.figures import Draw, collect_figures, draw_default_figures
from ai_scientist.writeup.finish import Press, finish, pack, settle_references
from ai_scientist.writeup.lint import LABEL, Known
from ai_scientist.writeup.material import (
    author_material,
    bound_files,
    fixed_files,
    labels_of,
    read_references,
)
from ai_scientist.writeup.parts import (
    Compiler,
    Effort,
    Figure,
    Numbers,
    PaperFolder,
    PaperOutcome,
)
from ai_scientist.writeup.placing import write_sources
from ai_scientist.writeup.sections import Author, dropped_appendix


def write_paper(
    study: Study,
    *,
    paper: PaperFolder,
    notes: str,
    model: Model,
    render: Render,
    numbers: Numbers,
    journal: Journal,
    compile: Compiler | None,
    literature: Literature | None,
    figures: Sequence[Path],
    draw: Draw | None,
    report: Callable[[str], None],
    effort: Effort | None = None,
) -> PaperOutcome:
    """Write, place and compile the paper of `study`; every problem of its form is a finding.

    `compile` is None where there is no TeX: the sources are then packed. `draw` makes the default
    figures. Raises what Model.ask raises; nothing else stops it. A study without a valid run gets
    no paper.
    """
    if len(study.runs) < 2:
        message = "There is no valid run, so no paper was written."
        return PaperOutcome(pdf=None, compiled=False, message=message)
    effort = effort or Effort()
    pictures, findings = _figures(study, paper, figures, draw)
    entries, broken = read_references(paper)
    findings += [Finding(kind="unknown_citation", detail=f"unreadable: {what}") for what in broken]
    author = Author(
        model=model, render=render, numbers=numbers, effort=effort, report=report, findings=findings
    )
    author.material = author_material(study, render, notes=notes, figures=pictures, entries=entries)
    if literature is not None and effort.search:
        report("paper: looking for literature")
        entries, author.citations_dropped = gather_citations(
            entries, ask=author.ask, render=render, literature=literature, journal=journal
        )
        author.material = author_material(
            study, render, notes=notes, figures=pictures, entries=entries
        )
    fixed = fixed_files(study)
    author.known = Known(citations=frozenset(entries), figures=[f.name for f in pictures])
    texts = author.write_all()
    labels = [*labels_of(fixed, pictures), *(n for t in texts.values() for n in LABEL.findall(t))]
    texts = settle_references(author, texts, labels)

    def place(texts: Mapping[str, str]) -> None:
        files = {**fixed, **bound_files(texts, numbers=numbers, figures=pictures, entries=entries)}
        files["appendix.tex"] += dropped_appendix(author.dropped)
        write_sources(paper, sections=texts, generated=files, figures=pictures)

    if compile is None:
        place(texts)
        return pack(author, paper)
    press = Press(author=author, compile=compile, place=place, latex=paper.latex, labels=labels)
    made, texts = press.print(texts)
    return finish(author, paper, made, texts, pictures)


def _figures(
    study: Study, paper: PaperFolder, given: Sequence[Path], draw: Draw | None
) -> tuple[list[Figure], list[Finding]]:
    pictures, findings = collect_figures(given)
    if draw is None:
        return pictures, findings
    drawn, missing = draw_default_figures(study, draw, paper.figures)
    return [*pictures, *drawn], [*findings, *missing]
