"""For who writes a template: check one, make a new one, measure a baseline."""
