"""Draw the default figures from stored results. Runs in the experiments' environment.

Usage: python default_plots.py plots.json OUT_DIR

Needs the standard library and matplotlib only. Beside each picture goes NAME.json with the runs it
shows, so that a reader of the paper can hold picture and claim together.
"""

from __future__ import annotations

import importlib
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

WIDTH_IN = 6.2
"""The width they are printed at, so that 8 points stay 8 points."""
COLORS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB")


def plain(text: str, width: int = 34, lines: int = 2) -> str:
    """Return `text` as a label: no markup of matplotlib's, on at most `lines` lines."""
    wrapped = textwrap.wrap(text, width) or [""]
    if len(wrapped) > lines:
        wrapped[lines - 1] = wrapped[lines - 1][: width - 1] + "…"
    return "\n".join(wrapped[:lines]).replace("$", r"\$")


def draw_metric(plot: dict[str, Any], out: Path, pyplot: Any) -> None:
    """One row per run or arm: mean as a bar's end, standard error, every seed as a point."""
    rows = plot["rows"]
    figure, axes = pyplot.subplots(figsize=(WIDTH_IN, 0.7 + 0.29 * len(rows)), layout="constrained")
    for place, row in enumerate(rows):
        color = COLORS[6] if row["baseline"] else COLORS[1] if row["arm"] else COLORS[0]
        axes.plot(row["mean"], place, marker="D", markersize=6, color=color, zorder=3)
        if row["stderr"] > 0:
            axes.errorbar(row["mean"], place, xerr=row["stderr"], color=color, capsize=3, zorder=2)
        seeds = row["seeds"]
        axes.plot(
            seeds,
            [place] * len(seeds),
            "o",
            markersize=3.5,
            mfc="none",
            color="black",
            alpha=0.6,
            zorder=4,
        )
    base = next((row["mean"] for row in rows if row["baseline"]), None)
    if base is not None:
        axes.axvline(base, color="grey", linewidth=0.8, linestyle="--", zorder=1)
    axes.set_yticks(range(len(rows)), [plain(row["label"]) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(plain(plot["axis"], 70, 1), fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, plot, out)


def draw_frontier(plot: dict[str, Any], out: Path, pyplot: Any) -> None:
    """Two metrics against each other: one color per run, a point per seed, the mean larger."""
    rows = plot["rows"]
    figure, axes = pyplot.subplots(figsize=(WIDTH_IN, 3.2), layout="constrained")
    marks = ("o", "s", "^", "D", "v", "P", "X")
    for number, row in enumerate(rows):
        color, mark = COLORS[number % len(COLORS)], marks[(number // len(COLORS)) % len(marks)]
        axes.plot(row["x_seeds"], row["y_seeds"], mark, markersize=4, alpha=0.5, color=color)
        axes.plot(
            [row["x"]],
            [row["y"]],
            mark,
            markersize=8,
            color=color,
            mec="black",
            mew=0.6,
            label=plain(row["label"], 28),
        )
    axes.set_xlabel(plain(plot["x_axis"], 60, 1), fontsize=9)
    axes.set_ylabel(plain(plot["y_axis"], 40, 1), fontsize=9)
    axes.locator_params(axis="x", nbins=6)
    axes.tick_params(labelsize=8)
    axes.grid(linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    save(figure, plot, out)


def save(figure: Any, plot: dict[str, Any], out: Path) -> None:
    """Write the picture and, beside it, the runs it shows."""
    figure.savefig(out / f"{plot['name']}.png", dpi=200)
    runs = list(dict.fromkeys(row["run"] for row in plot["rows"]))
    facts = {"runs": runs, "by": "code", "metrics": plot["metrics"]}
    (out / f"{plot['name']}.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def main(source: Path, out: Path) -> None:
    """Draw every plot that `source` describes into `out`."""
    importlib.import_module("matplotlib").use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")

    out.mkdir(parents=True, exist_ok=True)
    for plot in json.loads(source.read_text(encoding="utf-8")):
        if plot["kind"] == "metric":
            draw_metric(plot, out, pyplot)
        else:
            draw_frontier(plot, out, pyplot)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
