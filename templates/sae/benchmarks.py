"""The evaluations that runs make beyond the screen: which there are, and how each is set. Frozen.

    AI_SCIENTIST_EVALUATIONS   their names, separated by spaces; nothing when absent

All but the sections' names is in the modules bench_*.py, which are imported when they are needed.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import bench_absorption
import bench_autointerp
import bench_core
import bench_mdl
import bench_probing
import bench_ravel
import bench_unlearning
from bench import NotRunError
from contract import stop
from data import Data
from dictionary import Dictionary

Rows = list[dict[str, float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One evaluation of sae_bench."""

    section: str
    """Where its metrics stand in final_info.json."""
    measure: Callable[[Sequence[Dictionary], Data, Any], Rows]
    """Returns each SAE's metrics. Raises NotRunError where it cannot be made."""
    settings: Any


BENCHMARKS = {
    "core": Benchmark(
        section="core evaluation results",
        measure=bench_core.measure_core,
        settings=bench_core.CoreSettings(),
    ),
    "absorption": Benchmark(
        section="absorption evaluation results",
        measure=bench_absorption.measure_absorption,
        settings=bench_absorption.AbsorptionSettings(),
    ),
    "sparse_probing": Benchmark(
        section="sparse probing evaluation results",
        measure=bench_probing.measure_sparse_probing,
        settings=bench_probing.ProbingSettings(),
    ),
    "scr": Benchmark(
        section="scr evaluations results",
        measure=bench_probing.measure_scr,
        settings=bench_probing.AblationSettings(),
    ),
    "tpp": Benchmark(
        section="tpp evaluations results",
        measure=bench_probing.measure_tpp,
        settings=bench_probing.AblationSettings(),
    ),
    "unlearning": Benchmark(
        section="unlearning evaluation results",
        measure=bench_unlearning.measure_bench_unlearning,
        settings=bench_unlearning.UnlearningSettings(),
    ),
    "autointerp": Benchmark(
        section="autointerp evaluation results",
        measure=bench_autointerp.measure_autointerp,
        settings=bench_autointerp.AutointerpSettings(),
    ),
    "ravel": Benchmark(
        section="ravel evaluation results",
        measure=bench_ravel.measure_ravel,
        settings=bench_ravel.RavelSettings(),
    ),
    "mdl": Benchmark(
        section="mdl evaluation results",
        measure=bench_mdl.measure_mdl,
        settings=bench_mdl.MdlSettings(),
    ),
}


def wanted_benchmarks() -> list[str]:
    """Return the names this run is to make; ends with a sentence on one that there is not."""
    names = (os.environ.get("AI_SCIENTIST_EVALUATIONS") or "").split()
    for name in names:
        if name not in BENCHMARKS:
            stop(f"AI_SCIENTIST_EVALUATIONS names {name!r}; there are {', '.join(BENCHMARKS)}")
    return names


def run_benchmarks(
    names: Sequence[str], saes: Sequence[Dictionary], data: Data
) -> tuple[dict[str, Rows], dict[str, str]]:
    """Return each section's rows, one per SAE, and the reason for each evaluation not run."""
    sections: dict[str, Rows] = {}
    not_run = {}
    for name in names:
        benchmark = BENCHMARKS[name]
        started = time.perf_counter()
        print(f"sae_bench's {name} on {len(saes)} SAEs", flush=True)
        try:
            rows = benchmark.measure(saes, data, benchmark.settings)
        except NotRunError as error:
            not_run[f"sae_bench {name}"] = str(error)
            continue
        print(f"sae_bench's {name}: {time.perf_counter() - started:.1f} s", flush=True)
        before = sections.get(benchmark.section, [{} for _ in saes])
        sections[benchmark.section] = [
            ours | theirs for ours, theirs in zip(before, rows, strict=True)
        ]
    return sections, not_run


def describe_settings() -> dict[str, Any]:
    """Return all settings by evaluation, for the hash that stands beside results."""
    return {name: dataclasses.asdict(one.settings) for name, one in BENCHMARKS.items()}
