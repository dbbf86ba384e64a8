"""The paper of one study, in order.

    figures, references -> literature -> sections (draft, refine, whole) -> compile -> judge

The model writes section texts; everything else is placed by code. All sources are written anew each
time, so that the same replies give the same paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ai_scientist.protocols import Journal, Literature, Model, Render
from ai_scientist.records import Study
from ai_scientist.writeup.citations import gather_citations
from ai_scientist.writeup.figures import Draw
from ai_scientist.writeup.finish import settle_references
from ai_scientist.writeup.material import Material
from ai_scientist.writeup.parts import Compiler, Effort, Figure, Numbers, PaperFolder, PaperOutcome
from ai_scientist.writeup.press import Press
from ai_scientist.writeup.sections import Author


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
    figures: Sequence[Figure],
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
    material = Material(study=study, paper=paper, notes=notes, numbers=numbers)
    material.collect(figures, draw)
    author = Author(
        model=model,
        render=render,
        numbers=numbers,
        effort=effort or Effort(),
        report=report,
        material=material.describe(render),
        findings=material.findings,
    )
    if literature is not None and author.effort.search:
        report("paper: looking for literature")
        material.entries, author.citations_dropped = gather_citations(
            material.entries, ask=author.ask, render=render, literature=literature, journal=journal
        )
        author.material = material.describe(render)
    author.known = material.known
    texts = author.write_all()
    labels = material.labels(texts.values())
    press = Press(author=author, material=material, compile=compile, labels=labels)
    return press.print(settle_references(author, texts, labels))
