"""Measured values: read from whatever an experiment wrote, named, combined, and written as text."""
