"""How well one model was measured: resampling of what an evaluation lists item by item.

    details[a]/rate  details[b]/rate  …     one record for each letter, question or document

The interval is about these items and this model. It is no training noise: n there is seeds, which
`statistics` compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ai_scientist.judging.statistics import bootstrap_interval
from ai_scientist.records import Results

ITEM = re.compile(r"(?P<list>[^\[\]]+)\[(?P<label>[^\]]+)\]/(?P<leaf>[^\[\]]+)")
LEAST_ITEMS = 5


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The mean of one number over the items of a list, and how firm it is."""

    place: str
    """Path of the list and name of the number, such as `absorption/details/rate`."""
    items: int
    mean: float
    interval: tuple[float, float]


def spreads(results: Results, against: Results | None = None) -> Iterator[Spread]:
    """Yield the spread of each number that is listed by item.

    With `against`, of its difference on the items that both list: results minus `against`.
    """
    other = _by_item(against) if against is not None else {}
    for place, values in _by_item(results).items():
        theirs = other.get(place, {}) if against is not None else dict.fromkeys(values, 0.0)
        numbers = [value - theirs[item] for item, value in values.items() if item in theirs]
        if len(numbers) >= LEAST_ITEMS and len(set(numbers)) > 1:
            yield Spread(
                place=place,
                items=len(numbers),
                mean=sum(numbers) / len(numbers),
                interval=bootstrap_interval(numbers),
            )


def _by_item(results: Results) -> Mapping[str, Mapping[str, float]]:
    """Return place -> item -> value; counts, which no mean describes, are left out."""
    found: dict[str, dict[str, float]] = {}
    for path, value in results.metrics.items():
        if match := ITEM.fullmatch(path):
            found.setdefault(f"{match['list']}/{match['leaf']}", {})[match["label"]] = value
    return {
        place: values
        for place, values in found.items()
        if set(values.values()) <= {0.0, 1.0} or not all(v.is_integer() for v in values.values())
    }
