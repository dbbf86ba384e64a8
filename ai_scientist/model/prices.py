"""What a call costs, from prices.toml; a model that is not listed has no price, which is not 0."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PRICE_TABLE = Path(__file__).with_name("prices.toml")
_DATE = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")


@dataclass(frozen=True, kw_only=True)
class Price:
    """USD per million tokens."""

    input: float
    output: float
    cached: float | None = None
    """For prompt tokens read from the vendor's cache; None: as any other."""
    written: float | None = None
    """For prompt tokens put into the cache; None: as any other."""

    def cost_usd(
        self,
        *,
        prompt_tokens: int,
        completion_tokens: int,
        cached_tokens: int = 0,
        written_tokens: int = 0,
    ) -> float:
        """Return what a call costs; cached and written tokens are parts of `prompt_tokens`."""
        plain = prompt_tokens - cached_tokens - written_tokens
        cached = self.input if self.cached is None else self.cached
        written = self.input if self.written is None else self.written
        prompt = plain * self.input + cached_tokens * cached + written_tokens * written
        return (prompt + completion_tokens * self.output) / 1e6


FREE = Price(input=0.0, output=0.0)


def load_prices(path: Path = PRICE_TABLE) -> Mapping[str, Price]:
    """Return the price of each model named in the table."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))["models"]
    return {name: Price(**price) for name, price in table.items()}


def find_price(model: str, prices: Mapping[str, Price]) -> Price | None:
    """Return the price of `model`, by its exact name, else by its name without a date."""
    return prices.get(model) or prices.get(_DATE.sub("", model))
