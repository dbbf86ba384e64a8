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
    Evaluation,
    Measure,
    Row,
    only_result,
    staged,
    unique_name,
)
from bench_inputs import NotRunError, Replacement, hooked_model, model_name, our_model, wrap
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
    llm_batch_size: int = 64
    llm_dtype: str = "float32"


Letters = dict[str, dict[str, float]]


def prepare_absorption(data: Data, settings: AbsorptionSettings) -> Measure:
    """Measure means over letters and repeats.

    The letters are those that the language model's own probe finds, the same for every SAE; one
    that finds too few is a NotRunError when SAEs are measured.
    """
    import sae_bench.evals.absorption.main  # noqa: F401

    hooked_model(data)

    def measure(shared: Path, sae: Dictionary) -> Row:
        repeats = []
        for seed in settings.seeds:
            probes = shared / f"seed_{seed}"
            _train_probe(probes, data, settings, seed)
            repeats.append(_measure_letters(probes, data, settings, seed, sae))
        return _means(repeats)

    return measure


def _train_probe(probes: Path, data: Data, settings: AbsorptionSettings, seed: int) -> None:
    from sae_bench.evals.absorption.common import load_or_train_probe

    with staged(seed, *_ordered_words()):
        load_or_train_probe(
            hooked_model(data),
            base_template=settings.prompt_template,
            pos_idx=settings.prompt_token_pos,
            layer=data.layer,
            probes_dir=probes,
            device=str(data.device),
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


class _Scores:
    """sklearn's scores of yes-or-no predictions without its checks, which took half the time."""

    @staticmethod
    def precision_score(true: Any, predicted: Any) -> float:
        """Return the share of the predicted that is true, 0 where nothing is predicted."""
        return float((true & predicted).sum() / max(predicted.sum(), 1))

    @staticmethod
    def recall_score(true: Any, predicted: Any) -> float:
        """Return the share of the true that is predicted."""
        return float((true & predicted).sum() / max(true.sum(), 1))

    @staticmethod
    def f1_score(true: Any, predicted: Any) -> float:
        """Return the harmonic mean of the two."""
        return float(2 * (true & predicted).sum() / max(true.sum() + predicted.sum(), 1))

    @staticmethod
    def roc_auc_score(*_: object) -> float:
        """Return nothing: sae_bench writes it down and never reads it."""
        return float("nan")


def _measure_letters(
    probes: Path, data: Data, settings: AbsorptionSettings, seed: int, sae: Dictionary
) -> Letters:
    import sae_bench.evals.absorption.main as bench
    from sae_bench.evals.absorption import k_sparse_probing

    given = dataclasses.asdict(settings)
    del given["seeds"]
    config = bench.AbsorptionEvalConfig(
        **given,
        model_name=model_name(data),
        random_seed=seed,
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
    replacements = [
        *our_model(bench, data=data),
        *_ordered_words(),
        *redirected,
        Replacement(k_sparse_probing, "metrics", _Scores),
    ]
    with staged(seed, *replacements):
        results = bench.run_eval(
            config, [(unique_name(sae), wrap(sae, data))], str(data.device), "."
        )
    if not results:  # sae_bench says it, and raises nothing
        raise NotRunError(
            f"a linear probe of the language model finds fewer than {settings.min_feats_for_eval} "
            f"first letters at an F1 of {settings.min_GT_probe_f1}"
        )
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


ABSORPTION = Evaluation(
    name="absorption",
    section="absorption evaluation results",
    prepare=prepare_absorption,
    kept_at_scale=True,
)
