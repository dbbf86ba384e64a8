"""Typed numbers: where they stand, what they say, and at which precision."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, InvalidOperation

SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
MINUS = "-−–"

NUMERAL = re.compile(
    r"(?P<sign>[+\-−–±]?)"
    r"(?P<digits>\d{1,3}(?:[,\u2009\u202f]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|(?<!\d)\.\d+)"
    r"(?:\s?[×·x⋅∗*]\s?10\s?(?:\^\s?\{?\(?(?P<power>[+\-−–]?\s?\d{1,3})\)?\}?|(?P<raised>⁻?[⁰¹²³⁴-⁹]+))"
    r"|[eE](?P<exponent>[+\-−]?\d{1,3})(?!\w|\.\d)"
    r"|(?<=\b10)\s?\^\s?\{?\(?(?P<bare>[+\-−–]?\d{1,3})\)?\}?)?"
)
CONCISE = re.compile(r"\((?P<error>\d{1,3})\)")
SUFFIX = re.compile(
    r"\s?(?P<unit>%|percent\b|percentage points?\b|pp\b|points?\b)"
    r"|(?P<letters>[A-Za-z_]+)|\s?(?:×|\bx\b)(?!\s?\d)"
)
INDEX = re.compile(r"_\W")
"""What follows is set low: `6.59_{\\pm 0.06}`."""
SCALES = {
    "k": Decimal(10) ** 3,
    "K": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "B": Decimal(10) ** 9,
}
DATE = re.compile(
    r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}/\d{1,2}/\d{4}\b|(?<![\w.])v?\d+(?:\.\d+){2,}\b"
    r"|\b\d{1,2}:\d{2}(?::\d{2})?\b"
    r"|\b(?:mail|letter|note|message|meeting|call|minutes|post|talk|draft)\s+(?:of|from|on|dated)\s+"
    r"\d{1,2}\.\d{1,2}\b"
)
UNITS = frozenset({"x", "X", "s", "ms", "h", "min", "GB", "MB", "nats", "pp"})
NAME_BEFORE = re.compile(r"(?:[A-Za-z_][\w.]*[-–_/.]|[\w.]|\d[./:-])\Z")
APPROXIMATE = re.compile(
    r"(?:~|≈|about|around|approximately|approx\.|roughly|nearly|almost|some|circa|ca\.)\s*\Z", re.I
)


@dataclass(frozen=True, kw_only=True)
class Numeral:
    """One typed number."""

    text: str
    start: int
    end: int
    value: Decimal
    quantum: Decimal
    """One unit of the last digit shown."""
    percent: bool = False
    factor: bool = False
    """Written as `1.5x` or `2 times`."""
    signed: bool = False
    spread: bool = False
    """Follows a plus-minus sign."""

    @property
    def integer(self) -> bool:
        """Whether no decimals are shown."""
        return self.quantum >= 1

    @property
    def digits(self) -> int:
        """Significant digits shown."""
        if not self.value:
            return 1
        return max(1, self.value.adjusted() - self.quantum.adjusted() + 1)

    def shows(self, value: float, scale: int = 1) -> bool:
        """Say whether `value * scale` is what this numeral shows, rounded to its last digit."""
        if not abs(value * scale - float(self.value)) <= float(self.quantum):
            return False
        try:
            exact = Decimal(repr(value)) * scale
            if not exact.is_finite() or abs(exact.adjusted() - self.value.adjusted()) > 2:
                return bool(exact == self.value)
            return any(
                exact.quantize(self.quantum, rounding=mode) == self.value
                for mode in (ROUND_HALF_UP, ROUND_HALF_EVEN)
            )
        except InvalidOperation:
            return False

    def cuts(self, value: float) -> bool:
        """Say whether this numeral is `value` cut off, not rounded, after at least four digits."""
        if self.digits < 4:
            return False
        try:
            exact = Decimal(repr(value))
            return exact.quantize(self.quantum, rounding=ROUND_DOWN) == self.value
        except InvalidOperation:
            return False


def find_numerals(text: str) -> Iterator[Numeral]:
    """Yield the numbers of `text`; digits that are part of a name, a version or a date are none."""
    end = 0
    dates = [match.span() for match in DATE.finditer(text)]
    for match in NUMERAL.finditer(text):
        first = match.start("digits")
        if first < end or any(a <= first < b for a, b in dates):
            continue
        found = _numeral(text, match)
        if found is not None:
            end = found.end
            yield found
            concise = CONCISE.match(text, end) if found.digits > 1 else None
            if concise:
                end = concise.end()
                yield _error(found, concise)


def _error(value: Numeral, match: re.Match[str]) -> Numeral:
    """Return the error of `12.31(4)` or `214(3)`, in units of the last digit shown."""
    return replace(
        value,
        text=match["error"],
        start=match.start("error"),
        end=match.end("error"),
        value=int(match["error"]) * value.quantum,
        signed=False,
        spread=True,
    )


def _numeral(text: str, match: re.Match[str]) -> Numeral | None:
    sign, start, end = match["sign"], match.start(), match.end()
    before = text[max(0, start - 40) : start]
    joined = before[-1:].isalnum() or before[-1:] in (")", "]", "_")
    if sign and joined and sign != "±":
        if sign in MINUS and before[-1:].isalpha():
            return None  # the 2 of gemma-2, the 1 of top-1
        sign = ""  # a range or a difference, such as 3-5
    elif not sign and _inside_a_name(before):
        return None
    start = start if sign else match.start("digits")
    digits = re.sub(r"[,\u2009\u202f]", "", match["digits"])
    power = _exponent(match)
    value = Decimal(digits).scaleb(power)
    quantum = Decimal(1).scaleb(power - len(digits.partition(".")[2]))
    suffix = None if INDEX.match(text, end) else SUFFIX.match(text, end)
    percent = factor = False
    if suffix:
        letters = suffix["letters"] or ""
        if letters and letters not in UNITS and letters not in SCALES:
            return None  # 2b, 3rd, 70M_params
        scale = SCALES.get(letters, Decimal(1))
        value, quantum, end = value * scale, quantum * scale, suffix.end()
        factor = letters in ("x", "X") or not (letters or suffix["unit"])
        percent = suffix["unit"] is not None and suffix["unit"] != "points"
    factor = factor or bool(re.match(r"\s?(?:times|fold|-fold)\b", text[end:]))
    if digits.endswith("0") and quantum >= 1 and APPROXIMATE.search(before):
        zeros = len(digits) - len(digits.rstrip("0"))
        quantum = quantum.scaleb(min(zeros, len(digits) - 2)) if len(digits) > 2 else quantum
    negative = bool(sign) and sign in MINUS
    return Numeral(
        text=text[start:end].lstrip("±").strip(),
        start=start,
        end=end,
        value=-value if negative else value,
        quantum=quantum,
        percent=percent,
        factor=factor,
        signed=bool(sign) and sign != "±",
        spread=sign == "±" or bool(re.search(r"(?:±|\+/-|\+-)\s?\Z", before)),
    )


def _inside_a_name(before: str) -> bool:
    if not NAME_BEFORE.search(before[-12:]):
        return False
    after_number = re.search(r"\d[-–/]\Z", before)
    return not after_number or bool(re.search(r"[A-Za-z_]\w*[-–/]\Z", before))


def _exponent(match: re.Match[str]) -> int:
    raw = match["power"] or match["raised"] or match["exponent"] or match["bare"] or "0"
    return (-1 if match["bare"] else 0) + int(
        re.sub(r"\s", "", raw.translate(SUPERSCRIPTS)).replace("−", "-").replace("–", "-")
    )
