"""Does a run still contain what the idea is about? The model points at the code, we verify it.

    idea's Technical_Details + code -> model: each mechanism, present or not, with its lines quoted
    quoted lines -> do they stand in the code? did they run in the rehearsal? -> findings on the run

The model's word alone decides nothing in the idea's favor; its admission that a mechanism is gone
does.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ai_scientist.records import Check

GATE = "mechanism"
JSON_BLOCK = re.compile(r"```(?:json)?\s*\n(.*?)\n\s*```", re.DOTALL)
MAX_MECHANISMS = 12


class Mechanism(BaseModel):
    """One part of the idea, as the model reports it."""

    model_config = ConfigDict(extra="ignore")
    mechanism: str = Field(min_length=1, max_length=300)
    present: bool
    code: list[str] = []
    """Lines of the code that implement it, quoted exactly."""


_REPORT = TypeAdapter(list[Mechanism])


def check_mechanisms(reply: str, source: str, lines_ran: Collection[int] | None) -> list[Check]:
    """Return one check per mechanism of a reply; a reply that is no report is a finding itself.

    `lines_ran` are the lines of `source` that the rehearsal reached, None when nobody knows.
    """
    try:
        block = JSON_BLOCK.search(reply)
        report = _REPORT.validate_python(json.loads(block[1] if block else reply))
    except (ValueError, RecursionError, ValidationError):
        detail = "the coder's report on the idea's mechanisms cannot be read, so none is verified"
        return [Check(gate=GATE, verdict="finding", detail=detail)]
    if not report:
        detail = "the coder names no mechanism of the idea in this code"
        return [Check(gate=GATE, verdict="finding", detail=detail)]
    return [_check(one, source, lines_ran) for one in report[:MAX_MECHANISMS]]


def _check(one: Mechanism, source: str, lines_ran: Collection[int] | None) -> Check:
    problems = list(_problems(one, source, lines_ran))
    if problems:
        detail = f"mechanism_missing: {one.mechanism}: {'; '.join(problems)}"
        return Check(gate=GATE, verdict="finding", detail=detail)
    return Check(gate=GATE, verdict="passed", detail=one.mechanism)


def _problems(one: Mechanism, source: str, lines_ran: Collection[int] | None) -> Iterator[str]:
    if not one.present:
        yield "the coder says that this code no longer has it"
        return
    places: dict[str, list[int]] = defaultdict(list)
    for number, text in enumerate(source.splitlines(), 1):
        places[text.strip()].append(number)
    quoted = [line.strip() for block in one.code for line in block.splitlines() if line.strip()]
    if not quoted:
        yield "no line of code is named for it"
    for line in quoted:
        if line not in places:
            yield f"`{line[:100]}` does not stand in the code"
        elif lines_ran is not None and _runs(line) and not set(places[line]) & set(lines_ran):
            numbers = ", ".join(map(str, places[line][:4]))
            yield f"line {numbers} (`{line[:100]}`) never ran"


def _runs(line: str) -> bool:
    """Tell whether a line can show up as run: a closing bracket or a continued text cannot."""
    return bool(re.match(r"[A-Za-z_@]", line)) and not line.startswith(
        ("else:", "try:", "finally:")
    )
