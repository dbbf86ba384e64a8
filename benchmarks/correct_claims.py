"""Correct sentences and tables over synthetic results: whatever is flagged here is a false alarm.

The `first` set stands here; the others, written before the rules were read, in `claims/`.

`{v:1:a}` becomes the value of metric a in run 1, and so on: see `_shown`. `{set:1:k:32}` is a
setting: see `SETTING`.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from scipy import stats

from ai_scientist.claims import Evidence
from ai_scientist.claims.numerals import find_numerals
from ai_scientist.judging.statistics import Comparison
from ai_scientist.results.tables import format_number, format_with_error

NOTES = (
    "The {n:a} of run_1 is {v:1:a}.",
    "run_1 reaches a {n:a} of {v:1:a}, against {v:0:a} for the baseline.",
    "Run 1: {n:a} {v:1:a}.",
    "In Run 1 the {n:a} came out at {v:1:a} ({s:1:0:a}).",
    "The {n:a} is {v:0:a} in run_0 and {v:1:a} in run_1.",
    "Runs 0 and 1 reach a {n:a} of {v:0:a} and {v:1:a}, respectively.",
    "{n:a} and {n:b} of run_1 are {v:1:a} and {v:1:b}.",
    "Compared to the baseline ({v:0:a}), run_1 has a {n:a} of {v:1:a}.",
    "The {n:a} of run_1 is {dir:1:0:a} than that of run_0.",
    "run_1 has a {dir:1:0:a} {n:a} than the baseline ({v:1:a} vs {v:0:a}).",
    "The {n:a} of run_1 differs from the baseline by {d:1:0:a}.",
    "In run_1 the {n:a} is {dir:1:0:a} by {p:1:0:a} than in run_0.",
    "The {n:a} changed from {v:0:a} in run_0 to {v:1:a} in run_1.",
    "Rounded, the {n:a} of run_1 is {r3:1:a}.",
    "The {n:a} of run_1, written out, is {e:1:a}.",
    "The {n:a} of run_1 is about {r2:1:a}.",
    "The {n:a} of run_1 was {full:1:a}.",
    "With a learning rate of 0.0003 and a batch size of 2,048 run_1 reaches a {n:a} of {v:1:a}.",
    "We trained for 4,882 steps with lr = 0.0003 and k = 20; the {n:a} of run_1 is {v:1:a}.",
    "As Section 4.2 and Table 3 show, the {n:a} of run_1 is {v:1:a}.",
    "Since 2024 such models were trained on 70M parameters (Smith et al., 2023).",
    "We use Pythia-70M and gemma-2-2b at layer 19 with seed 42.",
    "The penalty weight λ_2 = 0.01 follows the idea; Equation 3 gives the loss.",
    "Figure 2 shows the {n:a} over the 5 seeds of run_1.",
    "1. Train the model on 5 seeds.\n2. Compare the {n:a} of run_1 ({v:1:a}) with run_0 ({v:0:a}).",
    "- {n:a} of run_1: {v:1:a}\n- {n:b} of run_1: {v:1:b}",
    "The width is 2304 and the dictionary size 16384 in every run.",
    "All intervals are at 95% confidence; p < 0.05 counts as significant.",
    "The {n:a} of run_1 is {ratio:1:0:a} times that of run_0.",
    "## Run 1: A variant\nThe {n:a} is {v:1:a}, {dir:1:0:a} than the baseline ({v:0:a}).",
    "## Run 1: A variant\n- {n:a}: {v:1:a}\n- {n:b}: {v:1:b} (baseline: {v:0:b})",
    "The {n:a} of run_1 is {pm:1:a}.",
    "We plan to raise λ_2 from 0.01 to 0.05 next, with 3 seeds.",
    "Run 1 (a variant) ended with a {n:a} of {v:1:a}, {p:1:0:a} {dir:1:0:a} than the baseline.",
    "While run_1's {n:a} ({v:1:a}) is {dir:1:0:a} than run_0's ({v:0:a}), its {n:b} is {v:1:b}.",
    "We see a {n:a} of {v:0:a} for the baseline and {v:1:a} for run 1, a change of {s:1:0:a}.",
    "{n:a}: run_0 = {v:0:a}, run_1 = {v:1:a}.",
    "Relative to run_0, run_1 changes the {n:a} by {s:1:0:a}.",
    "Between run_0 and run_1 the {n:a} went from {v:0:a} to {v:1:a} ({s:1:0:a}).",
    "At {v:1:a}, run_1's {n:a} is {dir:1:0:a} than the {v:0:a} of the baseline.",
    "With {v:1:a} versus {v:0:a} for the baseline, run_1 has a {dir:1:0:a} {n:a}.",
    "The baseline's {n:a} ({v:0:a}) and run 1's ({v:1:a}) differ by {d:1:0:a}.",
    "On {n:a}, Run 1 scores {v:1:a}; on {n:b}, it scores {v:1:b}.",
    "Results of run_1: {n:a} {v:1:a}, {n:b} {v:1:b}.",
    "The gap between run_1 ({v:1:a}) and run_0 ({v:0:a}) in {n:a} is {d:1:0:a}.",
    "## Run 1: A variant\nThe {n:a} moved from {v:0:a} to {v:1:a}, a change of {s:1:0:a}.",
    "## Run 1: A variant\n- {n:a}: {v:0:a} → {v:1:a} ({s:1:0:a} vs. baseline)",
    "## Run 1: A variant\nThe penalty is 0.01. The {n:a} is now {v:1:a}; before it was {v:0:a}.",
    "The target of 0.05 was not reached; the {n:a} of run_1 is {v:1:a}.",
    "We expected the {n:a} to fall below 0.01, which needs more than 5 epochs.",
    "Runs 0–1 took 12 minutes on 2 GPUs, 16 GB each.",
    "The experiment took 10 runs; on 2026-11-20 version 1.2.3 was used.",
    "| run | {n:a} | {n:b} |\n|---|---|---|\n"
    "| run_0 | {v:0:a} | {v:0:b} |\n| run_1 | {v:1:a} | {v:1:b} |",
    "| metric | Baseline | Run 1 |\n|---|---|---|\n"
    "| {n:a} | {v:0:a} | {v:1:a} |\n| {n:b} | {v:0:b} | {v:1:b} |",
    "| run | {n:a} | Δ vs baseline |\n|---|---|---|\n| run_1 | {v:1:a} | {s:1:0:a} |",
    "| run | lr | {n:a} |\n|---|---|---|\n| run_1 | 0.0003 | {v:1:a} |",
    "For {n:a}, the baseline obtains {v:0:a} whereas run 1 obtains {v:1:a}.",
    "Run 1's {n:a} of {v:1:a} should be read against {v:0:a} in the baseline.",
    "Looking at {n:a}, run_0 ({v:0:a}) and run_1 ({v:1:a}) are {p:1:0:a} apart.",
    "The {n:a} ended at {v:1:a} after run 1, having been {v:0:a} in the baseline.",
    "Training with a penalty of 0.01 for 4882 steps gives a {n:a} of {v:1:a} in run_1.",
    "Our variant in run 1 raises or lowers the {n:a} to {v:1:a} ({s:1:0:a} relative to the "
    "baseline).",
    "The first variant, run_1, has {n:a} {v:1:a} and {n:b} {v:1:b}.",
    "It took 3 attempts to get run_1 working, whose {n:a} is {v:1:a}.",
    "Table 1 lists the {n:a}: {v:0:a} (run_0), {v:1:a} (run_1).",
    "In terms of {n:a} (lower is better), run_1 gets {v:1:a}.",
    "{n:a} for run_1 = {v:1:a}; for run_0 = {v:0:a}.",
    "run_1 changed {n:a} from the baseline's {v:0:a} to {v:1:a}.",
    "As in prior work from 2019 with 12 layers, k = 20 was used; run_1 gives {n:a} {v:1:a}.",
    "Averaged over seeds, {n:a} was {v:1:a} in run_1.",
    "A {n:a} of {v:1:a} (run_1) is a {p:1:0:a} change over {v:0:a} (run_0).",
    "The {n:a} in run_1, {v:1:a}, is {dir:1:0:a} than in run_0, where it is {v:0:a}.",
    "## Run 1: A variant\nThe {n:a} ({v:1:a}) is {dir:1:0:a} than in the baseline ({v:0:a}), a "
    "difference of {d:1:0:a}.",
    "## Run 1: A variant\n- Observed {n:a} of {v:1:a} versus {v:0:a} for run_0\n- {n:b} is {v:1:b}",
    "| Variant | {n:a} (mean) | vs run_0 (%) |\n|---|---|---|\n| Run 0 | {v:0:a} | - |\n| Run "
    "1 | {v:1:a} | {s:1:0:a} |",
    "Because the dictionary size is 16,384 and the width 2304, the ratio F/d is about 7; "
    "run_1's {n:a} is {v:1:a}.",
    "Despite its simplicity, run_1 got {n:a} = {v:1:a} (baseline: {v:0:a}).",
    "We note that {v:1:a} is the {n:a} of run_1.",
    "Run_1 finished with {n:b} {v:1:b}; its {n:a} was {v:1:a}.",
    "The change in {n:a} was {s:1:0:a} for run_1.",
    "So far the {n:a} is {v:0:a} without and {v:1:a} with the new term (run_0 and run_1).",
    "Whereas the baseline's {n:a} was {v:0:a}, run 1's was {v:1:a}.",
    "As expected from Equation 2, {n:a} in run_1 ({v:1:a}) is {dir:1:0:a} than in run_0 ({v:0:a}).",
    "Run 1 used lr=0.0003, k=20, batch size 2048: {n:a} {v:1:a}, {n:b} {v:1:b}.",
    "After 4,882 steps, {n:a} stood at {v:1:a} for run_1, i.e. {p:1:0:a} {dir:1:0:a} than the "
    "baseline.",
    "run_1's {n:a} is {ratio:1:0:a}x the baseline's.",
    "{n:a} goes {v:0:a} -> {v:1:a} from run_0 to run_1.",
    "## Run 1: A variant\nCompared with run_0, {n:a} is {dir:1:0:a} ({v:1:a} vs. {v:0:a}).",
    "## Run 1: A variant\nKey results:\n- {n:a}: {v:1:a}\n- {n:b}: {v:1:b}\nThe next run will "
    "use a penalty of 0.05.",
    "## Run 1: A variant\n1. {n:a} = {v:1:a}\n2. {n:b} = {v:1:b}\n3. No other metric moved by "
    "more than 5%.",
    "The seeds of run_1 spread around a mean {n:a} of {v:1:a}, so a 95% interval is wide.",
)
LATEX = (
    r"The {x:a} of run 1 is ${v:1:a}$.",
    r"Run~1 reaches a {x:a} of {v:1:a}, against {v:0:a} for the baseline \citep{smith2023}.",
    r"The {x:a} of run\_1 is ${e2:1:a}$.",
    r"The {x:a} of Run 1 is {dir:1:0:a} by {p2:1:0:a} than that of the baseline.",
    r"As shown in Section~\ref{sec:x}, Eq.~(3) and Figure~2, the {x:a} of run 1 is {v:1:a}.",
    r"We set $\lambda_2 = 0.01$, $k=20$ and a learning rate of $3 \times 10^{-4}$.",
    r"The {x:a} of run 1 is ${v:1:a} \pm {se:1:a}$.",
    r"Training takes $4{,}882$ steps of 2{,}048 tokens in 2024.",
    r"\begin{equation} L = 0.5 x^2 + 1.7 \end{equation}",
    r"\section{Results of 3 runs} The {x:a} and the {x:b} of run 1 are {v:1:a} and {v:1:b}.",
    r"\begin{table}\caption{Results of the runs.}\begin{tabular}{lrr}\toprule"
    r" Run & {x:a} & {x:b} \\ \midrule"
    "\n"
    r"Baseline & {v:0:a} & {v:0:b} \\"
    r" Run 1 & \textbf{{v:1:a}} & {v:1:b} \\ \bottomrule\end{tabular}\end{table}",
    r"\begin{table}\begin{tabular}{lrr} & Baseline & Run 1 \\ \hline"
    r" {x:a} & {v:0:a} & ${v:1:a} \pm {se:1:a}$ \\"
    r" {x:b} & {v:0:b} & {v:1:b} ({s2:1:0:b}) \\ \end{tabular}\caption{All runs.}\end{table}",
    r"\begin{figure}\includegraphics[width=0.8\textwidth]{a.png}"
    r"\caption{The {x:a} of run 1 is {v:1:a}.}\end{figure}",
    r"\begin{abstract}Our baseline has a {x:a} of {v:0:a}.\end{abstract}",
)
PLACE = re.compile(
    r"\{(n|x|X|v|full|r2|r3|e|e2|se|pm|d|ds|half|p|p2|pn|s|s2|sn|dir|above|verb|vpast|noun|ratio"
    r"|min|max|argmin|argmax|mean|lo3|hi3|sv|smin|smax|sd|cv|cilo|cihi|pval|pv|dse|zsc"
    r"|conc|one|x100|med|rlo|rhi"
    r")((?::\d+)*):([ab])\}|\{(nseeds|nruns)\}"
)

SETTING = re.compile(
    r"\{set:(?P<run>\d+|\*):(?P<key>[A-Za-z_]\w*):(?P<value>(?:[^{}:]|\{[^{}]*\})+)\}"
)
"""A setting of one run, or of all: `{set:1:k:32}` prints 32, and run 1 has stored k = 32."""


def with_settings(text: str, evidence: Evidence) -> Evidence:
    """Return the evidence of a template: its runs have stored the settings that it states."""
    configs = {name: dict(config) for name, config in evidence.configs.items()}
    for match in SETTING.finditer(text):
        plain = match["value"].replace("{,}", ",").replace(r"\times", "×")
        stated = float(next(find_numerals(plain)).value)
        for name in configs if match["run"] == "*" else [f"run_{match['run']}"]:
            configs[name][f"config/{match['key']}"] = stated
    return replace(evidence, configs=configs)


def fill(text: str, evidence: Evidence, names: Mapping[str, str]) -> str:
    """Fill a template's places from the results; `names` maps a and b to metric paths."""

    def one(match: re.Match[str]) -> str:
        kind, numbers, letter, counted = match.groups(default="")
        kind = kind or counted
        runs = [f"run_{number}" for number in numbers.strip(":").split(":") if number]
        path = names[letter] if letter else evidence.paths[0]
        return _word(kind, path, evidence) or _shown(kind, runs, path, evidence)

    return PLACE.sub(one, SETTING.sub(lambda match: match["value"], text))


