"""A model that answers by purpose and step, and everything else that writing a paper needs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ai_scientist.claims import Evidence
from ai_scientist.execution.local import LocalExecutor
from ai_scientist.inputs.prompts import Prompts
from ai_scientist.records import Message, ModelReply, Study
from ai_scientist.sandbox.tiers import LimitsOnly
from ai_scientist.testing import Asked, MemoryJournal, make_reply
from ai_scientist.writeup.latex import LatexCompiler
from ai_scientist.writeup.numbers import BoundNumbers
from ai_scientist.writeup.paper import write_paper
from ai_scientist.writeup.parts import Effort, PaperFolder, PaperOutcome
from tests.doors import PROJECT
from tests.paper_study import make_study

DATA = PROJECT / "tests" / "data" / "paper"
SECTIONS = {path.stem: path.read_text(encoding="utf-8") for path in DATA.glob("*.tex")}
BIB = (DATA / "references.bib").read_text(encoding="utf-8")
NOTES = "## Run 1: λ₂ & 100% of #features_{x}\nIt went → well ≤ expected… 中文 😀 \\def"


class StepModel:
    """Implements protocols.Model: the replies of a step in order; a section's text by default."""

    def __init__(self, script: Mapping[tuple[str, str], Sequence[str | ModelReply]]) -> None:
        self.script = {key: list(replies) for key, replies in script.items()}
        self.asked: list[Asked] = []

    def ask(self, *, purpose: str, step: str, messages: Sequence[Message]) -> ModelReply:
        """Return the next reply of the step."""
        self.asked.append(Asked(purpose=purpose, step=step, messages=tuple(messages)))
        replies = self.script.get((purpose, step), [])
        if replies:
            reply = replies.pop(0)
        elif purpose == "section" and step == "paper/whole":
            reply = "NO CHANGES"
        elif purpose == "section":
            reply = SECTIONS[re.sub(r"^paper/(section|refine)_", "", step)]
        else:
            raise AssertionError(f"nothing is scripted for {purpose}, {step}")
        return reply if isinstance(reply, ModelReply) else make_reply(reply)

    def count(self, purpose: str) -> int:
        """Return how often this purpose was asked for."""
        return sum(asked.purpose == purpose for asked in self.asked)


@dataclass
class Desk:
    """One paper about to be written in a temporary folder."""

    folder: Path
    script: Mapping[tuple[str, str], Sequence[str | ModelReply]] = field(default_factory=dict)
    template_files: Mapping[str, str] = field(default_factory=lambda: {"references.bib": BIB})
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model = StepModel(self.script)
        template = self.folder / "template"
        template.mkdir(parents=True, exist_ok=True)
        for name, content in self.template_files.items():
            (template / name).write_text(content, encoding="utf-8")
        self.paper = PaperFolder(
            latex=self.folder / "latex", pdf=self.folder / "paper.pdf", template=template
        )
        self.said: list[str] = []

    @property
    def study(self) -> Study:
        """The study that the paper is about."""
        return make_study(self.folder / "20261120T201500Z_idea")

    def compiler(self, timeout_s: float = 60.0) -> LatexCompiler:
        """Return the real compiler over a real executor."""
        return LatexCompiler(
            executor=LocalExecutor(LimitsOnly()),
            staging=self.folder / "staging",
            timeout_s=timeout_s,
        )

    def write(self, study: Study | None = None) -> PaperOutcome:
        """Write the paper, as cheaply as `options` do not say otherwise."""
        settings: dict[str, Any] = {
            "paper": self.paper,
            "notes": NOTES,
            "model": self.model,
            "render": Prompts(PROJECT / "prompts"),
            "numbers": BoundNumbers(evidence=Evidence.from_study(study or self.study)),
            "journal": MemoryJournal(),
            "compile": self.compiler(),
            "literature": None,
            "figures": (),
            "draw": None,
            "report": self.said.append,
            "effort": Effort(drafts=1),
        }
        return write_paper(study or self.study, **{**settings, **self.options})

    def section(self, name: str) -> str:
        """Return a section as it was placed."""
        return (self.paper.latex / "sections" / f"{name}.tex").read_text(encoding="utf-8")


MakeDesk = Callable[..., Desk]


def kinds(outcome: PaperOutcome) -> set[str]:
    """Return the kinds of an outcome's findings."""
    return {finding.kind for finding in outcome.findings}


def text_of(pdf: Path | None) -> str:
    """Return the words of a PDF that must be there."""
    assert pdf is not None
    done = subprocess.run(["pdftotext", str(pdf), "-"], capture_output=True, text=True, check=True)
    return done.stdout
