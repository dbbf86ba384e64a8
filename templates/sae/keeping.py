"""Keep trained SAEs as files that other tools load. Frozen: edits are undone.

    run_N/sae/seed_0_k_2/
      sae_weights.safetensors cfg.json   SAELens: SAE.load_from_disk(folder)
      ae.pt config.json                  dictionary_learning: AutoEncoderTopK.from_pretrained(ae.pt)

sae_bench takes both. All of them take raw activations of the hook. An SAE whose encoder is none
that these tools have is kept with its weights alone, and cfg.json says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from data import Data
from dictionary import NEAR_TIES, Trained, share_changed
from formats import (
    DICTIONARY_LEARNING,
    OWN,
    SAELENS,
    copy_to_cpu,
    dictionary_learning_tensors,
    encode_as_saelens,
    saelens_tensors,
)

PROBE_TOKENS = 512
OWN_ENCODER = "its encoder is the run's own, see run_N.py; no other tool has it"


def keep_trained(
    out_dir: Path, data: Data, trained: Sequence[Trained], architecture: str
) -> list[Path]:
    """Write the SAEs into out_dir/sae/, a folder each, and return the folders."""
    folders = []
    for one in trained:
        folder = out_dir / "sae" / f"seed_{one.seed}_k_{one.k}"
        folder.mkdir(parents=True, exist_ok=True)
        if is_faithful(one, data, architecture):
            _write_saelens(folder, one, data, architecture)
            _write_dictionary_learning(folder, one, data, architecture)
        else:
            _write_weights(folder, one, data, architecture)
        for path in folder.iterdir():
            path.chmod(0o644)  # safetensors writes for the owner alone
        folders.append(folder)
    return folders


@torch.no_grad()
def is_faithful(one: Trained, data: Data, architecture: str) -> bool:
    """Whether the standard encoder over these weights does what the SAE does."""
    known = SAELENS.get(architecture)
    if known is None:
        return False
    x = data.documents["validation"].activations()[:PROBE_TOKENS]
    theirs = encode_as_saelens(saelens_tensors(one.sae, architecture), known, one.k, x)
    return share_changed(one.sae.encode(x), theirs) <= NEAR_TIES


def _write_saelens(folder: Path, one: Trained, data: Data, architecture: str) -> None:
    tensors = copy_to_cpu(saelens_tensors(one.sae, architecture))
    config = _describe(one, data) | {
        "architecture": SAELENS[architecture],
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
    }
    if SAELENS[architecture] == "topk":
        config |= {"k": one.k, "rescale_acts_by_decoder_norm": False}
    save_file(tensors, folder / "sae_weights.safetensors")
    _write_json(folder / "cfg.json", config)


def _write_dictionary_learning(folder: Path, one: Trained, data: Data, architecture: str) -> None:
    names = DICTIONARY_LEARNING[architecture]
    trainer = {
        "trainer_class": names.trainer_class,
        "dict_class": names.dict_class,
        "activation_dim": one.sae.W_dec.shape[1],
        "dict_size": one.sae.W_dec.shape[0],
        "k": one.k,
        "layer": data.layer,
        "lm_name": data.model_name,
        "submodule_name": f"resid_post_layer_{data.layer}",
        "seed": one.seed,
    }
    weights = saelens_tensors(one.sae, architecture)
    torch.save(dictionary_learning_tensors(weights, architecture, one.k), folder / "ae.pt")
    _write_json(folder / "config.json", {"trainer": trainer})


def _write_weights(folder: Path, one: Trained, data: Data, architecture: str) -> None:
    sae: Any = one.sae
    named = sae.state_dict() if isinstance(sae, torch.nn.Module) else {}
    save_file(copy_to_cpu(named), folder / "sae_weights.safetensors")
    config = _describe(one, data) | {"architecture": f"{OWN}{architecture}", "note": OWN_ENCODER}
    _write_json(folder / "cfg.json", config)


def _describe(one: Trained, data: Data) -> dict[str, Any]:
    metadata = {
        "sae_lens_version": "6.0.0",
        "model_name": data.model_name.split("/")[-1],  # as transformer_lens calls it
        "hook_name": data.hook,
        "prepend_bos": True,
        "seed": one.seed,
        "k": one.k,
        "content_sha256": data.content_sha256,
    }
    return {"d_in": one.sae.W_dec.shape[1], "d_sae": one.sae.W_dec.shape[0], "metadata": metadata}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
