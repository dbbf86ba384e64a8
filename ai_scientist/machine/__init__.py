"""The machine: what there is, what runs on it, who holds which part of it."""
