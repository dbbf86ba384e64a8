"""The plain types everything is made of."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

Json = dict[str, Any]
Scalar = float | int | str | bool | None
Direction = Literal["increase", "decrease", "none"]


def parse_json(text: str | bytes) -> Any:
    """Parse JSON. Raises ValueError for what is none; so it does for too deep a nesting."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def number(value: object) -> float | None:
    """Return a finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None


def printable(line: str) -> str:
    """Return a line without control characters, which a terminal would obey."""
    return "".join(sign if sign.isprintable() else " " for sign in line)
