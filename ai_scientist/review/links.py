"""Where a link goes: another page while the review is served, an anchor in an exported file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlencode


class Links(Protocol):
    """Addresses of everything a page may point to."""

    @property
    def served(self) -> bool:
        """Tell whether there is a server to ask."""
        ...

    def ideas(self) -> str:
        """Return the address of the list of ideas."""
        ...

    def idea(self, page: str = "") -> str:
        """Return the address of the idea, or of one of its pages: claims, science, calls, files."""
        ...

    def run(self, run: str, part: str = "") -> str:
        """Return the address of a run, or of a part of its page."""
        ...

    def metric(self, run: str, path: str) -> str:
        """Return the address of the evidence for one value."""
        ...

    def attempt(self, step: str) -> str:
        """Return the address of an attempt."""
        ...

    def file(self, path: str, *, line: int | None = None, query: str = "") -> str:
        """Return the address of a text file, at a line or with a search."""
        ...

    def picture(self, path: str) -> str:
        """Return the address of a picture's or a PDF's bytes."""
        ...

    def call(self, number: int) -> str:
        """Return the address of one model call."""
        ...

    def commit(self, commit: str) -> str:
        """Return the address of a commit."""
        ...


def quoted(text: str, safe: str = "/") -> str:
    """Return a text as a part of an address, whatever it holds: file names may be no UTF-8."""
    return quote(text, safe=safe, errors="replace")


def queried(**values: str) -> str:
    """Return the query of an address."""
    return urlencode(values, errors="replace")


def slug(*parts: str) -> str:
    """Return an anchor name made of harmless characters only."""
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part).strip("_") or "x" for part in parts)


@dataclass(frozen=True)
class ServedLinks:
    """Addresses below /idea/NAME."""

    name: str
    served: bool = True

    @property
    def _base(self) -> str:
        return f"/idea/{quoted(self.name, safe='')}"

    def ideas(self) -> str:
        """Return the address of the list of ideas."""
        return "/"

    def idea(self, page: str = "") -> str:
        """Return the address of the idea or of one of its pages."""
        return f"{self._base}/{page}" if page else self._base

    def run(self, run: str, part: str = "") -> str:
        """Return the address of a run, or of a part of its page."""
        return f"{self._base}/run/{quoted(run, safe='')}" + (f"#{slug(part)}" if part else "")

    def metric(self, run: str, path: str) -> str:
        """Return the address of the evidence for one value."""
        return f"{self._base}/evidence?{queried(run=run, metric=path)}"

    def attempt(self, step: str) -> str:
        """Return the address of an attempt."""
        return f"{self._base}/attempt/{quoted(step)}"

    def file(self, path: str, *, line: int | None = None, query: str = "") -> str:
        """Return the address of a text file, at a line or with a search."""
        asked = {"q": query} if query else {}
        asked |= {"line": str(line)} if line else {}
        text = f"?{queried(**asked)}" if asked else ""
        return f"{self._base}/file/{quoted(path)}{text}" + (f"#L{line}" if line else "")

    def picture(self, path: str) -> str:
        """Return the address of a picture's or a PDF's bytes."""
        return f"{self._base}/raw/{quoted(path)}"

    def call(self, number: int) -> str:
        """Return the address of one model call."""
        return f"{self._base}/call/{number}"

    def commit(self, commit: str) -> str:
        """Return the address of a commit."""
        return f"{self._base}/commit/{quoted(commit)}"


@dataclass(frozen=True)
class ExportLinks:
    """Anchors inside one file. `pictures` are data: addresses, filled while it is built."""

    prefix: str
    pictures: dict[str, str]
    files: frozenset[str] = frozenset()
    """Text files that the export holds."""
    served: bool = False

    def ideas(self) -> str:
        """Return the anchor of the top."""
        return "#top"

    def idea(self, page: str = "") -> str:
        """Return the anchor of the idea or of one of its parts."""
        return f"#{self.prefix}{page or 'story'}"

    def run(self, run: str, part: str = "") -> str:
        """Return the anchor of a run, or of a part of it."""
        return f"#{self.prefix}{slug(run, part) if part else slug(run)}"

    def metric(self, run: str, path: str) -> str:
        """Return the anchor of a metric's row."""
        return f"#{self.prefix}{slug(run, 'metric', path)}"

    def attempt(self, step: str) -> str:
        """Return the anchor of an attempt."""
        return f"#{self.prefix}{slug('attempt', step)}"

    def file(self, path: str, *, line: int | None = None, query: str = "") -> str:
        """Return the anchor of a file, where the export holds it."""
        return f"#{self.prefix}{slug('file', path)}" if path in self.files else ""

    def picture(self, path: str) -> str:
        """Return the picture itself."""
        return self.pictures.get(path, "")

    def call(self, number: int) -> str:
        """Return the anchor of one model call."""
        return f"#{self.prefix}call-{number}"

    def commit(self, commit: str) -> str:
        """Commits are not in the file."""
        return ""
