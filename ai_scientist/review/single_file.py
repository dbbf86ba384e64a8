"""One HTML file that holds a run folder, or many: to send, to archive, to open without a server.

Text is kept whole where it is small; logs become head and tail, pictures are recompressed, prompts
stay in calls.jsonl. Nothing in the file asks for anything outside it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ai_scientist.errors import InputError
from ai_scientist.review.files import PICTURES, Shelf, open_shelf
from ai_scientist.review.latents import read_latents
from ai_scientist.review.links import ExportLinks
from ai_scientist.review.pages import idea_page, run_page
from ai_scientist.review.render import STATIC, page
from ai_scientist.review.statements import claims_page
from ai_scientist.review.story import Stories, Story, read_call
from ai_scientist.review.summaries import Summaries
from ai_scientist.run_folder.journal import write_atomically

LOG_LINES = 60
PICTURE_PIXELS = 1_200
PICTURES_BYTES = 2_000_000
PDF_BYTES = 900_000
REPLY_CHARACTERS = 6_000
MAX_IDEAS = 40


@dataclass(frozen=True, kw_only=True)
class Part:
    """One idea in the exported file."""

    title: str
    prefix: str
    sections: tuple[Markup, ...]


def write_export(folder: Path, file: Path) -> int:
    """Write the file and return the exit code. Raises InputError when there is no run folder."""
    shelf = open_shelf(folder)
    summaries = Summaries(shelf)
    names = shelf.names()
    if not names:
        raise InputError(f"{folder} holds no run folder", hint="name a run folder, or runs/")
    stories = Stories(shelf, summaries, keep=1)
    found = [stories.one(shelf.only)] if shelf.only else stories.several(names[:MAX_IDEAS])
    # Of those that cannot be opened, the table says what the list says.
    parts = [export_part(shelf, story, place) for place, story in enumerate(found)]
    left = [name for name in names if all(name != story.folder.name for story in found)]
    css, script = (STATIC / "review.css").read_text(), (STATIC / "review.js").read_text()
    content = page(
        "export.html",
        exported=True,
        css=Markup(css),  # our own files: they are not to be escaped
        js=Markup(script),
        policy=export_policy(css, script),
        parts=parts,
        rows=[*(story.summary for story in found), *map(summaries.one, left)],
    )
    write_atomically(file, content)
    print(
        f"{file}: {len(content.encode()) / 1e6:.2f} MB, {len(parts)} of {len(names)} ideas in full"
    )
    return 0


def export_policy(css: str, script: str) -> str:
    """Return the file's policy: its own style and script, by their hashes, and nothing else."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; script-src 'sha256-{digest(script)}'; "
        f"style-src 'sha256-{digest(css)}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def export_part(shelf: Shelf, story: Story, place: int) -> Part:
    """Return one idea, rendered."""
    prefix = f"i{place}-"
    links = ExportLinks(prefix, pack_pictures(shelf, story), kept_files(story))
    shared: dict[str, Any] = {"anchor": prefix, "links": links, "story": story}
    sections = [page("story.html", **(shared | idea_page(story, links)))]
    for name in story.study.runs:
        sections.append(
            page("run_body.html", **(shared | run_page(story, name, links, window=LOG_LINES)))
        )
        report = read_latents(story.folder, name)
        if report:
            sections.append(page("latents_body.html", **shared, run=name, report=report))
    sections.append(page("claims_body.html", **(shared | claims_page(story, links))))
    calls = [(call, read_call(story.folder, call)[1][:REPLY_CHARACTERS]) for call in story.calls]
    sections.append(page("export_calls.html", **shared, calls=calls))
    # Markup is right here: each section is a rendered template, escaped on its way.
    head = page("export_head.html", **shared)
    return Part(
        title=story.study.idea.title or story.folder.name,
        prefix=prefix,
        sections=tuple(Markup(one) for one in (head, *sections)),
    )


def kept_files(story: Story) -> frozenset[str]:
    """Return the logs that the file holds, which links may point to."""
    names = [
        path.relative_to(story.folder).as_posix()
        for run in story.study.runs
        for path in (story.folder / run).glob("*.log")
    ]
    return frozenset(names)


def pack_pictures(shelf: Shelf, story: Story) -> dict[str, str]:
    """Return the pictures and the PDF as data: addresses, as far as they stay small together."""
    packed: dict[str, str] = {}
    left = PICTURES_BYTES
    for name in story.pictures:
        try:
            kind, data = shrink(shelf.file(story.folder, name))
        except InputError:
            continue
        if data and len(data) <= left:
            left -= len(data)
            packed[name] = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    if story.pdf and (story.folder / story.pdf).stat().st_size <= PDF_BYTES:
        data = shelf.file(story.folder, story.pdf).read_bytes()
        packed[story.pdf] = f"data:application/pdf;base64,{base64.b64encode(data).decode()}"
    return packed


def shrink(path: Path) -> tuple[str, bytes]:
    """Return a picture's type and bytes, smaller than they were; nothing for what is no picture."""
    from PIL import Image

    kind = PICTURES[path.suffix.lower()]
    data = path.read_bytes() if path.stat().st_size < 50_000_000 else b""
    if kind == "image/svg+xml":
        return kind, data if len(data) < 300_000 else b""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as picture:
                picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
                small = io.BytesIO()
                picture.convert("RGBA").save(small, "WEBP", quality=82)
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombWarning,
        Image.DecompressionBombError,
    ):
        return kind, b""
    return ("image/webp", small.getvalue()) if small.tell() < len(data) else (kind, data)
