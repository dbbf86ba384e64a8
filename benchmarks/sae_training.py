"""How fast SAEs are trained: our step beside the usual ones and the arithmetic floor.

    usual     dense float32, Adam as torch has it by default, its loss read at each step
    autocast  the same under bfloat16 autocast
    ours      the template's step: bfloat16 on a GPU, float32 on a CPU; with, without ortho_pairs;
              compiled, and recorded on a GPU, as long trainings are there
    floor     the products and Adam's memory traffic alone, at this machine's own measured speed

All in one process, taking turns; the fastest turn counts. The large shapes need a GPU.
"""

from __future__ import annotations

import sys

from ai_scientist.machine.hardware import describe_hardware
from benchmarks.form import Row, finish, parser
from benchmarks.template import printed_by

GPU_SHAPES = ((2304, 2304, 120), (2304, 16384, 64), (2304, 18432, 320), (2304, 65536, 320))
CPU_SHAPES = ((96, 160, 2, 512), (192, 1536, 16, 256))
WRITTEN, COMPILED = "ours", "ours compiled"
GOAL_SHAPE = (2304, 16384, 64)


def main() -> int:
    """Measure, report, and return the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("--turns", type=int, default=5, help="turns of each variant")
    options = arguments.parse_args()
    on_gpu = bool(describe_hardware().get("gpu"))
    shapes = [(*shape, 2048) for shape in GPU_SHAPES] if on_gpu else list(CPU_SHAPES)
    rows = []
    for shape, seconds in zip(shapes, measure(shapes, options.turns), strict=True):
        rows += describe(shape, seconds, on_gpu)
    if not on_gpu:
        for d, latents, k in GPU_SHAPES:
            place = f"d={d} F={latents} k={k} B=2048"
            rows.append(Row(place, None, note="no GPU on this machine"))
    return finish(rows, options)


def measure(shapes: list[tuple[int, ...]], turns: int) -> list[dict[str, float]]:
    """Return seconds per step of all variants at each shape, measured in the template's python."""
    named = [dict(zip(("d", "F", "k", "B"), shape, strict=True)) for shape in shapes]
    measured: list[dict[str, float]] = printed_by(
        f"from training_steps import main; main({named!r}, 10, {turns})"
    )
    return measured


def describe(shape: tuple[int, ...], seconds: dict[str, float], on_gpu: bool) -> list[Row]:
    """Return the rows of one shape; only the GPU's shape of the goal has goals.

    Compared is what a long training takes: the compiled step on a GPU, the written one on a CPU.
    """
    d, latents, k, tokens = shape
    place = f"d={d} F={latents} k={k} B={tokens}"
    judged = on_gpu and shape[:3] == GOAL_SHAPE
    compiling = seconds.pop("compiling")
    saved = seconds[WRITTEN] - seconds[COMPILED]
    paid = f"paid after {compiling / saved:,.0f} steps" if saved > 0 else "never paid"
    rows = [
        Row(f"{place}: {name}", tokens / taken, "tokens/s", note=f"{1000 * taken:.3g} ms a step")
        for name, taken in seconds.items()
    ]
    name = COMPILED if on_gpu else WRITTEN
    own = seconds[name]
    goals: tuple[float | None, float | None] = (2.0, 2.0) if judged else (None, None)
    return [
        *rows,
        Row(f"{place}: faster than usual", seconds["usual"] / own, note=name),
        Row(
            f"{place}: faster than autocast",
            seconds["autocast"] / own,
            goal=goals[0],
            bound="at least",
            note=name,
        ),
        Row(f"{place}: faster by compiling", seconds[WRITTEN] / seconds[COMPILED]),
        Row(f"{place}: compiling", compiling, "s", note=paid),
        Row(f"{place}: times the floor", own / seconds["floor"], goal=goals[1], note=name),
    ]


if __name__ == "__main__":
    sys.exit(main())
