"""sae_bench's core evaluation on our documents. Frozen.

sae_bench 0.6.0 logs and skips whatever fails, so the number of results is checked. Its
`explained_variance` subtracts (mean of x^2)^2 where the variance of each dimension belongs; it is
reported under a name that says so, and nothing should be concluded from it: use `fvu`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import Evaluation, Measure, Row, staged, unique_name
from bench_inputs import our_model, text_folder, wrap
from data import Data
from dictionary import Dictionary

METRICS = {
    "sae_bench_ce_loss_score": ("model_performance_preservation", "ce_loss_score"),
    "sae_bench_kl_div_score": ("model_behavior_preservation", "kl_div_score"),
    "sae_bench_l0": ("sparsity", "l0"),
    "sae_bench_l2_ratio": ("shrinkage", "l2_ratio"),
    "sae_bench_cossim": ("reconstruction_quality", "cossim"),
    "sae_bench_defective_explained_variance": ("reconstruction_quality", "explained_variance"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoreSettings:
    """How many tokens it takes."""

    prompts: int = 16
    """Documents of a batch; sae_bench's mean squared error depends on it."""
    batches: int = 6
    """Batches for the reconstruction."""
    variance_batches: int = 12
    """Batches for sparsity and variance."""
    dataset: str = "Skylion007/openwebtext"
    """Of the person's hub folder; the generated world has test documents of its own."""
    llm_dtype: str = "float32"


def prepare_core(data: Data, settings: CoreSettings) -> Measure:
    """Measure sae_bench's core metrics, prefixed `sae_bench_`.

    An SAE that sae_bench leaves out is a BenchError with its own words.
    """
    import sae_bench.evals.core.main as bench

    replacements = our_model(bench, data=data)
    texts = text_folder(data, settings.dataset)

    def measure(_: Path, sae: Dictionary) -> Row:
        with staged(0, *replacements), _complaints() as said:
            results = bench.multiple_evals(
                selected_saes=[(unique_name(sae), wrap(sae, data))],
                n_eval_reconstruction_batches=settings.batches,
                n_eval_sparsity_variance_batches=settings.variance_batches,
                eval_batch_size_prompts=settings.prompts,
                compute_featurewise_density_statistics=True,  # the result is invalid without them
                compute_featurewise_weight_based_metrics=True,
                exclude_special_tokens_from_reconstruction=True,
                dataset=texts,
                context_size=data.documents["test"].tokens.shape[1],
                output_folder="out",
                dtype=settings.llm_dtype,
                device=str(data.device),
                force_rerun=True,
            )
            if len(results) != 1:
                raise RuntimeError(f"sae_bench left this SAE out, saying {said.getvalue()[-4000:]}")
        return _chosen(results[0]["metrics"])

    return measure


def _chosen(groups: dict[str, dict[str, Any]]) -> dict[str, float]:
    return {name: float(groups[group][key]) for name, (group, key) in METRICS.items()}


@contextlib.contextmanager
def _complaints() -> Iterator[io.StringIO]:
    """Collect what sae_bench logs where it should raise."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logger = logging.getLogger("sae_bench")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


CORE = Evaluation(
    name="core",
    section="core evaluation results",
    prepare=prepare_core,
    inputs=(("datasets", CoreSettings.dataset),),
    has_set_up=False,
)