def _word(kind: str, path: str, evidence: Evidence) -> str:
    """Return a metric's name, a count, or which run has the extreme value."""
    name = path.rsplit("/", 1)[-1]
    plain = name.replace("_", " ")
    by_value = sorted(evidence.runs, key=lambda run: evidence.runs[run].metrics[path])
    return {
        "n": name,
        "x": plain,
        "X": plain[0].upper() + plain[1:],
        "nseeds": str(max(evidence.seeds.values())),
        "nruns": str(len(evidence.runs)),
        "argmin": by_value[0][4:],
        "argmax": by_value[-1][4:],
        "min": format_number(evidence.runs[by_value[0]].metrics[path]),
        "max": format_number(evidence.runs[by_value[-1]].metrics[path]),
    }.get(kind, "")


def _shown(kind: str, runs: list[str], path: str, evidence: Evidence) -> str:
    """Return what a place about the values of one run, or of several, shows."""
    values = [evidence.runs[run].metrics[path] for run in runs if run in evidence.runs]
    value, base = values[0], values[-1]
    if kind == "mean":
        return format_number(statistics.fmean(values))
    if kind in ("lo3", "hi3"):
        return format_number(min(values) if kind == "lo3" else max(values))
    if kind in ("v", "full", "r2", "r3", "e", "e2", "pm", "se", "conc", "one", "x100"):
        return _one_value(kind, value, evidence.runs[runs[0]].stderr.get(path))
    if kind in ("sv", "smin", "smax", "sd", "cv", "med", "rlo", "rhi"):
        return _of_seeds(kind, evidence.runs[runs[0]].seeds[path], runs)
    if kind in ("cilo", "cihi", "pval", "pv", "dse", "zsc"):
        return _tested(kind, evidence.compare(runs[0], runs[1], path))
    return _change(kind, value, base)


