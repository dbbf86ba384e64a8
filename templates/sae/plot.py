"""Draw what the runs measured, from every run_<number>/ in this folder, in numeric order.

Run as `python plot.py`; writes frontier.png, metrics.png, training.png, where others ran
evaluations.png, evaluations_2.png …, and where there are references families.png. All seeds are
points; bars are standard errors over seeds. Control arms (run_N/arm_NAME) are hollow; references
(references/NAME.json) are gray and were no runs.
"""

from __future__ import annotations

import json
import textwrap
import tomllib
from collections import defaultdict
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

WIDTH_IN = 9.0  # a paper prints it at two thirds, where 8 points are still read easily
plt.rcParams.update({"font.size": 9, "axes.labelsize": 8.5, "legend.fontsize": 8})

# What each run is, in a few words. A run without a label appears under its folder's name.
labels = {
    "run_0": "Baseline",
}

METRICS = {
    "log_selectivity": "Log-selectivity (higher is better)",
    "fvu": "Variance unexplained (lower is better)",
    "l0": "L0 (active latents per token)",
    "dead_share": "Dead latents (share)",
    "forget_loss_increase": "Forget loss increase (nats)",
    "retain_loss_increase": "Retain loss increase (nats)",
    "max_decoder_cosine": "Largest decoder cosine (mean)",
}
OTHER_K = ("_at_half_k", "", "_at_double_k")
MATCHED, L0_TOLERANCE = "matched_l0", 0.1
PANELS = 12  # of one picture: more would not fit on a page

Metrics = dict[str, dict[str, Any]]


def read_runs() -> dict[str, Metrics]:
    """Return each run's metrics: name -> {mean, error, seeds}, run_2 before run_10."""
    files = [
        path for path in Path().glob("run_*/final_info.json") if path.parent.name[4:].isdigit()
    ]
    files.sort(key=lambda path: int(path.parent.name[4:]))
    return {path.parent.name: read_metrics(path) for path in files}


def read_arms(run: str) -> dict[str, Metrics]:
    """Return the metrics of a run's control arms by their names."""
    files = sorted(Path(run).glob("arm_*/final_info.json"))
    return {path.parent.name.removeprefix("arm_"): read_metrics(path) for path in files}


def read_references() -> dict[str, Metrics]:
    """Return the metrics of what was measured beside the runs, by a name that says how sparse."""
    references = {}
    for path in sorted(Path("references").glob("*.json")):
        config = json.loads(path.read_text()).get("reference", {}).get("config", {})
        sparsity = config.get("sparsity", "")
        name = path.stem if sparsity == "matched L0" else f"{path.stem}, {sparsity}"
        references[f"Reference: {name}"] = read_metrics(path)
    return references


def read_families() -> dict[str, Metrics]:
    """Return the references' metrics by what sae_bench calls their architecture, else by name."""
    families = {}
    for path in sorted(Path("references").glob("*.json")):
        config = json.loads(path.read_text()).get("reference", {}).get("config", {})
        family = config.get("family", "trained")
        name = {"relu": "standard", "trained": path.stem}.get(family, family)
        families[name] = read_metrics(path)
    return families


def read_metrics(path: Path) -> Metrics:
    """Return the metrics of the sections of one final_info.json by their own names."""
    metrics = {}
    for title, section in json.loads(path.read_text()).items():
        if title.startswith("reference"):
            continue
        for name, mean in section.get("final_info", {}).items():
            metrics[name] = {
                "mean": mean,
                "error": section.get("stderr", {}).get(name, 0.0),
                "seeds": section.get("per_seed", {}).get(name, [mean]),
            }
        if "matched_l0" in section.get("measured", {}):
            metrics[MATCHED] = {"mean": section["measured"]["matched_l0"]}
    return metrics


def read_config(run: str) -> dict[str, Any]:
    """Return the configuration that a run was made with."""
    sections = json.loads(Path(run, "final_info.json").read_text()).values()
    return next(section["config"] for section in sections if "config" in section)


def color(number: int) -> str:
    """Return the color of the run at this place; colors repeat after ten."""
    return f"C{number % 10}"


def draw_points(panel: Any, metrics: Metrics, axes: tuple[str, str], **style: Any) -> None:
    """Draw one arm: its seeds as points, its means at each k with errors, joined by a line."""
    label, hollow = style.pop("label"), style.pop("hollow", False)
    face = {"markerfacecolor": "none"} if hollow else {}
    names = [(axes[0] + at, axes[1] + at) for at in OTHER_K]
    known = [pair for pair in names if set(pair) <= set(metrics)]
    for across, up in known:
        panel.scatter(metrics[across]["seeds"], metrics[up]["seeds"], s=9, alpha=0.35, **style)
    x, y = ([metrics[pair[axis]] for pair in known] for axis in (0, 1))
    panel.errorbar(
        [one["mean"] for one in x],
        [one["mean"] for one in y],
        xerr=[one["error"] for one in x],
        yerr=[one["error"] for one in y],
        linewidth=1,
        capsize=2,
        markersize=6,
        label=label,
        **(style | face),
    )
    read_off = metrics.get(f"{axes[1]}_at_{MATCHED}")
    if axes[0] == "l0" and read_off and is_unmatched(metrics):
        at, mean, error = metrics[MATCHED]["mean"], read_off["mean"], read_off["error"]
        panel.errorbar(at, mean, yerr=error, marker="x", markersize=9, color=style["color"])


