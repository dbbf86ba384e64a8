"""One idea as it happened, put together from its folder for whoever renders it.

    plan -> attempts (refused ones too) -> runs -> notes -> plots -> paper

Reading never changes the folder, and what cannot be read is said instead of raised.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ai_scientist.errors import InputError
from ai_scientist.records import Attempt, Finding, Json, Run, Study, number, parse_json
from ai_scientist.review.decisions import Decision, read_decisions
from ai_scientist.review.files import PICTURES, Shelf, open_plain, read_text, stray_link
from ai_scientist.review.summaries import (
    WATCHED,
    Summaries,
    Summary,
    read_object,
    signature_of,
)
from ai_scientist.run_folder.journal import read_events

if TYPE_CHECKING:
    from ai_scientist.claims import Report

INPUT = re.compile(r"\\(?:input|include)\s*\{([^{}]{1,200})\}")
MAX_CALL_LINES = 5_000
WATCHED_HERE = (*WATCHED, "notes.txt", "latex", "attempts", "experiment.py", "plot.py")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One model call, without its long texts; those are read from the file when it is opened."""

    number: int
    purpose: str
    step: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    seconds: float
    outcome: str
    time: str
    offset: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What led to one run: every attempt in order, then the run, when there was one."""

    name: str
    attempts: tuple[Attempt, ...]
    run: Run | None
    calls: tuple[Call, ...]

    @property
    def cost_usd(self) -> float | None:
        """Known cost of the chapter's calls."""
        known = [call.cost_usd for call in self.calls if call.cost_usd is not None]
        return sum(known) if known else None


@dataclass(frozen=True, kw_only=True)
class Story:
    """All that the pages of one idea show."""

    folder: Path
    study: Study
    summary: Summary
    report: Json
    chapters: tuple[Chapter, ...]
    calls: tuple[Call, ...]
    decisions: tuple[Decision, ...]
    plan: str
    notes: str
    pictures: tuple[str, ...]
    papers: tuple[str, ...]
    """TeX sources, relative to the folder."""
    pdf: str
    problems: tuple[str, ...]
    """What could not be read, in words."""
    waiting: Json = field(default_factory=dict)
    """The approval point that is open, if one is."""

    @property
    def baseline(self) -> Run | None:
        """The run that others are compared with."""
        return self.study.runs.get("run_0")

    @cached_property
    def audit(self) -> Report:
        """Every number of notes and paper with its verdict, and what is wrong with the whole."""
        from ai_scientist.audit import audit_study

        return audit_study(self.study)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What a reader must know: as the report has it; of other systems' folders, the audit's."""
        return self.audit.findings if self.study.foreign else self.study.findings

    @property
    def writable(self) -> bool:
        """Whether a person may decide here: only in folders that this program made."""
        return not self.study.foreign

    def previous(self, run: str) -> str | None:
        """Return the valid run before this one."""
        names = list(self.study.runs)
        place = names.index(run) if run in names else 0
        return names[place - 1] if place else None

    def code(self, run: str) -> str:
        """Return the experiment's code of one run, or an empty text."""
        for name in (f"{run}.py", f"{run}/experiment.py"):
            text = read_inside(self.folder, name)
            if text:
                return text
        return read_inside(self.folder, "experiment.py") if run == self._last else ""

    @property
    def _last(self) -> str:
        return list(self.study.runs)[-1] if self.study.runs else ""

    def findings_of(self, run: str) -> list[Finding]:
        """Return the findings on one run."""
        return [one for one in self.findings if one.run == run]

    def calls_of(self, run: str) -> list[Call]:
        """Return the calls whose step belongs to one run."""
        return [call for call in self.calls if call.step.split("/")[0] == run]


