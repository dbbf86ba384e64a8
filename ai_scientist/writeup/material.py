"""What one paper is made of besides its prose: figures, references, and the files code writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ai_scientist.protocols import Render
from ai_scientist.records import Finding, Study
from ai_scientist.results.naming import metric_names
from ai_scientist.writeup import appendix, facts
from ai_scientist.writeup.bibliography import Entry, read_bibliography, write_bibliography
from ai_scientist.writeup.figures import Draw, collect_figures, draw_default_figures
from ai_scientist.writeup.lint import CITATION, LABEL, Known, figures_in
from ai_scientist.writeup.parts import PARTS, Figure, Numbers, PaperFolder
from ai_scientist.writeup.placing import fixed, float_of, write_sources
from ai_scientist.writeup.typeset import breakable, code

LABELED = tuple(part.name for part in PARTS if part.name not in {"title", "abstract"})


@dataclass(kw_only=True)
class Material:
    """Everything a paper may show or refer to, gathered before the first section is written."""

    study: Study
    paper: PaperFolder
    notes: str
    numbers: Numbers
    figures: list[Figure] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def collect(self, figures: Sequence[Figure], draw: Draw | None) -> None:
        """Take in the given pictures, the default figures and the bibliographies on disk."""
        usable, self.findings = collect_figures(figures)
        self.figures = [replace(one, note=self._runs_left_out(one)) for one in usable]
        if draw is not None:
            drawn, missing = draw_default_figures(self.study, draw)
            self.figures += drawn
            self.findings += missing
        files = [self.paper.references] if self.paper.references else []
        if self.paper.template:
            files += [self.paper.template / "references.bib", self.paper.template / "template.tex"]
        self.entries, broken = read_bibliography(files)
        self.findings += [
            Finding(kind="unknown_citation", detail=f"an unreadable entry: {what}")
            for what in broken
        ]

    def _runs_left_out(self, figure: Figure) -> str:
        left_out = [run for run in self.study.runs if run not in figure.runs]
        return f" Not shown: {', '.join(map(code, left_out))}." if figure.runs and left_out else ""

    def describe(self, render: Render) -> str:
        """Return the system message of every call: the rules, and all that may be spoken of."""
        return render(
            "writeup/system.j2",
            idea=self.study.idea,
            runs=list(self.study.runs.values()),
            names=list(metric_names(facts.paths_of(self.study)).values()),
            table=facts.results_text(self.study),
            verdicts=facts.verdicts_text(self.study),
            notes=self.notes,
            figures=self.figures,
            references=[self.entries[key] for key in sorted(self.entries)],
            tables=[label for label in self.labels() if label.startswith("tab:")],
            parts=[part for part in PARTS if part.name in LABELED],
        )

    @property
    def known(self) -> Known:
        """What a section may cite and show."""
        return Known(
            citations=frozenset(self.entries), figures=[figure.name for figure in self.figures]
        )

    def labels(self, texts: Iterable[str] = ()) -> list[str]:
        """Return every label that code or one of `texts` gives."""
        written = [n for text in (*self.fixed.values(), *texts) for n in LABEL.findall(text)]
        sections = [f"sec:{name}" for name in LABELED]
        return [*sections, *written, *(figure.label for figure in self.figures)]

    @cached_property
    def fixed(self) -> dict[str, str]:
        """Files that depend on the study alone: path under latex/ -> content."""
        provenance = facts.provenance_of(self.study)
        return {
            "author.tex": facts.author_line(provenance),
            "disclosure.tex": facts.disclosure(self.study, provenance),
            "verdicts.tex": facts.verdicts_box(self.study),
            "tables/results.tex": facts.results_table(self.study),
            "appendix.tex": appendix.appendix(self.study),
        }

    def place(
        self, texts: Mapping[str, str], *, dropped: str = "", loose: Collection[str] = ()
    ) -> None:
        """Write all sources anew; `dropped` goes to the end of the appendix.

        `loose` names the sections that are set with wide spaces.
        """
        files = {**self.fixed, **self._bound(texts)}
        files["figures.tex"], further = self._figures_left(texts)
        files["appendix.tex"] = appendix.appendix(self.study, figures=further) + dropped
        sections = {name: _loosened(text, name in loose) for name, text in texts.items()}
        write_sources(self.paper, sections=sections, generated=files, figures=self.figures)

    def _bound(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Return the files that depend on the sections: numbers and bibliography."""
        lists = [keys for text in texts.values() for keys in CITATION.findall(text)]
        cited = {key.strip() for keys in lists for key in keys.split(",")} & set(self.entries)
        return {
            "results.tex": self.numbers.definitions(list(texts.values())),
            "references.bib": write_bibliography(self.entries, cited),
            "references.tex": "\\bibliography{references}\n" if cited else "",
        }

    def _figures_left(self, texts: Mapping[str, str]) -> tuple[str, str]:
        """Return what results and record show of the figures that no section places.

        The default figures stand in the results when no other figure does, else in the appendix.
        """
        shown = figures_shown(texts)
        left = [figure for figure in self.figures if figure.name not in shown]
        place = fixed if shown else float_of
        by_code = "".join(place(figure, figure.caption) for figure in left if figure.by_code)
        unused = [figure.name for figure in left if not figure.by_code]
        said = f"Drawn, and shown nowhere: {', '.join(map(breakable, unused))}.\n" if unused else ""
        if not shown:
            return by_code, ""
        return "", said + by_code


def _loosened(text: str, loose: bool) -> str:
    return f"{{\\sloppy\\emergencystretch=8em\\relax\n{text}\\par}}\n" if loose else text


def figures_shown(texts: Mapping[str, str]) -> set[str]:
    """Return the names of the figures that the sections place."""
    return {name for text in texts.values() for name in figures_in(text)}
