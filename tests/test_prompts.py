from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from jinja2.meta import find_undeclared_variables

from ai_scientist.errors import SetupError
from ai_scientist.inputs.prompts import Prompts, clip
from ai_scientist.records import Check, Results, Run

FOLDER = Path(__file__).parents[1] / "prompts"


DECLARATION = re.compile(r"\{#\s*variables:(?P<names>[^#]*)#\}")
NAMES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.j2"))


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_declares_what_it_uses(name: str) -> None:
    """The first line of every prompt declares its variables, and it reads no other."""
    source = (FOLDER / name).read_text()
    declared = DECLARATION.fullmatch(source.partition("\n")[0])
    assert declared, f"{name} lacks its first line {{# variables: … #}}"
    used = find_undeclared_variables(Prompts(FOLDER).environment.parse(source))
    assert used <= {part.strip() for part in declared["names"].split(",")}


def test_an_undefined_variable_is_an_error(tmp_path: Path) -> None:
    """A prompt never goes out with a hole in it."""
    (tmp_path / "ask.j2").write_text("{# variables: who #}\nHello {{ who }}.\n")
    prompts = Prompts(tmp_path)
    assert prompts("ask.j2", who="you & <me>") == "Hello you & <me>.\n"
    with pytest.raises(UndefinedError):
        prompts("ask.j2")


def test_blocks_leave_no_blank_lines(tmp_path: Path) -> None:
    """Control lines vanish whole; the filters work inside a prompt."""
    source = "{# variables: values #}\n{% for v in values %}\n  {% if v %}\n{{ v | clip(3) }}\n"
    (tmp_path / "list.j2").write_text(source + "  {% endif %}\n{% endfor %}\nend\n")
    assert Prompts(tmp_path)("list.j2", values=["a", "", "b"]) == "a\nb\nend\n"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A checkout without prompts/ is a set-up error, not a traceback."""
    with pytest.raises(SetupError, match="prompts"):
        Prompts(tmp_path / "prompts")


def test_what_an_experiment_says_makes_no_prompt_long() -> None:
    """A run that moves a thousand keys is told to the coder in a few."""
    moved = tuple(f"config/key_{number}" for number in range(1000))
    check = Check(gate="effect", verdict="finding", detail="x" * 100_000)
    run = Run(
        name="run_1",
        title="T",
        results=Results(metrics={}),
        confounded=moved,
        checks=(check,),
    )
    told = Prompts(FOLDER)(
        "experiment/ran.j2", outcome=run, idea=None, plan="", limits=None, progress=None
    )
    assert len(told) < 6000


def test_clip_keeps_both_ends() -> None:
    """A long log keeps its head and its tail and says how much is missing."""
    text = "a" * 500 + "b" * 500
    short = clip(text, 90)
    assert short.startswith("a" * 30 + "\n")
    assert short.endswith("\n" + "b" * 60)
    assert "910 characters" in short
    assert clip("short", 90) == "short"
