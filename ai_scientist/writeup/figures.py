"""Figures: the ones code draws from stored results, and the books on all of them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.protocols import Executor
from ai_scientist.records import (
    Execution,
    ExitCause,
    Finding,
    Json,
    RunLimits,
    RunRequest,
    Study,
)
from ai_scientist.writeup.facts import rows_of, spoken
from ai_scientist.writeup.parts import Figure
from ai_scientist.writeup.typeset import breakable, clip

SCRIPT = Path(__file__).with_name("default_plots.py")
OUT = "figures"
PICTURES = {".png", ".pdf", ".jpg", ".jpeg"}
SIGNATURES = {".png": b"\x89PNG", ".pdf": b"%PDF", ".jpg": b"\xff\xd8", ".jpeg": b"\xff\xd8"}
LARGEST_PICTURE = 20_000_000
SPARSITY, FIDELITY = ("l0", "L0"), ("fvu", "FVU")

Draw = Callable[[Mapping[str, str]], tuple[Path | None, str]]
"""Runs default_plots.py on the given files; returns the folder of pictures, or None and why."""


@dataclass(frozen=True, kw_only=True)
class ConfinedDraw:
    """Draws through an executor, with the python of the experiments' environment."""

    executor: Executor
    staging: Path
    python: Path
    readable: tuple[Path, ...]
    environment: Mapping[str, str]
    timeout_s: float = 120.0

    def __call__(self, files: Mapping[str, str]) -> tuple[Path | None, str]:
        """Return the folder with the pictures, or None and the reason."""
        staging = self.staging / "paper_default_plots"
        shutil.rmtree(staging, ignore_errors=True)
        (staging / "source" / OUT).mkdir(parents=True)
        shutil.copy(SCRIPT, staging / "source" / SCRIPT.name)
        for name, content in files.items():
            (staging / "source" / name).write_text(content, encoding="utf-8")
        execution: Execution = self.executor.run(
            RunRequest(
                key="paper/default_plots",
                staging=staging,
                out_name=OUT,
                command=(str(self.python), SCRIPT.name, *sorted(files), OUT),
                environment={**self.environment, "MPLBACKEND": "Agg"},
                readable=self.readable,
                limits=RunLimits(timeout_s=self.timeout_s, memory_gb=4.0, disk_gb=1.0),
            )
        )
        if execution.cause is ExitCause.EXIT:
            return staging / "source" / OUT, ""
        tail = execution.stderr.read_text(encoding="utf-8", errors="replace").strip()[-300:]
        return None, f"{execution.cause.value}: {tail}"


def draw_default_figures(study: Study, draw: Draw) -> tuple[list[Figure], list[Finding]]:
    """Draw the default figures; what cannot be drawn is a finding."""
    plots = default_plots(study)
    if not plots:
        return [], []
    made, problem = draw({"plots.json": json.dumps(plots)})
    figures, findings = [], []
    for plot in plots:
        name = f"{plot['name']}.png"
        picture = made / name if made else None
        if picture is None or not is_picture(picture):
            detail = f"the default figure `{name}` could not be drawn: {problem or 'no picture'}"
            findings.append(Finding(kind="missing_figure", detail=detail, where=name))
            continue
        figures.append(
            Figure(
                path=picture,
                caption=plot["caption"],
                runs=tuple(dict.fromkeys(row["run"] for row in plot["rows"])),
                by_code=True,
            )
        )
    return figures, findings


def default_plots(study: Study) -> list[Json]:
    """Return what default_plots.py draws: the primary metric over runs, and a frontier."""
    plots = []
    primary = _path(study, study.primary_metric) if study.primary_metric else None
    if primary:
        plots.append(_metric_plot(study, primary))
    sparsity, fidelity = _ending(study, SPARSITY), _ending(study, FIDELITY)
    if sparsity and fidelity and not _equal(study, sparsity):
        plots.append(_frontier_plot(study, sparsity, fidelity))
    elif primary and fidelity and primary != fidelity:
        plots.append(_frontier_plot(study, fidelity, primary))
    return [plot for plot in plots if len(plot["rows"]) > 1]


