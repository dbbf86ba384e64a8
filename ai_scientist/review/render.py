"""Jinja2 over the shipped page templates, with the few words they share."""

from __future__ import annotations

import functools
import hashlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_scientist.review.diffs import read_patch
from ai_scientist.review.files import RAW
from ai_scientist.review.links import ServedLinks, slug
from ai_scientist.review.measures import percent
from ai_scientist.review.prose import render_prose

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
STATIC = HERE / "static"


@functools.cache
def environment() -> Environment:
    """Return the environment of the pages: everything is escaped, nothing may be undefined."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "age": age,
        "clock": clock,
        "duration": duration,
        "usd": usd,
        "percent": percent,
        "size": size,
        "prose": render_prose,
        "verdict_class": verdict_class,
    }
    made.tests["raw"] = lambda name: Path(name).suffix.lower() in RAW
    made.globals |= {
        "slug": slug,
        "asset": asset,
        "read_patch": read_patch,
        "links_to": ServedLinks,
    }
    return made


def page(name: str, **values: Any) -> str:
    """Return a page of the review; halves of surrogate pairs, which no file holds, become `?`."""
    text = environment().get_template(name).render(**values)
    return text.encode("utf-8", errors="replace").decode("utf-8")


@functools.cache
def asset(name: str) -> str:
    """Return the address of a shipped file; it changes with its content."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:10]
    return f"/static/{name}?{digest}"


def duration(seconds: float) -> str:
    """Return a time span in words."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def age(since: float) -> str:
    """Return how long ago a UNIX time was."""
    return duration(max(1.0, time.time() - since))


def clock(since: float) -> str:
    """Return a UNIX time as UTC."""
    return datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M UTC") if since else ""


def usd(value: float | None) -> str:
    """Return an amount of money; an unknown one is said to be unknown."""
    return (
        "unknown" if value is None else f"${value:.2f}" if value >= 0.01 or not value else "<$0.01"
    )


def size(count: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def verdict_class(verdict: str) -> str:
    """Return the CSS class of a verdict or a state."""
    words = {
        "confirmed": "good", "done": "good", "passed": "good", "supported": "good",
        "refuted": "bad", "failed": "bad", "refused": "bad", "crashed": "bad", "unsupported": "bad",
        "running": "live", "queued": "live", "waiting": "wait", "cancelled": "wait",
        "interrupted": "wait", "finding": "wait",
        "undecided within noise": "wait", "ambiguous": "wait",
    }  # fmt: skip
    return words.get(str(verdict), "plain")
