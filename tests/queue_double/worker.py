"""What a Slurm job runs, with the launcher's double: RUNS_DIR. One idea of its queue."""

from __future__ import annotations

import sys
from pathlib import Path

from ai_scientist.cli import guard, main_parser
from ai_scientist.inputs.settings import Places
from ai_scientist.queue import add_queue_arguments, queue_command

if __name__ == "__main__":
    runs = Path(sys.argv[1])
    parser = type(main_parser())()
    add_queue_arguments(parser)
    options = parser.parse_args(["--runs-dir", str(runs), "work", "--one"])
    places = Places(project=Path(__file__).resolve().parent, runs=runs, cache=runs / "cache")
    sys.exit(guard(lambda: queue_command(options, places)))
