"""Build once what all runs of a profile share. Frozen: edits are undone.

    python prepare.py --profile=small --out_dir=DIR

writes into DIR: the language model, the training activations with their domains, the held-out
documents, meta.json, and the model's own losses on them. The same machine and versions make the
same bytes. Exits with code 1 and a sentence when the model does not know its facts, for then
nothing measured on it means anything.

It imports nothing of the evaluations: what these share is added by prepare_evaluations.py, so that
an edit of one makes no other data.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from activations import write_store
from corpus import (
    BENIGN,
    DOMAINS,
    HAZARD,
    NEUTRAL,
    SPELLING,
    CorpusSize,
    Document,
    World,
)
from data import hash_files, load_data
from language_model import LanguageModel, ModelSize, save_model, token_losses, train_model
from offline_data import write_datasets
from own_losses import keep_own_losses
from prepare_full import FullSize, build_full

MIN_FACT_ACCURACY = 0.95
SEED = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """What a profile builds."""

    corpus: CorpusSize
    d_model: int
    layers: int
    layer: int
    """The activations are the residual stream after this layer."""
    model_documents: int
    model_steps: int
    sae_documents: int
    domains: tuple[int, ...] = (HAZARD, BENIGN, NEUTRAL)
    """Of the documents that model and SAEs are trained on; the held-out ones are of three."""
    held_out_documents: int
    """Of each of the splits select, validation and test."""
    threads: int


SIZES = {
    "smoke": Size(
        corpus=CorpusSize(entities=6, relations=2, objects=4, classes=2, fillers=40, context=32),
        d_model=64,
        layers=2,
        layer=0,
        model_documents=1500,
        model_steps=700,
        sae_documents=240,
        held_out_documents=24,
        threads=1,
    ),
    "small": Size(
        corpus=CorpusSize(
            entities=56,
            relations=4,
            objects=16,
            classes=6,
            fillers=100,
            context=64,
            spelling=True,
        ),
        d_model=96,
        layers=3,
        layer=1,
        model_documents=8000,
        model_steps=1200,
        sae_documents=4000,
        domains=(HAZARD, BENIGN, NEUTRAL, SPELLING),
        held_out_documents=270,
        threads=1,
    ),
}


def main() -> None:
    """Build the profile's folder, saying what is being done."""
    parser = argparse.ArgumentParser(description="Build what all runs of a profile share.")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--out_dir", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.profile not in {*SIZES, "full"}:
        sys.exit(
            f"error: there is no profile {arguments.profile!r}; there are "
            + ", ".join([*SIZES, "full"])
        )
    arguments.out_dir.mkdir(parents=True, exist_ok=True)
    if arguments.profile == "full":
        build_full(FullSize(), arguments.out_dir)
        return
    build(arguments.profile, SIZES[arguments.profile], arguments.out_dir)


