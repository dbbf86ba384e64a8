"""Idea files are checked at the door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_scientist.errors import InputError
from ai_scientist.inputs.ideas import find_idea, parse_idea, read_ideas

GOOD: dict[str, Any] = {"Name": "a_b", "Title": "A", "Experiment": "Do it.", "Other": [1, 2]}


def write(folder: Path, content: Any, name: str = "ideas.json") -> Path:
    """Write an idea file."""
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_list_of_ideas_is_read_and_every_key_is_kept(tmp_path: Path) -> None:
    """A file may hold a list, and keys we do not know stay as they are."""
    ideas = read_ideas(write(tmp_path, [GOOD, {**GOOD, "Name": "c"}]))
    assert [idea.name for idea in ideas] == ["a_b", "c"]
    assert ideas[0].given["Other"] == [1, 2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Name": "Not A Slug"}, ["idea 2", "`Name`", "[a-z0-9_]+", "Not A Slug"]),
        ({"Title": None}, ["idea 2", "`Title`", "null"]),
        ({"Novelty": 11}, ["`Novelty`", "less than or equal to 10", "11"]),
        ({"Hypotheses": [{"metric": "x", "direction": "up"}]}, ["`Hypotheses.0.direction`", "up"]),
        ({"Controls": [{"name": "c", "set": {}}]}, ["`Controls.0.set`"]),
        ({"Controls": [{"name": "c", "set": {"k": 1}}] * 2}, ["`Controls`", "`c` stands twice"]),
        ({"Controls": [{"name": "c" * 99, "set": {"k": 1}}]}, ["`Controls.0.name`", "60"]),
        ({"Guards": [{"metric": "x", "direction": "increase", "limit": -1}]}, ["`Guards.0.limit`"]),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, change: dict[str, Any], words: list[str]) -> None:
    """The message names file, index and key, what was expected and what was found."""
    path = write(tmp_path, [GOOD, {**GOOD, **change}])
    with pytest.raises(InputError) as caught:
        read_ideas(path)
    assert str(path) in caught.value.message
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "line 1, column 2"),
        ("[]x", "line 1, column 3"),
        ("3", "expected an object"),
        ("[[]]", "idea 1: expected an object"),
        ("[" * 100_000, "no JSON text"),
        ("1" * 5000, "no JSON text"),
        ('{"Name": "a", "Title": "A", "Experiment": "x", "n": NaN}', "cannot be stored as JSON"),
        ('[{"Name": "a", "Title": "A", "Experiment": "x", "n": [1e999]}]', "idea 1: this cannot"),
    ],
)
def test_broken_json_is_told_by_its_place(tmp_path: Path, content: str, words: str) -> None:
    """A file that is no JSON, or no idea, gets one sentence with the place."""
    with pytest.raises(InputError, match=words):
        read_ideas(write(tmp_path, content))


def test_an_unreadable_file_is_bad_input(tmp_path: Path) -> None:
    """A missing file, and a file that is no text, are told in words."""
    with pytest.raises(InputError, match="cannot be read"):
        read_ideas(tmp_path / "none.json")
    path = tmp_path / "binary.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_ideas(path)


def test_an_unknown_name_gets_near_names(tmp_path: Path) -> None:
    """A misspelt idea is answered with those that are close."""
    write(tmp_path, {**GOOD, "Name": "ratio_ranked"}, "ratio_ranked.json")
    with pytest.raises(InputError) as caught:
        find_idea("ratio_rankd", tmp_path)
    assert "ratio_ranked" in caught.value.hint
    assert find_idea("ratio_ranked", tmp_path).title == "A"
    assert find_idea(str(tmp_path / "ratio_ranked.json"), tmp_path).title == "A"


def test_a_file_of_many_is_no_single_idea(tmp_path: Path) -> None:
    """--idea takes one idea; the hint names the option for many."""
    path = write(tmp_path, [GOOD, {**GOOD, "Name": "c"}])
    with pytest.raises(InputError) as caught:
        find_idea(str(path), tmp_path)
    assert "--ideas" in caught.value.hint
    assert find_idea("c", tmp_path).name == "c"


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "Hypotheses", "Varies", "Guards"]), json_values))
def test_no_content_gets_past_the_door_unchecked(entry: dict[str, Any]) -> None:
    """Whatever an idea holds, it is an Idea or an InputError."""
    try:
        assert parse_idea(entry, "here").title
    except InputError as error:
        assert error.message.startswith("here")  # noqa: PT017 - either outcome is right


def test_the_shipped_ideas_are_good() -> None:
    """Every idea of the repository passes the door."""
    files = sorted((Path(__file__).parents[1] / "ideas").glob("*.json"))
    assert "label_smoothing_digits" in [idea.name for path in files for idea in read_ideas(path)]
