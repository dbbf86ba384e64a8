"""A study that never ran, with everything in it that makes typesetting hard."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from ai_scientist.records import (
    Attempt,
    AttemptKind,
    Check,
    Guard,
    Hypothesis,
    Idea,
    Judgement,
    MetricSpec,
    Results,
    Run,
    Scalar,
    Study,
    Verdict,
)

SELECTIVITY = "unlearning evaluation/mean_log_selectivity"
PATHS = {
    SELECTIVITY: (2.32, 0.18),
    "core evaluation/fvu": (0.029, 0.002),
    "core evaluation/l0": (8.0, 0.05),
    "core evaluation/dead_share": (0.104, 0.012),
    "training results for layer 1/final_loss": (214.41, 3.0),
    "core evaluation/ce_recovered": (0.981, 0.003),
}
TITLES = (
    "Baseline",
    "Rank-weighted penalty, λ₂ = 0.1 & 100 % of the features",
    "Same penalty, shuffled ranks → placebo “#1”",
    "Penalty on the top-ratio half only (features_top_half, {50%})",
    "Annealed λ₂: 0 → 0.3 over 1 000 steps ~ then constant",
)


def make_results(shift: float, *, seeds: int, chance: random.Random) -> Results:
    """Return results of `seeds` seeds around the baseline's values times 1 + `shift`."""
    metrics, stderr, values = {}, {}, {}
    for path, (center, spread) in PATHS.items():
        drawn = tuple(chance.gauss(center * (1 + shift), spread) for _ in range(seeds))
        metrics[path] = sum(drawn) / seeds
        values[path] = drawn
        if seeds > 1:
            variance = sum((v - metrics[path]) ** 2 for v in drawn) / (seeds - 1)
            stderr[path] = (variance / seeds) ** 0.5
    return Results(metrics=metrics, stderr=stderr, seeds=values)


def make_study(folder: Path, *, runs: int = 4, seeds: int = 5, negative: bool = True) -> Study:
    """Return a study of `runs` valid runs besides the baseline."""
    chance = random.Random(7)
    made: dict[str, Run] = {}
    for number in range(runs + 1):
        moved: Mapping[str, tuple[Scalar, Scalar]] = {
            "train/lambda_2": (0.0, 0.1 * number),
            "train/ranking": ("none", "ratio_of_means"),
            **({"train/batch_size": (512, 1024)} if number == 3 else {}),
        }
        made[f"run_{number}"] = Run(
            name=f"run_{number}",
            title=TITLES[number] if number < len(TITLES) else f"Variant {number} of the schedule",
            results=make_results(-0.03 * number, seeds=seeds, chance=chance),
            commit=f"{chance.getrandbits(160):040x}",
            command=("python", "experiment.py", f"--out_dir=run_{number}"),
            profile="small",
            seeds=tuple(range(seeds)),
            config_diff_baseline=moved if number else {},
            confounded=("train/batch_size",) if number == 3 else (),
            checks=(Check(gate="effect", verdict="not decidable", detail="no smoke profile"),)
            if number == 2
            else (),
            versions={"torch": "2.13.0", "python": "3.11.2", "sae_bench": "0.6.0"},
            hardware={"processor": "AMD EPYC 7R13 (2 cores)", "gpu": None, "memory_gb": 24},
            sandbox_tier="bubblewrap",
            started_at="2026-11-20T20:15:00Z",
            seconds=47.3 + number,
            arms={
                "λ=0": make_results(0.0, seeds=seeds, chance=chance),
                "shuffled_ranks": make_results(-0.01, seeds=seeds, chance=chance),
            }
            if number == runs
            else {},
            step=f"run_{number}/edit_1",
        )
    primary = Hypothesis(metric="mean_log_selectivity", direction="increase", min_effect=0.1)
    second = Hypothesis(metric="fvu", direction="decrease", against="run_0", proposed_by="model")
    verdict = Verdict.REFUTED if negative else Verdict.CONFIRMED
    return Study(
        folder=folder,
        idea=Idea(
            name="ratio_ranked_orthogonal_sae",
            title="Ratio-ranked orthogonality & “dangerous” features: a test at 100% (#1)",
            experiment="Rank features by r_i = a_i^dangerous/(a_i^dangerous + a_i^safe) → penalty "
            "λ₂ Σ_ij s_i s_j |w_iᵀw_j| ≤ ε; {braces}, $dollars$, C:\\paths\\new and ~tildes~.",
            technical_details="s_i = rank(r_i)/n — 中文, emoji 😀, naïve café.",
            varies=("lambda_2", "ranking"),
            hypotheses=(primary,),
            guards=(Guard(metric="dead_share", direction="increase", limit=0.05),),
        ),
        runs=made,
        attempts=make_attempts(),
        hypotheses=(primary, second),
        judgements=(
            Judgement(
                hypothesis=primary,
                verdict=verdict,
                reason="The best control arm (shuffled_ranks) reaches 2.30 ± 0.08; run_4 stays "
                "below it in 5 of 5 paired seeds.",
                run="run_4",
            ),
            Judgement(
                hypothesis=second,
                verdict=Verdict.UNDECIDED,
                reason="Δ = −0.0004 is below the minimum detectable effect of 0.002 (n = 5).",
                run="run_1",
            ),
        ),
        settings={
            "model": "anthropic/claude-sonnet-4-5",
            "profile": "small",
            "approve": "none",
            "limits": {"max_runs": 10, "max_executions": 20, "max_cost_usd": 20.0},
        },
        metrics={
            "mean_log_selectivity": MetricSpec(
                name="mean_log_selectivity", required=True, direction="increase", noise=0.2
            ),
            "fvu": MetricSpec(name="fvu", required=True, direction="decrease"),
            "l0": MetricSpec(name="l0"),
            "dead_share": MetricSpec(name="dead_share", direction="decrease"),
        },
        primary_metric="mean_log_selectivity",
        stop="run limit",
    )


def make_attempts() -> tuple[Attempt, ...]:
    """Return one failed attempt of most kinds, their reasons as logs give them."""
    return (
        Attempt(
            step="run_1/edit_1",
            run="run_1",
            kind=AttemptKind.NOT_APPLIED,
            reason="The SEARCH block does not match: `self.W_dec = nn.Parameter(...)` is at line "
            "41; <<<<<<< SEARCH & >>>>>>> REPLACE, 100% of #lines_with_underscores ~ {x^2} \\def",
            seconds=0.2,
            cost_usd=0.0123,
        ),
        Attempt(
            step="run_2/execution_1",
            run="run_2",
            kind=AttemptKind.CRASHED,
            reason="RuntimeError: mat1 and mat2 shapes cannot be multiplied (512x96 and 512x256) "
            "at experiment.py:133 in encode → relu(x @ W_enc + b_enc); "
            "/very/long/path/without/any/space/that/could/break/the/line/" + "a" * 90,
            seconds=12.9,
            gpu_hours=0.004,
            cost_usd=0.031,
        ),
        Attempt(
            step="run_3/edit_1",
            run="run_3",
            kind=AttemptKind.REFUSED,
            gate="effect",
            reason="Old and new code give bit-identical metrics in the smoke profile; line 88 of "
            "the change never ran.",
            seconds=3.8,
            cost_usd=None,
        ),
    )
