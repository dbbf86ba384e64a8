"""sae_bench's unlearning on four-way questions about the facts of the small world. Frozen.

Its score is the share of hazard questions answered wrong at the most effective clamping that leaves
99% of the others right: a maximum over the grid, chosen on the questions it is reported on. Our own
frontier (unlearning.py) chooses on other documents; this one is for comparison with published
tables. The language model follows no instructions, so a question is a sentence's beginning, and the
answer is the most probable of four ends, not the letter of one.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import (
    Evaluation,
    Measure,
    Row,
    only_result,
    staged,
    unique_name,
)
from bench_inputs import (
    Replacement,
    check_dataset,
    find_in_hub,
    hooked_model,
    is_generated,
    our_model,
    our_texts,
    wrap,
)
from data import BENIGN, HAZARD, Data
from dictionary import Dictionary
from offline_data import FORGET, RETAIN
from texts import read_texts

KNOWN_MODEL = "gemma-2-2b-it"
"""sae_bench asks questions only of models that it knows by name."""
HAZARD_QUESTIONS, OTHER_QUESTIONS = "cais/wmdp", "cais/mmlu"


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnlearningSettings:
    """The grid; the names are sae_bench's."""

    retain_thresholds: tuple[float, ...] = (0.001, 0.01)
    n_features_list: tuple[int, ...] = (10, 20)
    multipliers: tuple[int, ...] = (2, 10)
    """Latents are clamped to minus so many units of the residual stream, whatever their size."""
    dataset_names: tuple[str, ...] = (FORGET, *RETAIN)
    dataset_size: int = 64
    seq_len: int = 64
    llm_batch_size: int = 64
    llm_dtype: str = "float32"
    random_seed: int = 0


def prepare_unlearning(data: Data, settings: UnlearningSettings) -> Measure:
    """Measure sae_bench's unlearning score."""
    asked = f"google/{KNOWN_MODEL}"
    if not is_generated(data):
        find_in_hub("models", asked)
        for name in settings.dataset_names:
            where = HAZARD_QUESTIONS if name.startswith("wmdp") else OTHER_QUESTIONS
            check_dataset(where, ("question", "choices", "answer"), "test", name)
    import sae_bench.evals.unlearning.main as bench
    import sae_bench.evals.unlearning.utils.feature_activation as latents
    import sae_bench.evals.unlearning.utils.metrics as questions

    given = {key: _listed(value) for key, value in dataclasses.asdict(settings).items()}
    config = bench.UnlearningEvalConfig(
        **given,
        model_name=KNOWN_MODEL,
    )
    replacements = [*our_texts(questions, data=data), *our_model(bench, data=data, name=asked)]
    if is_generated(data):
        replacements += [
            Replacement(hooked_model(data).cfg, "model_name", KNOWN_MODEL),
            Replacement(latents, "get_forget_retain_data", lambda *_: _corpora(data)),
            Replacement(questions, "convert_wmdp_data_to_prompt", _as_prompt),
            Replacement(questions, "get_output_probs_abcd", _probabilities),
        ]
    else:
        replacements.append(Replacement(latents, "get_forget_retain_data", _persons_corpora))

    def measure(shared: Path, sae: Dictionary) -> Row:
        with staged(settings.random_seed, *replacements):
            named = [(unique_name(sae), wrap(sae, data))]
            results = bench.run_eval(
                config, named, str(data.device), "out", artifacts_path=str(shared)
            )
        score = only_result(results)["eval_result_metrics"]["unlearning"]["unlearning_score"]
        return {"unlearning_score": float(score)}

    return measure


def _listed(value: Any) -> Any:
    return list(value) if type(value) is tuple else value


def _corpora(data: Data) -> tuple[list[str], list[str]]:
    """Return the texts of the hazard and of the benign `select` documents."""
    words = json.loads((data.folder / "model" / "tokenizer.json").read_text())["model"]["vocab"]
    names = {number: word for word, number in words.items()}
    select = data.documents["select"]
    forget, retain = (
        [" ".join(names[token] for token in row[1:]) for row in select.of(domain).tokens.tolist()]
        for domain in (HAZARD, BENIGN)
    )
    return forget, retain


def _persons_corpora(*_: object) -> tuple[list[str], list[str]]:
    """Return the person's texts to forget and to retain, as many as sae_bench takes of its own."""
    forget, retain = (
        list(itertools.islice((text for text in read_texts(name) if len(text) > 50), 4096))
        for name in ("forget", "retain")
    )
    return forget, retain


def _as_prompt(
    question: str,
    choices: Sequence[str],
    permute_choices: Sequence[int] | None = None,
    without_question: bool = False,
    **_: object,
) -> str:
    order = permute_choices or range(len(choices))
    asked = "" if without_question else question
    return json.dumps({"question": asked, "choices": [choices[i] for i in order]})


@torch.no_grad()
def _probabilities(model: Any, prompts: Sequence[str], batch_size: int, **_: object) -> Tensor:
    """Return the probability of each of the four choices as the next word, (N, 4).

    A question comes in all 24 orders of its choices, and is read once.
    """
    asked = [json.loads(prompt) for prompt in prompts]
    place = {text: row for row, text in enumerate(dict.fromkeys(one["question"] for one in asked))}
    tokens = model.to_tokens(list(place), padding_side="right")
    lengths = torch.tensor([len(text.split()) for text in place])
    logits = torch.cat([model(rows) for rows in tokens.split(int(batch_size))])
    last = logits[torch.arange(len(place)), lengths].softmax(-1)  # <bos> comes before the words
    words = [word for one in asked for word in one["choices"]]
    choices = torch.tensor(model.tokenizer.convert_tokens_to_ids(words)).view(-1, 4)
    return last[[place[one["question"]] for one in asked]].gather(1, choices)


UNLEARNING = Evaluation(
    name="unlearning",
    section="unlearning evaluation results",
    prepare=prepare_unlearning,
    inputs=(
        ("models", f"google/{KNOWN_MODEL}"),
        ("datasets", HAZARD_QUESTIONS),
        ("datasets", OTHER_QUESTIONS),
    ),
    kept_at_scale=True,
)
