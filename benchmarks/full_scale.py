"""Profile `full` at its size, on a model of gemma-2-2b's shape whose weights are random.

Runs in the sae template's environment, on a GPU. The template's own code builds a store from texts
of random words, trains the SAEs of one run in one pass, and measures them as every run is measured.
Prints one JSON object; memory is the most that torch held of the GPU, beside what footprint.py
counts.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

TINY = {
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 14,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "vocab_size": 3000,
}
"""A model for trying this on a CPU."""
TINY_SAE = {"n_latents": 512, "k": 8, "batch_size": 64, "auxiliary_latents": 32}
WORDS = 2000


def make_model(folder: Path, device: torch.device, shape: dict[str, int]) -> None:
    """Save a random model and a tokenizer of whole words, as transformers reads them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast

    words = {"<pad>": 0, "<eos>": 1, "<bos>": 2} | {f"w{one}": one + 3 for one in range(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    ).save_pretrained(folder)
    torch.set_default_dtype(torch.bfloat16)
    with device:
        Gemma2ForCausalLM(Gemma2Config(**shape)).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)


def make_texts(folder: Path, tokens: int) -> None:
    """Write the three data sets, with words enough for `tokens` each."""
    drawn = random.Random(0)
    for name in ("train", "forget", "retain"):
        (folder / name).mkdir(parents=True)
        with (folder / name / "part.jsonl").open("w") as file:
            for _ in range(tokens // 900 + 450):  # 384 of them are held out
                text = " ".join(f"w{drawn.randrange(WORDS)}" for _ in range(1000))
                file.write(json.dumps({"text": text}) + "\n")


def held_by(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what `work` returns, its seconds, and the most GB of the GPU it held."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    made = work()
    if on_gpu:
        torch.cuda.synchronize()
    most = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else 0.0
    return made, time.perf_counter() - started, most


def measure(folder: Path, tokens: int, steps: int, *, tiny: bool) -> dict[str, float]:
    """Return seconds, rates and memory of preparing, training and measuring."""
    from footprint import (
        ModelShape,
        held_out_bytes,
        measuring_bytes,
        preparing_bytes,
        training_bytes,
    )
    from prepare_full import FullSize, build_full

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make_texts(folder / "texts", tokens)
    make_model(folder / "model", device, TINY if tiny else {})
    os.environ["AI_SCIENTIST_INPUTS"] = json.dumps({"SAE_TEXTS": str(folder / "texts")})
    few = {"held_out_contexts": 48} if tiny else {}
    size = FullSize(model=str(folder / "model"), tokens=tokens, **few)
    (folder / "data").mkdir()
    _, _, preparing_gb = held_by(lambda: build_full(size, folder / "data"))
    rate = tokens_per_s(size, device)
    from contract import Request
    from data import load_data
    from evaluation import evaluate
    from experiment import PROFILES, Config, Trainer
    from training import train_all

    data = load_data(folder / "data")
    base = Config(**PROFILES["full"] | (TINY_SAE if tiny else {}))

    out, seen = folder / "run_0", steps * base.batch_size
    out.mkdir()
    config = dataclasses.replace(
        base, training_tokens=seen, dead_after_tokens=seen // 4, compiled="always"
    )
    request: Request[Any] = Request(
        out_dir=out, profile="full", seed=0, config=config, data_dir=folder / "data"
    )
    trained, training_s, training_gb = held_by(lambda: train_all(request, data, Trainer))
    step_s = seconds_per_step(out / "metrics.jsonl")
    results, measuring_s, measuring_gb = held_by(lambda: evaluate(request, data, trained, "topk"))
    store_gb = data.train_x.numel() * data.train_x.element_size() / 1e9
    (main,) = (part for name, part in results.items() if name.startswith("training results"))
    return {
        "parameters": float(sum(one.numel() for one in data.model.whole.parameters())),
        "preparing_tokens_per_s": rate,
        "preparing_gb": preparing_gb,
        "preparing_gb_counted": preparing_bytes(size, ModelShape()) / 1e9,
        "step_s": step_s,
        "compiling_s": training_s - steps * step_s,
        "saes": float(len(trained)),
        "training_gb": training_gb - store_gb,
        "training_gb_counted": (
            training_bytes(base, data.d_model) + held_out_bytes(size, ModelShape())
        )
        / 1e9,
        "measuring_s": measuring_s,
        "measuring_gb": measuring_gb,
        "measuring_gb_counted": measuring_bytes(base, size, ModelShape()) / 1e9,
        "fvu": float(main["final_info"]["fvu"]),
    }


def seconds_per_step(metrics: Path) -> float:
    """Return what a step of the last third of a training took: by then all is compiled."""
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    lines = [line for line in lines if line["k"] == lines[0]["k"]]
    first, last = lines[-len(lines) // 3], lines[-1]
    begun, ended = (line["tokens"] / line["tokens_per_s"] for line in (first, last))
    return float((ended - begun) / (last["step"] - first["step"]))


def tokens_per_s(size: Any, device: torch.device) -> float:
    """Return how many tokens a second go through the language model up to the hook."""
    from pretrained import load_pretrained

    model, _ = load_pretrained(size.model, size.dtype, device)
    rows = torch.randint(3, WORDS, (size.batch_contexts, size.context))
    model.residual_after(rows, size.layer)

    def work() -> None:
        for _ in range(10):
            model.residual_after(rows, size.layer)

    return 10 * rows.numel() / held_by(work)[1]


def main(folder: str, tokens: int, steps: int, *, tiny: bool) -> None:
    """Print what was measured."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False
    print(json.dumps(measure(Path(folder), tokens, steps, tiny=tiny)))
