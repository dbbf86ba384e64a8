"""The batch's door with the launcher's double behind it: PROJECT RUNS_DIR, then the options."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ai_scientist.cli import guard, launch_parser
from ai_scientist.inputs.settings import Places
from ai_scientist.queue import run_batch

if __name__ == "__main__":
    project, runs = map(Path, sys.argv[1:3])
    options = launch_parser().parse_args([*sys.argv[3:], "--runs-dir", str(runs)])
    places = Places(project=project, runs=runs, cache=runs / "cache")
    sys.exit(guard(lambda: run_batch(options, places, default_workers=os.cpu_count() or 1)))
