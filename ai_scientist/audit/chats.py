"""Chat histories of an editing assistant: what was asked, which edits applied, what they cost.

    #### request -> reply with blocks -> > Tokens … Cost … -> > Applied edit | > did not conform

aider's form (`*_aider.txt`) is read. A block counts as applied unless the history says otherwise.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ai_scientist.records import Finding, Json

MAX_BYTES = 20_000_000
MAIN_FILE = "experiment.py"
TOKENS = re.compile(
    r"> Tokens: (?P<sent>[\d.,]+)(?P<unit>[kM]?) sent"
    r"(?:.*?Cost: \$(?P<usd>\d+(?:\.\d+)?) message)?"
)
MALFORMED = re.compile(r"> .*did not conform to the edit format")
UNMATCHED = re.compile(r"> # \d+ SEARCH/REPLACE blocks? failed to match")
GIVEN_UP = re.compile(r"> Only \d+ reflections allowed")
ECHO = re.compile(r"## SearchReplace\w*: This SEARCH block failed .* in (.+)")
HEAD = re.compile(r"<{5,9} SEARCH>?\s*$")
DIVIDER = re.compile(r"={5,9}\s*$")
TAIL = re.compile(r">{5,9} REPLACE\s*$")
TARGET = re.compile(r"--out_dir=run_(\d+|i)\b")
COMPLETED = re.compile(r"Run (\d+) completed")
BASELINE = re.compile(r"baseline results are as follows")
SAME_TARGET = re.compile(r"Run (?:failed|timed out)")
UNITS = {"": 1, "k": 1_000, "M": 1_000_000}


@dataclass(kw_only=True)
class Block:
    """One SEARCH/REPLACE block as it stood in a reply."""

    file: str
    search: str
    replace: str
    applied: bool = True


@dataclass(kw_only=True)
class Reply:
    """One reply: its blocks, and what the assistant's host said of it."""

    blocks: list[Block] = field(default_factory=list)
    cost_usd: float | None = None
    prompt_tokens: int = 0
    said: list[tuple[int, str]] = field(default_factory=list)
    """Its lines outside listings, with their numbers in the history."""
    malformed: bool = False
    """Its edits, or some of them, could not be taken."""
    unmatched: bool = False
    """The text to search for was not in the file."""


@dataclass(kw_only=True)
class Request:
    """One request of the system, with the replies to it."""

    line: int
    text: str = ""
    run: str = ""
    """The run that is started after it; empty for plots, notes and papers."""
    replies: list[Reply] = field(default_factory=list)
    given_up: bool = False

    @property
    def applied(self) -> list[Block]:
        """The blocks that reached a file, in order."""
        return [block for reply in self.replies for block in reply.blocks if block.applied]


@dataclass(frozen=True, kw_only=True)
class Chat:
    """One chat history."""

    name: str
    requests: tuple[Request, ...]

    @property
    def replies(self) -> list[Reply]:
        """Every reply, in order."""
        return [reply for request in self.requests for reply in request.replies]

    def to_json(self) -> Json:
        """Return the facts that need no judgement."""
        costs = [reply.cost_usd for reply in self.replies if reply.cost_usd is not None]
        return {
            "name": self.name,
            "replies": len(self.replies),
            "cost_usd": round(sum(costs), 2) if costs else None,
            "prompt_tokens": sum(reply.prompt_tokens for reply in self.replies),
            "malformed": sum(reply.malformed for reply in self.replies),
            "unmatched": sum(reply.unmatched for reply in self.replies),
            "given_up": sum(request.given_up for request in self.requests),
        }

    def describe(self) -> str:
        """Say the facts in one line; costs were rounded to cents, tokens to thousands."""
        facts = self.to_json()
        words = f"{self.name}: {facts['malformed']} edit-format failures"
        if facts["unmatched"]:
            words += f" ({facts['unmatched']} with text to search that is not in the file)"
        if facts["given_up"]:
            words += f", {facts['given_up']} requests given up"
        if facts["cost_usd"] is None:
            return f"{words}; no costs stated"
        tokens = facts["prompt_tokens"] / 1e6
        replies = f"{facts['replies']} replies with costs, ${facts['cost_usd']:.2f}"
        return f"{words}; {replies}, {tokens:.2f} M prompt tokens"


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
        found.append(parse_chat(text, path.name))
    return tuple(found)


def parse_chat(text: str, name: str) -> Chat:
    """Read a chat history; what is none gives no request."""
    reader = _Reader()
    for number, line in enumerate(text.split("\n"), 1):
        reader.take(number, line.rstrip("\r"))
    requests = tuple(request for request in reader.requests if request.text or request.replies)
    target = ""
    for request in requests:
        named = TARGET.findall(request.text)
        if named:
            target = "run_" + named[-1].replace("i", "1")
        elif not SAME_TARGET.match(request.text):
            target = ""
        request.run = target
    return Chat(name=name, requests=requests)


