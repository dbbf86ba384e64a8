"""The evaluations that runs make beyond the screen: which there are, and how each is set. Frozen.

    AI_SCIENTIST_EVALUATIONS   their names, separated by spaces; nothing when absent

All but the sections' names is in the modules bench_*.py, which are imported when they are needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import keep_set_up, measure_all
from bench_absorption import ABSORPTION, AbsorptionSettings
from bench_autointerp import AUTOINTERP, AutointerpSettings
from bench_core import CORE, CoreSettings
from bench_hierarchy import HIERARCHY_ABSORPTION, HierarchySettings
from bench_inputs import NotRunError, is_generated
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
    for one in (
        CORE,
        ABSORPTION,
        HIERARCHY_ABSORPTION,
        SPARSE_PROBING,
        SCR,
        TPP,
        UNLEARNING,
        AUTOINTERP,
        RAVEL,
        MDL,
    )
}
GENERATED: dict[str, Any] = {
    "core": CoreSettings(),
    "absorption": AbsorptionSettings(),
    "hierarchy": HierarchySettings(),
    "sparse_probing": ProbingSettings(),
    "scr": AblationSettings(),
    "tpp": AblationSettings(),
    "unlearning": UnlearningSettings(),
    "autointerp": AutointerpSettings(),
    "ravel": RavelSettings(),
    "mdl": MdlSettings(),
}
AMAZON, BIOS = "canrager/amazon_reviews_mcauley_1and5", "LabHC/bias_in_bios"
ABLATIONS = AblationSettings(
    dataset_names=(f"{BIOS}_class_set1", AMAZON),
    pairs=(
        (
            ("professor", "nurse"),
            ("architect", "journalist"),
            ("surgeon", "psychologist"),
            ("attorney", "teacher"),
        ),
        (
            ("Books", "CDs_and_Vinyl"),
            ("Software", "Electronics"),
            ("Pet_Supplies", "Office_Products"),
            ("Industrial_and_Scientific", "Toys_and_Games"),
        ),
    ),
    train_set_size=4000,
    test_set_size=1000,
    context_length=128,
    n_values=(2, 5, 10, 20, 50, 100, 500),
    llm_batch_size=32,
    llm_dtype="bfloat16",
    random_seed=42,
)
PRETRAINED: dict[str, Any] = {  # sae_bench's defaults, in bfloat16 as it runs gemma
    "core": CoreSettings(batches=200, variance_batches=2000, llm_dtype="bfloat16"),
    "absorption": AbsorptionSettings(
        max_k_value=10,
        prompt_template="{word} has the first letter:",
        min_feats_for_eval=20,
        llm_batch_size=32,
        llm_dtype="bfloat16",
    ),
    "hierarchy": HierarchySettings(),
    "sparse_probing": ProbingSettings(
        dataset_names=(
            *(f"{BIOS}_class_set{number}" for number in (1, 2, 3)),
            AMAZON,
            f"{AMAZON}_sentiment",
            "codeparrot/github-code",
            "fancyzhx/ag_news",
            "Helsinki-NLP/europarl",
        ),
        probe_train_set_size=4000,
        probe_test_set_size=1000,
        context_length=128,
        llm_batch_size=32,
        llm_dtype="bfloat16",
        random_seed=42,
    ),
    "scr": ABLATIONS,
    "tpp": ABLATIONS,
    "unlearning": UnlearningSettings(
        multipliers=(25, 50, 100, 200),
        dataset_names=(
            "wmdp-bio",
            "high_school_us_history",
            "college_computer_science",
            "high_school_geography",
            "human_aging",
        ),
        dataset_size=1024,
        seq_len=1024,
        llm_batch_size=4,
        llm_dtype="bfloat16",
        random_seed=42,
    ),
    "autointerp": AutointerpSettings(
        n_latents=1000, buffer=10, llm_batch_size=32, llm_dtype="bfloat16", random_seed=42
    ),
    "ravel": RavelSettings(
        entities=("city", "nobel_prize_winner"),
        attributes=(
            ("Country", "Continent", "Language"),
            ("Country of Birth", "Field", "Gender"),
        ),
        top_n_entities=500,
        top_n_templates=90,
        num_pairs_per_attribute=5000,
        llm_batch_size=8,
        llm_dtype="bfloat16",
        learning_rate=1e-3,
        n_generated_tokens=6,
        random_seed=42,
    ),
    # The one precision that is declared; the latents of four texts take 34 MB.
    "mdl": MdlSettings(num_bins_values=(64,), batches=200, random_seed=42),
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
) -> tuple[dict[str, list[dict[str, float | None]]], dict[str, str]]:
    """Return each section's rows, one per SAE, and for each metric not measured the reason.

    A declared metric that a row lacks is None in it.
    """
    sections: dict[str, list[dict[str, float | None]]] = {}
    not_run: dict[str, str] = {}
    for name in names:
        evaluation = EVALUATIONS[name]
        started = time.perf_counter()
        print(f"evaluation {name} on {len(saes)} SAEs", flush=True)
        try:
            rows = measure_all(evaluation, saes, data, settings_for(data)[name])
        except NotRunError as error:
            not_run |= {f"{evaluation.section}/{one}": str(error) for one in _metrics_of(name)}
            continue
        print(f"evaluation {name}: {time.perf_counter() - started:.1f} s", flush=True)
        declared: dict[str, float | None] = dict.fromkeys(_metrics_of(name))
        before = sections.get(evaluation.section, [{}] * len(rows))
        sections[evaluation.section] = [
            {**declared, **ours, **theirs} for ours, theirs in zip(before, rows, strict=True)
        ]
    return sections, not_run


def _metrics_of(evaluation: str) -> list[str]:
    described = tomllib.loads(Path(__file__).with_name("template.toml").read_text())["metrics"]
    return [name for name, spec in described.items() if spec.get("evaluation") == evaluation]


def keep_set_ups(data: Data, folder: Path) -> None:
    """Write into `folder` what the wanted evaluations share, to lie beside the data.

    One that cannot be made, no run makes either.
    """

    def keep(name: str) -> None:
        print(f"set-up of {name}", flush=True)
        with contextlib.suppress(NotRunError):
            keep_set_up(EVALUATIONS[name], data, settings_for(data)[name], folder)

    names = [name for name in wanted_benchmarks() if EVALUATIONS[name].shares(data)]
    in_processes(keep, names, granted_processes())


def settings_for(data: Data) -> dict[str, Any]:
    """Return each evaluation's settings: small ones for the generated world, else sae_bench's."""
    return GENERATED if is_generated(data) else PRETRAINED


def describe_settings(data: Data) -> dict[str, Any]:
    """Return all settings by evaluation, for the hash that stands beside results.

    With them the commits of what is read of HF_HOME.
    """
    return {
        name: dataclasses.asdict(settings) | {"commits": EVALUATIONS[name].commits(data)}
        for name, settings in settings_for(data).items()
    }
