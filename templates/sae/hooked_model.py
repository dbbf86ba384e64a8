"""The language model through transformer_lens. Frozen: edits are undone.

Importing transformer_lens takes seconds, so this module is imported only where it is needed.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HOME", f"{tempfile.gettempdir()}/huggingface")
os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "WANDB_MODE": "disabled"})
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # their threads do not survive a fork
warnings.filterwarnings("ignore", category=DeprecationWarning)

import transformer_lens.loading_from_pretrained as loading  # noqa: E402
from transformer_lens import HookedTransformer  # noqa: E402

_official_name = loading.get_official_model_name


def _name_or_folder(name: str) -> str:
    """Let a folder stand for a model's name, which transformer_lens 2 refuses."""
    return name if Path(name).is_dir() else _official_name(name)


loading.get_official_model_name = _name_or_folder


def load_hooked_model(folder: Path) -> HookedTransformer:
    """Load a folder in Hugging Face's layout without changing any weight."""
    logging.getLogger().setLevel(logging.ERROR)
    model = HookedTransformer.from_pretrained_no_processing(str(folder), device="cpu")
    return model.eval().requires_grad_(False)


def hook_gemma(model: Any, tokenizer: Any) -> HookedTransformer:
    """Return a Gemma 2 of transformers in transformer_lens, no weight changed.

    transformer_lens knows the sizes by name alone; here they are the model's own.
    """
    known = model.config
    config = loading.get_pretrained_model_config(
        "gemma-2-2b", device=str(model.device), dtype=model.dtype
    )
    for ours, theirs in {
        "d_model": "hidden_size",
        "d_head": "head_dim",
        "rotary_dim": "head_dim",
        "n_heads": "num_attention_heads",
        "n_key_value_heads": "num_key_value_heads",
        "d_mlp": "intermediate_size",
        "n_layers": "num_hidden_layers",
        "d_vocab": "vocab_size",
        "d_vocab_out": "vocab_size",
        "window_size": "sliding_window",
    }.items():
        setattr(config, ours, getattr(known, theirs))
    config.attn_scale = known.query_pre_attn_scalar**0.5
    config.attn_types = [
        "local" if kind == "sliding_attention" else "global" for kind in known.layer_types
    ]
    state = loading.get_pretrained_state_dict("google/gemma-2-2b", config, hf_model=model)
    hooked = HookedTransformer(config, tokenizer, move_to_device=False)
    hooked.load_and_process_state_dict(
        state,
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    return hooked.to(model.device).eval().requires_grad_(False)
