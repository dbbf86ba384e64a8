"""What a model or its code may leave behind, in forms nobody thought of."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ai_scientist.coder.aider_coder import AiderCoder
from ai_scientist.errors import ResultError
from ai_scientist.inputs.prompts import Prompts
from ai_scientist.records import Edit, EditStatus, MetricSpec
from ai_scientist.results.files import (
    results_from_json,
    results_to_final_info,
    results_to_json,
)
from ai_scientist.results.reading import read_results
from ai_scientist.testing import ScriptedModel
from tests.doors import PROJECT

# --- final_info.json ------------------------------------------------------------------------------

KEYS = st.sampled_from(
    ["means", "stderrs", "final_info", "final_info_dict", "config", "not run", "loss", "kl", "a/b"]
) | st.text(max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
SPECS = {"loss": MetricSpec(name="loss", required=True), "kl": MetricSpec(name="kl")}


def read(content: bytes, specs: dict[str, MetricSpec]) -> Any:
    """Read a file with that content; the sentence of the error where it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "final_info.json"
        path.write_bytes(content)
        try:
            return read_results(path, specs)
        except ResultError as error:
            return error.message


@given(st.dictionaries(KEYS, VALUES, max_size=4))
@example({"digits": {"means": {"loss": 1.0}, "stderrs": {"loss": math.nan}}})
@example({"loss": 10**400, "kl": [1e308, 1e308]})
def test_any_json_is_results_or_a_sentence(content: dict[str, Any]) -> None:
    """Numbers that come through are finite and survive the journal; all else is told in words."""
    for specs in ({}, SPECS):
        results = read(json.dumps(content).encode(), specs)
        if isinstance(results, str):
            assert results.strip()
            assert len(results) < 1000
            continue
        assert all(math.isfinite(value) for value in results.metrics.values())
        stored = json.dumps(results_to_json(results), allow_nan=False)
        assert results_from_json(json.loads(stored)) == results
        if specs:
            assert any(path.split("/")[-1] == "loss" for path in results.metrics)


@given(st.binary(max_size=60))
def test_any_bytes_are_results_or_a_sentence(content: bytes) -> None:
    """Also what is no JSON, and no text."""
    results = read(content, SPECS)
    assert results.strip() if isinstance(results, str) else "loss" in results.metrics


def test_a_file_cut_anywhere_is_refused() -> None:
    """A run that was killed while it wrote has no result, wherever the cut is."""
    whole = json.dumps({"digits": {"means": {"loss": 0.25, "kl": 1e-05}, "stderrs": {"loss": 0.1}}})
    assert not isinstance(read(whole.encode(), SPECS), str)
    for length in range(len(whole)):
        assert isinstance(read(whole[:length].encode(), SPECS), str), whole[:length]


NAMES = st.text(alphabet="ab _-/.", min_size=1, max_size=6)


@given(st.dictionaries(NAMES, st.floats(-1e9, 1e9), min_size=1, max_size=4))
@example({"train / loss": 0.5, "train": 1.0})
def test_combined_results_are_read_back(metrics: dict[str, float]) -> None:
    """The final_info.json that we write for several seeds reads as what was written."""
    results = read(json.dumps({"x": {"means": metrics}}).encode(), {})
    assume(not isinstance(results, str))
    again = read(json.dumps(results_to_final_info(results)).encode(), {})
    assert again.metrics == results.metrics


# --- the coder's replies --------------------------------------------------------------------------

PROMPTS = Prompts(PROJECT / "prompts")
CODE = 'RATE = 0.1\n\n\ndef train(rate):\n    loss = 1.0 / rate\n    return loss\n\n\nprint("é")\n'
PLOT = "import json\n\nprint(json.dumps({}))\n"
FILES = {"experiment.py": CODE, "plot.py": PLOT}
NAMED = st.sampled_from(
    [
        "experiment.py",
        "plot.py",
        "./experiment.py",
        "../experiment.py",
        "/etc/passwd",
        "new.py",
        "data.py",
        ".git/config",
        "../../../../var/evil.py",
        "experiment.py/../x.py",
        "**plot.py**",
    ]
)
PIECES = st.one_of(
    NAMED,
    st.sampled_from(["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "```python", "```", "````"]),
    st.sampled_from([*CODE.splitlines(), *PLOT.splitlines()]),
    st.sampled_from(["ALL_COMPLETED", "RUN: a title", "SMOKE-INVARIANT: why", "# file: plot.py"]),
    st.sampled_from(["```bash\ntouch SHELL_RAN\n```", "", "    ", "\t", "\x00", "\r", "\u2028"]),
    st.text(max_size=10),
)
BROKEN_BLOCKS = st.builds(
    lambda name, search, replace: (
        f"{name}\n```python\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n```\n"
    ),
    NAMED,
    st.sampled_from([*CODE.splitlines(), *PLOT.splitlines(), "", "no such line"]),
    st.text(max_size=20),
)
REPLIES = st.lists(PIECES | BROKEN_BLOCKS, max_size=12).map("\n".join)


@contextmanager
def nothing_written() -> Iterator[None]:
    """Stand in an empty folder below another, and see that both stay empty."""
    with tempfile.TemporaryDirectory() as place:
        here = Path(place) / "inner"
        here.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(here)
            yield
        assert [path.name for path in Path(place).rglob("*")] == ["inner"]


def edit(*replies: str, files: dict[str, str] | None = None) -> Edit:
    """Let the coder work through replies, the last one for ever."""
    model = ScriptedModel([*replies, *[replies[-1]] * 3])
    return AiderCoder(model, PROMPTS).edit(
        step="run_1/edit_1", purpose="edit", instruction="Change it.", files=files or FILES
    )


@settings(max_examples=400)
@given(st.lists(REPLIES, min_size=1, max_size=3))
def test_any_reply_is_an_edit_of_the_given_files_or_none(replies: list[str]) -> None:
    """No reply raises, writes a file, or changes a file that was not given."""
    with nothing_written():
        made = edit(*replies)
    assert set(made.files) <= set(FILES)
    assert all(text != FILES[name] for name, text in made.files.items())
    assert bool(made.files) == (made.status is EditStatus.APPLIED)
    assert made.status is not EditStatus.NOT_APPLIED or made.problem.strip()


PLAIN = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30
)
REPLACEMENTS = st.lists(PLAIN, min_size=1, max_size=4)


@settings(max_examples=400)
@given(st.data(), REPLACEMENTS)
def test_a_block_that_fits_is_applied_to_the_letter(data: st.DataObject, new: list[str]) -> None:
    """Whole lines that stand once in the file are replaced by exactly the lines of the reply."""
    lines = CODE.splitlines()
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first, len(lines) - 1))
    search = "\n".join(lines[first : last + 1])
    assume(search.strip() and CODE.count(f"{search}\n") == 1)
    replace = "\n".join(new)
    text = "\n".join([*lines[:first], *new, *lines[last + 1 :]]) + "\n"
    block = (
        f"experiment.py\n```python\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE"
    )
    with nothing_written():
        made = edit(f"So.\n\n{block}\n```\n")
    assert made.files == ({} if text == CODE else {"experiment.py": text})
