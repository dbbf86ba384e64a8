"""sae_bench's core evaluation on our documents, with its silences made audible. Frozen.

sae_bench 0.6.0 logs and skips whatever fails, so the number of results is checked. Its
`explained_variance` subtracts (mean of x^2)^2 where the variance of each dimension belongs; it is
reported under a name that says so, and nothing should be concluded from it: use `fvu`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data import Data
from dictionary import Dictionary

PROMPTS = 16
BATCHES = 6


def run_core(saes: Sequence[Dictionary], data: Data, name: str) -> list[dict[str, float]]:
    """Return sae_bench's core metrics of each SAE, prefixed `sae_bench_`.

    Raises RuntimeError with sae_bench's own words when it measured fewer SAEs than it was given.
    """
    from sae_bench.evals.core.main import multiple_evals

    import hooked_model  # noqa: F401  (lets a folder be a model's name)

    wrapped = [(f"{name[:12]}_{seed}", _wrap(sae, data)) for seed, sae in enumerate(saes)]
    said = io.StringIO()
    complaints = logging.StreamHandler(said)
    logging.getLogger("sae_bench").addHandler(complaints)
    random_state = torch.get_rng_state()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(said):
        results = multiple_evals(
            selected_saes=wrapped,
            n_eval_reconstruction_batches=BATCHES,
            n_eval_sparsity_variance_batches=2 * BATCHES,
            eval_batch_size_prompts=PROMPTS,
            compute_featurewise_density_statistics=True,  # the result is invalid without them
            compute_featurewise_weight_based_metrics=True,
            exclude_special_tokens_from_reconstruction=True,
            dataset=str(data.folder / "text"),
            context_size=data.documents["test"].tokens.shape[1],
            output_folder=folder,
            dtype="float32",
            device="cpu",
            force_rerun=True,
        )
    logging.getLogger("sae_bench").removeHandler(complaints)
    torch.set_rng_state(random_state)
    torch.set_grad_enabled(True)
    if len(results) != len(saes):
        raise RuntimeError(
            f"sae_bench's core evaluation measured {len(results)} of {len(saes)} SAEs; it said:\n"
            + said.getvalue()[-4000:]
        )
    return [_metrics(result["metrics"]) for result in results]


def _metrics(groups: dict[str, dict[str, Any]]) -> dict[str, float]:
    wanted = {
        "sae_bench_ce_loss_score": ("model_performance_preservation", "ce_loss_score"),
        "sae_bench_kl_div_score": ("model_behavior_preservation", "kl_div_score"),
        "sae_bench_l0": ("sparsity", "l0"),
        "sae_bench_l2_ratio": ("shrinkage", "l2_ratio"),
        "sae_bench_cossim": ("reconstruction_quality", "cossim"),
        "sae_bench_defective_explained_variance": ("reconstruction_quality", "explained_variance"),
    }
    return {name: float(groups[group][key]) for name, (group, key) in wanted.items()}


def _wrap(sae: Dictionary, data: Data) -> Any:
    from sae_bench.custom_saes.base_sae import BaseSAE

    class Wrapped(BaseSAE):
        """The SAE as sae_bench wants it: its weights by name, its encode and decode as they are."""

        def encode(self, x: Tensor) -> Tensor:
            return sae.encode(x)

        def decode(self, feature_acts: Tensor) -> Tensor:
            return sae.decode(feature_acts)

        def forward(self, x: Tensor) -> Tensor:
            return self.decode(self.encode(x))

    d_sae, d_in = sae.W_dec.shape
    folder = str(Path(data.folder, "model"))
    wrapped = Wrapped(
        d_in, d_sae, folder, data.layer, torch.device("cpu"), torch.float32, data.hook
    )
    for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
        getattr(wrapped, name).data = getattr(sae, name).detach().clone()
    wrapped.cfg.architecture = "custom"
    return wrapped
