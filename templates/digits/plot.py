"""Draw what the runs measured, from every run_<number>/ in this folder, in numeric order.

Run as `python plot.py`; writes test_metrics.png and training_loss.png.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

# What each run is, in a few words. A run without a label appears under its folder's name.
labels = {
    "run_0": "Baseline",
}

METRICS = {
    "test_accuracy": "Test accuracy (share of images)",
    "test_loss": "Test loss (nats per image)",
}


def read_runs() -> dict[str, dict[str, Any]]:
    """Return what final_info.json says of each run's digits, run_2 before run_10."""
    files = [
        path for path in Path().glob("run_*/final_info.json") if path.parent.name[4:].isdigit()
    ]
    files.sort(key=lambda path: int(path.parent.name[4:]))
    return {path.parent.name: json.loads(path.read_text())["digits"] for path in files}


def draw_metrics(runs: dict[str, dict[str, Any]]) -> None:
    """Draw each run's mean with its standard error, one panel per metric."""
    names = [labels.get(run, run) for run in runs]
    height = 1.4 + 0.4 * len(runs)
    figure, panels = plt.subplots(1, len(METRICS), figsize=(9, height), sharey=True)
    for panel, (metric, title) in zip(panels, METRICS.items(), strict=True):
        means = [info["means"][metric] for info in runs.values()]
        errors = [info.get("stderrs", {}).get(metric, 0.0) for info in runs.values()]
        rows = range(len(runs))
        panel.errorbar(means, rows, xerr=errors, fmt="o", capsize=3)
        panel.axvline(means[0], color="gray", linewidth=1, linestyle=":")
        panel.set_xlabel(title)
        panel.set_yticks(rows, names)
        panel.grid(axis="x", alpha=0.3)
    figure.suptitle("Mean and standard error; dotted: the first run", fontsize="medium")
    panels[0].set_ylim(len(runs) - 0.5, -0.5)  # the first run on top; the panels share the axis
    figure.tight_layout()
    figure.savefig("test_metrics.png", dpi=150)
    plt.close(figure)


def draw_training(runs: dict[str, dict[str, Any]]) -> None:
    """Draw the cross-entropy on the training images after each epoch, averaged over repeats."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    styles = ["-", "--", "-.", ":"]
    for number, run in enumerate(runs):
        by_epoch: dict[int, list[float]] = defaultdict(list)
        log = Path(run, "metrics.jsonl")
        for line in log.read_text().splitlines() if log.exists() else []:
            step = json.loads(line)
            by_epoch[step["epoch"]].append(step["train_loss"])
        losses = [sum(values) / len(values) for values in by_epoch.values()]
        style = styles[number // 10 % len(styles)]  # colors repeat after ten runs
        axes.plot(list(by_epoch), losses, style, label=labels.get(run, run))
    axes.set_yscale("log")
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Training loss (nats per image)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig("training_loss.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    found = read_runs()
    if not found:
        raise SystemExit("error: no run_<number>/final_info.json here; run experiment.py first")
    draw_metrics(found)
    draw_training(found)
