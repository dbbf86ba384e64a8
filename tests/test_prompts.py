from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from ai_scientist.errors import SetupError
from ai_scientist.inputs.prompts import Prompts, clip, number

FOLDER = Path(__file__).parents[1] / "prompts"


@pytest.mark.parametrize("name", Prompts(FOLDER).names())
def test_a_prompt_declares_what_it_uses(name: str) -> None:
    """The first line of every prompt declares its variables, and it reads no other."""
    prompts = Prompts(FOLDER)
    declared = prompts.declared(name)
    assert declared is not None, f"{name} lacks its first line {{# variables: … #}}"
    assert prompts.used(name) <= declared


def test_an_undefined_variable_is_an_error(tmp_path: Path) -> None:
    """A prompt never goes out with a hole in it."""
    (tmp_path / "ask.j2").write_text("{# variables: who #}\nHello {{ who }}.\n")
    prompts = Prompts(tmp_path)
    assert prompts("ask.j2", who="you & <me>") == "Hello you & <me>.\n"
    with pytest.raises(UndefinedError):
        prompts("ask.j2")
    assert prompts.declared("ask.j2") == frozenset({"who"})


def test_blocks_leave_no_blank_lines(tmp_path: Path) -> None:
    """Control lines vanish whole; the filters work inside a prompt."""
    source = "{# variables: values #}\n{% for v in values %}\n  {% if v %}\n{{ v | number }}\n"
    (tmp_path / "list.j2").write_text(source + "  {% endif %}\n{% endfor %}\nend\n")
    assert Prompts(tmp_path)("list.j2", values=[1.23456, 2.0]) == "1.235\n2.000\nend\n"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A checkout without prompts/ is a set-up error, not a traceback."""
    with pytest.raises(SetupError, match="prompts"):
        Prompts(tmp_path / "prompts")


def test_clip_keeps_both_ends() -> None:
    """A long log keeps its head and its tail and says how much is missing."""
    text = "a" * 500 + "b" * 500
    short = clip(text, 90)
    assert short.startswith("a" * 30 + "\n")
    assert short.endswith("\n" + "b" * 60)
    assert "910 characters" in short
    assert clip("short", 90) == "short"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (232.12254333496094, "232.1"),
        (0.000123456, "0.0001235"),
        (18432.4, "18432"),
        (18432, "18432"),
        (1.5e-9, "1.500e-09"),
        (-0.5, "-0.5000"),
        (0.0, "0"),
        (float("nan"), "nan"),
        (None, "not run"),
        (True, "True"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    """Four significant digits, whole numbers in full, nothing invented for what has no number."""
    assert number(value) == text
