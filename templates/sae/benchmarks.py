"""The evaluations that runs make beyond the screen: which there are, and how each is set. Frozen.

    AI_SCIENTIST_EVALUATIONS   their names, separated by spaces; nothing when absent

All but the sections' names is in the modules bench_*.py, which are imported when they are needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import NotRunError, Row, keep_set_up, measure_all
from bench_absorption import ABSORPTION, AbsorptionSettings
from bench_autointerp import AUTOINTERP, AutointerpSettings
from bench_core import CORE, CoreSettings
from bench_mdl import MDL, MdlSettings
from bench_probing import SCR, SPARSE_PROBING, TPP, AblationSettings, ProbingSettings
from bench_ravel import RAVEL, RavelSettings
from bench_unlearning import UNLEARNING, UnlearningSettings
from contract import stop
from data import Data
from dictionary import Dictionary
from workers import granted_processes, in_processes

EVALUATIONS = {
    one.name: one
    for one in (CORE, ABSORPTION, SPARSE_PROBING, SCR, TPP, UNLEARNING, AUTOINTERP, RAVEL, MDL)
}
SETTINGS: dict[str, Any] = {
    "core": CoreSettings(),
    "absorption": AbsorptionSettings(),
    "sparse_probing": ProbingSettings(),
    "scr": AblationSettings(),
    "tpp": AblationSettings(),
    "unlearning": UnlearningSettings(),
    "autointerp": AutointerpSettings(),
    "ravel": RavelSettings(),
    "mdl": MdlSettings(),
}


def wanted_benchmarks() -> list[str]:
    """Return the names this run is to make; ends with a sentence on one that there is not."""
    names = (os.environ.get("AI_SCIENTIST_EVALUATIONS") or "").split()
    for name in names:
        if name not in EVALUATIONS:
            stop(f"AI_SCIENTIST_EVALUATIONS names {name!r}; there are {', '.join(EVALUATIONS)}")
    return names


def run_benchmarks(
    names: Sequence[str], saes: Sequence[Dictionary], data: Data
) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """Return each section's rows, one per SAE, and the reason for each evaluation not run."""
    sections: dict[str, list[Row]] = {}
    not_run = {}
    for name in names:
        evaluation = EVALUATIONS[name]
        started = time.perf_counter()
        print(f"sae_bench's {name} on {len(saes)} SAEs", flush=True)
        try:
            rows = measure_all(evaluation, saes, data, SETTINGS[name])
        except NotRunError as error:
            not_run[f"sae_bench {name}"] = str(error)
            continue
        print(f"sae_bench's {name}: {time.perf_counter() - started:.1f} s", flush=True)
        before = sections.get(evaluation.section, [{} for _ in saes])
        sections[evaluation.section] = [
            ours | theirs for ours, theirs in zip(before, rows, strict=True)
        ]
    return sections, not_run


def keep_set_ups(data: Data, folder: Path) -> None:
    """Write into `folder` what the wanted evaluations share, to lie beside the data.

    One that cannot be made, no run makes either.
    """

    def keep(name: str) -> None:
        print(f"set-up of {name}", flush=True)
        with contextlib.suppress(NotRunError):
            keep_set_up(EVALUATIONS[name], data, SETTINGS[name], folder)

    names = [name for name in wanted_benchmarks() if EVALUATIONS[name].has_set_up]
    in_processes(keep, names, granted_processes())


def describe_settings() -> dict[str, Any]:
    """Return all settings by evaluation, for the hash that stands beside results."""
    return {name: dataclasses.asdict(settings) for name, settings in SETTINGS.items()}
