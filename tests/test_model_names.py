"""Names of models: which provider, which key, which price."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_scientist.errors import InputError, SetupError
from ai_scientist.model.prices import find_price, load_prices
from tests.model_server import connect


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("claude-sonnet-4-5", "`anthropic/claude-sonnet-4-5`"),
        ("gpt-5", "`openai/gpt-5`"),
        ("antropic/claude-sonnet-4-5", "`anthropic/claude-sonnet-4-5`"),
        ("recorde", "`recorded`"),
        ("openai/", ""),
        ("", ""),
    ],
)
def test_a_bad_model_name(tmp_path: Path, name: str, near: str) -> None:
    """A name that fits no provider gets near names and the accepted forms."""
    with pytest.raises(InputError) as caught:
        connect(tmp_path, None, name, prices=None)
    assert f"`{name}`" in caught.value.message
    assert near in caught.value.hint
    assert "recorded:FILE" in caught.value.hint


def test_a_missing_key_or_wrong_address(tmp_path: Path) -> None:
    """Without a key nothing is started; a base URL must be one."""
    with pytest.raises(SetupError, match="no API key for anthropic") as caught:
        connect(tmp_path, None, "anthropic/claude-sonnet-4-5", keys={})
    assert "ANTHROPIC_API_KEY" in caught.value.hint
    with pytest.raises(InputError, match="no base URL"):
        connect(tmp_path, "localhost:8000", "llama")


@pytest.mark.parametrize(
    ("name", "input_usd"),
    [
        ("claude-opus-4-1-20250805", 15.0),
        ("gpt-4o-2024-11-20", 2.5),
        ("gpt-4o-2024-05-13", 5.0),
        ("gpt-99", None),
    ],
)
def test_prices(name: str, input_usd: float | None) -> None:
    """A price is found by exact name, then without the date; an unlisted name has none."""
    prices = load_prices()
    found = find_price(name, prices)
    assert (found and found.input) == input_usd
    assert all(0 < price.input <= price.output for price in prices.values())
