"""RAVEL: can latents exchange one attribute of an entity, and leave the others? Frozen.

sae_bench trains a mask over latents on pairs of prompts that the language model completes rightly.
Entities are the neutral ones, attributes their class and first letter. Only the letter, asked for
right after the entity, can be exchanged at the entity's place: all else has left it by the hook.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from bench import (
    Evaluation,
    Measure,
    Row,
    numbers,
    only_result,
    staged,
    unique_name,
)
from bench_inputs import (
    NotRunError,
    OneModel,
    Replacement,
    find_in_hub,
    is_generated,
    model_name,
    transformers_model,
    wrap,
)
from data import Data
from dictionary import Dictionary
from offline_data import RAVEL_ATTRIBUTES, RAVEL_ENTITIES

PROMPTS = "adamkarvonen/ravel_prompts"
FILES = ("entity_attributes", "prompt_to_split", "entity_to_split", "attribute_to_prompts")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RavelSettings:
    """How much of it; the names are sae_bench's."""

    entities: tuple[str, ...] = (RAVEL_ENTITIES,)
    attributes: tuple[tuple[str, ...], ...] = (RAVEL_ATTRIBUTES,)
    """For each kind of entity."""
    top_n_entities: int = 40
    top_n_templates: int = 5
    num_pairs_per_attribute: int = 96
    llm_batch_size: int = 16
    llm_dtype: str = "float32"
    learning_rate: float = 0.05
    """sae_bench's 0.001 is for some two hundred times as many steps."""
    num_epochs: int = 2
    n_generated_tokens: int = 1
    random_seed: int = 0


def prepare_ravel(data: Data, settings: RavelSettings) -> Measure:
    """Measure cause, isolation and disentanglement scores."""
    import sae_bench.evals.ravel.main as bench

    given = dataclasses.asdict(settings)
    chosen = dict(zip(given.pop("entities"), map(list, given.pop("attributes")), strict=True))
    if is_generated(data):
        prompts = data.folder / "datasets" / "ravel" / "base"
    else:
        prompts = find_in_hub("datasets", PROMPTS)
        for entity in settings.entities:
            for file in FILES:
                if not (prompts / f"ravel_{entity}_{file}.json").is_file():
                    raise NotRunError(f"{PROMPTS} in HF_HOME has no ravel_{entity}_{file}.json")
    model, tokenizer = transformers_model(data)
    name = model_name(data)
    replacements = [
        Replacement(bench, "AutoModelForCausalLM", OneModel(model)),
        Replacement(bench, "AutoTokenizer", OneModel(tokenizer)),
        Replacement(bench, "LLM_NAME_MAP", {name: name}),
    ]

    def measure(shared: Path, sae: Dictionary) -> Row:
        if not (shared / "base").exists():
            shutil.copytree(prompts, shared / "base")
        config = bench.RAVELEvalConfig(  # sae_bench changes it
            **given,
            entity_attribute_selection=chosen,
            model_name=name,
            artifact_dir=str(shared),
        )
        with staged(settings.random_seed, *replacements):
            named = [(unique_name(sae), wrap(sae, data))]
            results = bench.run_eval(
                config, named, str(data.device), "out", artifacts_path=str(shared)
            )
        scores = numbers(only_result(results)["eval_result_metrics"])
        return {f"ravel_{name}": value for name, value in scores.items()}

    return measure


RAVEL = Evaluation(
    name="ravel",
    section="ravel evaluation results",
    prepare=prepare_ravel,
    inputs=(("datasets", PROMPTS),),
    kept_at_scale=True,
)
