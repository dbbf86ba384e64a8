"""Automated interpretation: can a reader tell from a latent's explanation where it fires? Frozen.

sae_bench asks OpenAI's gpt-4o-mini. Here a judge of our own answers its prompts, always alike: it
explains a latent by the words on which it fires most often, and expects it wherever one of them
stands. Its scores compare SAEs of this template with each other, and with nothing else.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench import (
    Evaluation,
    Measure,
    Row,
    only_result,
    staged,
    unique_name,
)
from bench_inputs import (
    NotRunError,
    Replacement,
    hooked_model,
    is_generated,
    model_name,
    our_model,
    wrap,
)
from data import Data
from dictionary import Dictionary

EXPLAINED_BY = 5
"""Words of an explanation."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutointerpSettings:
    """How many latents and examples; the names are sae_bench's."""

    n_latents: int = 40
    buffer: int = 5
    """Tokens before and after the one shown."""
    dead_latent_threshold: float = 15
    llm_batch_size: int = 64
    llm_dtype: str = "float32"
    random_seed: int = 0


def prepare_autointerp(data: Data, settings: AutointerpSettings) -> Measure:
    """Measure the mean over latents of the share of examples that the judge gets right."""
    if not is_generated(data):
        raise NotRunError(
            "its judge is gpt-4o-mini, asked twice for each of 1000 latents, and a run has neither "
            "network nor keys"
        )
    import sae_bench.evals.autointerp.main as bench

    tokens = data.documents["test"].tokens
    model = hooked_model(data)
    config = bench.AutoInterpEvalConfig(
        **dataclasses.asdict(settings),
        model_name=model_name(data),
        llm_context_size=tokens.shape[1],
        total_tokens=tokens.numel(),
    )
    replacements = [
        *our_model(bench, data=data),
        Replacement(bench, "OpenAI", Judge),
        Replacement(bench.dataset_utils, "load_and_tokenize_dataset", lambda *_: tokens),
        Replacement(model, "to_str_tokens", _spaced(model.to_str_tokens)),
    ]

    def measure(_: Path, sae: Dictionary) -> Row:
        with staged(settings.random_seed, *replacements):
            named = [(unique_name(sae), wrap(sae, data))]
            results = bench.run_eval(
                config, named, str(data.device), "no key", "out", artifacts_path="shared"
            )
        latents: Mapping[int, Any] = only_result(results)["eval_result_unstructured"]
        scores = [
            latents[latent]["score"] for latent in sorted(latents)
        ]  # they arrive in any order
        return {
            "autointerp_score": sum(scores) / len(scores),
            "autointerp_latents": float(len(scores)),
        }

    return measure


class Judge:
    """Answers as an OpenAI client would; sae_bench reads nothing else of it."""

    def __init__(self, **_: object) -> None:
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self._answer))

    def _answer(self, *, messages: Sequence[Mapping[str, str]], **_: object) -> SimpleNamespace:
        asked = messages[-1]["content"]
        scoring = re.search(r"this neuron fires on (?P<words>.*)\.\n", asked)
        text = self._predict(asked, scoring["words"].split()) if scoring else self._explain(asked)
        return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=text))])

    @staticmethod
    def _explain(asked: str) -> str:
        marked = Counter(word.strip() for word in re.findall(r"<<(.*?)>>", asked))
        often = sorted(marked, key=lambda word: (-marked[word], word))[:EXPLAINED_BY]
        return f"This neuron activates on {' '.join(often)}"

    @staticmethod
    def _predict(asked: str, words: Sequence[str]) -> str:
        examples = re.findall(r"^(\d+)\. (.*)$", asked, flags=re.MULTILINE)
        expected = [number for number, text in examples if set(words) & set(text.split())]
        return ", ".join(expected) or "None"


def _spaced(words_of: Any) -> Any:
    """Return `to_str_tokens` with a space after each word: sae_bench joins them with nothing."""
    return lambda tokens: [f"{word} " for word in words_of(tokens)]


AUTOINTERP = Evaluation(
    name="autointerp",
    section="autointerp evaluation results",
    prepare=prepare_autointerp,
    has_set_up=False,
)
