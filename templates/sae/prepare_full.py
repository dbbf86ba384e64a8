"""Build the profile `full`: activations of a pretrained model on a person's texts. Frozen.

Of the person come the weights (HF_HOME) and the folder SAE_TEXTS with three data sets, each a
folder of .jsonl or .parquet files with a column `text`:

    SAE_TEXTS/train     general text, such as a part of the Pile; its tokens are NEUTRAL
    SAE_TEXTS/forget    text of what is to be unlearned, such as WMDP's biology corpus; HAZARD
    SAE_TEXTS/retain    text like it that is to be kept, such as WMDP's retain corpus; BENIGN
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from activations import write_store
from corpus import BENIGN, HAZARD, NEUTRAL
from pretrained import PretrainedModel, input_folders, load_pretrained

FOLDERS = {"train": NEUTRAL, "forget": HAZARD, "retain": BENIGN}
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
    """Share of the contexts from each of `forget` and `retain`."""
    held_out_contexts: int = 48
    """Of each split, a third of each domain."""
    chunk_contexts: int = 2048
    """Contexts whose activations are held at once: 1.2 GB; the first of them give the scale."""
    batch_contexts: int = 64
    seed: int = 0


def build_full(size: FullSize, folder: Path) -> None:
    """Write contexts, held-out documents and the activation store into `folder`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, tokenizer = load_pretrained(size.model, size.dtype, device)
    tokenizer.save_pretrained(folder / "model")  # the words of latents.json
    contexts, domain = collect_contexts(size, tokenizer)
    third = size.held_out_contexts // len(FOLDERS)
    documents, used = {}, []
    for place, split in enumerate(SPLITS):
        rows = torch.cat(
            [
                (domain == number).nonzero()[:, 0][place * third :][:third]
                for number in FOLDERS.values()
            ]
        )
        used.append(rows)
        documents |= describe_split(split, contexts[rows], domain[rows], model, size)
    save_file(documents, folder / "documents.safetensors")
    left = torch.ones(len(contexts), dtype=torch.bool)
    left[torch.cat(used)] = False
    save_file({"contexts": contexts[left], "domain": domain[left]}, folder / "contexts.safetensors")
    chunks = activation_chunks(model, contexts[left], domain[left], size)
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


def collect_contexts(size: FullSize, tokenizer: Any) -> tuple[Tensor, Tensor]:
    """Return shuffled contexts (N, T) that begin with <bos>, and the domain of each (N,)."""
    wanted = -(-size.tokens // (size.context - 1)) + 3 * size.held_out_contexts
    named = max(int(size.named_share * wanted), size.held_out_contexts)
    rows, domains = [], []
    for name, domain in FOLDERS.items():
        count = named if domain != NEUTRAL else wanted - 2 * named
        found = list(itertools.islice(pack(read_texts(name), tokenizer, size.context), count))
        if len(found) < count:
            raise SystemExit(
                f"error: SAE_TEXTS/{name} holds {len(found)} contexts of {size.context} tokens, "
                f"and {count} are needed; add text there"
            )
        rows += found
        domains += [domain] * count
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(size.seed))
    return torch.tensor(rows, dtype=torch.int32)[order], torch.tensor(domains)[order]


def read_texts(name: str) -> Iterator[str]:
    """Yield the texts of one of the person's data sets, in the order of its files."""
    import datasets

    texts = input_folders().get("SAE_TEXTS")
    if texts is None or not (texts / name).is_dir():
        raise SystemExit(f"error: there is no folder SAE_TEXTS/{name}; {__doc__}")
    files = sorted(str(path) for path in (texts / name).rglob("*") if path.is_file())
    kind = "parquet" if files and files[0].endswith(".parquet") else "json"
    rows = datasets.load_dataset(kind, data_files=files, split="train", streaming=True)
    yield from (row["text"] for row in rows)


def pack(texts: Iterator[str], tokenizer: Any, context: int) -> Iterator[list[int]]:
    """Yield contexts filled with texts one after the other; what is left over is dropped."""
    waiting: list[int] = []
    while batch := list(itertools.islice(texts, 512)):
        for tokens in tokenizer(batch, add_special_tokens=False)["input_ids"]:
            waiting += tokens
            while len(waiting) >= context - 1:
                yield [tokenizer.bos_token_id, *waiting[: context - 1]]
                waiting = waiting[context - 1 :]


def activation_chunks(
    model: PretrainedModel, contexts: Tensor, domain: Tensor, size: FullSize
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the activations of many contexts at a time without <bos>, and each token's domain."""
    chunks = zip(
        contexts.split(size.chunk_contexts), domain.split(size.chunk_contexts), strict=True
    )
    for done, (rows, domains) in enumerate(chunks):
        x = _residual(model, rows, size)[:, 1:]
        yield x.flatten(0, 1), domains.repeat_interleave(size.context - 1)
        tokens = min(len(contexts), (done + 1) * size.chunk_contexts) * (size.context - 1)
        print(f"activations: {tokens:,} of {size.tokens:,}", flush=True)


def describe_split(
    split: str, tokens: Tensor, domain: Tensor, model: PretrainedModel, size: FullSize
) -> dict[str, Tensor]:
    """Return a held-out split as documents.safetensors holds it; every token counts as a fact."""
    is_fact = torch.ones_like(tokens, dtype=torch.bool)
    is_fact[:, 0] = False
    return {
        f"{split}.tokens": tokens.long(),
        f"{split}.is_fact": is_fact,
        f"{split}.domain": domain,
        f"{split}.residual": _residual(model, tokens, size).float().cpu(),
    }


def _residual(model: PretrainedModel, tokens: Tensor, size: FullSize) -> Tensor:
    batches = tokens.long().split(size.batch_contexts)
    return torch.cat([model.residual_after(rows, size.layer) for rows in batches])
