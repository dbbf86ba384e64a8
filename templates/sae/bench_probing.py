"""Sparse probing, spurious correlation removal (SCR) and targeted probe perturbation (TPP). Frozen.

All three train probes on the language model's activations and ask what single latents, or latents
switched off, do to them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import (
    Evaluation,
    Measure,
    Row,
    numbers,
    only_result,
    staged,
    unique_name,
)
from bench_inputs import check_dataset, is_generated, model_name, our_model, our_texts, wrap
from data import Data
from dictionary import Dictionary
from offline_data import AG_NEWS, BIAS_IN_BIOS


class Read(NamedTuple):
    """What sae_bench reads of a data set."""

    columns: tuple[str, ...]
    splits: tuple[str, ...] = ("train", "test")
    parts: tuple[str | None, ...] = (None,)


AMAZON = "canrager/amazon_reviews_mcauley_1and5"
READ = {
    BIAS_IN_BIOS: Read(("hard_text", "profession", "gender")),
    AMAZON: Read(("text", "category", "rating")),
    AG_NEWS: Read(("text", "label")),
    "codeparrot/github-code": Read(("code", "language"), ("train",)),
    "Helsinki-NLP/europarl": Read(
        ("translation",), ("train",), ("en-fr", "fr-it", "de-en", "es-fr", "nl-pt")
    ),
}
FIRST_SET = f"{BIAS_IN_BIOS}_class_set1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbingSettings:
    """How latents are probed; the names are sae_bench's."""

    dataset_names: tuple[str, ...] = (FIRST_SET, AG_NEWS)
    probe_train_set_size: int = 400
    probe_test_set_size: int = 160
    context_length: int = 24
    k_values: tuple[int, ...] = (1, 2, 5)
    llm_batch_size: int = 64
    """Texts that the language model reads at once: scores move with it."""
    llm_dtype: str = "float32"
    random_seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """How latents are switched off under probes, in SCR and TPP; the names are sae_bench's."""

    dataset_names: tuple[str, ...] = (FIRST_SET,)
    pairs: tuple[tuple[tuple[str, str], ...], ...] = ((("professor", "nurse"),),)
    """For each data set, pairs of classes whose gender or rating is made spurious (SCR)."""
    train_set_size: int = 200
    test_set_size: int = 80
    context_length: int = 24
    n_values: tuple[int, ...] = (2, 5, 10, 20)
    llm_batch_size: int = 64
    """Texts that the language model reads at once: scores move with it."""
    llm_dtype: str = "float32"
    random_seed: int = 0


def prepare_sparse_probing(data: Data, settings: ProbingSettings) -> Measure:
    """Measure how well probes on 1, 2, 5 and all latents tell classes apart."""
    import sae_bench.evals.sparse_probing.main as bench
    import sae_bench.sae_bench_utils.dataset_utils as texts

    config = bench.SparseProbingEvalConfig(**_lists(settings), model_name=model_name(data))
    return _measure_with(bench, [texts], config, data, kept=("sae_", "llm_"))


def prepare_scr(data: Data, settings: AblationSettings) -> Measure:
    """Measure how far switching off latents rids a probe of a spurious correlation."""
    return _prepare_ablations(data, settings, perform_scr=True)


def prepare_tpp(data: Data, settings: AblationSettings) -> Measure:
    """Measure how far switching off one class's latents hurts its probe and no other."""
    return _prepare_ablations(data, settings, perform_scr=False)


def _prepare_ablations(data: Data, settings: AblationSettings, *, perform_scr: bool) -> Measure:
    import sae_bench.evals.scr_and_tpp.dataset_creation as pairs
    import sae_bench.evals.scr_and_tpp.main as bench
    import sae_bench.sae_bench_utils.dataset_utils as texts

    given = _lists(settings)
    config = bench.ScrAndTppEvalConfig(
        column1_vals_lookup=dict(zip(given["dataset_names"], given.pop("pairs"), strict=True)),
        **given,
        perform_scr=perform_scr,
        model_name=model_name(data),
    )
    kept = ("scr_metric",) if perform_scr else ("tpp_",)
    return _measure_with(bench, [texts, pairs], config, data, kept=kept)


def _measure_with(
    bench: Any, texts: Sequence[Any], config: Any, data: Data, *, kept: tuple[str, ...]
) -> Measure:
    if not is_generated(data):
        _check_datasets(config.dataset_names)
    replacements = [*our_model(bench, data=data), *our_texts(*texts, data=data)]

    def measure(shared: Path, sae: Dictionary) -> Row:
        with staged(config.random_seed, *replacements):
            named = [(unique_name(sae), wrap(sae, data))]
            results = bench.run_eval(
                config,
                named,
                str(data.device),
                "out",
                save_activations=is_generated(data),  # else up to 71 GB, for one SAE
                artifacts_path=str(shared),
            )
        return numbers(only_result(results)["eval_result_metrics"], kept)

    return measure


def _check_datasets(names: Sequence[str]) -> None:
    """Raise NotRunError where one of the data sets does not hold what sae_bench reads of it."""
    bases = (name.split("_class_set")[0].split("_sentiment")[0] for name in names)
    for name in dict.fromkeys(bases):
        read = READ[name]
        for split in read.splits:
            for part in read.parts:
                check_dataset(name, read.columns, split, part)


def _lists(settings: Any) -> dict[str, Any]:
    """Return the settings with lists for tuples, which sae_bench insists on."""
    given = dataclasses.asdict(settings)
    return {key: list(value) if type(value) is tuple else value for key, value in given.items()}


SPARSE_PROBING = Evaluation(
    name="sparse_probing",
    section="sparse probing evaluation results",
    prepare=prepare_sparse_probing,
    inputs=tuple(("datasets", name) for name in READ),
)
TWO = (("datasets", BIAS_IN_BIOS), ("datasets", AMAZON))
SCR = Evaluation(name="scr", section="scr evaluations results", prepare=prepare_scr, inputs=TWO)
TPP = Evaluation(name="tpp", section="tpp evaluations results", prepare=prepare_tpp, inputs=TWO)
