"""The two ends of typesetting: references settled before it, the PDF judged after it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ai_scientist.records import Finding
from ai_scientist.run_folder.journal import write_atomically
from ai_scientist.writeup.figures import figure_findings
from ai_scientist.writeup.lint import (
    drop_references,
    figures_in,
    unknown_references,
)
from ai_scientist.writeup.material import Material, figures_shown
from ai_scientist.writeup.parts import (
    BY_NAME,
    Compilation,
    LatexMessage,
    PaperFolder,
    PaperOutcome,
)
from ai_scientist.writeup.placing import drop_figures, placed_figures, tell_headings_apart
from ai_scientist.writeup.sections import Author
from ai_scientist.writeup.typeset import clip

OVERFULL_PT = 20.0


def settle_references(
    author: Author, texts: Mapping[str, str], labels: Sequence[str]
) -> dict[str, str]:
    """Return the texts without references to nothing, and no figure or heading twice."""
    settled = dict(texts)
    seen: set[str] = set()
    for name in BY_NAME:  # in the order of the page
        text = drop_figures(settled[name], seen)
        seen |= set(figures_in(text))
        for key in unknown_references(text, labels):
            _find(author, "undefined_reference", f"nothing has the label `{key}`", name)
        settled[name] = drop_references(text, labels)
    return tell_headings_apart(settled)


def _find(author: Author, kind: str, detail: str, name: str) -> None:
    where = f"latex/sections/{name}.tex" if name else ""
    author.findings.append(Finding(kind=kind, detail=detail, where=where))


def judge_pdf(made: Compilation) -> list[Finding]:
    """Return what a reader of the PDF must know of its form."""
    if made.pdf is None:  # the warnings of a first pass that was cut short say nothing
        where = f"latex/{made.error.file}" if made.error and made.error.file else ""
        return [Finding(kind="latex", detail=made.outcome, where=where)]
    findings = [_of_message(message) for message in made.messages if _matters(message)]
    if "??" in made.text:
        line = next(line for line in made.text.splitlines() if "??" in line)
        detail = f"an unresolved reference is in the PDF: {clip(line, 120)}"
        findings.append(Finding(kind="undefined_reference", detail=detail))
    if "[text missing]" in made.text or "was left out" in made.text:
        findings.append(Finding(kind="placeholder_left", detail="a mark for missing text is shown"))
    for font in made.fonts_missing:
        findings.append(Finding(kind="font_not_embedded", detail=f"`{font}` is not embedded"))
    return list(dict.fromkeys(findings))


def is_overfull(message: LatexMessage) -> bool:
    """Return whether a box sticks out so far that a reader sees it."""
    return message.kind == "overfull" and message.points > OVERFULL_PT


def _matters(message: LatexMessage) -> bool:
    return is_overfull(message) if message.kind == "overfull" else message.kind != "error"


def _of_message(message: LatexMessage) -> Finding:
    place = f"latex/{message.file}" + (f":{message.line}" if message.line else "")
    return Finding(kind=message.kind, detail=clip(message.text, 200), where=place)


def finish(
    author: Author, material: Material, made: Compilation, texts: Mapping[str, str]
) -> PaperOutcome:
    """Replace the PDF by the one that was made, if any, and return what there is to say of it."""
    paper = material.paper
    own = [figure for figure in material.figures if not figure.by_code]
    claimed = {
        name: set(re.findall(r"run_\d+", caption.replace("\\_", "_")))
        for text in texts.values()
        for _, _, name, caption in placed_figures(text)
    }
    books = figure_findings(own, figures_shown(texts), claimed)
    if made.pdf is not None:
        write_atomically(paper.pdf, made.pdf)
        message = f"The paper is {paper.pdf.name}, {made.pages} pages."
    else:
        kept = f" {paper.pdf.name} is an earlier one." if paper.pdf.exists() else ""
        message = f"{made.outcome}{kept}"
    author.report(message)
    return PaperOutcome(
        pdf=paper.pdf if paper.pdf.exists() else None,
        compiled=made.pdf is not None,
        findings=tuple(dict.fromkeys([*author.findings, *books, *judge_pdf(made)])),
        citations_dropped=tuple(author.citations_dropped),
        log=made.log,
        message=message,
        sections_dropped=tuple(author.dropped),
    )


def pack(author: Author, paper: PaperFolder) -> PaperOutcome:
    """Pack the sources, where there is no TeX, and say so."""
    archive = pack_sources(paper.latex, paper.pdf.with_suffix(".zip"))
    message = f"There is no LaTeX on this machine: the sources of the paper are in {archive.name}."
    author.report(message)
    return PaperOutcome(
        pdf=None,
        compiled=False,
        findings=tuple(author.findings),
        citations_dropped=tuple(author.citations_dropped),
        message=message,
        archive=archive,
        sections_dropped=tuple(author.dropped),
    )


def pack_sources(latex: Path, archive: Path) -> Path:
    """Write every source of the paper into a zip, with fixed times, and return it."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    draft = archive.with_suffix(".part")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as bundle:
        for path in sorted(latex.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(latex).as_posix())
                entry.compress_type = zipfile.ZIP_DEFLATED
                bundle.writestr(entry, path.read_bytes())
    draft.replace(archive)
    return archive
