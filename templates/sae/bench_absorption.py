"""Absorption: does a first letter's latent fall silent where another one has swallowed it? Frozen.

sae_bench 0.6.0 keeps what it finds inside its own installation, by the SAE's name; never uses its
random seed; takes words in an order that changes with the process; and draws other numbers after
training a probe than after finding one. Here each repeat has a seed and a folder of its own, its
probe is trained first, and every SAE starts from the same state: SAEs are compared on the same
words, prompts and letters.
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
    NotRunError,
    Replacement,
    for_each,
    hooked_model,
    only_result,
    our_model,
    staged,
    unique_name,
    wrap,
)
from data import Data
from dictionary import Dictionary


@dataclasses.dataclass(frozen=True, kw_only=True)
class AbsorptionSettings:
    """How absorption is measured; all but the seeds are sae_bench's own settings."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """One for each repeat: words, prompts and probes are drawn anew."""
    max_k_value: int = 3
    prompt_template: str = "{word} has the first letter :"
    prompt_token_pos: int = -6
    min_GT_probe_f1: float = 0.6
    min_feats_for_eval: int = 10


Letters = dict[str, dict[str, float]]


def measure_absorption(
    saes: Sequence[Dictionary], data: Data, settings: AbsorptionSettings
) -> list[dict[str, float]]:
    """Return each SAE's means over letters and repeats.

    The letters are those that the language model's own probe finds, the same for every SAE. Raises
    NotRunError when they are too few.
    """
    rows: list[list[Letters]] = []
    for seed in settings.seeds:
        with staged(seed) as folder:
            _train_probe(folder / "probes", data, settings, seed)
            measure = functools.partial(_measure, folder / "probes", data, settings, seed)
            rows.append(for_each(measure, saes))
    if not all(letters for row in rows for letters in row):
        raise NotRunError(
            f"a linear probe of the language model finds fewer than {settings.min_feats_for_eval} "
            f"first letters at an F1 of {settings.min_GT_probe_f1}"
        )
    return [_means(letters) for letters in zip(*rows, strict=True)]


def _train_probe(probes: Path, data: Data, settings: AbsorptionSettings, seed: int) -> None:
    from sae_bench.evals.absorption.common import load_or_train_probe

    with staged(seed, *_ordered_words()):
        load_or_train_probe(
            hooked_model(data.folder),
            base_template=settings.prompt_template,
            pos_idx=settings.prompt_token_pos,
            layer=data.layer,
            probes_dir=probes,
            device="cpu",
        )


def _ordered_words() -> list[Replacement]:
    """Return what fixes the order of the words: a tokenizer's own differs between processes."""
    from sae_bench.evals.absorption import common, feature_absorption
    from sae_bench.evals.absorption.vocab import get_alpha_tokens

    def ordered(*given: Any, **named: Any) -> list[str]:
        return sorted(get_alpha_tokens(*given, **named))

    return [
        Replacement(module, "get_alpha_tokens", ordered) for module in (common, feature_absorption)
    ]


def _measure(
    probes: Path, data: Data, settings: AbsorptionSettings, seed: int, sae: Dictionary
) -> Letters:
    import sae_bench.evals.absorption.main as bench
    import sklearn

    given = dataclasses.asdict(settings)
    del given["seeds"]
    config = bench.AbsorptionEvalConfig(
        **given,
        model_name=MODEL_NAME,
        random_seed=seed,
        llm_batch_size=BATCH,
        llm_dtype="float32",
        precalc_k_sparse_probe_sae_acts=True,
    )
    places = {  # defaults that point into sae_bench's installation
        "run_k_sparse_probing_experiment": {"experiment_dir": "k"},
        "run_feature_absortion_experiment": {
            "experiment_dir": "absorption",
            "sparse_probing_experiment_dir": "k",
        },
    }
    redirected = [
        Replacement(
            bench, name, functools.partial(getattr(bench, name), probes_dir=probes, **folders)
        )
        for name, folders in places.items()
    ]
    with (
        staged(seed, *our_model(bench, data=data), *_ordered_words(), *redirected),
        sklearn.config_context(assume_finite=True, skip_parameter_validation=True),  # 2,000 scores
    ):
        results = bench.run_eval(config, [(unique_name(sae), wrap(sae, data))], "cpu", ".")
    if not results:
        return {}  # said, and not raised: too few letters
    return {
        row["first_letter"]: {key: float(row[key]) for key in row if key != "first_letter"}
        for row in only_result(results)["eval_result_details"]
    }


def _means(repeats: Sequence[Letters]) -> dict[str, float]:
    rows = [row for letters in repeats for row in letters.values()]

    def mean(name: str) -> float:
        return sum(row[name] for row in rows) / len(rows)

    return {
        "mean_absorption_score": mean("full_absorption_rate"),
        "mean_absorption_fraction": mean("mean_absorption_fraction"),
        "mean_num_split_features": mean("num_split_features"),
        "absorption_letters": len(rows) / len(repeats),
    }
