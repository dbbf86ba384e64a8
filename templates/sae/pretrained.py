"""A pretrained language model, cut at the hook: Hugging Face's own code. Frozen: edits are undone.

The residual stream after layer L is hidden_states[L + 1] there (0 are the embeddings, and the last
is normed) and `blocks.L.hook_resid_post` in transformer_lens. Both halves run only their layers.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from contract import stop


def input_folders() -> dict[str, Path]:
    """Return the person's folders that this profile may read, by their names in template.toml."""
    named = json.loads(os.environ.get("AI_SCIENTIST_INPUTS") or "{}")
    return {name: Path(folder) for name, folder in named.items()}


def name_hub() -> Path | None:
    """Let huggingface's libraries read the hub folder of HF_HOME and nothing else; return it.

    They look where it is when they are imported, which sae_bench does long before a model is read.
    """
    hub = input_folders().get("HF_HOME/hub")
    os.environ |= {"HF_HUB_OFFLINE": "1"} | ({"HF_HUB_CACHE": str(hub)} if hub else {})
    return hub


name_hub()


class PretrainedModel:
    """A causal language model of transformers whose decoder layers are a list, as most are."""

    def __init__(self, model: Any) -> None:
        self._model = model.eval().requires_grad_(False)
        self._base = model.base_model
        self._layers = list(self._base.layers)
        self.d_model: int = model.config.hidden_size

    @property
    def whole(self) -> Any:
        """The model as transformers has it."""
        return self._model

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        device: torch.device = self._model.device
        return device

    @torch.no_grad()
    def residual_after(self, tokens: Tensor, layer: int) -> Tensor:
        """Return the residual stream after `layer`, (B, T, d), of tokens (B, T)."""
        seen: list[Tensor] = []
        with self._only(self._layers[: layer + 1]):
            hook = self._layers[layer].register_forward_hook(
                lambda module, given, output: seen.append(_tensor(output))
            )
            try:
                self._base(tokens.to(self.device), use_cache=False)
            finally:
                hook.remove()
        return seen[0]

    @torch.no_grad()
    def logits_from(self, residual: Tensor, layer: int, where: Tensor | None = None) -> Tensor:
        """Return the logits (B, T, V) that follow from the residual stream after `layer`.

        With a mask `where` (B, T), only those at its N places, (N, V).
        """
        residual = residual.to(self.device, self._model.dtype)
        above = self._layers[layer + 1 :]
        tokens = torch.zeros(residual.shape[:2], dtype=torch.long, device=self.device)
        with self._only(above):
            # What the placeholder tokens embed to is replaced before the first layer sees it.
            hook = above[0].register_forward_pre_hook(
                lambda module, given, named: (
                    ((residual, *given[1:]), named)
                    if given
                    else (given, {**named, "hidden_states": residual})
                ),
                with_kwargs=True,
            )
            try:
                logits: Tensor = self._model(tokens, use_cache=False).logits
            finally:
                hook.remove()
        return logits if where is None else logits[where.to(self.device)]

    @contextlib.contextmanager
    def _only(self, layers: list[nn.Module]) -> Iterator[None]:
        self._base.layers = nn.ModuleList(layers)
        try:
            yield
        finally:
            self._base.layers = nn.ModuleList(self._layers)


def load_pretrained(name: str, dtype: str, device: torch.device) -> tuple[PretrainedModel, Any]:
    """Load a model and its tokenizer from the hub folder of HF_HOME, or from a folder.

    Nothing is downloaded: what is not there ends the process with a sentence.
    """
    hub = name_hub()
    there = Path(name) if hub is None else hub / f"models--{name.replace('/', '--')}"
    if not there.is_dir():
        stop(
            f"{name} is not in HF_HOME: ask for access to its weights, "
            f"`huggingface-cli download {name}`, and name the folder in HF_HOME"
        )
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Gemma 2 caps its attention logits, which only the eager form does.
    model = AutoModelForCausalLM.from_pretrained(
        name, torch_dtype=getattr(torch, dtype), attn_implementation="eager"
    )
    return PretrainedModel(model.to(device)), AutoTokenizer.from_pretrained(name)


def _tensor(output: Any) -> Tensor:
    """Return a layer's residual stream: a tensor in some versions, first of a tuple in others."""
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found
