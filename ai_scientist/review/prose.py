"""Text written by a model, made safe: Markdown to HTML, then cleaned of all that could run.

Marks (links to evidence) are set into the source as private characters, survive Markdown and the
cleaning as plain text, and become links last; what the model wrote can therefore never be one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

OPEN, MIDDLE, CLOSE = "\ue000", "\ue001", "\ue002"
MARK = re.compile(f"{OPEN}(\\d+){MIDDLE}([^{OPEN}{MIDDLE}{CLOSE}<>]*){CLOSE}")
TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li",
    "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
MAX_PROSE_CHARACTERS = 200_000


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A piece of a text that links to its evidence. Columns count characters from 0."""

    start: int
    end: int
    href: str
    css: str
    """supported, derived, configuration, ambiguous or unsupported."""
    title: str


def render_prose(text: str) -> Markup:
    """Return Markdown as clean HTML blocks."""
    return clean(_markdown().render(without_marks(text[:MAX_PROSE_CHARACTERS])))


def render_line(text: str, marks: Sequence[Mark] = ()) -> Markup:
    """Return one line's inline Markdown as clean HTML, its marks as links."""
    safe = clean(_markdown().renderInline(set_marks(text, marks)))
    return link_marks(safe, marks)


def render_plain(text: str, marks: Sequence[Mark] = ()) -> Markup:
    """Return one line as it is, its marks as links."""
    return link_marks(escape(set_marks(text, marks)), marks)


def clean(html: str) -> Markup:
    """Return HTML with only harmless tags, no attributes but http(s) links."""
    import nh3

    # Markup is right here: nh3 keeps nothing but the tags above.
    return Markup(
        nh3.clean(
            html,
            tags=TAGS,
            attributes={"a": {"href"}},
            url_schemes={"http", "https"},
            link_rel="noopener noreferrer nofollow",
        )
    )


def without_marks(text: str) -> str:
    """Return a text in which nothing can be taken for one of our marks."""
    return text.translate({ord(sign): None for sign in (OPEN, MIDDLE, CLOSE)})


def set_marks(text: str, marks: Sequence[Mark]) -> str:
    """Return the text with private characters around each mark; overlapping marks are dropped."""
    if any(sign in text for sign in (OPEN, MIDDLE, CLOSE)):
        return without_marks(text)
    pieces, at = [], 0
    for number, mark in sorted(enumerate(marks), key=lambda pair: pair[1].start):
        if mark.start < at or mark.end > len(text):
            continue
        pieces += [
            text[at : mark.start],
            f"{OPEN}{number}{MIDDLE}",
            text[mark.start : mark.end],
            CLOSE,
        ]
        at = mark.end
    return "".join([*pieces, text[at:]])


def link_marks(html: Markup, marks: Sequence[Mark]) -> Markup:
    """Return the HTML with its marks as links. Marks left elsewhere (in an address) vanish."""

    def link(found: re.Match[str]) -> str:
        number = int(found[1])
        inner = Markup(found[2])  # already escaped or cleaned above; it holds no tag
        if number >= len(marks):
            return inner
        mark = marks[number]
        if not mark.href:
            return Markup('<span class="num {}" title="{}">{}</span>').format(
                mark.css, mark.title, inner
            )
        return Markup('<a class="num {}" href="{}" title="{}">{}</a>').format(
            mark.css, mark.href, mark.title, inner
        )

    linked = MARK.sub(link, str(html))
    linked = re.sub(r"%EE%80%8[0-2](\d+(?=%EE%80%81))?", "", linked)
    return Markup(without_marks(linked))


@functools.cache
def _markdown() -> _Renderer:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(
        ["table", "strikethrough"]
    )
    parser.disable("image")
    return _Renderer(parser.render, parser.renderInline)


@dataclass(frozen=True)
class _Renderer:
    render: Callable[[str], str]
    renderInline: Callable[[str], str]
