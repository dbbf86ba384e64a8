"""Draw latents.json: histograms, and what the most hazard-selective latents do. Frozen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import artist

# While its classes are made, each writes the list of its properties into its documentation: a third
# of the import. pyplot, which keeps track of windows, is more of it.
artist.kwdoc = lambda _artist: ""
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

FORGET, RETAIN = "C3", "C0"
WORDS = 4
"""Words of the strongest context that are shown on each side of the strongest token."""


def draw_latents(content: dict[str, Any], path: Path) -> None:
    """Write the picture of one report."""
    rows = max(1, len(content["latents"]))
    figure = Figure(figsize=(12, 3.2 + 0.34 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplot_mosaic(
        [["rate", "ratio"], ["clamp", "context"]], height_ratios=[2.2, 0.9 + 0.3 * rows]
    )
    figure.suptitle(
        f"Latents of seed {content['seed']}, k = {content['k']}: {content['all_latents']}, "
        f"{content['dead_latents']} of them never active"
    )
    rate, ratio = content["histograms"].values()
    _draw_histogram(axes["rate"], rate, "Share of tokens a latent is active on")
    _draw_histogram(axes["ratio"], ratio, "Share of its activity on hazard (against benign)")
    _draw_clamping(axes["clamp"], content["latents"])
    _draw_contexts(axes["context"], content["latents"])
    figure.savefig(path, dpi=120)


def _draw_histogram(panel: Any, histogram: dict[str, list[float]], name: str) -> None:
    edges, counts = histogram["edges"], histogram["counts"]
    panel.bar(range(len(counts)), counts, width=0.9, color="C7")
    panel.set_xticks([place - 0.5 for place in range(len(edges))], [f"{edge:g}" for edge in edges])
    panel.set_xlabel(name)
    panel.set_ylabel("Latents")


def _draw_clamping(panel: Any, latents: Sequence[dict[str, Any]]) -> None:
    for row, latent in enumerate(latents):
        label = {"label": "hazard facts"} if row == 0 else {}
        panel.barh(row - 0.2, latent["forget_loss_increase"], 0.38, color=FORGET, **label)
        label = {"label": "benign facts"} if row == 0 else {}
        panel.barh(row + 0.2, latent["retain_loss_increase"], 0.38, color=RETAIN, **label)
    panel.set_yticks(range(len(latents)), [f"latent {latent['index']}" for latent in latents])
    panel.set_ylim(len(latents) - 0.5, -0.5)
    panel.axvline(0, color="gray", linewidth=1)
    panel.set_xlabel("Loss added by clamping this latent alone (nats)")
    if latents:
        panel.legend(fontsize="small")


def _draw_contexts(panel: Any, latents: Sequence[dict[str, Any]]) -> None:
    panel.set_title("Where it is strongest", fontsize="medium")
    panel.set_ylim(len(latents) - 0.5, -0.5)
    panel.set_xlim(0, 1)
    panel.axis("off")
    for row, latent in enumerate(latents):
        if not latent["contexts"]:
            continue
        context = latent["contexts"][0]
        at, tokens = context["position"], context["tokens"]
        before, after = tokens[max(0, at - WORDS) : at], tokens[at + 1 : at + 1 + WORDS]
        parts = (
            (0.48, "right", before),
            (0.5, "center", tokens[at : at + 1]),
            (0.52, "left", after),
        )
        for place, side, words in parts:
            style = {"weight": "bold", "color": FORGET} if side == "center" else {}
            panel.text(
                _away(place, side, tokens[at]),
                row,
                " ".join(words),
                ha=side,
                va="center",
                fontsize="small",
                family="monospace",
                parse_math=False,
                **style,
            )


def _away(place: float, side: str, token: str) -> float:
    """Leave room for the strongest token in the middle."""
    room = 0.0075 * len(token)
    return place - room if side == "right" else place + room if side == "left" else place
