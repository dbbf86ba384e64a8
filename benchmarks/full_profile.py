"""What the sae template's profile `full` takes of a GPU, on a random model of gemma-2-2b's shape.

    python -m benchmarks.full_profile [--tokens N] [--steps N] [--tiny]

The template's own code prepares a small store, trains the SAEs of one run for some hundred steps at
their full size, and measures them. Memory stands beside what templates/sae/footprint.py counts,
time is put to the whole profile by its numbers of tokens and steps. `--tiny` tries it on a CPU and
promises nothing. Without a GPU nothing is measured.
"""

from __future__ import annotations

import json
import sys
import tempfile

from ai_scientist.machine.hardware import describe_hardware
from benchmarks.form import Row, finish, parser
from benchmarks.template import printed_by

STORE_TOKENS, STEPS = 10_000_000, 24_414
"""What `full` prepares, and how many steps each of its SAEs takes."""


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("--tokens", type=int, default=600_000)
    arguments.add_argument("--steps", type=int, default=1200)
    arguments.add_argument("--tiny", action="store_true")
    options = arguments.parse_args()
    if not (options.tiny or describe_hardware().get("gpu")):
        return finish([Row("profile full", None, note="no GPU on this machine")], options)
    figures = measure(options.tokens, options.steps, tiny=options.tiny)
    print(json.dumps(figures, indent=1))
    return finish(describe(figures), options)


def measure(tokens: int, steps: int, *, tiny: bool) -> dict[str, float]:
    """Return what full_scale.py measured in the template's python."""
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, float] = printed_by(
            f"from full_scale import main; main({folder!r}, {tokens}, {steps}, tiny={tiny})"
        )
    return figures


def describe(figures: dict[str, float]) -> list[Row]:
    """Return the rows."""
    saes = int(figures["saes"])
    preparing_s = STORE_TOKENS / figures["preparing_tokens_per_s"]
    training_s = figures["compiling_s"] + STEPS * figures["step_s"]
    rows = [
        Row("prepare", figures["preparing_tokens_per_s"], "tokens/s"),
        Row("prepare: 10 M tokens", preparing_s, "s", note="the model's part, computed"),
        Row("train: one step", 1000 * figures["step_s"], "ms", note=f"of {saes} SAEs, with all"),
        Row("train: compiling", figures["compiling_s"], "s"),
        Row(f"train: {STEPS:,} steps", training_s, "s", note="computed"),
        Row("measure", figures["measuring_s"], "s", note=f"the screen of {saes} SAEs"),
    ]
    for name in ("preparing", "training", "measuring"):
        counted = figures[f"{name}_gb_counted"]
        note = f"the most of the GPU, without the store; counted: {counted:.3g} GB"
        rows.append(Row(f"memory, {name}", figures[f"{name}_gb"], "GB", note=note))
    return rows


if __name__ == "__main__":
    sys.exit(main())
