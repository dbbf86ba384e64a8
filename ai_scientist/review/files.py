"""The only door to the disk for the review: nothing outside the runs folder can be read through it.

    Shelf(root).folder("2026…_idea")            -> one run folder, a direct child of root
    Shelf.file(folder, "run_1/stdout.log")      -> a regular file inside it, links resolved first

Hidden names (.git, .lock, .staging), links that lead outside, devices and pipes are refused with
the same words as a missing file, so that nothing can be learned by asking.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ai_scientist.errors import InputError

PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".svg": "image/svg+xml",
}
RAW = {**PICTURES, ".pdf": "application/pdf"}
"""What a browser gets as it is; all else is shown as text."""
MAX_TEXT_BYTES = 400_000
MAX_LINE_CHARACTERS = 2_000
WINDOW_LINES = 300
BLOCK_BYTES = 1 << 20
MAX_HITS = 200
PART_OF_STUDY = re.compile(
    r"run_\d+(\.py)?|attempts|inbox|latex|references|[\w.-]+\.(json|jsonl|txt|py|toml|pdf|tex)"
)
MARKS = ("idea.json", "run_0", "run_1", "notes.txt", "report.json", "events.jsonl")


@dataclass(frozen=True)
class Shelf:
    """A folder of run folders; `only` narrows it to one of them."""

    root: Path
    only: str | None = None

    def names(self) -> list[str]:
        """Return the names of the run folders, newest first."""
        if self.only:
            return [self.only]
        try:
            with os.scandir(self.root) as entries:
                found = [
                    entry.name
                    for entry in entries
                    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
                ]
        except OSError:
            return []
        return sorted((name for name in found if is_run_folder(self.root / name)), reverse=True)

    def folder(self, name: str) -> Path:
        """Return the run folder `name`. Raises InputError when there is none."""
        plain = name and "/" not in name and "\0" not in name and not name.startswith(".")
        path = self.root / name
        if not plain or (self.only and name != self.only):
            raise missing(name)
        try:
            found = stat.S_ISDIR(path.lstat().st_mode)
        except OSError:  # among others: the name is too long for any file
            found = False
        if not found:
            raise missing(name)
        return path

    def file(self, folder: Path, relative: str) -> Path:
        """Return a regular file inside `folder`. Raises InputError for anything else."""
        parts = PurePosixPath(relative).parts
        hidden = any(part.startswith(".") for part in parts)
        if not parts or "\0" in relative or relative.startswith("/") or hidden:
            raise missing(relative)
        try:
            path = (folder / relative).resolve(strict=True)
        except (OSError, RuntimeError):
            raise missing(relative) from None
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise missing(relative)
        return path


def missing(name: str) -> InputError:
    """Return the one answer for all that may not be read or is not there."""
    return InputError(
        f"there is no `{name[:200]}` here", hint="open it from the list of ideas or of files"
    )


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file for reading; OSError for a link, a pipe or anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no plain file")
    return os.fdopen(descriptor, "rb")


def stray_link(folder: Path) -> str | None:
    """Return a link among the files that make up a study which leads out of the folder, if any.

    Whoever reads the study follows links; a folder from a stranger could show what is not in it.
    """
    root = folder.resolve()
    stack = [path for path in folder.iterdir() if PART_OF_STUDY.fullmatch(path.name)]
    while stack:
        path = stack.pop()
        if path.is_symlink():
            if not path.resolve().is_relative_to(root):
                return path.relative_to(folder).as_posix()
        elif path.is_dir():
            stack += path.iterdir()
    return None


def open_shelf(path: Path) -> Shelf:
    """Return the shelf at `path`: a folder of run folders, or a single run folder.

    Raises InputError for the person when it is no folder.
    """
    if not path.is_dir():
        raise InputError(f"{path} is no folder", hint="name the folder of runs with --runs-dir")
    path = path.resolve()
    return Shelf(path.parent, path.name) if is_run_folder(path) else Shelf(path)


def is_run_folder(path: Path) -> bool:
    """Tell whether `path` looks like a run folder, ours or another system's."""
    return any((path / mark).exists() for mark in MARKS)


# --- reading what may be huge, binary or hostile -------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a file, shortened when it is very long."""

    number: int
    text: str
    hidden: int = 0
    """Characters that are left out of `text`."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A piece of a text file."""

    lines: tuple[Line, ...]
    first: int
    total: int
    size: int
    binary: bool = False
    hits: tuple[int, ...] = ()
    """Line numbers where the search found something, the first MAX_HITS."""
    skipped: int = 0
    """Lines left out after the first part, where head and tail are shown."""


