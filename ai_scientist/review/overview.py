"""The list of ideas as a person wants it: sorted by a column, narrowed by words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_scientist.review.summaries import Summary


def sort_summaries(rows: list[Summary], key: str, descending: bool) -> list[Summary]:
    """Return the rows by one column; those without a value stand last either way."""
    columns: Mapping[str, Any] = {
        "state": lambda row: row.state,
        "idea": lambda row: row.title.lower(),
        "verdict": lambda row: row.verdict or None,
        "delta": lambda row: row.best.share if row.best else None,
        "runs": lambda row: row.valid,
        "findings": lambda row: row.findings,
        "cost": lambda row: row.cost_usd,
        "gpu": lambda row: row.gpu_hours,
        "age": lambda row: row.age_s,
    }
    value = columns.get(key, columns["age"])
    with_value = [row for row in rows if value(row) is not None]
    without = [row for row in rows if value(row) is None]
    return sorted(with_value, key=value, reverse=descending) + without


def matches(row: Summary, words: str, state: str, verdict: str) -> bool:
    """Tell whether a row fits the filter above the list."""
    text = f"{row.name} {row.title} {row.idea} {row.reason}".lower()
    return (
        all(word in text for word in words.lower().split())
        and (not state or row.state == state)
        and (not verdict or verdict in row.verdicts)
    )
