"""What the queue holds of one idea, and its files: read, written, and told of in plain words."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ai_scientist.errors import SetupError
from ai_scientist.records import parse_json


class QueueState(StrEnum):
    """Where an idea stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    """For a person's decision."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What was asked for."""

    id: str
    """Name of its folder: the idea's, with .2, .3 … when it is there again."""
    idea: Mapping[str, Any]
    """The idea's keys as they were given."""
    after: tuple[str, ...] = ()
    """Entries that must be done first."""
    priority: int = 0
    options: tuple[str, ...] = ()
    """Priority and options it began with; state.json holds those of now."""
    sketch: tuple[int, ...] = ()
    added_at: str = ""


@dataclass(frozen=True, kw_only=True)
class State:
    """Where an entry stands, and how it is to be run."""

    state: QueueState = QueueState.QUEUED
    reason: str = ""
    priority: int = 0
    options: tuple[str, ...] = ()
    """Command-line options of the launcher, this idea's budgets among them."""
    run_dir: str | None = None
    """Written before the idea starts, so that whoever takes over resumes this folder."""
    attempts: int = 0
    lost: int = 0
    """Starts in a row that ended without a word: worker or launcher killed."""
    started_at: str | None = None
    finished_at: str | None = None
    seen: tuple[str, ...] = ()
    """Decisions that were in the run folder's inbox when it began to wait."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """An entry with its state."""

    entry: Entry
    state: State
    folder: Path

    @property
    def id(self) -> str:
        """The entry's name."""
        return self.entry.id


@dataclass(frozen=True, kw_only=True)
class Added:
    """What became of an idea that was to be added."""

    idea: str
    entry: str | None
    """The entry that stands for it, None when it was refused."""
    new: bool = False
    problem: str = ""
    hint: str = ""


# --- files ---------------------------------------------------------------------------------------


def read_item(path: Path | str) -> Item | None:
    """Read one entry; None where there is none, or one that is just being added."""
    name = os.path.basename(path)  # noqa: PTH119  # ten thousand of these
    if name.startswith("."):
        return None
    try:
        entry: Entry = _read(Entry, f"{path}/entry.json", id=name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        entry = Entry(id=name, idea={"Name": name})
        return _unreadable(entry, Path(path), f"{path}/entry.json", error)
    try:
        state: State = _read(State, f"{path}/state.json")
    except FileNotFoundError:
        state = State(priority=entry.priority, options=entry.options)
    except (OSError, ValueError) as error:
        return _unreadable(entry, Path(path), f"{path}/state.json", error)
    return Item(entry=entry, state=state, folder=Path(path))


def _read(kind: Any, path: str, **known: str) -> Any:
    """Read a file as a `kind`; unknown keys are left out. Raises ValueError where it is none."""
    with open(path, "rb") as file:  # noqa: PTH123  # ten thousand of these
        content = parse_json(file.read())
    if not (isinstance(content, dict) and content):
        raise ValueError("no JSON object, or an empty one")
    return _reader(kind).validate_python(content | known)


@functools.cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _unreadable(entry: Entry, folder: Path, file: str, error: Exception) -> Item:
    """Show a damaged entry as failed; nothing is started in its place."""
    words = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        words = f"key `{'.'.join(map(str, first['loc']))}`: {first['msg'].lower()}"
    reason = f"{file} cannot be read: {words}"
    return Item(entry=entry, state=State(state=QueueState.FAILED, reason=reason), folder=folder)


def write_plainly(path: str, content: str) -> None:
    """Write a file in a folder that nobody reads yet."""
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123  # ten thousand of these
        file.write(content)


def to_json(value: Entry | State) -> str:
    """Return the content of entry.json or state.json."""
    content = {name: getattr(value, name) for name in value.__dataclass_fields__}
    return json.dumps(content, ensure_ascii=False, default=dict) + "\n"


def sync_file_system(folder: Path) -> None:
    """Wait until everything written to the file system of `folder` is on disk: one wait for all."""
    import ctypes

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if library.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def disk_trouble(place: Path, kept: str) -> Iterator[None]:
    """Say in plain words what the disk refused, and what that means."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SetupError(
            f"{place} cannot be written: {(error.strerror or str(error)).lower()}; {kept}",
            hint="make room or make it writable, then give the same command again",
        ) from None


def utc_now() -> str:
    """Return the time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def blocked_by(item: Item, states: Mapping[str, QueueState]) -> list[str]:
    """Return the entries that `item` still waits for."""
    return [one for one in item.entry.after if states.get(one) is not QueueState.DONE]


def decisions(item: Item) -> list[str]:
    """Return a person's decisions that came since the idea began to wait."""
    if item.state.run_dir is None:
        return []
    inbox = Path(item.state.run_dir) / "inbox"
    with contextlib.suppress(OSError):
        return sorted({path.name for path in inbox.iterdir()} - set(item.state.seen))
    return []
