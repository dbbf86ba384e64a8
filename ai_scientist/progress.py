"""Where the loop stands, and the words of a reply that steer it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ai_scientist.records import Attempt, Code, Edit, Limits, Run, Stop

TITLE_LINE = re.compile(r"^[ \t>*#]*RUN:[ \t]*(.+?)[ \t*]*$", re.MULTILINE)


@dataclass
class Progress:
    """Where the loop stands. Rebuilt by re-execution, never stored."""

    runs: dict[str, Run]
    accepted: Code
    """Code of the last valid run: what a candidate is judged against."""
    draft: Code
    """Code the coder goes on from: the accepted one, or a candidate worth repairing."""
    attempts: list[Attempt] = field(default_factory=list)
    failures: int = 0
    edits: int = 0
    """Requests made for the present run."""
    executions: int = 0
    uninterpreted: Run | None = None

    @property
    def name(self) -> str:
        """The run that is being worked on."""
        return f"run_{len(self.runs)}"

    def stop(self, limits: Limits) -> Stop | None:
        """Return why the experiments end here, or None."""
        if len(self.runs) > limits.max_runs:
            return Stop.RUN_LIMIT
        if self.executions >= limits.max_executions:
            return Stop.EXECUTION_LIMIT
        return Stop.FAILURE_LIMIT if self.failures >= limits.max_failures else None


def title_of(edit: Edit) -> str:
    """Return the run's title from the reply's `RUN:` line, or a plain one."""
    found = TITLE_LINE.search(edit.prose)
    return found[1].strip()[:120] if found else "without a title"


def name_of(outcome: Run | Attempt) -> str:
    """Return the prompt that tells the coder of `outcome`."""
    return "ran" if isinstance(outcome, Run) else str(outcome.kind)


def prose_of(edit: Edit) -> str:
    """Return what the coder says of the last run: its prose without the line of control."""
    return TITLE_LINE.sub("", edit.prose).strip()
