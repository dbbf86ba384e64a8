"""The bibliography: entries that people wrote, and entries that code writes for works found."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.records import Json
from ai_scientist.writeup.typeset import clean, clip, escape

FILECONTENTS = re.compile(
    r"\\begin\{filecontents\*?\}(?:\[[^\]]*\])?\{[\w.-]+\.bib\}(.*?)\\end\{filecontents\*?\}",
    re.DOTALL,
)
DULL = {"a", "an", "the", "on", "of", "in", "for", "and", "to", "with", "from", "towards"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One work that the paper may cite."""

    key: str
    bibtex: str
    title: str
    authors: str = ""
    year: str = ""

    @property
    def line(self) -> str:
        """One line for the prompt."""
        who = f"{self.authors}, " if self.authors else ""
        return f"{self.key}: {who}{self.year + ', ' if self.year else ''}{clip(self.title, 120)}"


def read_bibliography(paths: Sequence[Path]) -> tuple[dict[str, Entry], list[str]]:
    """Return the entries of .bib files (or of a template.tex that holds one), and what failed.

    An earlier file wins over a later one that uses the same key.
    """
    entries: dict[str, Entry] = {}
    failed: list[str] = []
    for path in paths:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".tex":
            text = "\n".join(FILECONTENTS.findall(text))
        found, broken = parse_bibliography(text)
        failed += [f"{path.name}: {what}" for what in broken]
        for entry in found:
            entries.setdefault(entry.key, entry)
    return entries, failed


def parse_bibliography(text: str) -> tuple[list[Entry], list[str]]:
    """Return the entries of one .bib text, and a line for each block that cannot be read."""
    from bibtexparser.entrypoint import parse_string

    logging.getLogger("bibtexparser").addHandler(logging.NullHandler())  # said in a finding
    library = parse_string(text)
    entries = []
    for block in library.entries:
        fields = {name.lower(): str(value.value) for name, value in block.fields_dict.items()}
        raw = f"@{block.entry_type}{{{block.key},\n"
        raw += "".join(
            f"  {name} = {{{_sound(value)}}},\n" for name, value in sorted(fields.items())
        )
        entries.append(
            Entry(
                key=block.key,
                bibtex=raw + "}\n",
                title=_plain(fields.get("title", "")),
                authors=_short_authors(re.split(r"\s+and\s+", _plain(fields.get("author", "")))),
                year=_plain(fields.get("year", fields.get("date", "")))[:4],
            )
        )
    failed = [
        f"line {(block.start_line or 0) + 1}: {clip(block.raw or '', 60)}"
        for block in library.failed_blocks
    ]
    return entries, failed


def _sound(value: str) -> str:
    """Return a field's value for pdflatex: LaTeX kept, Unicode encoded, no stray `&`, `%`, `#`."""
    value = "".join(c if c.isascii() else escape(c) for c in clean(value))
    return re.sub(r"(?<!\\)([&%#])", r"\\\1", value)


def _plain(value: str) -> str:
    return " ".join(re.sub(r"[{}]|\\[A-Za-z]+\s?|\\.", "", value).split())


def _short_authors(names: Sequence[str]) -> str:
    surnames = [_surname(name) for name in names if name.strip()]
    if len(surnames) > 2:
        return f"{surnames[0]} et al."
    return " and ".join(surnames)


def _surname(name: str) -> str:
    name = name.strip()
    return name.split(",")[0].strip() if "," in name else (name.split() or [""])[-1]


# --- entries for works found


def entry_of(work: Json, taken: Collection[str]) -> Entry:
    """Return the entry of a found work, its key made from author, year and title."""
    authors = [clean(str(name)) for name in work.get("authors") or [] if str(name).strip()]
    title = clean(str(work.get("title") or "")).strip().rstrip(".")
    year = str(work.get("year") or "")
    key = _key(authors, year, title, taken)
    fields: list[tuple[str, str]] = [
        ("title", "{" + escape(title) + "}"),
        ("author", " and ".join(_bibtex_name(name) for name in authors) or "{Unknown}"),
        ("year", escape(year)),
    ]
    venue = str(work.get("venue") or "").strip()
    if venue:
        fields.append(("journal", escape(venue)))
    for name in ("doi", "url"):
        value = str(work.get(name) or "").strip()
        start = "" if name == "doi" else "https?://"
        if re.fullmatch(rf"{start}[\w./:()<>;?=&%~+-]+", value):
            fields.append((name, escape(value) if name == "doi" else _address(value)))
    kind = "article" if venue else "misc"
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields if value)
    return Entry(
        key=key,
        bibtex=f"@{kind}{{{key},\n{lines}}}\n",
        title=title,
        authors=_short_authors(authors),
        year=year,
    )


def _address(value: str) -> str:
    return re.sub(r"([%#&])", r"\\\1", value)


def _bibtex_name(name: str) -> str:
    if "," in name:
        return escape(name)
    *given, surname = name.split() or ["Unknown"]
    return escape(f"{surname}, {' '.join(given)}" if given else surname)


def _key(authors: Sequence[str], year: str, title: str, taken: Collection[str]) -> str:
    words = [w for w in re.findall(r"[a-z0-9]+", _ascii(title).lower()) if w not in DULL]
    surname = re.sub(r"[^a-z]", "", _ascii(_surname(authors[0])).lower()) if authors else ""
    base = f"{surname or 'anonymous'}{re.sub(r'[^0-9]', '', year)[:4]}{words[0] if words else ''}"
    key, number = base, 1
    while key in taken:
        number += 1
        key = f"{base}{number}"
    return key


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def same_work(title: str, entries: Iterable[Entry]) -> Entry | None:
    """Return the entry whose title is `title` but for case and punctuation."""
    wanted = re.sub(r"\W+", "", title.lower())
    return next(
        (e for e in entries if wanted and re.sub(r"\W+", "", e.title.lower()) == wanted), None
    )


def write_bibliography(entries: Mapping[str, Entry], cited: Collection[str]) -> str:
    """Return references.bib: the cited entries, in the order of their keys."""
    return "\n".join(entries[key].bibtex for key in sorted(cited) if key in entries)
