"""Charts as inline SVG text: lines, points, bars. Colors are CSS classes, so they follow the theme.

Every label is escaped here, and nothing in the markup can run: no script, no style, no link but the
ones that are passed in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

WIDTH, HEIGHT = 480, 270
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 12, 42
COLORS = 8
MAX_POINTS = 400
LARGEST = 1e300
"""Beyond it the range of an axis would overflow."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One mark: a value with its place, its error and what a pointer shows."""

    x: float
    y: float
    label: str = ""
    error: float | None = None
    href: str = ""
    small: bool = False
    """One seed, beside the mean it belongs to."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one color; joined when `line` is set."""

    name: str
    points: Sequence[Point]
    line: bool = True
    color: int | None = None
    dashed: bool = False


@dataclass(frozen=True)
class Scale:
    """Maps values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def plot(
    series: Sequence[Series],
    *,
    title: str,
    x: str = "",
    y: str = "",
    ticks: Sequence[str] | None = None,
) -> Markup:
    """Return a chart of the series; `ticks` names the whole numbers of the x axis."""
    shown = [one for one in map(finite, series) if one.points]
    if not shown:
        return Markup('<p class="empty">{}: nothing to draw</p>').format(title)
    points = [point for one in shown for point in one.points]
    xs = [point.x for point in points]
    ys = [point.y + sign * (point.error or 0.0) for point in points for sign in (-1, 1)]
    across = Scale(*padded(xs, 0.5 if ticks else None), LEFT, WIDTH - RIGHT)
    up = Scale(*padded(ys), HEIGHT - BOTTOM, TOP)
    body = [axes(across, up, x, y, ticks)]
    for number, one in enumerate(shown):
        color = one.color if one.color is not None else number
        body.append(draw_series(one, across, up, color % COLORS))
    return frame(title, Markup("").join(body), legend(shown))


def bars(values: Sequence[tuple[str, float]], *, title: str, x: str = "", y: str = "") -> Markup:
    """Return a histogram; each value has the label of its bin."""
    good = [(label, value) for label, value in values if drawable(value)]
    if not good:
        return Markup('<p class="empty">{}: nothing to draw</p>').format(title)
    up = Scale(*padded([0.0, *(value for _, value in good)]), HEIGHT - BOTTOM, TOP)
    across = Scale(-0.5, len(good) - 0.5, LEFT, WIDTH - RIGHT)
    width = max(1.0, (WIDTH - LEFT - RIGHT) / len(good) * 0.86)
    every = max(1, len(good) // 8)
    names = [label if place % every == 0 else "" for place, (label, _) in enumerate(good)]
    body = [axes(across, up, x, y, names)]
    for place, (label, value) in enumerate(good):
        top, bottom = sorted((up(value), up(0.0)))
        body.append(
            Markup(
                '<rect class="b0" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                "<title>{}: {}</title></rect>"
            ).format(
                across(place) - width / 2, top, width, max(0.5, bottom - top), label, tick(value)
            )
        )
    return frame(title, Markup("").join(body), Markup(""))


# --- parts ---------------------------------------------------------------------------------------


def frame(title: str, body: Markup, keys: Markup) -> Markup:
    """Return the figure around a drawing."""
    return Markup(
        '<figure class="chart"><figcaption>{}</figcaption>'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>{}</figure>'
    ).format(title, WIDTH, HEIGHT, title, body, keys)


def legend(series: Sequence[Series]) -> Markup:
    """Return the names of the series beside their colors."""
    if len(series) < 2:
        return Markup("")
    items = [
        Markup(
            '<li><svg viewBox="0 0 12 12" aria-hidden="true">'
            '<circle class="p{}" cx="6" cy="6" r="5"/></svg>{}</li>'
        ).format((one.color if one.color is not None else number) % COLORS, one.name)
        for number, one in enumerate(series)
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def draw_series(one: Series, across: Scale, up: Scale, color: int) -> Markup:
    """Return the line and the marks of one series."""
    parts = []
    means = [point for point in one.points if not point.small]
    if one.line and len(means) > 1:
        path = " ".join(f"{across(point.x):.1f},{up(point.y):.1f}" for point in means)
        dashes = Markup(' stroke-dasharray="5 4"') if one.dashed else Markup("")
        parts.append(Markup('<polyline class="l{}" points="{}"{}/>').format(color, path, dashes))
    crowded = one.line and len(one.points) > 24
    for point in one.points if not crowded else ():
        parts.append(draw_point(point, across, up, color, one.name))
    return Markup("").join(parts)


def draw_point(point: Point, across: Scale, up: Scale, color: int, name: str) -> Markup:
    """Return one mark with its error bar and its words."""
    x, y = across(point.x), up(point.y)
    words = point.label or f"{name}: {tick(point.y)}"
    mark = Markup(
        '<circle class="{}{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>'
    ).format("s" if point.small else "p", color, x, y, 2.6 if point.small else 4.5, words)
    if point.error:
        mark = (
            Markup('<line class="e{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
                color, x, x, up(point.y - point.error), up(point.y + point.error)
            )
            + mark
        )
    return Markup('<a href="{}">{}</a>').format(point.href, mark) if point.href else mark


def axes(across: Scale, up: Scale, x: str, y: str, ticks: Sequence[str] | None) -> Markup:
    """Return grid, ticks and axis names."""
    parts = []
    for value in nice_ticks(up.low, up.high):
        parts.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(
                LEFT, WIDTH - RIGHT, up(value), up(value), LEFT - 6, up(value) + 4, tick(value)
            )
        )
    if ticks is None:
        marks = [(value, tick(value)) for value in nice_ticks(across.low, across.high)]
    else:
        marks = [(float(place), name) for place, name in enumerate(ticks) if name]
    for value, name in thinned(marks):
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                across(value), HEIGHT - BOTTOM + 16, name[:16]
            )
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            middle, HEIGHT - 5, x[:70]
        )
    )
    parts.append(
        Markup(
            '<text class="axis" transform="translate(13 {}) rotate(-90)" text-anchor="middle">'
            "{}</text>"
        ).format((TOP + HEIGHT - BOTTOM) / 2, y[:40])
    )
    return Markup("").join(parts)


def thinned(marks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return as many ticks as there is room for."""
    longest = max((len(name[:16]) for _, name in marks), default=1)
    room = max(2, int((WIDTH - LEFT - RIGHT) / (longest * 7 + 12)))
    every = max(1, math.ceil(len(marks) / room))
    return marks[::every]


