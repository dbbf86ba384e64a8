#!/usr/bin/env python3
"""Run ideas end to end: edits, runs, notes, plots, a paper. See --help.

Starts under any Python 3: it hands over to the environment that `make` built beside it.
"""

from __future__ import annotations

import sys

from ai_scientist.__main__ import enter_environment

if __name__ == "__main__":
    enter_environment([__file__])
    from ai_scientist.cli import launch

    sys.exit(launch(sys.argv[1:]))
