"""The language model through transformer_lens. Frozen: edits are undone.

Importing transformer_lens takes seconds, so this module is imported only where it is needed.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from pathlib import Path

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
