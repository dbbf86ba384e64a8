"""Place and compile until there is a PDF whose form is as good as it gets.

A section that stops LaTeX goes back to the model a bounded number of times and is then left out.
What TeX sets badly, or chktex objects to, is mended by rule first and by the model once; a mended
version is kept only when it compiles with fewer faults.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ai_scientist.writeup.finish import finish, is_overfull, pack
from ai_scientist.writeup.lint import drop_references
from ai_scientist.writeup.material import Material
from ai_scientist.writeup.parts import (
    BY_NAME,
    Compilation,
    Compiler,
    LatexMessage,
    PaperOutcome,
    Problem,
)
from ai_scientist.writeup.sections import Author, dropped_appendix
from ai_scientist.writeup.typeset import clip

SECTION_FILE = re.compile(r"(?:^|/)sections/([a-z_]+)\.tex$")
Texts = Mapping[str, str]


@dataclass(kw_only=True)
class Press:
    """The compiler, and what may be done about its complaints."""

    author: Author
    material: Material
    compile: Compiler | None
    """None: there is no TeX here, and the sources are packed."""
    labels: Sequence[str]
    tries: dict[str, int] = field(default_factory=dict)
    loose: frozenset[str] = frozenset()
    """Sections set with wide spaces, since a word would stick out into the margin otherwise."""
    _compiled: int = 0

    def print(self, texts: Texts) -> PaperOutcome:
        """Return what came of it: a new PDF in the place of the old one, or the reason."""
        if self.compile is None:
            self._place(texts)
            return pack(self.author, self.material.paper)
        made, texts = self._first(self.compile, dict(texts))
        if made.pdf is not None:
            made, texts = self._polish(self.compile, made, texts)
        return finish(self.author, self.material, made, texts)

    def _place(self, texts: Texts) -> None:
        self.material.place(texts, dropped=dropped_appendix(self.author), loose=self.loose)

    def _try(self, compile: Compiler, texts: Texts) -> Compilation:
        self._place(texts)
        self._compiled += 1
        self.author.report(f"paper: compiling ({self._compiled})")
        return compile(self.material.paper.latex, key=f"paper/compile_{self._compiled}")

    # --- what stops LaTeX

    def _first(
        self, compile: Compiler, texts: dict[str, str]
    ) -> tuple[Compilation, dict[str, str]]:
        """Return the first try that made a PDF, or the last one that did not."""
        made = Compilation(pdf=None, outcome="LaTeX was not tried.")
        for _ in range(self.author.effort.compiles):
            made = self._try(compile, texts)
            name = self._culprit(made)
            if made.pdf is not None or name is None or name in self.author.dropped:
                break
            texts[name] = self._mend(name, texts[name], made)
        return made, texts

    def _culprit(self, made: Compilation) -> str | None:
        """Return the section that stopped LaTeX, or None when it was something else."""
        return section_of(made.error) if made.error else None

    def _mend(self, name: str, text: str, made: Compilation) -> str:
        error, part = made.error, BY_NAME[name]
        assert error is not None
        self.tries[name] = self.tries.get(name, 0) + 1
        if self.tries[name] > self.author.effort.repairs:
            return self.author.drop(part, text, f"LaTeX stops at it: {clip(error.text, 200)}")
        problem = Problem(
            kind="latex",
            detail=f"LaTeX stops: {clip(error.text, 300)}",
            excerpt=clip(self._line(name, error.line), 200),
        )
        return self._ask(name, text, [problem], f"paper/latex_{name}")

    def _ask(self, name: str, text: str, problems: Sequence[Problem], step: str) -> str:
        part = BY_NAME[name]
        asked = self.author.render("writeup/repair.j2", part=part, text=text, problems=problems)
        reply = self.author.ask("repair", step, asked)
        mended = self.author.settle(part, step, reply, previous=text)
        return drop_references(mended, self.labels)

    def _line(self, name: str, line: int) -> str:
        path = self.material.paper.latex / "sections" / f"{name}.tex"
        lines = path.read_text(encoding="utf-8").split("\n")
        return lines[line - 1] if 0 < line <= len(lines) else ""

    # --- what only looks bad

    def _polish(
        self, compile: Compiler, made: Compilation, texts: dict[str, str]
    ) -> tuple[Compilation, dict[str, str]]:
        """Return the PDF and its texts after bounded repairs of their form."""
        wide = {name for name, found in faults(made).items() if any(map(is_overfull, found))}
        if wide:
            made, texts = self._better(compile, made, texts, texts, loose=wide)
        found = faults(made) if self.author.effort.repairs else {}
        if found:
            asked = {name: self._problems(name, messages) for name, messages in found.items()}
            mended = {
                name: self._ask(name, texts[name], problems, f"paper/form_{name}")
                for name, problems in asked.items()
            }
            if any(mended[name] != texts[name] for name in mended):
                made, texts = self._better(compile, made, texts, {**texts, **mended})
        return made, texts

    def _better(
        self,
        compile: Compiler,
        made: Compilation,
        texts: dict[str, str],
        mended: dict[str, str],
        loose: Collection[str] = (),
    ) -> tuple[Compilation, dict[str, str]]:
        """Return what `mended` makes when it has fewer faults, else what is there already."""
        before, self.loose = self.loose, self.loose | frozenset(loose)
        tried = self._try(compile, mended)
        if tried.pdf is not None and _count(tried) < _count(made):
            return tried, mended
        self.loose = before
        self._place(texts)
        return made, texts

    def _problems(self, name: str, messages: Sequence[LatexMessage]) -> list[Problem]:
        return [
            Problem(
                kind=message.kind,
                detail=_worded(message),
                excerpt=clip(self._line(name, message.line), 200),
            )
            for message in messages
        ]


def _worded(message: LatexMessage) -> str:
    if message.kind != "overfull":
        return clip(message.text, 200)
    return (
        f"{message.points:.0f} points stick out into the margin: break the formula over lines, or"
        " write what cannot be broken in other words."
    )


def section_of(message: LatexMessage) -> str | None:
    """Return the section whose file a message speaks of."""
    match = SECTION_FILE.search(message.file)
    return match[1] if match and match[1] in BY_NAME else None


def faults(made: Compilation) -> dict[str, list[LatexMessage]]:
    """Return section -> what is set badly there: boxes that stick out, and chktex's objections."""
    found: dict[str, list[LatexMessage]] = defaultdict(list)
    for message in made.messages:
        name = section_of(message)
        if name and (is_overfull(message) or message.kind == "style"):
            found[name].append(message)
    return dict(found)


def _count(made: Compilation) -> int:
    return sum(map(len, faults(made).values()))