def _of_seeds(kind: str, seeds: Sequence[float], runs: list[str]) -> str:
    if kind == "cv":
        return f"{statistics.stdev(seeds) / statistics.fmean(seeds) * 100:.1f}"
    if kind == "sd":
        return f"{statistics.stdev(seeds):.3g}"
    if kind == "med":
        return format_number(statistics.median(seeds))
    if kind in ("rlo", "rhi"):
        return format_number(own_interval(seeds)[kind == "rhi"])
    chosen = {"smin": min, "smax": max}.get(kind)
    return format_number(chosen(seeds) if chosen else seeds[int(runs[1][4:])])


def own_interval(seeds: Sequence[float]) -> tuple[float, float]:
    """Return the 95% interval of a run's own mean, by Student's t over its seeds."""
    half = stats.t.ppf(0.975, len(seeds) - 1) * statistics.stdev(seeds) / math.sqrt(len(seeds))
    return statistics.fmean(seeds) - half, statistics.fmean(seeds) + half


def _concise(value: float, error: float) -> str:
    """Write 0.812(13): the error in units of the last digit shown."""
    decimals = max(0, 1 - int(f"{error:.1e}".partition("e")[2]))
    return f"{value:.{decimals}f}({round(error * 10**decimals)})"


def _one_value(kind: str, value: float, error: float | None) -> str:
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return {
        "v": format_number(value),
        "full": repr(value),
        "r2": f"{float(f'{value:.1e}'):,.{max(0, 1 - int(exponent))}f}",
        "r3": f"{float(f'{value:.2e}'):,.{max(0, 2 - int(exponent))}f}",
        "e": f"{mantissa}e{exponent}",
        "e2": rf"{mantissa} \times 10^{{{int(exponent)}}}",
        "se": f"{error or 0.0:.{len(format_number(value).partition('.')[2])}f}",
        "pm": format_with_error(value, error),
        "conc": _concise(value, error) if error else format_number(value),
        "one": format_number(1 - value),
        "x100": format_number(100 * value),
    }[kind]


