"""Minimal description length: how many bits per token the latents of an SAE take. Frozen.

sae_bench 0.6.0 ships this evaluation without running it: the configuration is read from a global
that only its command line sets, and tensors are sent to a GPU where there may be none.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from bench import (
    Evaluation,
    Measure,
    Row,
    only_result,
    staged,
    unique_name,
)
from bench_inputs import Replacement, model_name, our_model, text_folder, wrap
from data import Data
from dictionary import Dictionary


@dataclasses.dataclass(frozen=True, kw_only=True)
class MdlSettings:
    """How finely latents are written down; the names are sae_bench's."""

    num_bins_values: tuple[int, ...] = (16, 64)
    mse_epsilon_threshold: float = 0.01
    sae_batch_size: int = 4
    llm_dtype: str = "float32"
    dataset_name: str = "HuggingFaceFW/fineweb"
    """Of the person's hub folder; the generated world has test documents of its own."""
    random_seed: int = 0


def prepare_mdl(data: Data, settings: MdlSettings) -> Measure:
    """Measure bits per token and the root mean squared error per dimension, at each precision."""
    import sae_bench.evals.mdl.main as bench

    bench.logger.disable("sae_bench")  # it prints every latent's range
    given = dataclasses.asdict(settings)
    given["dataset_name"] = text_folder(data, settings.dataset_name)
    given["num_bins_values"] = list(settings.num_bins_values)
    config = bench.MDLEvalConfig(
        **given,
        k_values=[None],  # the SAE's own latents, whatever their number
        model_name=model_name(data),
        context_length=data.documents["test"].tokens.shape[1],
    )
    replacements = [*our_model(bench, data=data)]
    if not torch.cuda.is_available():
        replacements.append(Replacement(torch.Tensor, "cuda", lambda tensor: tensor))
    bench.config = config

    def measure(_: Path, sae: Dictionary) -> Row:
        with staged(settings.random_seed, *replacements):
            named = [(unique_name(sae), wrap(sae, data))]
            results = bench.run_eval(config, named, str(data.device), ".")
        results.pop("custom_eval_config")
        metrics = {}
        for row in only_result(results):
            bins = row["num_bins"]
            metrics[f"description_length_{bins}_bins"] = float(row["description_length"])
            metrics[f"description_error_{bins}_bins"] = float(row["mse_loss"])
        return metrics

    return measure


MDL = Evaluation(
    name="mdl", section="mdl evaluation results", prepare=prepare_mdl, has_set_up=False
)