class Stories:
    """Reads stories and keeps the last few while their folders do not change."""

    def __init__(self, shelf: Shelf, summaries: Summaries, keep: int = 24) -> None:
        self._shelf = shelf
        self._summaries = summaries
        self._keep = keep
        self._kept: dict[str, tuple[tuple[int, ...], Story]] = {}

    def one(self, name: str) -> Story:
        """Return the story of a folder. Raises InputError when there is none."""
        folder = self._shelf.folder(name)
        signature = signature_of(folder, (*WATCHED_HERE, *run_folders(folder)))
        kept = self._kept.get(name)
        if kept and kept[0] == signature:
            return kept[1]
        stray = stray_link(folder)
        if stray:
            raise InputError(
                f"{name} is not opened: its {stray} is a link that leads out of the folder",
                hint="replace the link by the file it names, or remove it",
            )
        story = read_story(folder, self._summaries.one(name))
        self._kept[name] = (signature, story)
        while len(self._kept) > self._keep:
            self._kept.pop(next(iter(self._kept)))
        return story

    def several(self, names: Iterable[str]) -> list[Story]:
        """Return the stories of folders that can be read; one that cannot hides no other."""
        stories = []
        for name in names:
            with contextlib.suppress(InputError):
                stories.append(self.one(name))
        return stories


def read_story(folder: Path, summary: Summary) -> Story:
    """Read a folder from beginning to end."""
    from ai_scientist.run_folder.study import read_study

    problems: list[str] = []
    study = read_study(folder)
    try:
        events = read_events(folder / "events.jsonl")
    except (InputError, OSError) as error:
        events = []
        problems.append(str(error))
    calls = index_calls(folder / "calls.jsonl")
    report = read_object(folder / "report.json")
    pictures, papers = find_pictures(folder), find_papers(folder)
    return Story(
        folder=folder,
        study=study,
        summary=summary,
        report=report,
        chapters=tuple(chapters_of(study, calls)),
        calls=tuple(calls),
        decisions=tuple(read_decisions(folder, events)),
        plan=reply_of(folder, calls, "plan"),
        notes=read_inside(folder, "notes.txt"),
        pictures=tuple(pictures),
        papers=tuple(papers),
        pdf=find_pdf(folder, report),
        problems=tuple(problems),
        waiting=waiting_at(events, report),
    )


def chapters_of(study: Study, calls: Sequence[Call]) -> list[Chapter]:
    """Return a chapter per run that was reached, in order."""
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in study.attempts:
        attempts[attempt.run].append(attempt)
    per_run: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        per_run[call.step.split("/")[0]].append(call)
    names = {*study.runs, *attempts}
    return [
        Chapter(
            name=name,
            attempts=tuple(sorted(attempts[name], key=lambda one: step_order(one.step))),
            run=study.runs.get(name),
            calls=tuple(per_run[name]),
        )
        for name in sorted(names, key=step_order)
    ]


