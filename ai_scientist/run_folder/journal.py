"""The append-only truth of a run folder: events.jsonl, one line per finished effect.

    loop --effect(key)--> answered from the journal?  yes: the stored result
                                                      no:  perform, append, fsync, return

So the loop is plain code without a word about resuming: run again from the top, it walks through
what is already there and goes on where the last process was killed.

Covered: kill -9 at any byte (a torn last line is cut off), NFS (plain appends, no mmap, no WAL).
Not covered: two writers; `FolderLock` keeps the second one out.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from ai_scientist.errors import FolderBusy, InputError
from ai_scientist.records import Json, parse_json


class FolderJournal:
    """Implements protocols.Journal on one file. The caller holds the folder's lock.

    Effects of several threads may be performed at once; their lines do not mix.
    """

    def __init__(self, path: Path, *, clock: Callable[[], datetime] | None = None) -> None:
        self._path = path
        self._clock = clock or (lambda: datetime.now(UTC))
        self._writing = threading.Lock()
        self._lines = read_events(path, repair=True)
        self._results: dict[str, Json] = {}
        for line in self._lines:
            if is_effect(line):
                self._results[line["key"]] = line["result"]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def effect(self, key: str, perform: Callable[[], Json]) -> Json:
        """Return the stored result of `key`, or perform it once and store what it returns."""
        if key not in self._results:
            result = perform()
            self._append({"key": key, "result": result})
            self._results[key] = result
        return self._results[key]

    def note(self, kind: str, facts: Json) -> None:
        """Append a line that is no effect; it is for readers and never answers anything."""
        self._append({"note": kind, **facts})

    def entries(self) -> Iterator[tuple[str, Json]]:
        """Yield (key, result) of every finished effect, in the order they were finished."""
        yield from list(self._results.items())

    def notes(self, kind: str) -> Iterator[Json]:
        """Yield the notes of one kind, oldest first."""
        yield from [line for line in self._lines if line.get("note") == kind]

    def close(self) -> None:
        """Close the file; the journal answers stored keys still."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, line: Json) -> None:
        stamped = {"time": self._clock().isoformat(timespec="milliseconds"), **line}
        with self._writing:
            append_line(self._descriptor, stamped)
            self._lines.append(stamped)


def is_effect(line: Json) -> bool:
    """Tell an effect from a note; a note may name the key of an effect."""
    return "note" not in line and "key" in line


def append_line(descriptor: int, line: Json) -> None:
    """Append one JSON line to an open file and wait until it is on disk.

    Short writes are completed, so that an interrupted call leaves at most one torn last line.
    """
    text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
    data = text.encode("utf-8", errors="replace")
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def read_events(path: Path, *, repair: bool = False) -> list[Json]:
    """Return the complete lines of a journal.

    A last line without its newline, or that is no JSON, is what a kill left: it is ignored, and
    cut off when `repair` is set. Raises InputError when an earlier line is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    good, lines = 0, []
    pieces = data.split(b"\n")
    for number, piece in enumerate(pieces[:-1], 1):
        try:
            line = parse_json(piece)
            if not isinstance(line, dict):
                raise ValueError
        except ValueError:
            if number == len(pieces) - 1:
                break
            raise InputError(
                f"{path}, line {number}: the journal is damaged here",
                hint="restore the file from a backup; a kill damages only the last line",
            ) from None
        lines.append(line)
        good += len(piece) + 1
    if repair and good < len(data):
        with path.open("r+b") as file:
            file.truncate(good)
            os.fsync(file.fileno())
    return lines


class FolderLock:
    """Keeps a second launcher out of a run folder; freed by the kernel when its holder dies."""

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock

        self._path = folder / ".lock"
        self._lock = FileLock(str(self._path), timeout=0)

    def __enter__(self) -> FolderLock:
        """Take the lock. Raises FolderBusy, naming the holder, when somebody has it.

        Raises InputError when the folder cannot be written.
        """
        from filelock import Timeout

        try:
            self._lock.acquire()
        except Timeout:
            holder = self._holder()
            raise FolderBusy(
                f"{self._path.parent} is in use by another launcher{holder}",
                hint="wait for it to end, or stop it; `ai_scientist status` shows what it does",
            ) from None
        except OSError as error:
            raise InputError(
                f"{self._path.parent} cannot be written: {error.strerror}",
                hint="resume a copy of the folder that is yours",
            ) from None
        # Renamed into place, so that a stranger's link there is replaced and not followed.
        write_atomically(self._path.parent / ".holder", f"{socket.gethostname()} {os.getpid()}\n")
        return self

    def __exit__(self, *exception: object) -> None:
        (self._path.parent / ".holder").unlink(missing_ok=True)
        self._lock.release()

    def _holder(self) -> str:
        try:
            host, pid = (self._path.parent / ".holder").read_text().split()
        except (OSError, ValueError):
            return ""
        return f" (process {pid} on {host})"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file aside, fsync it, and rename it into place: readers see the old or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode("utf-8", errors="replace") if isinstance(content, str) else content
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sync_folder(folder: Path) -> None:
    """Wait until the folder's entries are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def last_commit(lines: Iterable[Json]) -> str | None:
    """Return the commit of the newest effect that made one."""
    commits = [line["result"].get("commit") for line in lines if is_effect(line)]
    return next((commit for commit in reversed(commits) if commit), None)