def read_window(
    path: Path, *, around: int | None = None, query: str = "", size: int = WINDOW_LINES
) -> Window:
    """Return the lines around a line number, or the first hit of `query`, or the end of the file.

    Memory stays small whatever the file's size. It is read and not mapped: a mapped file that a run
    cuts meanwhile would end the process.
    """
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        if b"\0" in file.read(8192):
            return Window(lines=(), first=1, total=0, size=length, binary=True)
        total, hits = scan(file, [query] if query else [], MAX_HITS)
        if around is None:
            around = hits[0] if hits else total
        first = max(1, min(around - size // 2, total - size + 1))
        lines = tuple(lines_from(file, first, size))
    return Window(lines=lines, first=first, total=total, size=length, hits=hits)


def find_lines(path: Path, words: Sequence[str], most: int, *, whole: bool = False) -> list[Line]:
    """Return the first lines that hold one of `words`, ignoring the case of ASCII letters.

    `whole`: the words are numbers, and none that only begins or ends like one is meant.
    """
    with path.open("rb") as file:
        _, hits = scan(file, words, most, whole=whole)
        return [line for number in hits for line in lines_from(file, number, 1)]


def read_ends(path: Path, head: int = 80, tail: int = 120) -> Window:
    """Return the first and last lines of a file."""
    whole = read_window(path, around=1, size=head)
    if whole.binary or whole.total <= head:
        return whole
    tail = min(tail, whole.total - head)
    end = read_window(path, around=whole.total, size=tail)
    return Window(
        lines=whole.lines + end.lines,
        first=1,
        total=whole.total,
        size=whole.size,
        skipped=whole.total - head - tail,
    )


def read_text(path: Path, limit: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a small file; of a larger one its beginning. Never raises."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError:
        return ""
    if b"\0" in data[:8192]:
        return f"(binary file, {len(data)} bytes or more)"
    text = data[:limit].decode("utf-8", errors="replace")
    return text + ("\n(… cut here: the file is longer)" if len(data) > limit else "")


def scan(
    file: BinaryIO, words: Sequence[str], most: int, *, whole: bool = False
) -> tuple[int, tuple[int, ...]]:
    """Return the number of lines, and which hold one of `words`: the first `most` of them.

    A last line without newline counts; the case of ASCII letters does not.
    """
    needles = [word[:200].encode(errors="replace") for word in words]
    choice = b"(?:%b)" % b"|".join(map(re.escape, needles))
    sought = rb"(?<![\d.])%b(?!\d)" % choice if whole else choice
    pattern = re.compile(sought, re.IGNORECASE) if needles else None
    reach = max(map(len, needles), default=1) - 1
    hits: dict[int, None] = {}
    newlines, kept, last = 0, b"", b"\n"
    file.seek(0)
    while block := file.read(BLOCK_BYTES):
        text = kept + block
        line, position = 1 + newlines - kept.count(b"\n"), 0
        for found in pattern.finditer(text) if pattern and len(hits) < most else ():
            line += text.count(b"\n", position, found.start())
            position = found.start()
            hits[line] = None
            if len(hits) >= most:
                break
        newlines += block.count(b"\n")
        kept, last = text[len(text) - reach :], block[-1:]
    return newlines + (last != b"\n"), tuple(hits)


def lines_from(file: BinaryIO, first: int, count: int) -> Iterator[Line]:
    """Yield `count` lines from line number `first` on."""
    file.seek(offset_of_line(file, first))
    for number in range(first, first + count):
        start = file.readline(4 * MAX_LINE_CHARACTERS)
        if not start:
            return
        length, piece = len(start), start
        while not piece.endswith(b"\n") and (piece := file.readline(BLOCK_BYTES)):
            length += len(piece)
        text = start.removesuffix(b"\n").decode(errors="replace")[:MAX_LINE_CHARACTERS]
        hidden = max(0, length - piece.endswith(b"\n") - len(text.encode()))
        yield Line(number=number, text=text.rstrip("\r"), hidden=hidden)


def offset_of_line(file: BinaryIO, number: int) -> int:
    """Return the byte at which line `number` begins, or the file's end."""
    missing, start = number - 1, 0
    file.seek(0)
    while missing > 0 and (block := file.read(BLOCK_BYTES)):
        newlines = block.count(b"\n")
        if newlines < missing:
            missing -= newlines
            start += len(block)
            continue
        place = -1
        for _ in range(missing):
            place = block.index(b"\n", place + 1)
        return start + place + 1
    return start