def step_order(step: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts run_2/edit_10 after run_2/edit_9, and words after numbers."""
    pieces = re.split(r"(\d+)", step)
    return [(0, int(one), "") if one.isdecimal() else (1, 0, one) for one in pieces if one]


def index_calls(path: Path) -> list[Call]:
    """Return every call of calls.jsonl without its texts; damaged lines are passed over."""
    calls: list[Call] = []
    try:
        file = open_plain(path)
    except OSError:
        return []
    with file:
        offset = 0
        for line in file:
            try:
                stored = parse_json(line)
            except ValueError:
                stored = None
            if isinstance(stored, dict):
                calls.append(call_from(stored, len(calls) + 1, offset, len(line)))
            offset += len(line)
            if len(calls) >= MAX_CALL_LINES:
                break
    return calls


def call_from(stored: Json, place: int, offset: int, length: int) -> Call:
    """Return one line of calls.jsonl as a Call."""
    return Call(
        number=place,
        purpose=str(stored.get("purpose", "")),
        step=str(stored.get("step", "")),
        model=str(stored.get("model", "")),
        prompt_tokens=int(number(stored.get("prompt_tokens")) or 0),
        completion_tokens=int(number(stored.get("completion_tokens")) or 0),
        cost_usd=number(stored.get("cost_usd")),
        seconds=number(stored.get("seconds")) or 0.0,
        outcome=str(stored.get("outcome", "")),
        time=str(stored.get("time", "")),
        offset=offset,
        length=length,
    )


def read_call(folder: Path, call: Call) -> tuple[list[tuple[str, str]], str]:
    """Return one call's messages as (role, text), and its reply."""
    try:
        with open_plain(folder / "calls.jsonl") as file:
            file.seek(call.offset)
            stored = parse_json(file.read(call.length))
    except (OSError, ValueError):
        return [], ""
    messages = stored.get("messages") or stored.get("prompt") or []
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    shown = [
        (str(one.get("role", "")), str(one.get("content", "")))
        for one in messages
        if isinstance(one, dict)
    ]
    return shown, str(stored.get("reply") or "")


def reply_of(folder: Path, calls: Sequence[Call], purpose: str) -> str:
    """Return the reply of the last good call for a purpose."""
    good = [call for call in calls if call.purpose == purpose and call.outcome in ("ok", "")]
    return read_call(folder, good[-1])[1] if good else ""


def waiting_at(events: Sequence[Json], report: Json) -> Json:
    """Return the newest `waiting` line of the journal while the report says that it waits."""
    waits = [line for line in events if line.get("note") == "waiting"]
    return waits[-1] if waits and report.get("stop") == "waiting" else {}


# --- what lies in the folder ---------------------------------------------------------------------


def read_inside(folder: Path, name: str) -> str:
    """Return the text of a file of the folder, or an empty one; no link leads out of it."""
    try:
        return read_text(Shelf(folder.parent).file(folder, name))
    except InputError:
        return ""


def run_folders(folder: Path) -> list[str]:
    """Return the names of the run folders, in order."""
    names = [path.name for path in folder.glob("run_*") if re.fullmatch(r"run_\d+", path.name)]
    return sorted(names, key=step_order)


def find_pictures(folder: Path, most: int = 60) -> list[str]:
    """Return the pictures of the folder itself: what plot.py drew."""
    found = [
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()
    ]
    return sorted(found)[:most]


def find_papers(folder: Path) -> list[str]:
    """Return the TeX sources of the paper, the main one first."""
    found = [path.relative_to(folder).as_posix() for path in folder.glob("latex/**/*.tex")]
    first = ("latex/template.tex", "latex/paper.tex", "latex/main.tex")
    inputs = {name: place for place, name in enumerate(named_inputs(folder, first))}
    return sorted(found, key=lambda name: (name not in first, inputs.get(name, 999), name))[:40]


def named_inputs(folder: Path, papers: Sequence[str]) -> list[str]:
    r"""Return the files that the paper reads with \input, in its order."""
    text = "".join(read_inside(folder, name) for name in papers)
    return [f"latex/{name.strip().removesuffix('.tex')}.tex" for name in INPUT.findall(text)]


def find_pdf(folder: Path, report: Json) -> str:
    """Return the paper's PDF, relative to the folder, or an empty text."""
    paper = report.get("paper")
    named = str(paper.get("pdf") or "") if isinstance(paper, dict) else ""
    for name in [named, *sorted(path.name for path in folder.glob("*.pdf"))]:
        with contextlib.suppress(InputError):
            Shelf(folder.parent).file(folder, name)
            return name
    return ""


def list_files(folder: Path, most: int = 800) -> list[tuple[str, int]]:
    """Return (path, bytes) of the folder's visible files."""
    files: list[tuple[str, int]] = []
    stack = [folder]
    while stack and len(files) < most:
        here = stack.pop()
        try:
            entries = sorted(here.iterdir(), key=lambda path: step_order(path.name))
        except OSError:
            continue
        for path in entries:
            if path.name.startswith(".") or path.is_symlink() or path.name == "__pycache__":
                continue
            if path.is_dir():
                stack.append(path)
            elif path.is_file():
                files.append((path.relative_to(folder).as_posix(), path.stat().st_size))
    return sorted(files, key=lambda item: (item[0].count("/") > 0, step_order(item[0])))[:most]