def finite(one: Series) -> Series:
    """Return a series without values that no axis can hold, thinned to what a screen shows."""
    good = [
        point if point.error is None or drawable(point.error) else replace(point, error=None)
        for point in one.points
        if drawable(point.x) and drawable(point.y)
    ]
    every = math.ceil(len(good) / MAX_POINTS) or 1
    kept = good[::every]
    if good and kept[-1] is not good[-1]:
        kept.append(good[-1])
    return replace(one, points=kept)


def drawable(value: float) -> bool:
    """Tell whether an axis can hold a value."""
    return math.isfinite(value) and abs(value) <= LARGEST


def padded(values: Sequence[float], margin: float | None = None) -> tuple[float, float]:
    """Return the range of an axis around the values."""
    low, high = min(values), max(values)
    if margin is None:
        margin = (high - low) * 0.06
    size = max(abs(low), abs(high))
    if high - low + 2 * margin <= max(size * 1e-9, 1e-280):
        margin = max(size * 0.05, 1e-12) if size else 0.5
    return low - margin, high + margin


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round values inside a range."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = next(power * unit for unit in (1, 2, 2.5, 5, 10) if power * unit >= rough * 0.999)
    first = math.ceil(low / step)
    return [place * step for place in range(first, first + 12) if place * step <= high]


def tick(value: float) -> str:
    """Return a number short enough for an axis."""
    if value == 0 or abs(value) < 1e-300:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    return f"{value:.2e}".replace("e-0", "e-").replace("e+0", "e")


def shortened(text: str, most: int) -> str:
    """Return a text that fits, its end replaced by an ellipsis where it does not."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def tree(rows: Sequence[tuple[str, Sequence[tuple[str, str, str]]]], *, title: str) -> Markup:
    """Return a tree: each row is a name with its nodes (label, link, kind)."""
    step, wide = 26, 40
    longest = max((len(nodes) for _, nodes in rows), default=0)
    width, height = 240 + wide * (longest + 1), step * len(rows) + 10
    parts = []
    for row, (name, nodes) in enumerate(rows):
        y = 18 + row * step
        end = 240 + wide * max(0, len(nodes) - 1)
        parts.append(
            Markup(
                '<text class="name" x="4" y="{}">{}</text>'
                '<line class="grid" x1="226" x2="{}" y1="{}" y2="{}"/>'
            ).format(y + 4, shortened(name, 34), end, y, y)
        )
        for place, (label, href, kind) in enumerate(nodes):
            mark = Markup(
                '<circle class="n-{}" cx="{}" cy="{}" r="7"><title>{}</title></circle>'
            ).format(escape(kind), 240 + wide * place, y, label)
            parts.append(Markup('<a href="{}">{}</a>').format(href, mark) if href else mark)
    # Drawn at its own size: a thousand ideas scroll instead of shrinking.
    return Markup(
        '<figure class="chart tree"><figcaption>{}</figcaption><div class="scroll" tabindex="0">'
        '<svg width="{}" height="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        "</div></figure>"
    ).format(title, width, height, width, height, title, Markup("").join(parts))
