"""Ten runs of one idea, with and without the shared caches, and how much of them is repeated work.

    prepare    what the template's prepare script makes once for all runs of all ideas
    run        one run of the untouched experiment; each of the ten has another seed
    repeated   what comes out the same in each of them: imports, and reading what was prepared.
               SAEs and their measurement are each run's own.
    least      a run that trains almost nothing, and measures one SAE: all that a run cannot do
               without. Counted as repeated it bounds the share from above, since what it measures
               of its SAE is its own.

Without the caches each run would prepare as well; that is computed from what was measured. Times
are those of the clock; a busy machine stretches all of them, and shares less.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ai_scientist.machine.environments import default_cache_root, environment_for
from benchmarks.form import Row, finish, parser

PROJECT = Path(__file__).resolve().parent.parent
TEMPLATE = PROJECT / "templates" / "sae"
ALMOST_NOTHING = {
    "repeats": 1,
    "frontier_repeats": 0,
    "resamplings": 0,
    "auxiliary_coefficient": 0.0,
}
STEPS = 20
SAME_EACH_TIME = """
import os, pathlib, torch, experiment, latent_picture
from data import load_data
from own_losses import own_losses
torch.set_num_threads(1)
own_losses(load_data(pathlib.Path(os.environ["AI_SCIENTIST_DATA"])))
"""


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("--profile", choices=("smoke", "small"), default="small")
    arguments.add_argument("--runs", type=int, default=10)
    options = arguments.parse_args()
    python = environment_for(
        TEMPLATE / "requirements.lock", default_cache_root(os.environ), report=print
    ).python
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        data, out = folder / "data", folder / "out"
        prepare = ("prepare.py", f"--profile={options.profile}", f"--out_dir={data}")
        prepare_s = seconds_of(python, prepare)
        given = {"AI_SCIENTIST_PROFILE": options.profile, "AI_SCIENTIST_DATA": str(data)}
        command = ("experiment.py", f"--out_dir={out}")
        runs_s = [
            seconds_of(python, command, given | {"AI_SCIENTIST_SEED": str(seed)})
            for seed in range(options.runs)
        ]
        config = config_of(out)
        little = ALMOST_NOTHING | {"training_tokens": STEPS * config["batch_size"]}
        overrides = {"AI_SCIENTIST_OVERRIDES": json.dumps(little)}
        least = [seconds_of(python, command, given | overrides) for _ in range(3)]
        same = [seconds_of(python, ("-c", SAME_EACH_TIME), given) for _ in range(3)]
    total = prepare_s + sum(runs_s)
    repeated_s, least_s = statistics.median(same), statistics.median(least)
    share, bound = (100 * (options.runs - 1) * part / total for part in (repeated_s, least_s))
    place = f"{options.profile}, {options.runs} runs"
    goal = 5.0 if options.profile == "small" else None
    rows = [
        Row(f"{place}: prepare", prepare_s, "s"),
        Row(f"{place}: one run", statistics.median(runs_s), "s", note="median"),
        Row(f"{place}: with the shared caches", total, "s"),
        Row(f"{place}: without", total + (options.runs - 1) * prepare_s, "s", note="computed"),
        Row(f"{place}: the least run", least_s, "s", note="20 steps, one SAE; median of three"),
        Row(f"{place}: the same in each run", repeated_s, "s", note="median of three"),
        Row(f"{place}: repeated work", share, "%", goal=goal),
        Row(f"{place}: repeated work at most", bound, "%", note="were all of the least run"),
    ]
    return finish(rows, options)


def config_of(out: Path) -> dict[str, int]:
    """Return the configuration that a run was made with."""
    sections = json.loads((out / "final_info.json").read_text()).values()
    found: dict[str, int] = next(part["config"] for part in sections if "config" in part)
    return found


def seconds_of(
    python: Path, command: tuple[str, ...], given: dict[str, str] | None = None
) -> float:
    """Run a script of the template and return its wall time."""
    started = time.perf_counter()
    subprocess.run(
        [str(python), *command],
        cwd=TEMPLATE,
        env={"PATH": os.defpath, "OMP_NUM_THREADS": "2", "PYTHONDONTWRITEBYTECODE": "1"}
        | (given or {}),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
