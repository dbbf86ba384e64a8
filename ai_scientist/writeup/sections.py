"""Write the sections: ask, repair by rules, check, ask again a bounded number of times, settle.

A reply that stays unusable never stops the paper: an earlier usable version is kept, or a visible
note stands in its place, and a finding says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ai_scientist.protocols import Model, Render
from ai_scientist.records import Finding, Message, ModelReply
from ai_scientist.writeup.appendix import heading_of
from ai_scientist.writeup.lint import (
    Known,
    check_section,
    drop_citations,
    figures_in,
    unknown_citations,
)
from ai_scientist.writeup.parts import BY_NAME, WRITING_ORDER, Effort, Numbers, Part, Problem
from ai_scientist.writeup.placing import drop_figures, own_figures
from ai_scientist.writeup.rules import repair, unwrap
from ai_scientist.writeup.typeset import breakable, escape

BLOCK = re.compile(r"^[ \t]*=+[ \t]*SECTION:[ \t]*([a-z_]+)[ \t]*=*[ \t]*$", re.MULTILINE)
UNUSABLE = {"forbidden_latex", "unbalanced", "empty_section", "cut_off", "form"}
MARKED = {
    "title": r"Untitled: the model's title could not be used",
    "": r"\emph{\textbf{[The model's text for this section could not be used and was left out;"
    r" see the appendix.]}}",
}


@dataclass(kw_only=True)
class Author:
    """The model as the author of one paper, and what was found while it wrote."""

    model: Model
    render: Render
    numbers: Numbers
    effort: Effort
    report: Callable[[str], None]
    material: str = ""
    """System message: rules and everything the paper may speak of; the same in every call."""
    known: Known = field(default_factory=Known)
    findings: list[Finding] = field(default_factory=list)
    citations_dropped: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    """Section -> the text that could not be used."""

    def ask(self, purpose: str, step: str, text: str) -> ModelReply:
        """Send the material and one request."""
        messages = (
            Message(role="system", content=self.material),
            Message(role="user", content=text),
        )
        return self.model.ask(purpose=purpose, step=step, messages=messages)

    # --- writing

    def write_all(self) -> dict[str, str]:
        """Return every section's text, drafted and refined in the order of writing."""
        texts: dict[str, str] = {}
        for name in WRITING_ORDER:
            part = BY_NAME[name]
            self.report(f"paper: writing {part.heading.lower()}")
            texts[name] = self.write(part, texts)
        return self.revise(texts) if self.effort.drafts > 1 else texts

    def write(self, part: Part, before: Mapping[str, str]) -> str:
        """Return one section: a draft, and a refinement for each further draft allowed."""
        tips = self.render("writeup/tips.j2", name=part.name).strip()
        step = f"paper/section_{part.name}"
        asked = self.render("writeup/section.j2", part=part, tips=tips, before=dict(before))
        text = self.settle(part, step, self.ask("section", step, asked), previous=None)
        refinements = 0 if part.name == "title" else self.effort.drafts - 1
        for number in range(1, refinements + 1):
            step = f"paper/refine_{part.name}" + (f"_{number}" if number > 1 else "")
            asked = self.render(
                "writeup/refine.j2", part=part, tips=tips, before=dict(before), draft=text
            )
            text = self.settle(part, step, self.ask("section", step, asked), previous=text)
        return text

    def revise(self, texts: dict[str, str]) -> dict[str, str]:
        """Return the sections after one pass over the whole."""
        self.report("paper: reading the whole")
        reply = self.ask(
            "section", "paper/whole", self.render("writeup/whole.j2", sections=dict(texts))
        )
        pieces = BLOCK.split(reply.text)
        revised = dict(texts)
        for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
            if name in texts:
                whole = reply.finish_reason != "length" or text is not pieces[-1]
                if whole:
                    revised[name] = self.settle_text(
                        BY_NAME[name], f"paper/whole_{name}", text, previous=texts[name]
                    )
        return revised

    # --- settling

    def settle(self, part: Part, step: str, reply: ModelReply, previous: str | None) -> str:
        """Return a usable text from one reply."""
        cut = reply.finish_reason == "length"
        return self.settle_text(part, step, reply.text, previous=previous, cut=cut)

    def settle_text(
        self, part: Part, step: str, reply: str, *, previous: str | None, cut: bool = False
    ) -> str:
        """Return a usable text: repaired by rules, then by the model, then by force."""
        text = self.tidy(part, reply)
        problems = self.problems(part, text, cut=cut)
        for _ in range(self.effort.repairs):
            if not problems:
                break
            asked = self.render("writeup/repair.j2", part=part, text=text, problems=problems)
            answer = self.ask("repair", step, asked)
            text = self.tidy(part, answer.text)
            problems = self.problems(part, text, cut=answer.finish_reason == "length")
        if not problems:
            return text
        if previous is not None:
            kinds = ", ".join(dict.fromkeys(problem.kind for problem in problems))
            self._find(
                "version_refused",
                f"a new version was refused ({kinds}); the one before it was kept",
                part.name,
            )
            return previous
        return self.force(part, text, problems)

    def tidy(self, part: Part, reply: str) -> str:
        """Return a reply after every safe repair, citing only what the bibliography holds."""
        text = own_figures(repair(unwrap(reply), part.name))
        if part.name == "title":
            text = re.sub(r"^\s*\\title\s*\{(.*)\}\s*$", r"\1", " ".join(text.split())).strip(' "')
        unknown = unknown_citations(text, self.known.citations)
        for key in unknown:
            if key not in self.citations_dropped:
                self.citations_dropped.append(key)
                self._find(
                    "unknown_citation",
                    f"`{key}` is not in the bibliography; the citation was dropped",
                    part.name,
                )
        return drop_citations(text, self.known.citations) if unknown else text

    def problems(self, part: Part, text: str, *, cut: bool = False) -> list[Problem]:
        """Return everything that is wrong with a section's text."""
        found = check_section(part.name, text, self.known)
        if cut:
            detail = "The reply was cut off at the length limit: write the section shorter."
            found.insert(0, Problem(kind="cut_off", detail=detail))
        return [*found, *self.numbers.problems(part.name, text)]

    def force(self, part: Part, text: str, problems: Sequence[Problem]) -> str:
        """Return a text that compiles and hides nothing, whatever the model wrote."""
        if any(problem.kind in UNUSABLE for problem in problems):
            first = next(problem for problem in problems if problem.kind in UNUSABLE)
            return self.drop(part, text, first.detail)
        for name in figures_in(text):
            if name not in self.known.figures:
                self._find(
                    "missing_figure", f"there is no figure `{name}`; it was removed", part.name
                )
        text = drop_figures(text, set(figures_in(text)) - set(self.known.figures))
        for problem in problems:
            if problem.kind == "placeholder_left":
                text = text.replace(problem.excerpt, r"\textbf{[text missing]}")
                self._find("placeholder_left", problem.detail, part.name)
            elif problem.kind == "duplicate_label":
                self._find(problem.kind, problem.detail, part.name)
        text, marked = self.numbers.mark(part.name, text)
        self.findings.extend(marked)
        return text

    def drop(self, part: Part, text: str, why: str) -> str:
        """Leave a section out visibly, keep its text, and return the note in its place."""
        self.dropped[part.name] = text
        self._find("section_dropped", f"the text of {part.heading} was left out: {why}", part.name)
        self.report(f"paper: {part.heading.lower()} left out: {why}")
        return MARKED.get(part.name, MARKED[""]) + "\n"

    def _find(self, kind: str, detail: str, where: str) -> None:
        finding = Finding(kind=kind, detail=detail, where=f"latex/sections/{where}.tex")
        if finding not in self.findings:
            self.findings.append(finding)


def dropped_appendix(author: Author) -> str:
    """Return the appendix part that lists citations and shows texts that were left out."""
    parts = []
    if author.citations_dropped:
        keys = "; ".join(map(breakable, author.citations_dropped))
        parts.append(f"Citations asked for and not found in the bibliography: {keys}.\\par\n")
    parts += [
        f"\\paragraph{{{BY_NAME[name].heading}.}} {{\\raggedright\\footnotesize "
        + escape(text[:4000]).replace("\n", r"\par ")
        + "\\par}\n"
        for name, text in author.dropped.items()
    ]
    if not parts:
        return ""
    return heading_of("Omitted from the text", "app:dropped") + "".join(parts)
