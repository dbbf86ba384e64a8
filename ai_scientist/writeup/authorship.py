"""The paper of one run folder: the writeup with its seams filled.

    stored runs -> evidence -> names become numbers; typed literals are judged    (claims)
    study + section replies -> latex/ -> compiler in the sandbox -> NAME.pdf       (writeup)

The whole is one effect, with each model call inside it an effect of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ai_scientist.claims import Evidence
from ai_scientist.execution.environment import run_environment
from ai_scientist.execution.laboratory import Bench
from ai_scientist.protocols import Executor, Journal, Literature, Model, Render
from ai_scientist.records import Json, Profile, Study
from ai_scientist.run_folder.workspace import RunFolder
from ai_scientist.writeup.figures import ConfinedDraw
from ai_scientist.writeup.latex import LatexCompiler, missing_tools
from ai_scientist.writeup.numbers import BoundNumbers
from ai_scientist.writeup.paper import write_paper
from ai_scientist.writeup.parts import Effort, Figure, PaperFolder, PaperOutcome


@dataclass(frozen=True, kw_only=True)
class Author:
    """Writes the paper of a run folder."""

    folder: RunFolder
    journal: Journal
    executor: Executor
    bench: Bench
    model: Model
    render: Render
    literature: Literature | None
    references: Path
    """A person's own .bib file; it need not exist."""
    effort: Effort
    report: Callable[[str], None]

    def write(self, study: Study, plots: Json) -> Json:
        """Write, compile and commit the paper; return what report.json says of it."""
        return self.journal.effect("paper", lambda: self._write(study, plots))

    def _write(self, study: Study, plots: Json) -> Json:
        outcome = write_paper(
            study,
            paper=self._places(study),
            notes=self.folder.read("HEAD", "notes.txt"),
            model=self.model,
            render=self.render,
            numbers=BoundNumbers(evidence=Evidence.from_study(study)),
            journal=self.journal,
            compile=self._compiler(),
            literature=self.literature,
            figures=self._pictures(plots),
            draw=self._draw(),
            report=self.report,
            effort=self.effort,
        )
        return self._commit(outcome)

    def _places(self, study: Study) -> PaperFolder:
        template = self.bench.template.folder / "latex"
        return PaperFolder(
            latex=self.folder.path / "latex",
            pdf=self.folder.path / f"{study.idea.name}.pdf",
            template=template if template.is_dir() else None,
            references=self.references,
        )

    def _compiler(self) -> LatexCompiler | None:
        if missing_tools():
            return None
        return LatexCompiler(executor=self.executor, staging=self.folder.copies)

    def _pictures(self, plots: Json) -> list[Figure]:
        """Return the coder's pictures with the runs that they are known to show."""
        known = {name: facts["runs"] for name, facts in plots.get("shown", {}).items()}
        return [
            Figure(path=self.folder.path / name, runs=tuple(known.get(name, ())))
            for name in plots["pictures"]
        ]

    def _draw(self) -> ConfinedDraw:
        return ConfinedDraw(
            executor=self.executor,
            staging=self.folder.copies,
            python=self.bench.python,
            readable=self.bench.readable,
            environment=run_environment(Profile(name="plot"), 0, None, {}),
        )

    def _commit(self, outcome: PaperOutcome) -> Json:
        made = [path for path in (outcome.pdf, outcome.archive) if path is not None]
        names = [path.relative_to(self.folder.path).as_posix() for path in made if path.exists()]
        commit = self.folder.commit("Write the paper", ["latex", *names])
        return {
            "commit": commit,
            "pdf": outcome.pdf.name if outcome.pdf else None,
            "compiled": outcome.compiled,
            "message": outcome.message,
            "findings": [asdict(finding) for finding in outcome.findings],
            "citations_dropped": list(outcome.citations_dropped),
            "sections_dropped": list(outcome.sections_dropped),
        }
