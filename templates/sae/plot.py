"""Draw what the runs measured, from every run_<number>/ in this folder, in numeric order.

Run as `python plot.py`; writes frontier.png, metrics.png and training.png. All seeds are points;
bars are standard errors over seeds.
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
    "log_selectivity": "Log-selectivity (higher is better)",
    "fvu": "Variance unexplained (lower is better)",
    "dead_share": "Dead latents (share)",
    "forget_loss_increase": "Forget loss increase (nats)",
    "retain_loss_increase": "Retain loss increase (nats)",
    "max_decoder_cosine": "Largest decoder cosine (mean)",
}


def read_runs() -> dict[str, dict[str, Any]]:
    """Return each run's metrics: name -> {mean, error, seeds}, run_2 before run_10."""
    files = [
        path for path in Path().glob("run_*/final_info.json") if path.parent.name[4:].isdigit()
    ]
    files.sort(key=lambda path: int(path.parent.name[4:]))
    return {path.parent.name: read_metrics(path) for path in files}


def read_metrics(path: Path) -> dict[str, Any]:
    """Return the metrics of all sections of one final_info.json by their own names."""
    metrics = {}
    for section in json.loads(path.read_text()).values():
        for name, mean in section.get("final_info", {}).items():
            metrics[name] = {
                "mean": mean,
                "error": section.get("stderr", {}).get(name, 0.0),
                "seeds": section.get("per_seed", {}).get(name, [mean]),
            }
    return metrics


def read_config(run: str) -> dict[str, Any]:
    """Return the configuration that a run was made with."""
    sections = json.loads(Path(run, "final_info.json").read_text()).values()
    return next(section["config"] for section in sections if "config" in section)


def color(number: int) -> str:
    """Return the color of the run at this place; colors repeat after ten."""
    return f"C{number % 10}"


def draw_frontier(runs: dict[str, dict[str, Any]]) -> None:
    """Draw fidelity against selectivity, and forgetting against what it costs; top left is good."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 5))
    axes = {
        panels[0]: ("fvu", "log_selectivity"),
        panels[1]: ("retain_loss_increase", "forget_loss_increase"),
    }
    for panel, (across, up) in axes.items():
        for number, (run, metrics) in enumerate(runs.items()):
            x, y = metrics[across], metrics[up]
            panel.scatter(x["seeds"], y["seeds"], s=14, alpha=0.4, color=color(number))
            panel.errorbar(
                x["mean"],
                y["mean"],
                xerr=x["error"],
                yerr=y["error"],
                fmt="os^Dv"[number // 10 % 5],
                capsize=3,
                color=color(number),
                label=labels.get(run, run),
            )
        panel.set_xlabel(METRICS[across])
        panel.set_ylabel(METRICS[up])
        panel.grid(alpha=0.3)
    panels[1].axvline(0.05, color="gray", linewidth=1, linestyle=":")  # the budget on validation
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize="small")
    rows = (len(runs) + 2) // 3
    figure.tight_layout(rect=(0, 0.04 + 0.045 * rows, 1, 1))
    figure.savefig("frontier.png", dpi=150)
    plt.close(figure)


def draw_metrics(runs: dict[str, dict[str, Any]]) -> None:
    """Draw each run's mean, standard error and seeds, one panel per metric."""
    names = [labels.get(run, run) for run in runs]
    height = 2 * (1.2 + 0.35 * len(runs))
    figure, panels = plt.subplots(2, 3, figsize=(12, height), sharey=True)
    for panel, (metric, title) in zip(panels.flat, METRICS.items(), strict=True):
        for row, metrics in enumerate(runs.values()):
            values = metrics[metric]
            seeds = values["seeds"]
            panel.scatter(seeds, [row] * len(seeds), s=14, alpha=0.4, color=color(row))
            panel.errorbar(
                values["mean"], row, xerr=values["error"], fmt="o", capsize=3, color=color(row)
            )
        first = next(iter(runs.values()))
        panel.axvline(first[metric]["mean"], color="gray", linewidth=1, linestyle=":")
        panel.set_xlabel(title)
        panel.set_yticks(range(len(runs)), names)
        panel.grid(axis="x", alpha=0.3)
    panels[0, 0].set_ylim(len(runs) - 0.5, -0.5)  # the first run on top; the panels share the axis
    figure.tight_layout()
    figure.savefig("metrics.png", dpi=150)
    plt.close(figure)


def draw_training(runs: dict[str, dict[str, Any]]) -> None:
    """Draw the reconstruction loss over the logged steps, averaged over seeds."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for number, run in enumerate(runs):
        lines = Path(run, "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line) for line in lines]
        k = read_config(run)["k"]
        by_step: dict[int, list[float]] = defaultdict(list)
        for step in sorted(steps, key=lambda step: step["step"]):
            if "loss_reconstruction" in step and step.get("k", k) == k:
                by_step[step["step"]].append(step["loss_reconstruction"])
        losses = [sum(values) / len(values) for values in by_step.values()]
        style = ["-", "--", "-.", ":"][number // 10 % 4]
        label = labels.get(run, run)
        axes.plot(list(by_step), losses, style, color=color(number), label=label, alpha=0.8)
    axes.set_yscale("log")
    axes.set_xlabel("Training step")
    axes.set_ylabel("Reconstruction loss (share of the batch)")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig("training.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    found = read_runs()
    if not found:
        raise SystemExit("error: no run_<number>/final_info.json here; run experiment.py first")
    draw_frontier(found)
    draw_metrics(found)
    draw_training(found)
