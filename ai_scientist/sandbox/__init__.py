"""Where code that a model wrote runs: tiers of isolation, and what may be taken out of them."""
