"""The plain types everything is made of."""

from __future__ import annotations

from typing import Any, Literal

Json = dict[str, Any]
Scalar = float | int | str | bool | None
Direction = Literal["increase", "decrease", "none"]