def build(profile: str, size: Size, folder: Path) -> None:
    """Make the model, the activations and the documents, and write them into `folder`."""
    started = time.monotonic()
    torch.set_num_threads(size.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    say("1 of 4: writing the documents")
    world = World(size.corpus, SEED)
    say(f"2 of 4: training the language model, {size.model_steps} steps")
    model = _trained_model(world, size)
    say("3 of 4: checking what the model knows")
    accuracy = fact_accuracy(model, world)
    for name, share in accuracy.items():
        say(f"facts known, {name}: {share:.3f}")
    if min(accuracy.values()) < MIN_FACT_ACCURACY:
        worst = min(accuracy, key=lambda name: accuracy[name])
        sys.exit(
            f"error: the language model knows {accuracy[worst]:.1%} of the {worst} facts, not "
            f"{MIN_FACT_ACCURACY:.0%}: nothing measured on it would mean anything; "
            f"train it for more than {size.model_steps} steps"
        )
    say("4 of 4: collecting activations")
    save_model(model, world.vocabulary, folder / "model")
    _save_training(model, world, size, folder)
    _save_documents(model, world, size, folder)
    if size.corpus.spelling:
        write_datasets(world, folder / "datasets", SEED)
    meta = {
        "profile": profile,
        "layer": size.layer,
        "fact_accuracy": accuracy,
        "size": dataclasses.asdict(size),
        "content_sha256": hash_files(
            folder / "model" / "model.safetensors",
            folder / "documents.safetensors",
            *sorted((folder / "datasets").rglob("*.json*")),
        ),
    }
    written = folder / "meta.json"
    written.write_text(json.dumps(meta, indent=1) + "\n")
    keep_own_losses(load_data(folder))
    for path in folder.glob("**/*.safetensors"):
        path.chmod(0o644)  # safetensors writes for the owner alone, and runs may be someone else
    say(f"done in {time.monotonic() - started:.0f} s")


def say(line: str) -> None:
    """Print a line of progress at once."""
    print(line, flush=True)


def fact_accuracy(model: LanguageModel, world: World) -> dict[str, float]:
    """Return, by domain, the share of held-out facts whose object is the top prediction."""
    shares = {}
    for number, name in enumerate(DOMAINS):
        documents = world.documents(64, "check", SEED, (number,))
        tokens, is_fact = _tokens(documents), _is_fact(documents)
        with torch.no_grad():
            _, right = token_losses(model(tokens), tokens)
        shares[name] = float(right[is_fact[:, 1:]].float().mean())
    return shares


def _trained_model(world: World, size: Size) -> LanguageModel:
    model = LanguageModel(
        ModelSize(
            vocabulary=len(world.vocabulary),
            d_model=size.d_model,
            layers=size.layers,
            heads=4,
            context=size.corpus.context,
        )
    )
    tokens = _tokens(world.documents(size.model_documents, "model", SEED, size.domains))
    train_model(model, tokens, steps=size.model_steps, batch=32, seed=SEED, report=say)
    return model.eval().requires_grad_(False)


def _save_training(model: LanguageModel, world: World, size: Size, folder: Path) -> None:
    """Write shuffled activations without <bos>, and with some facts withheld."""
    documents = world.documents(size.sae_documents, "sae", SEED, size.domains, withhold=True)
    x = _residual(model, _tokens(documents), size.layer)[:, 1:].flatten(0, 1)
    domain = torch.tensor([document.domain for document in documents], dtype=torch.uint8)
    domain = domain.repeat_interleave(size.corpus.context - 1)
    facts = {"size": dataclasses.asdict(size), "seed": SEED}
    write_store(folder, [(x, domain)], tokens=len(x), dtype="float32", seed=SEED, facts=facts)


def _save_documents(model: LanguageModel, world: World, size: Size, folder: Path) -> None:
    tensors = {}
    for split in ("select", "validation", "test"):
        documents = world.documents(size.held_out_documents, split, SEED)
        tokens = _tokens(documents)
        tensors[f"{split}.tokens"] = tokens
        tensors[f"{split}.is_fact"] = _is_fact(documents)
        tensors[f"{split}.domain"] = torch.tensor([document.domain for document in documents])
        tensors[f"{split}.residual"] = _residual(model, tokens, size.layer)
    save_file(tensors, folder / "documents.safetensors")
    # sae_bench tokenizes text itself, and puts <bos> before each document.
    lines = [
        json.dumps({"text": " ".join(world.vocabulary[token] for token in row[1:])})
        for row in tensors["test.tokens"].tolist()
    ]
    (folder / "text").mkdir(exist_ok=True)
    (folder / "text" / "train.jsonl").write_text("\n".join(lines) + "\n")


@torch.no_grad()
def _residual(model: LanguageModel, tokens: Tensor, layer: int) -> Tensor:
    return torch.cat([model.residual_after(rows, layer) for rows in tokens.split(64)])


def _tokens(documents: list[Document]) -> Tensor:
    return torch.tensor([document.tokens for document in documents])


def _is_fact(documents: list[Document]) -> Tensor:
    return torch.tensor([document.is_fact for document in documents])


if __name__ == "__main__":
    main()