def _tested(kind: str, found: Comparison) -> str:
    """Return an end of the interval, the p-value, the standard error or delta in such errors."""
    low, high = found.interval or (0.0, 0.0)
    p = found.p_value or 0.0
    p_shown = "< 0.001" if p < 0.001 else f"= {p:.2g}"
    error = found.standard_error or math.inf
    return {
        "cilo": f"{low:.3g}",
        "cihi": f"{high:.3g}",
        "pval": f"p {p_shown}",
        "pv": p_shown.removeprefix("= "),
        "dse": f"{error:.3g}",
        "zsc": f"{abs(found.delta) / error:.1f}",
    }[kind]


def _change(kind: str, value: float, base: float) -> str:
    relative = (value - base) / abs(base) * 100
    up = value > base
    sign = "+" if up else "-"
    return {
        "d": format_number(abs(value - base)),
        "half": format_number(abs(value - base) / 2),
        "ds": sign + format_number(abs(value - base)),
        "pn": f"{abs(relative):.1f}",
        "sn": f"{relative:+.1f}",
        "p": f"{abs(relative):.1f}%",
        "p2": rf"{abs(relative):.1f}\%",
        "s": f"{relative:+.1f}%",
        "s2": rf"{relative:+.1f}\%",
        "dir": "higher" if up else "lower",
        "above": "above" if up else "below",
        "verb": "increases" if up else "decreases",
        "vpast": "rose" if up else "fell",
        "noun": "increase" if up else "decrease",
        "ratio": f"{value / base:.2f}",
    }[kind]


@cache
def texts(name: str) -> tuple[tuple[str, str], ...]:
    """Return (kind, template) of a set: `first` from this file, else one of `claims/`."""
    if name == "first":
        return tuple(("notes", t) for t in NOTES) + tuple(("latex", t) for t in LATEX)
    content = (Path(__file__).parent / "claims" / f"{name}.txt").read_text(encoding="utf-8")
    parts = re.split(r"^=== (notes|latex)\n", content, flags=re.MULTILINE)[1:]
    return tuple(zip(parts[::2], (part.rstrip("\n") for part in parts[1::2]), strict=True))
