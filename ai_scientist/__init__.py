"""Take research ideas to run, checked and written-up experiments that a reader can believe."""

from __future__ import annotations

__version__ = "0.1.0"