def is_unmatched(metrics: Metrics) -> bool:
    """Say whether an arm's L0 is so far from the baseline's that its frontier is read off there."""
    if MATCHED not in metrics:
        return False
    return bool(abs(metrics["l0"]["mean"] / metrics[MATCHED]["mean"] - 1) > L0_TOLERANCE)


def name_arms(runs: dict[str, Metrics]) -> dict[str, Metrics]:
    """Return the runs and their control arms by what they are called in pictures."""
    arms = {labels.get(run, run): metrics for run, metrics in runs.items()}
    for run in runs:
        for name, metrics in read_arms(run).items():
            arms[f"{labels.get(run, run)}: control {name}"] = metrics
    return arms


def list_l0(arms: dict[str, Metrics]) -> list[float]:
    """Return the arms' mean L0 at each k."""
    return [arm["l0" + at]["mean"] for arm in arms.values() for at in OTHER_K if "l0" + at in arm]


def scale_l0(panel: Any) -> None:
    """Show L0 on a log scale, with plain numbers."""
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter("{x:g}")


def draw_frontier(runs: dict[str, Metrics], references: dict[str, Metrics]) -> None:
    """Draw sparsity against fidelity and selectivity, and forgetting against what it costs.

    A cross is what was read off an arm's frontier at the baseline's L0, where its own is another.
    """
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH_IN, 4.2))
    pairs = (("l0", "fvu"), ("l0", "log_selectivity"))
    pairs += (("retain_loss_increase", "forget_loss_increase"),)
    arms = name_arms(runs)
    known = list_l0(arms)
    for panel, axes in zip(panels, pairs, strict=True):
        for marker, (name, metrics) in zip(cycle("*PXhd<>"), references.items(), strict=False):
            draw_points(panel, metrics, axes, color="0.55", marker=marker, label=name)
        for number, (run, metrics) in enumerate(runs.items()):
            style = {"color": color(number), "marker": "os^Dv"[number // 10 % 5]}
            label = labels.get(run, run)
            draw_points(panel, metrics, axes, label=label, **style)
            for arm, measured in read_arms(run).items():
                about = f"{label}: control {arm}"
                draw_points(
                    panel, measured, axes, hollow=True, label=about, color=color(number), marker="s"
                )
        panel.set_xlabel(METRICS[axes[0]])
        panel.set_ylabel(METRICS[axes[1]])
        panel.grid(alpha=0.3)
        if axes[0] == "l0":
            scale_l0(panel)
            panel.set_xlim(0.8 * min(known), 1.3 * max(known))  # a reference far off is left out
        else:
            panel.locator_params(axis="x", nbins=5)  # the labels of six would touch
    panels[2].axvline(0.05, color="gray", linewidth=1, linestyle=":")  # the budget on validation
    handles, names = panels[0].get_legend_handles_labels()
    if any(is_unmatched(arm) for arm in arms.values()):
        handles.append(Line2D([], [], color="0.3", marker="x", markersize=9, linestyle=""))
        names.append("Read off at the baseline's L0")
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    rows = (len(names) + 2) // 3
    figure.tight_layout(rect=(0, 0.02 + 0.045 * rows, 1, 1))
    figure.savefig("frontier.png", dpi=200)
    plt.close(figure)


def draw_families(first: Metrics, architecture: str) -> None:
    """Draw sparsity, loss recovered and, as color, selectivity of every SAE, as sae_bench does.

    The references beside the first run, with sae_bench's marks for what it knows. Its picture has
    no place for errors, and SAEs of equal L0 hide each other: runs are in frontier.png.
    """
    families = {architecture: first} | read_families()
    saes = {}
    for family, metrics in families.items():
        for at in (at for at in OTHER_K if "l0" + at in metrics):
            values = [
                metrics[one + at]["seeds"] for one in ("l0", "ce_recovered", "log_selectivity")
            ]
            for seed, (l0, recovered, target) in enumerate(zip(*values, strict=True)):
                sae = {"sae_class": family, "l0": l0, "ce_loss_score": recovered, "target": target}
                saes[f"{family}{at}, {seed}"] = sae
    with plt.rc_context():
        from sae_bench.sae_bench_utils import graphing_utils as bench  # it changes rcParams

        plt.rcParams.update({"font.size": 12, "axes.labelsize": 12, "legend.fontsize": 10.5})
        for family, marker in zip(families, cycle("v<>hp8DH"), strict=False):
            bench.TRAINER_MARKERS.setdefault(family, marker)
            bench.TRAINER_LABELS.setdefault(family, family)
            bench.TRAINER_COLORS.setdefault(family, "black")  # not drawn, but asked for
        title = METRICS["log_selectivity"]
        bench.plot_3var_graph(saes, title="", custom_metric="target", colorbar_label=title)
        scale_l0(plt.gcf().axes[0])
        plt.savefig("families.png", dpi=200, bbox_inches="tight")
        plt.close()


def draw_metrics(
    runs: dict[str, Metrics], titles: dict[str, str], groups: dict[str, str], file: str
) -> None:
    """Draw each run's mean, standard error and seeds, one panel per metric, below its group."""
    names = [labels.get(run, run) for run in runs]
    lines = (len(titles) + 3) // 4
    size = (WIDTH_IN, lines * (0.9 + 0.24 * len(runs)))
    figure, panels = plt.subplots(lines, 4, figsize=size, sharey=True, squeeze=False)
    for panel, (metric, title) in zip(panels.flat, titles.items(), strict=False):
        for row, metrics in enumerate(runs.values()):
            if metric not in metrics:
                continue
            values = metrics[metric]
            seeds = values["seeds"]
            panel.scatter(seeds, [row] * len(seeds), s=9, alpha=0.4, color=color(row))
            style = {"fmt": "o", "markersize": 4, "capsize": 2, "color": color(row)}
            panel.errorbar(values["mean"], row, xerr=values["error"], **style)
        first = next(iter(runs.values()))
        if metric in first:
            panel.axvline(first[metric]["mean"], color="gray", linewidth=1, linestyle=":")
        panel.set_xlabel(textwrap.fill(title, 22))
        panel.set_title(groups.get(metric, ""), fontsize=9, fontweight="bold")
        panel.locator_params(axis="x", nbins=4)
        panel.set_yticks(range(len(runs)), names)
        panel.grid(axis="x", alpha=0.3)
    for panel in panels.flat[len(titles) :]:
        panel.set_visible(False)
    panels[0, 0].set_ylim(len(runs) - 0.5, -0.5)  # the first run on top; the panels share the axis
    figure.tight_layout()
    figure.savefig(file, dpi=200)
    plt.close(figure)


def draw_training(runs: dict[str, Metrics]) -> None:
    """Draw unexplained variance and dead latents while training, averaged over seeds."""
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH_IN, 3.6))
    shown = {"fvu": "Held-out variance unexplained", "dead_share": "Dead latents (share)"}
    for panel, (name, title) in zip(panels, shown.items(), strict=True):
        for number, run in enumerate(runs):
            lines = Path(run, "metrics.jsonl").read_text().splitlines()
            steps = [json.loads(line) for line in lines]
            k = read_config(run)["k"]
            by_tokens: dict[int, list[float]] = defaultdict(list)
            for step in sorted(steps, key=lambda step: step["step"]):
                if name in step and step.get("k", k) == k:
                    by_tokens[step["tokens"]].append(step[name])
            means = [sum(values) / len(values) for values in by_tokens.values()]
            style = ["-", "--", "-.", ":"][number // 10 % 4]
            label = labels.get(run, run)
            panel.plot(list(by_tokens), means, style, color=color(number), label=label, alpha=0.8)
        panel.set_xlabel("Tokens trained on")
        panel.set_ylabel(title)
        panel.grid(alpha=0.3, which="both")
    panels[0].set_yscale("log")
    panels[0].legend()
    figure.tight_layout()
    figure.savefig("training.png", dpi=200)
    plt.close(figure)


def further_evaluations(runs: dict[str, Metrics]) -> dict[str, list[str]]:
    """Return what was measured beyond the screen of every run: evaluation -> its metrics.

    template.toml says whose they are. What is the same in all runs, as the language model's own
    values are, is left out.
    """
    found = defaultdict(list)
    described = tomllib.loads(Path("template.toml").read_text())["metrics"]
    for name, metric in described.items():
        values = {value for run in runs.values() if name in run for value in run[name]["seeds"]}
        if "evaluation" in metric and len(values) > 1:
            found[metric["evaluation"]].append(name)
    return found


def draw_evaluations(runs: dict[str, Metrics]) -> None:
    """Draw what further evaluations measured, none of them over two pictures."""
    pictures: list[dict[str, str]] = []
    for evaluation, names in further_evaluations(runs).items():
        if not pictures or len(pictures[-1]) + len(names) > PANELS:
            pictures.append({})
        pictures[-1] |= dict.fromkeys(names, evaluation)
    for number, groups in enumerate(pictures, start=1):
        file = "evaluations.png" if number == 1 else f"evaluations_{number}.png"
        titles = {name: name.replace("_", " ") for name in groups}
        draw_metrics(runs, titles, groups, file)


if __name__ == "__main__":
    found = read_runs()
    if not found:
        raise SystemExit("error: no run_<number>/final_info.json here; run experiment.py first")
    draw_frontier(found, read_references())
    if read_families():
        draw_families(found["run_0"], read_config("run_0")["architecture"])
    draw_metrics(found, METRICS, {}, "metrics.png")
    draw_training(found)
    draw_evaluations(found)
