"""The weights of an SAE as other tools name them. Frozen: edits are undone.

    SAELens              W_enc (d, F) b_enc W_dec (F, d) b_dec, threshold | b_gate r_mag b_mag
    dictionary_learning  encoder.weight (F, d) encoder.bias decoder.weight (d, F) b_dec k threshold
                         and others for other classes; its `ae.pt` is a torch file

Nothing here needs either package. Architectures are this template's: those of experiment.py (topk,
standard) and of families.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from contract import stop

Tensors = dict[str, Tensor]


class DictionaryLearning(NamedTuple):
    """One class of dictionary_learning."""

    dict_class: str
    trainer_class: str


SAELENS = {
    "topk": "topk",
    "standard": "standard",
    "relu": "standard",
    "batch_topk": "jumprelu",  # as SAELens itself saves a trained BatchTopK
    "jumprelu": "jumprelu",
    "gated": "gated",
}
OWN = "own_"
"""Begins the architecture of an SAE whose encoder is none of these."""
DICTIONARY_LEARNING = {
    "topk": DictionaryLearning("AutoEncoderTopK", "TopKTrainer"),
    "standard": DictionaryLearning("AutoEncoder", "StandardTrainer"),
    "relu": DictionaryLearning("AutoEncoder", "StandardTrainer"),
    "batch_topk": DictionaryLearning("BatchTopKSAE", "BatchTopKTrainer"),
    "jumprelu": DictionaryLearning("JumpReluAutoEncoder", "JumpReluTrainer"),
    "gated": DictionaryLearning("GatedAutoEncoder", "GatedSAETrainer"),
}


def saelens_tensors(sae: Any, architecture: str) -> Tensors:
    """Return the weights by SAELens's names, where they lie: those of the SAE, not copies."""
    tensors = _detached(sae, "W_enc", "b_enc", "W_dec", "b_dec")
    if SAELENS[architecture] == "jumprelu":
        tensors |= _detached(sae, "threshold")
    if architecture == "gated":
        tensors |= _detached(sae, "r_mag", "b_mag") | {"b_gate": tensors.pop("b_enc")}
    return tensors


def dictionary_learning_tensors(weights: Tensors, architecture: str, k: int) -> Tensors:
    """Return copies of SAELens's `weights` for dictionary_learning's class, on the CPU."""
    if architecture == "jumprelu":  # that class does not take b_dec off its input
        own = copy_to_cpu(weights)
        return own | {"b_enc": own["b_enc"] - own["b_dec"] @ own["W_enc"]}
    tensors = {"encoder.weight": weights["W_enc"].T, "decoder.weight": weights["W_dec"].T}
    if architecture == "gated":
        tensors |= {
            "decoder_bias": weights["b_dec"],
            "r_mag": weights["r_mag"],
            "gate_bias": weights["b_gate"],
            "mag_bias": weights["b_mag"],
        }
        return copy_to_cpu(tensors)
    tensors["encoder.bias"] = weights["b_enc"]
    if architecture in ("standard", "relu"):
        return copy_to_cpu(tensors | {"bias": weights["b_dec"]})
    measured = architecture == "batch_topk"  # of the TopK class no threshold was
    return copy_to_cpu(
        tensors
        | {
            "b_dec": weights["b_dec"],
            "k": torch.tensor(k, dtype=torch.int),
            "threshold": weights["threshold"].mean() if measured else torch.tensor(-1.0),
        }
    )


def copy_to_cpu(tensors: Mapping[str, Tensor]) -> Tensors:
    """Return contiguous copies of their own; what is transposed is turned where it lies."""
    layout = torch.contiguous_format
    return {
        name: value.to("cpu", copy=True, memory_format=layout) for name, value in tensors.items()
    }


def read_dictionary_learning(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], place: str
) -> tuple[str, Tensors, int]:
    """Return the architecture, the weights by SAELens's names, and k (0: it has none).

    Matryoshka and further classes end the process with a sentence.
    """
    trainer = config.get("trainer", config)
    wanted = trainer.get("dict_class", "")
    names = {row.dict_class: name for name, row in DICTIONARY_LEARNING.items()}
    architecture = names.get(wanted)
    if architecture is None:
        stop(f"{place} is a {wanted or 'class without a name'}; known are {', '.join(names)}")
    if architecture == "jumprelu":
        weights = {name: tensors[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
        weights["b_enc"] = weights["b_enc"] + weights["b_dec"] @ weights["W_enc"]
        return architecture, weights | {"threshold": tensors["threshold"]}, 0
    weights = {"W_enc": tensors["encoder.weight"].T, "W_dec": tensors["decoder.weight"].T}
    if architecture == "gated":
        weights |= {"b_dec": tensors["decoder_bias"], "r_mag": tensors["r_mag"]}
        return (
            architecture,
            weights
            | {
                "b_gate": tensors["gate_bias"],
                "b_mag": tensors["mag_bias"],
            },
            0,
        )
    weights["b_enc"] = tensors["encoder.bias"]
    weights["b_dec"] = tensors["b_dec"] if "b_dec" in tensors else tensors["bias"]
    if architecture == "batch_topk":
        weights["threshold"] = tensors["threshold"].expand(len(weights["b_enc"]))
    k = int(tensors["k"]) if "k" in tensors else int(trainer.get("k") or 0)
    return architecture, weights, k


def encode_as_saelens(
    tensors: Mapping[str, Tensor], architecture: str, k: int, x: Tensor
) -> Tensor:
    """Return the latents (..., F) that SAELens's class makes of activations (..., d)."""
    encoded = (x - tensors["b_dec"]) @ tensors["W_enc"]
    if architecture == "gated":
        magnitude = (encoded * tensors["r_mag"].exp() + tensors["b_mag"]).relu()
        return (encoded + tensors["b_gate"] > 0) * magnitude
    pre = encoded + tensors["b_enc"]
    if architecture == "jumprelu":
        return pre.relu() * (pre > tensors["threshold"])
    if architecture == "topk":
        top = pre.topk(k, dim=-1)
        return torch.zeros_like(pre).scatter(-1, top.indices, top.values.relu())
    return pre.relu()


def _detached(sae: Any, *names: str) -> Tensors:
    return {name: getattr(sae, name).detach().float() for name in names}
