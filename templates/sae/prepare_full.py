"""Build the profile `full`: activations of a pretrained model on a person's texts. Frozen.

Of the person come the weights (HF_HOME) and the texts (SAE_TEXTS, see texts.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from activations import write_store
from contract import stop
from pretrained import PretrainedModel, load_pretrained
from texts import FOLDERS, hold_out, pack, read_texts, tokenize_texts

SPLITS = ("select", "validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FullSize:
    """What is built of which model; all of it names the store."""

    model: str = "google/gemma-2-2b"
    layer: int = 12
    dtype: str = "bfloat16"
    context: int = 128
    """Tokens of a context, the first of which is <bos>, whose activation is dropped."""
    tokens: int = 10_000_000
    """Activations that are stored: 46 GB at d = 2304 in bfloat16."""
    named_share: float = 0.1
    """Share of the training contexts from each of `forget` and `retain`."""
    held_out_contexts: int = 384
    """Of each split, a third of each domain, no two of one text: 48,768 tokens."""
    chunk_contexts: int = 2048
    """Contexts whose activations are held at once: 1.2 GB; the first of them give the scale."""
    batch_contexts: int = 64
    seed: int = 0


class Contexts(NamedTuple):
    """What the model reads."""

    tokens: Tensor
    """(N, T), the first of each row is <bos>."""
    domain: Tensor
    """(N,)"""


def build_full(size: FullSize, folder: Path) -> None:
    """Write contexts, held-out documents and the activation store into `folder`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, tokenizer = load_pretrained(size.model, size.dtype, device)
    tokenizer.save_pretrained(folder / "model")  # the words of latents.json
    held_out, training = collect_contexts(size, tokenizer)
    documents = {}
    for split, contexts in held_out.items():
        documents |= describe_split(split, contexts, model, size)
    save_file(documents, folder / "documents.safetensors")
    save_file(
        {"contexts": training.tokens, "domain": training.domain}, folder / "contexts.safetensors"
    )
    chunks = activation_chunks(model, training, size)
    write_store(
        folder,
        chunks,
        tokens=size.tokens,
        dtype=size.dtype,
        seed=size.seed,
        facts={"size": dataclasses.asdict(size)},
    )
    content = hashlib.sha256((folder / "documents.safetensors").read_bytes()).hexdigest()
    meta = {
        "profile": "full",
        "layer": size.layer,
        "model": size.model,
        "model_dtype": size.dtype,
        "content_sha256": content,
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")


def collect_contexts(size: FullSize, tokenizer: Any) -> tuple[dict[str, Contexts], Contexts]:
    """Return the contexts of each held-out split, and those to train on.

    What is held out comes from the first texts of each data set, and none of these texts is in
    another split or in the training.
    """
    length, apart = size.context - 1, set[int]()
    texts = {name: tokenize_texts(read_texts(name), tokenizer, apart) for name in FOLDERS}
    third = size.held_out_contexts // len(FOLDERS)
    held_out = {
        name: _take(
            hold_out(rows, length, apart, size.seed),
            len(SPLITS) * third,
            f"SAE_TEXTS/{name} gives {{}} contexts to measure with, no two of one text",
        )
        for name, rows in texts.items()
    }
    splits = {
        split: _shuffle(
            {name: rows[place :: len(SPLITS)] for name, rows in held_out.items()}, size, tokenizer
        )
        for place, split in enumerate(SPLITS)
    }
    wanted = -(-size.tokens // length)
    named = int(size.named_share * wanted)
    counts = {name: wanted - 2 * named if name == "train" else named for name in FOLDERS}
    training = {
        name: _take(
            pack(rows, length),
            counts[name],
            f"SAE_TEXTS/{name} gives {{}} contexts to train on, beside those to measure with",
        )
        for name, rows in texts.items()
    }
    return splits, _shuffle(training, size, tokenizer)


def _take(rows: Iterator[list[int]], count: int, gives: str) -> list[list[int]]:
    taken = list(itertools.islice(rows, count))
    if len(taken) < count:
        stop(f"{gives.format(len(taken))}, and {count} are needed; add texts there")
    return taken


def _shuffle(rows: Mapping[str, list[list[int]]], size: FullSize, tokenizer: Any) -> Contexts:
    """Return the rows of all data sets, <bos> before each, in one random order."""
    tokens = [[tokenizer.bos_token_id, *row] for some in rows.values() for row in some]
    domain = [FOLDERS[name] for name, some in rows.items() for _ in some]
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(size.seed))
    return Contexts(torch.tensor(tokens, dtype=torch.int32)[order], torch.tensor(domain)[order])


def activation_chunks(
    model: PretrainedModel, contexts: Contexts, size: FullSize
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the activations of many contexts at a time without <bos>, and each token's domain."""
    chunks = zip(*(one.split(size.chunk_contexts) for one in contexts), strict=True)
    for done, (rows, domains) in enumerate(chunks):
        x = _residual(model, rows, size)[:, 1:]
        yield x.flatten(0, 1), domains.repeat_interleave(size.context - 1)
        tokens = min(len(contexts.tokens), (done + 1) * size.chunk_contexts) * (size.context - 1)
        print(f"activations: {tokens:,} of {size.tokens:,}", flush=True)


def describe_split(
    split: str, contexts: Contexts, model: PretrainedModel, size: FullSize
) -> dict[str, Tensor]:
    """Return a held-out split as documents.safetensors holds it; every token counts as a fact."""
    tokens = contexts.tokens.long()
    is_fact = torch.ones_like(tokens, dtype=torch.bool)
    is_fact[:, 0] = False
    return {
        f"{split}.tokens": tokens,
        f"{split}.is_fact": is_fact,
        f"{split}.domain": contexts.domain,
        f"{split}.residual": _residual(model, tokens, size).float().cpu(),
    }


def _residual(model: PretrainedModel, tokens: Tensor, size: FullSize) -> Tensor:
    batches = tokens.long().split(size.batch_contexts)
    return torch.cat([model.residual_after(rows, size.layer) for rows in batches])
