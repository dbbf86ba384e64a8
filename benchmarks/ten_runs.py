"""Ten runs of one idea, with and without the shared caches, and how much of them is repeated work.

    prepare    what the template's prepare scripts make once for all runs of all ideas
    run        one run of the untouched experiment; each of the ten has another seed
    repeated   what comes out the same in each of them: imports, and reading what was prepared.
               SAEs and their measurement are each run's own.
    least      a run that trains almost nothing, and measures one SAE: all that a run cannot do
               without. Counted as repeated it bounds the share from above, since what it measures
               of its SAE is its own.

Measured are an idea that asks for no evaluation of sae_bench, as the first one that is shipped, and
one that asks for those of EVALUATIONS, as the hierarchical one: its runs import sae_bench too.

Without the caches each run would prepare as well; that is computed from what was measured. Each
share is given by the clock, and by the seconds that processors worked: what others do on the
machine moves the first, and imports weigh more there, since a run computes in two processes.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.form import Row, finish, parser
from benchmarks.template import TEMPLATE, template_python

ALMOST_NOTHING = {
    "repeats": 1,
    "frontier_repeats": 0,
    "resamplings": 0,
    "auxiliary_coefficient": 0.0,
}
STEPS = 20
EVALUATIONS = ("absorption", "hierarchy")
SAME_EACH_TIME = """
import os, pathlib, experiment, latent_picture, torch
import benchmarks
from bench import importing
from data import load_data
from own_losses import own_losses
torch.set_num_threads(1)
data = load_data(pathlib.Path(os.environ["AI_SCIENTIST_DATA"]))
own_losses(data)
for name in benchmarks.wanted_benchmarks():
    with importing():
        benchmarks.EVALUATIONS[name].prepare(data, benchmarks.settings_for(data)[name])
experiment.lifetime.leave()
"""


class Taken(NamedTuple):
    """What a script took."""

    clock_s: float
    processor_s: float


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("--profile", choices=("smoke", "small"), default="small")
    arguments.add_argument("--runs", type=int, default=10)
    options = arguments.parse_args()
    python = template_python()
    place = f"{options.profile}, {options.runs} runs"
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        data = folder / "data"
        prepare = ("prepare.py", f"--profile={options.profile}", f"--out_dir={data}")
        prepared = taken_by(python, prepare)
        given = {"AI_SCIENTIST_PROFILE": options.profile, "AI_SCIENTIST_DATA": str(data)}
        made = {"python": python, "given": given, "count": options.runs}
        rows = measure(place, prepared=prepared, out=folder / "out", **made)
        if options.profile == "small":
            given["AI_SCIENTIST_EVALUATIONS"] = " ".join(EVALUATIONS)
            added = ("prepare_evaluations.py", "--profile=small", f"--out_dir={data}")
            prepared = Taken(*map(sum, zip(prepared, taken_by(python, added, given), strict=True)))
            place += f" with {' and '.join(EVALUATIONS)}"
            rows += measure(place, prepared=prepared, out=folder / "measured", **made)
    return finish(rows, options)


def measure(
    place: str, *, python: Path, given: dict[str, str], prepared: Taken, out: Path, count: int
) -> list[Row]:
    """Make the runs, and what is compared with them; return the rows."""
    command = ("experiment.py", f"--out_dir={out}")
    runs = [
        taken_by(python, command, given | {"AI_SCIENTIST_SEED": str(seed)}) for seed in range(count)
    ]
    little = ALMOST_NOTHING | {"training_tokens": STEPS * config_of(out)["batch_size"]}
    overrides = {"AI_SCIENTIST_OVERRIDES": json.dumps(little)}
    least = [taken_by(python, command, given | overrides) for _ in range(3)]
    same = [taken_by(python, ("-c", SAME_EACH_TIME), given) for _ in range(3)]
    return describe(place, prepared, runs, least, same)


def describe(
    place: str,
    prepared: Taken,
    runs: Sequence[Taken],
    least: Sequence[Taken],
    same: Sequence[Taken],
) -> list[Row]:
    """Return the rows: times by the clock, and the shares of repeated work."""
    every = [prepared, *runs]
    total = Taken(sum(one.clock_s for one in every), sum(one.processor_s for one in every))
    others = len(runs) - 1

    def row(what: str, taken: Taken, note: str) -> Row:
        note = f"{taken.processor_s:.3g} s of processors{note}"
        return Row(f"{place}: {what}", taken.clock_s, "s", note=note)

    def share(what: str, part: Taken, goal: float | None, note: str) -> list[Row]:
        worked = 100 * others * part.processor_s / total.processor_s
        took = 100 * others * part.clock_s / total.clock_s
        return [
            Row(f"{place}: {what}", worked, "%", goal=goal, note=f"of processors{note}"),
            Row(f"{place}: {what}, by the clock", took, "%", goal=goal, note=note.strip(", ")),
        ]

    goal = 5.0 if place.startswith("small") else None
    without = total.clock_s + others * prepared.clock_s
    return [
        row("prepare", prepared, ""),
        row("one run", median(runs), "; median"),
        row("with the shared caches", total, ""),
        Row(f"{place}: without", without, "s", note="computed"),
        row("the least run", median(least), "; 20 steps, one SAE; median of three"),
        row("the same in each run", median(same), "; median of three"),
        *share("repeated work", median(same), goal, ""),
        *share("repeated work at most", median(least), None, ", were all of the least run"),
    ]


def median(taken: Sequence[Taken]) -> Taken:
    """Return the medians of both times."""
    return Taken(*map(statistics.median, zip(*taken, strict=True)))


def config_of(out: Path) -> dict[str, int]:
    """Return the configuration that a run was made with."""
    sections = json.loads((out / "final_info.json").read_text()).values()
    found: dict[str, int] = next(part["config"] for part in sections if "config" in part)
    return found


def taken_by(python: Path, command: tuple[str, ...], given: dict[str, str] | None = None) -> Taken:
    """Run a script of the template and return what it took, its own processes included."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [str(python), *command],
        cwd=TEMPLATE,
        env={"PATH": os.defpath, "OMP_NUM_THREADS": "2", "PYTHONDONTWRITEBYTECODE": "1"}
        | (given or {}),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    clock_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(clock_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


if __name__ == "__main__":
    sys.exit(main())
