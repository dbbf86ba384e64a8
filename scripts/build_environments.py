"""Build the experiment environments of the named shipped templates, or of all, ahead of use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ai_scientist.errors import ScientistError
from ai_scientist.machine.environments import default_cache_root, environment_for


def main(names: list[str]) -> int:
    """Build what is missing; silent when nothing is."""
    templates = Path(__file__).resolve().parent.parent / "templates"
    for lock in sorted(templates.glob("*/requirements.lock")):
        if names and lock.parent.name not in names:
            continue
        try:
            environment_for(lock, default_cache_root(os.environ), report=print)
        except ScientistError as error:
            print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
