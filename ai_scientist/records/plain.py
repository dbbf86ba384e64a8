"""The plain types everything is made of."""

from __future__ import annotations

import json
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
