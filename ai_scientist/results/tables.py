"""How a measured number is written, everywhere: notes, tables, LaTeX, review.

With a standard error the error decides the digits (two of its own); without one four significant
digits are shown, since a longer tail would suggest a precision that nobody measured.
"""

from __future__ import annotations

import math
from typing import Literal

MAX_DECIMALS = 8
Style = Literal["text", "latex"]


def format_number(value: float, error: float | None = None, *, style: Style = "text") -> str:
    """Write `value` with the digits that `error`, its standard error, allows."""
    if not math.isfinite(value):
        return "not a number"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    digits = 4
    if error is not None and math.isfinite(error) and error > 0:
        digits = min(8, max(2, magnitude - math.floor(math.log10(error)) + 2))
    if not -4 <= magnitude < 7:
        return _scientific(value, digits, style)
    if float(value).is_integer() and abs(value) < 1e7:
        return f"{int(value):,}"
    decimals = max(0, digits - 1 - magnitude)
    return f"{value:,.{decimals}f}"


def format_as_measured(value: float, error: float | None) -> str:
    """Write `value` with the decimals of the first two digits of `error`; without one, four digits.

    For values of different sizes that one error stands beside: 0.9124, 0.0031 ± 0.0012.
    """
    if error is None or not math.isfinite(error) or not math.isfinite(value) or error <= 0:
        return format_number(value)
    decimals = 1 - math.floor(math.log10(error))
    if decimals > MAX_DECIMALS:
        return format_number(value, error)
    return f"{round(value, decimals):,.{max(0, decimals)}f}"


def format_with_error(value: float, error: float | None, *, style: Style = "text") -> str:
    """Write `value ± error`, both with the same decimals; the value alone without an error."""
    shown = format_number(value, error, style=style)
    if error is None or error <= 0 or "e" in shown or "times" in shown:
        return shown
    decimals = len(shown.partition(".")[2])
    sign = r"~\ensuremath{\pm}~" if style == "latex" else " ± "
    return f"{shown}{sign}{error:,.{decimals}f}"


def format_percent(fraction: float, *, style: Style = "text") -> str:
    """Write a fraction as a percentage: 0.0412 -> 4.1%."""
    percent = fraction * 100
    decimals = 1 if abs(percent) >= 0.1 or percent == 0 else 3
    return f"{percent:,.{decimals}f}" + (r"\%" if style == "latex" else "%")


def _scientific(value: float, digits: int, style: Style) -> str:
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    if style == "latex":
        return rf"\ensuremath{{{mantissa}\times 10^{{{int(exponent)}}}}}"
    return f"{mantissa}e{int(exponent)}"