def given_results(chat: Chat) -> dict[str, Json]:
    """Return the results that the requests hold, by run; `run_0` is the baseline that was given."""
    found: dict[str, Json] = {}
    for request in chat.requests:
        completed = COMPLETED.match(request.text)
        if completed or BASELINE.search(request.text):
            name = f"run_{completed[1]}" if completed else "run_0"
            rows = [row for row in request.text.split("\n") if row.startswith("{")]
            content = _literal(rows[-1]) if rows else {}
            if content:
                found.setdefault(name, content)
    return found


def given_idea(chat: Chat) -> Json:
    """Return the idea that the first requests hold as a dictionary; empty when none does."""
    for request in chat.requests[:3]:
        for row in request.text.split("\n"):
            content = _literal(row[row.find("{") :]) if "{'Name'" in row else {}
            if {"Name", "Title", "Experiment"} <= content.keys():
                return content
    return {}


def _literal(text: str) -> Json:
    plain = re.sub(r"(?<=[\s:\[,(])-?(?:nan|inf)(?=[,}\])])", "None", text.strip())
    try:
        content = ast.literal_eval(plain)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def chat_findings(chat: Chat, results: frozenset[str]) -> Iterator[Finding]:
    """Yield requests that were given up, and runs that were started and left no result.

    `results` names the runs that have one anywhere.
    """
    for request in chat.requests:
        if request.given_up:
            yield _given_up(chat, request)
    started = dict.fromkeys(
        request.run
        for request in chat.requests
        if request.run and any(block.file == MAIN_FILE for block in request.applied)
    )
    for run in started:
        if run not in results:
            yield Finding(
                kind="missing_result",
                run=run,
                where=chat.name,
                detail=f"the chat edits {MAIN_FILE} for {run}, and no result of it is in the "
                "chat or the folder: no note, plot or table can hold it",
            )


def _given_up(chat: Chat, request: Request) -> Finding:
    failed = [reply for reply in request.replies if reply.malformed]
    cost = sum(reply.cost_usd or 0.0 for reply in failed)
    lost = dict.fromkeys(b.file for r in failed for b in r.blocks if not b.applied)
    files = " and ".join(lost) or "no file that can be told"
    after = f"; {request.run} was started all the same" if request.run else ""
    return Finding(
        kind="edit_not_applied",
        run=request.run,
        where=f"{chat.name}:{request.line}",
        detail=f"{len(failed)} replies in a row to this request could not be applied ({files}), "
        f"${cost:.2f}, and it was given up{after}",
    )


class _Reader:
    """Takes a history line by line."""

    def __init__(self) -> None:
        self.requests = [Request(line=1)]
        self._blocks: list[Block] = []
        self._said: list[tuple[int, str]] = []
        self._listing = False
        self._asking = False
        self._last_text = ""
        self._echo = ""
        self._search: list[str] | None = None
        self._replace: list[str] | None = None

    def take(self, number: int, line: str) -> None:
        """Take the next line."""
        if line.startswith("> "):
            self._take_remark(line)
        elif self._search is not None:
            self._take_block(line)
        elif line.startswith("####"):
            self._listing = False
            if not self._asking:
                self.requests.append(Request(line=number))
            self._asking = True
            self.requests[-1].text += line.removeprefix("####").strip() + "\n"
        elif HEAD.match(line):
            self._search = []
        elif echo := ECHO.match(line):
            self._echo = echo[1].strip()
        elif line.strip():
            self._asking = False
            if line.startswith(("```", "~~~")):
                self._listing = not self._listing
                return
            self._last_text = line.strip().strip("`*#: ")
            if not self._listing:
                self._said.append((number, line))

    def _take_remark(self, line: str) -> None:
        self._asking = False
        request = self.requests[-1]
        if tokens := TOKENS.match(line):
            sent = float(tokens["sent"].replace(",", "")) * UNITS[tokens["unit"]]
            usd = float(tokens["usd"]) if tokens["usd"] else None
            reply = Reply(
                blocks=self._blocks, cost_usd=usd, prompt_tokens=round(sent), said=self._said
            )
            request.replies.append(reply)
            self._blocks, self._search, self._replace = [], None, None
            self._said, self._listing = [], False
        elif GIVEN_UP.match(line):
            request.given_up = True
        elif not request.replies:
            return
        elif MALFORMED.match(line):
            request.replies[-1].malformed = True
            for block in request.replies[-1].blocks:
                block.applied = False
        elif UNMATCHED.match(line):
            # Those that match are applied; those that do not are listed below this line.
            request.replies[-1].unmatched = True
            for block in request.replies[-1].blocks:
                block.applied = True

    def _take_block(self, line: str) -> None:
        assert self._search is not None
        if self._replace is None:
            if DIVIDER.match(line):
                self._replace = []
            else:
                self._search.append(line)
        elif TAIL.match(line):
            self._close_block("\n".join(self._search), "\n".join(self._replace))
            self._search = self._replace = None
        else:
            self._replace.append(line)

    def _close_block(self, search: str, replace: str) -> None:
        if not self._echo:
            self._blocks.append(Block(file=self._last_text, search=search, replace=replace))
            return
        for block in self.requests[-1].replies[-1].blocks if self.requests[-1].replies else ():
            if block.file == self._echo and _words(block.search) == _words(search):
                block.applied = False
        self._echo = ""


def _words(text: str) -> list[str]:
    return text.split()
