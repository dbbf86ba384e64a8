"""What the coder says of the idea's mechanisms is looked up in the code."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_scientist.judging.mechanism import check_mechanisms

SOURCE = "import math\n\ndef loss(x):\n    penalty = 0.1 * x\n    return x + penalty\n"


def report(*rows: dict[str, object]) -> str:
    """A reply that reports `rows`."""
    return f"Here it is.\n```json\n{json.dumps(list(rows))}\n```\n"


def test_quoted_lines_that_stand_and_ran_pass() -> None:
    """A mechanism whose lines are in the code and ran is verified."""
    row = {"mechanism": "penalty", "present": True, "code": ["penalty = 0.1 * x"]}
    assert [check.verdict for check in check_mechanisms(report(row), SOURCE, {3, 4, 5})] == [
        "passed"
    ]


def test_a_line_that_stands_twice_ran_where_it_ran_once() -> None:
    """A quoted line that two functions hold is verified when either of them ran it."""
    source = SOURCE + "\ndef spare(x):\n    penalty = 0.1 * x\n    return penalty\n"
    row = {"mechanism": "penalty", "present": True, "code": ["penalty = 0.1 * x"]}
    (once,) = check_mechanisms(report(row), source, {3, 4, 5})
    (never,) = check_mechanisms(report(row), source, {3, 5})
    assert (once.verdict, never.verdict) == ("passed", "finding")
    assert "line 4, 8 (`penalty = 0.1 * x`) never ran" in never.detail


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"present": False}, "no longer has it"),
        ({"present": True, "code": []}, "no line of code"),
        ({"present": True, "code": ["penalty = 0.2 * x"]}, "does not stand in the code"),
        ({"present": True, "code": ["return x + penalty"]}, "never ran"),
    ],
)
def test_what_is_gone_invented_or_dead_is_a_finding(row: dict[str, object], words: str) -> None:
    """The finding names the mechanism and what is wrong with it."""
    (check,) = check_mechanisms(report({"mechanism": "penalty", **row}), SOURCE, {3, 4})
    assert check.verdict == "finding"
    assert check.detail.startswith("mechanism_missing: penalty")
    assert words in check.detail


@given(st.text() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_a_reply_that_is_no_report_verifies_nothing(reply: str) -> None:
    """Whatever comes back, there is a finding, and never a pass."""
    assert [check.verdict for check in check_mechanisms(reply, SOURCE, None)] == ["finding"]
