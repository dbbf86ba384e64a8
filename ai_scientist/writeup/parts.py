"""What the writeup passes around: the parts of a paper, what is wrong with one, what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ai_scientist.records import Finding


@dataclass(frozen=True, kw_only=True)
class Part:
    """One section of the paper."""

    name: str
    """Names its file, latex/sections/NAME.tex, and its label, sec:NAME."""
    heading: str
    placeholder: str
    """What stands in its place in a foreign template.tex."""


PARTS: tuple[Part, ...] = (
    Part(name="title", heading="Title", placeholder="TITLE HERE"),
    Part(name="abstract", heading="Abstract", placeholder="ABSTRACT HERE"),
    Part(name="introduction", heading="Introduction", placeholder="INTRO HERE"),
    Part(name="related_work", heading="Related Work", placeholder="RELATED WORK HERE"),
    Part(name="background", heading="Background", placeholder="BACKGROUND HERE"),
    Part(name="method", heading="Method", placeholder="METHOD HERE"),
    Part(
        name="experimental_setup",
        heading="Experimental Setup",
        placeholder="EXPERIMENTAL SETUP HERE",
    ),
    Part(name="results", heading="Results", placeholder="RESULTS HERE"),
    Part(name="conclusion", heading="Conclusion", placeholder="CONCLUSIONS HERE"),
)
"""In the order of the page."""

BY_NAME: Mapping[str, Part] = {part.name: part for part in PARTS}

WRITING_ORDER = (
    "method",
    "experimental_setup",
    "results",
    "background",
    "related_work",
    "introduction",
    "conclusion",
    "abstract",
    "title",
)
"""From what was done to what is said about it: the abstract sums up what stands already."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How many calls a paper may cost."""

    drafts: int = 2
    """Times a section is written: 1 is a draft only; from 2 on there is a pass over the whole."""
    repairs: int = 2
    """Rounds in which a section's problems go back to the model."""
    compiles: int = 8
    """Times LaTeX may be tried; each failure names one section at most."""
    search: bool = True
    """Whether the model is asked what literature to look for."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong with a section's text, worded for the model."""

    kind: str
    detail: str
    excerpt: str = ""
    """The offending words, found again in the text when they must be marked."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture that the paper may show."""

    path: Path
    caption: str = ""
    """LaTeX; given for figures drawn by code."""
    runs: tuple[str, ...] = ()
    """The runs it shows, where its writer said so."""
    by_code: bool = False
    note: str = ""
    """LaTeX that code adds to the caption."""

    @property
    def name(self) -> str:
        """File name, which is how a section refers to it."""
        return self.path.name

    @property
    def label(self) -> str:
        """Label that code gives its float."""
        return f"fig:{self.path.stem}"


@dataclass(frozen=True, kw_only=True)
class PaperFolder:
    """Where one paper lives."""

    latex: Path
    """Written anew: the sources of the paper."""
    pdf: Path
    """Replaced only by a PDF that compiled."""
    template: Path | None = None
    """The template's own latex/ folder: references.bib, style.tex, perhaps template.tex."""
    references: Path | None = None
    """A person's own .bib file."""


@dataclass(frozen=True, kw_only=True)
class LatexMessage:
    """One line of a log or of a checker, with the source file it speaks of."""

    kind: Literal[
        "error",
        "undefined_reference",
        "unknown_citation",
        "duplicate_label",
        "overfull",
        "missing_glyph",
        "style",
    ]
    file: str
    line: int
    text: str
    points: float = 0.0
    """For overfull: by how much."""


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """What came of one try to compile. The copy it was made in is gone."""

    pdf: bytes | None
    messages: tuple[LatexMessage, ...] = ()
    log: str = ""
    text: str = ""
    """The PDF's text."""
    pages: int = 0
    fonts_missing: tuple[str, ...] = ()
    """Fonts that are not embedded."""
    outcome: str = "compiled"
    """`compiled`, or in plain words why there is no PDF."""

    @property
    def error(self) -> LatexMessage | None:
        """First error, which is the one that stopped LaTeX."""
        return next((m for m in self.messages if m.kind == "error"), None)


class Compiler(Protocol):
    """Makes a PDF of a folder of sources, somewhere confined."""

    def __call__(self, sources: Path, *, key: str) -> Compilation:
        """Compile paper.tex of `sources`; a failure is a value, never an exception."""
        ...


class Numbers(Protocol):
    """Binds numbers named in LaTeX to the stored results, and judges those that are typed."""

    def definitions(self, texts: Sequence[str]) -> str:
        """Return latex/results.tex: what each name used in `texts` expands to."""
        ...

    def problems(self, name: str, text: str) -> Sequence[Problem]:
        """Return the unknown names, unsupported literals and false comparisons of a section."""
        ...

    def mark(self, name: str, text: str) -> tuple[str, Sequence[Finding]]:
        """Return `text` with each remaining one replaced by a visible mark, and the findings."""
        ...


@dataclass(frozen=True, kw_only=True)
class PaperOutcome:
    """What the writeup left behind."""

    pdf: Path | None
    compiled: bool
    findings: tuple[Finding, ...] = ()
    citations_dropped: tuple[str, ...] = ()
    log: str = ""
    message: str = ""
    """One plain sentence: where the paper is, or why there is none."""
    archive: Path | None = None
    """The sources as a zip, when there is no TeX here."""
    sections_dropped: tuple[str, ...] = field(default=())
