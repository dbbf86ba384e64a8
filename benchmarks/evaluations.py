"""All offline evaluations of one SAE, end to end, with what they set up and import themselves.

    python -m benchmarks.evaluations

One run in `small` that trains one SAE and measures it by every evaluation of the profile, on data
beside which no set-up was kept: each makes its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ai_scientist.inputs.templates import load_template
from benchmarks.form import Row, finish, parser
from benchmarks.template import TEMPLATE, template_python

GOAL_S = 180.0
ONE_SAE = '{"repeats": 1, "frontier_repeats": 0}'


def main() -> int:
    """Measure, report, and return the exit code."""
    options = parser(__doc__).parse_args()
    names = load_template(TEMPLATE).profiles["small"].evaluations
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        call("prepare.py", "--profile=small", f"--out_dir={folder / 'data'}")
        started = time.perf_counter()
        said = call(
            "experiment.py",
            f"--out_dir={folder / 'run'}",
            AI_SCIENTIST_PROFILE="small",
            AI_SCIENTIST_DATA=str(folder / "data"),
            AI_SCIENTIST_EVALUATIONS=" ".join(names),
            AI_SCIENTIST_OVERRIDES=ONE_SAE,
        )
        whole_s = time.perf_counter() - started
    took_s = {name: float(s) for name, s in re.findall(r"evaluation (\w+): ([\d.]+) s", said)}
    rows = [Row(name, took_s.get(name), "s", note="" if name in took_s else "not run")
            for name in names]  # fmt: skip
    rows.append(Row("all, and the training", whole_s, "s", goal=GOAL_S, note="one process"))
    return finish(rows, options)


def call(script: str, *arguments: str, **given: str) -> str:
    """Run a script of the template on one core, and return what it printed."""
    fixed = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(template_python()), script, *arguments]
    done = subprocess.run(
        command, cwd=TEMPLATE, env=fixed | given, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
