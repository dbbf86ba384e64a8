"""The model client: a call is journaled, priced and capped; a recording answers by default."""
