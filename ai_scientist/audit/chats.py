"""What the chat histories of a foreign folder tell: edits that failed, and what they cost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 20_000_000
MALFORMED = re.compile(r"^> .*did not conform to the edit format", re.M)
UNMATCHED = re.compile(r"^> # \d+ SEARCH/REPLACE blocks? failed to match", re.M)
COST = re.compile(r"^> Tokens:.*?Cost: \$(?P<message>\d+(?:\.\d+)?) message", re.M)


@dataclass(frozen=True, kw_only=True)
class Chat:
    """One chat history of an editing assistant."""

    name: str
    replies: int
    """Lines that state a reply's tokens and cost."""
    cost_usd: float
    """Sum of the costs stated reply by reply; each was rounded to cents."""
    malformed: int
    """Replies whose edits could not be read."""
    unmatched: int
    """Among them, those with a block whose search text is not in the file."""

    def describe(self) -> str:
        """Say it in one line."""
        failures = f"{self.malformed} edit-format failures"
        if self.unmatched:
            failures += f" ({self.unmatched} with text to search that is not in the file)"
        if not self.replies:
            return f"{self.name}: {failures}; no costs stated"
        return f"{self.name}: {failures}; {self.replies} replies with costs, ${self.cost_usd:.2f}"


def read_chats(folder: Path) -> tuple[Chat, ...]:
    """Return what each `*_aider.txt` of a folder tells; links and what cannot be read are none."""
    found = []
    for path in sorted(folder.glob("*_aider.txt")):
        if path.is_symlink() or not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES).decode("utf-8", errors="replace")
        except OSError:
            continue
        costs = [float(match["message"]) for match in COST.finditer(text)]
        found.append(
            Chat(
                name=path.name,
                replies=len(costs),
                cost_usd=sum(costs),
                malformed=len(MALFORMED.findall(text)),
                unmatched=len(UNMATCHED.findall(text)),
            )
        )
    return tuple(found)