def _metric_plot(study: Study, path: str) -> Json:
    rows = []
    for run, arm, results in rows_of(study):
        if path not in results.metrics:
            continue
        rows.append(
            {
                "run": run,
                "label": _label(study, run, arm),
                "mean": results.metrics[path],
                "stderr": results.stderr.get(path, 0.0),
                "seeds": list(results.seeds.get(path, ())),
                "baseline": run == "run_0" and not arm,
                "arm": bool(arm),
            }
        )
    name = path.rsplit("/", 1)[-1]
    caption = (
        f"\\texttt{{{breakable(name)}}} of every run and control arm, drawn by code from the stored"
        " results. Diamonds are means, bars standard errors where there is more than one seed,"
        " circles single seeds; the dashed line is the baseline's mean."
    )
    return {
        "kind": "metric",
        "name": "default_primary_metric",
        "axis": spoken(name),
        "metrics": [path],
        "rows": rows,
        "caption": caption,
    }


def _equal(study: Study, path: str) -> bool:
    """Return whether all runs agree in `path` within a hundredth, as L0 does at a fixed k."""
    values = [r.metrics[path] for _, _, r in rows_of(study) if path in r.metrics]
    return max(values) - min(values) <= 0.01 * max(map(abs, values))


def _frontier_plot(study: Study, x: str, y: str) -> Json:
    rows = []
    for run, arm, results in rows_of(study):
        if x in results.metrics and y in results.metrics:
            x_seeds, y_seeds = results.seeds.get(x, ()), results.seeds.get(y, ())
            paired = len(x_seeds) == len(y_seeds)
            rows.append(
                {
                    "run": run,
                    "label": _label(study, run, arm),
                    "x": results.metrics[x],
                    "y": results.metrics[y],
                    "x_seeds": list(x_seeds) if paired else [],
                    "y_seeds": list(y_seeds) if paired else [],
                }
            )
    x_axis, y_axis = x.rsplit("/", 1)[-1], y.rsplit("/", 1)[-1]
    return {
        "kind": "frontier",
        "name": "default_frontier",
        "x_axis": spoken(x_axis),
        "y_axis": spoken(y_axis),
        "metrics": [x, y],
        "rows": rows,
        "caption": f"\\texttt{{{breakable(y_axis)}}} against \\texttt{{{breakable(x_axis)}}} of"
        " every run and control arm, drawn by code. Large marks are means, small ones single"
        " seeds.",
    }


def _label(study: Study, run: str, arm: str) -> str:
    """Return what a run or one of its arms is called in a figure."""
    if arm:
        return f"control: {spoken(arm)}"
    return f"{clip(study.runs[run].title, 60)} ({run})"


def _paths(study: Study) -> list[str]:
    return list(dict.fromkeys(p for run in study.runs.values() for p in run.results.metrics))


def _path(study: Study, name: str) -> str | None:
    paths = _paths(study)
    return next((p for p in paths if p == name or p.endswith("/" + name)), None)


def _ending(study: Study, names: Sequence[str]) -> str | None:
    return next((p for p in _paths(study) if p.rsplit("/", 1)[-1] in names), None)


# --- the books -----------------------------------------------------------------------------------


def is_picture(path: Path) -> bool:
    """Return whether `path` is a plain file that begins as its suffix says, and not too large."""
    if path.suffix.lower() not in PICTURES or path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(8)
    return head.startswith(SIGNATURES[path.suffix.lower()]) and path.stat().st_size <= (
        LARGEST_PICTURE
    )


def collect_figures(given: Sequence[Figure]) -> tuple[list[Figure], list[Finding]]:
    """Return the usable pictures, and findings on the others."""
    figures, findings = [], []
    for figure in given:
        if is_picture(figure.path):
            figures.append(figure)
        else:
            detail = f"`{figure.name}` is not a picture that can be shown"
            findings.append(Finding(kind="missing_figure", detail=detail, where=figure.name))
    return figures, findings


def safe_name(figure: Figure) -> str:
    """Return the file name under latex/figures/, which TeX can read."""
    stem = re.sub(r"[^A-Za-z0-9-]+", "-", figure.path.stem).strip("-") or "figure"
    return f"{stem}{figure.path.suffix.lower()}"


def figure_findings(
    figures: Sequence[Figure], shown: Collection[str], claimed: Mapping[str, Collection[str]]
) -> list[Finding]:
    """Return figures that no section shows, and runs that a caption claims but a figure lacks.

    `claimed`: figure name -> runs that its caption names.
    """
    findings = [
        Finding(
            kind="unused_figure", detail=f"`{f.name}` is shown nowhere in the paper", where=f.name
        )
        for f in figures
        if f.name not in shown
    ]
    for figure in figures:
        missing = sorted(set(claimed.get(figure.name, ())) - set(figure.runs))
        if figure.runs and missing:
            detail = f"the caption of `{figure.name}` names {', '.join(missing)}, not in the figure"
            findings.append(Finding(kind="run_not_in_plots", detail=detail, where=figure.name))
    return findings
