"""RAVEL: can latents exchange one attribute of an entity, and leave the others? Frozen.

sae_bench trains a mask over latents on pairs of prompts that the language model completes rightly.
Entities are the benign ones, attributes some of their relations and their class.
"""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import (
    MODEL_NAME,
    Blank,
    OneModel,
    Replacement,
    for_each,
    numbers,
    only_result,
    shared_folder,
    staged,
    unique_name,
    wrap,
)
from corpus import PAD
from data import Data
from dictionary import Dictionary
from offline_data import CLASS_ATTRIBUTE, RAVEL_ENTITIES


@dataclasses.dataclass(frozen=True, kw_only=True)
class RavelSettings:
    """How much of it; the names are sae_bench's."""

    attributes: tuple[str, ...] = ("flavors", "thickens", CLASS_ATTRIBUTE)
    top_n_entities: int = 40
    top_n_templates: int = 5
    num_pairs_per_attribute: int = 96
    llm_batch_size: int = 16
    learning_rate: float = 0.05
    """sae_bench's 0.001 is for some two hundred times as many steps."""
    num_epochs: int = 2
    n_generated_tokens: int = 1
    random_seed: int = 0


def measure_ravel(
    saes: Sequence[Dictionary], data: Data, settings: RavelSettings
) -> list[dict[str, float]]:
    """Return cause, isolation and disentanglement scores of each SAE."""
    import sae_bench.evals.ravel.main as bench

    given = dataclasses.asdict(settings)
    chosen = {RAVEL_ENTITIES: list(given.pop("attributes"))}
    model, tokenizer = _transformers_model(data.folder)
    replacements = [
        Replacement(bench, "AutoModelForCausalLM", OneModel(model)),
        Replacement(bench, "AutoTokenizer", OneModel(tokenizer)),
        Replacement(bench, "LLM_NAME_MAP", {MODEL_NAME: MODEL_NAME}),
    ]

    def measure(shared: Path, sae: Dictionary) -> dict[str, float]:
        config = bench.RAVELEvalConfig(  # sae_bench changes it
            **given,
            entity_attribute_selection=chosen,
            model_name=MODEL_NAME,
            llm_dtype="float32",
            artifact_dir=str(shared),
        )
        with staged(settings.random_seed, *replacements):
            named = [(unique_name(sae), wrap(sae, data))]
            results = bench.run_eval(config, named, "cpu", "out", artifacts_path=str(shared))
        scores = numbers(only_result(results)["eval_result_metrics"])
        return {f"ravel_{name}": value for name, value in scores.items()}

    with shared_folder() as shared:
        shutil.copytree(data.folder / "datasets" / "ravel" / "base", shared / "base")
        measure(shared, Blank(data.d_model))  # finds the prompts that are completed rightly
        return for_each(functools.partial(measure, shared), saes)


@functools.cache
def _transformers_model(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    model.generation_config.pad_token_id = PAD
    return model.eval().requires_grad_(False), AutoTokenizer.from_pretrained(folder / "model")
