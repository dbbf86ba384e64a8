"""Questions to the model about what is already there, for the steps that need its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ai_scientist.protocols import Model, Render
from ai_scientist.records import Idea, Message


@dataclass(frozen=True)
class Correspondent:
    """Asks the model for plain texts about what is already there."""

    model: Model
    render: Render
    system: str
    idea: Idea

    def repair(self, step: str, text: str, problems: Sequence[str]) -> str:
        """Send a prose back with what does not hold in it, and return the corrected one."""
        content = self.render("experiment/repair.j2", text=text, problems=list(problems))
        return self._ask("repair", step, content)

    def examine(self, step: str, run: str, title: str, code: str) -> str:
        """Ask where the code holds the mechanisms of the idea."""
        content = self.render(
            "experiment/mechanism.j2", idea=self.idea, run=run, title=title, code=code
        )
        return self._ask("mechanism", step, content)

    def _ask(self, purpose: str, step: str, content: str) -> str:
        messages = (
            Message(role="system", content=self.system),
            Message(role="user", content=content),
        )
        return self.model.ask(purpose=purpose, step=step, messages=messages).text
