"""A small GPT-NeoX in plain torch: trained once, then only measured. Frozen: edits are undone.

Its parameters carry the names of Hugging Face's GPTNeoXForCausalLM, so that transformers and
transformer_lens load what `save_model` writes, and the rehearsal needs neither of them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from corpus import BOS, PAD


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSize:
    """The shape of the model."""

    vocabulary: int
    d_model: int
    layers: int
    heads: int
    context: int
    rotary_share: float = 0.25


class _Attention(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.rotary = int(size.d_model // size.heads * size.rotary_share)
        self.query_key_value = nn.Linear(size.d_model, 3 * size.d_model)
        self.dense = nn.Linear(size.d_model, size.d_model)

    def _rotate(self, x: Tensor) -> Tensor:
        """Turn the first `rotary` of each head's dimensions by the position; x: (B, H, T, D/H)."""
        half = self.rotary // 2
        frequencies = 10_000.0 ** (-torch.arange(half, device=x.device) / half)
        angles = torch.arange(x.shape[2], device=x.device)[:, None] * frequencies
        cos, sin = angles.cos(), angles.sin()
        left, right, rest = x[..., :half], x[..., half : self.rotary], x[..., self.rotary :]
        return torch.cat([left * cos - right * sin, right * cos + left * sin, rest], dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, d_model = x.shape
        mixed = self.query_key_value(x).view(batch, tokens, self.heads, 3 * d_model // self.heads)
        query, key, value = mixed.transpose(1, 2).chunk(3, dim=-1)
        out = F.scaled_dot_product_attention(
            self._rotate(query), self._rotate(key), value, is_causal=True
        )
        return self.dense(out.transpose(1, 2).reshape(batch, tokens, d_model))


class _Mlp(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(size.d_model, 4 * size.d_model)
        self.dense_4h_to_h = nn.Linear(4 * size.d_model, size.d_model)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x)))


class _Layer(nn.Module):
    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(size.d_model)
        self.post_attention_layernorm = nn.LayerNorm(size.d_model)
        self.attention = _Attention(size)
        self.mlp = _Mlp(size)

    def forward(self, x: Tensor, where: Tensor | None = None) -> Tensor:
        """Return (B, T, d), or with a mask `where` (B, T) only its N places, (N, d)."""
        attended = self.attention(self.input_layernorm(x))
        if where is not None:
            x, attended = x[where], attended[where]
        return x + attended + self.mlp(self.post_attention_layernorm(x))


class LanguageModel(nn.Module):
    """GPT-NeoX with parallel residuals and rotary positions; logits over the vocabulary."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.size = size
        self.gpt_neox = nn.ModuleDict(
            {
                "embed_in": nn.Embedding(size.vocabulary, size.d_model),
                "layers": nn.ModuleList([_Layer(size) for _ in range(size.layers)]),
                "final_layer_norm": nn.LayerNorm(size.d_model),
            }
        )
        self.embed_out = nn.Linear(size.d_model, size.vocabulary, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def residual_after(self, tokens: Tensor, layer: int) -> Tensor:
        """Return the residual stream after `layer`, (B, T, d), of tokens (B, T)."""
        x = self.gpt_neox["embed_in"](tokens)
        for block in self.gpt_neox["layers"][: layer + 1]:
            x = block(x)
        return x

    def logits_from(self, residual: Tensor, layer: int, where: Tensor | None = None) -> Tensor:
        """Return the logits (B, T, V) that follow from the residual stream after `layer`.

        With a mask `where` (B, T), only those at its N places, (N, V).
        """
        above = self.gpt_neox["layers"][layer + 1 :]
        for block in above[:-1]:
            residual = block(residual)
        if above:
            residual = above[-1](residual, where)
        elif where is not None:
            residual = residual[where]
        return self.embed_out(self.gpt_neox["final_layer_norm"](residual))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (B, T, V) of tokens (B, T)."""
        return self.logits_from(self.residual_after(tokens, -1), -1)


def train_model(
    model: LanguageModel,
    tokens: Tensor,
    *,
    steps: int,
    batch: int,
    seed: int,
    report: Callable[[str], None],
) -> None:
    """Train `model` on documents `tokens` (N, T) with AdamW and a cosine schedule, in place."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=4e-3, weight_decay=0.01, betas=(0.9, 0.98), fused=True
    )
    started = time.monotonic()
    for step in range(steps):
        rate = min(1.0, (step + 1) / 50) * max(0.02, 0.5 * (1 + math.cos(math.pi * step / steps)))
        optimizer.param_groups[0]["lr"] = 4e-3 * rate
        rows = tokens[torch.randint(len(tokens), (batch,), generator=generator)]
        loss = F.cross_entropy(model(rows)[:, :-1].flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % max(1, steps // 10) == 0:
            elapsed = time.monotonic() - started
            left = elapsed / (step + 1) * (steps - step - 1)
            report(f"step {step + 1} of {steps}, loss {loss:.3f}, {left:.0f} s left")


def token_losses(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return loss in nats and whether the top prediction is right, (B, T-1), of tokens 1 on."""
    return losses_of(logits[:, :-1], tokens[:, 1:])


@torch.no_grad()
def losses_of(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return loss in nats and whether the top prediction is right, (...), of targets (...)."""
    log_probabilities = logits.float().log_softmax(-1)
    losses = -log_probabilities.gather(-1, targets[..., None])[..., 0]
    return losses, log_probabilities.argmax(-1) == targets


def save_model(model: LanguageModel, vocabulary: list[str], folder: Path) -> None:
    """Write weights, configuration and tokenizer as transformers reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    size = model.size
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["GPTNeoXForCausalLM"],
        "model_type": "gpt_neox",
        "vocab_size": size.vocabulary,
        "hidden_size": size.d_model,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "intermediate_size": 4 * size.d_model,
        "max_position_embeddings": 2 * size.context,  # rotary: absorption's prompts are longer
        "rotary_pct": size.rotary_share,
        "rotary_emb_base": 10_000,
        "use_parallel_residual": True,
        "attention_bias": True,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "bos_token_id": BOS,
        "eos_token_id": BOS,
        "torch_dtype": "float32",
    }
    special = [
        {"id": number, "content": vocabulary[number], "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for number in (PAD, BOS)
    ]
    words = {word: number for number, word in enumerate(vocabulary)}
    tokenizer = {
        "version": "1.0",
        "added_tokens": special,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {  # <bos> first: the model was trained so, and Gemma's does it too
            "type": "TemplateProcessing",
            "single": [_special(vocabulary[BOS]), {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"],
            "special_tokens": {
                vocabulary[BOS]: {"id": vocabulary[BOS], "ids": [BOS], "tokens": [vocabulary[BOS]]}
            },
        },
        "model": {"type": "WordLevel", "vocab": words, "unk_token": vocabulary[PAD]},
    }
    named = {"bos_token": vocabulary[BOS], "eos_token": vocabulary[BOS]}
    named |= {"pad_token": vocabulary[PAD], "unk_token": vocabulary[PAD]}
    described = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": size.context}
    for name, content in {
        "config.json": config,
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": described | named,
        "special_tokens_map.json": named,
        "size.json": dataclasses.asdict(size),
    }.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n")


def _special(token: str) -> dict[str, dict[str, str | int]]:
    return {"SpecialToken": {"id": token, "type_id": 0}}


def load_model(folder: Path) -> LanguageModel:
    """Load what `save_model` wrote, ready to be measured."""
    model = LanguageModel(ModelSize(**json.loads((folder / "size.json").read_text())))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval().requires_grad_(False)
