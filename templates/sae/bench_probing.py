"""Sparse probing, spurious correlation removal (SCR) and targeted probe perturbation (TPP). Frozen.

All three train probes on the language model's activations and ask what single latents, or latents
switched off, do to them. What does not depend on the SAE is made once for all SAEs of a run.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import (
    BATCH,
    MODEL_NAME,
    Blank,
    for_each,
    numbers,
    only_result,
    our_model,
    our_texts,
    shared_folder,
    staged,
    unique_name,
    wrap,
)
from data import Data
from dictionary import Dictionary
from offline_data import AG_NEWS, BIAS_IN_BIOS

FIRST_SET = f"{BIAS_IN_BIOS}_class_set1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbingSettings:
    """How latents are probed; the names are sae_bench's."""

    dataset_names: tuple[str, ...] = (FIRST_SET, AG_NEWS)
    probe_train_set_size: int = 400
    probe_test_set_size: int = 160
    context_length: int = 24
    k_values: tuple[int, ...] = (1, 2, 5)
    random_seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """How latents are switched off under probes, in SCR and TPP; the names are sae_bench's."""

    dataset_names: tuple[str, ...] = (FIRST_SET,)
    pairs: tuple[tuple[str, str], ...] = (("professor", "nurse"),)
    """Pairs of professions whose gender is made spurious (SCR)."""
    train_set_size: int = 200
    test_set_size: int = 80
    context_length: int = 24
    n_values: tuple[int, ...] = (2, 5, 10, 20)
    random_seed: int = 0


def measure_sparse_probing(
    saes: Sequence[Dictionary], data: Data, settings: ProbingSettings
) -> list[dict[str, float]]:
    """Return how well probes on 1, 2, 5 and all latents tell classes apart, as sae_bench does."""
    import sae_bench.evals.sparse_probing.main as bench
    import sae_bench.sae_bench_utils.dataset_utils as texts

    config = bench.SparseProbingEvalConfig(
        **_lists(settings), model_name=MODEL_NAME, llm_batch_size=BATCH, llm_dtype="float32"
    )
    return _measure_each(bench, [texts], config, saes, data, kept=("sae_", "llm_"))


def measure_scr(
    saes: Sequence[Dictionary], data: Data, settings: AblationSettings
) -> list[dict[str, float]]:
    """Return how far switching off latents rids a probe of a spurious correlation."""
    return _measure_ablations(saes, data, settings, perform_scr=True)


def measure_tpp(
    saes: Sequence[Dictionary], data: Data, settings: AblationSettings
) -> list[dict[str, float]]:
    """Return how far switching off one class's latents hurts its probe and no other."""
    return _measure_ablations(saes, data, settings, perform_scr=False)


def _measure_ablations(
    saes: Sequence[Dictionary], data: Data, settings: AblationSettings, *, perform_scr: bool
) -> list[dict[str, float]]:
    import sae_bench.evals.scr_and_tpp.dataset_creation as pairs
    import sae_bench.evals.scr_and_tpp.main as bench
    import sae_bench.sae_bench_utils.dataset_utils as texts

    given = _lists(settings)
    config = bench.ScrAndTppEvalConfig(
        column1_vals_lookup=dict.fromkeys(given["dataset_names"], given.pop("pairs")),
        **given,
        perform_scr=perform_scr,
        model_name=MODEL_NAME,
        llm_batch_size=BATCH,
        llm_dtype="float32",
    )
    kept = ("scr_metric",) if perform_scr else ("tpp_",)
    return _measure_each(bench, [texts, pairs], config, saes, data, kept=kept)


def _measure_each(
    bench: Any,
    texts: Sequence[Any],
    config: Any,
    saes: Sequence[Dictionary],
    data: Data,
    *,
    kept: tuple[str, ...],
) -> list[dict[str, float]]:
    replacements = [*our_model(bench, data=data), *our_texts(*texts, data=data)]

    def measure(shared: Path, sae: Dictionary) -> dict[str, float]:
        with staged(config.random_seed, *replacements):
            named = [(unique_name(sae), wrap(sae, data))]
            results = bench.run_eval(config, named, "cpu", "out", artifacts_path=str(shared))
        return numbers(only_result(results)["eval_result_metrics"], kept)

    with shared_folder() as shared:
        measure(shared, Blank(data.d_model))
        return for_each(functools.partial(measure, shared), saes)


def _lists(settings: Any) -> dict[str, Any]:
    """Return the settings with lists for tuples, which sae_bench insists on."""
    given = dataclasses.asdict(settings)
    return {key: list(value) if type(value) is tuple else value for key, value in given.items()}
