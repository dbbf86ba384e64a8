"""Training steps of one TopK SAE, timed beside each other; runs in the sae template's environment.

    usual       encode, topk, scatter, dense decode in float32; torch's Adam as it is by default,
                clipping, unit rows, and the loss read at each step, as the common libraries do it
    autocast    the same under bfloat16 autocast
    ours        the template's own step, also compiled and recorded, and with penalties on pairs
    floor       10 B d F operations at the speed of this machine's own matrix products, and Adam's
                28 bytes for each of 2 d F weights at its copying speed; one after the other

Prints one JSON object: seconds per step by name, and under `compiling` what the compiled loss took
before its first step that counts. Variants take turns, and the fastest of several
turns counts, so that other load on the machine distorts little.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compiled import CHECKED
from data import Batch, Data, Documents
from dictionary import ortho_pairs
from experiment import Config, Trainer
from session import Forward, Session

SAMPLED_PAIRS = 4096
COMPILED = "ours compiled"
USUAL = ("usual", "autocast")


def compare(shape: dict[str, int], steps: int, turns: int) -> dict[str, float]:
    """Return seconds per step of every variant at one shape (d, F, k, B)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = "bfloat16" if device.type == "cuda" else "float32"
    x = torch.randn(shape["B"], shape["d"], device=device)
    batch = Batch(x, torch.arange(shape["B"], device=device) % 3)
    variants = {
        "usual": usual_step(shape, x, autocast=False),
        "autocast": usual_step(shape, x, autocast=True),
        "ours": our_step(Trainer, shape, batch, precision),
        COMPILED: our_step(Trainer, shape, batch, precision, compiled="always"),
        "ours with ortho_pairs": our_step(Penalized, shape, batch, precision),
        "ours with sampled pairs": our_step(Sampled, shape, batch, precision),
    }
    fix_arithmetic(wanted=True)
    started = time.perf_counter()
    for _ in range(3 + CHECKED):
        variants[COMPILED]()
    compiling = time.perf_counter() - started
    best = dict.fromkeys(variants, float("inf"))
    for _ in range(turns):
        for name, step in variants.items():
            fix_arithmetic(wanted=name not in USUAL)
            best[name] = min(best[name], seconds_of(step, steps, device))
    floor = floor_of(shape, device, precision, turns)
    return best | {"floor": floor, "compiling": compiling}


def fix_arithmetic(*, wanted: bool) -> None:
    """Let equal seeds give equal bits, as the template does, or not, as the usual steps."""
    torch.set_deterministic_debug_mode("error" if wanted else "default")


def seconds_of(step: Callable[[], object], steps: int, device: torch.device) -> float:
    """Return the mean seconds of a step after one that does not count."""
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


def usual_step(shape: dict[str, int], x: Tensor, *, autocast: bool) -> Callable[[], float]:
    """Return the step of a common trainer, which reads its loss each time."""
    d, latents, k = shape["d"], shape["F"], shape["k"]
    encoder = nn.Linear(d, latents, device=x.device)
    decoder = nn.Linear(latents, d, bias=False, device=x.device)
    bias = nn.Parameter(torch.zeros(d, device=x.device))
    with torch.no_grad():
        decoder.weight /= decoder.weight.norm(dim=0)
        encoder.weight.copy_(decoder.weight.T)
    parameters = [*encoder.parameters(), *decoder.parameters(), bias]
    optimizer = torch.optim.Adam(parameters, lr=2e-4)

    def step() -> float:
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=autocast):
            pre = encoder(x - bias).relu()
            top = pre.topk(k, dim=-1)
            active = torch.zeros_like(pre).scatter_(-1, top.indices, top.values)
            loss = (x - decoder(active) - bias).square().sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        with torch.no_grad():
            along = (decoder.weight.grad * decoder.weight).sum(0, keepdim=True)
            decoder.weight.grad -= along * decoder.weight
            optimizer.step()
            decoder.weight /= decoder.weight.norm(dim=0, keepdim=True)
        return loss.item()

    return step


class Penalized(Trainer):
    """With the exact penalty on all pairs of latents."""

    pairs: int | None = None

    def loss_terms(self, batch: Batch, forward: Forward) -> dict[str, Tensor]:
        """Add the penalty."""
        weights = forward.latents.detach().mean(0)
        penalty = ortho_pairs(self.sae.W_dec, weights, self.pairs, self.generator)
        return super().loss_terms(batch, forward) | {"orthogonality": 0.02 * penalty}


class Sampled(Penalized):
    """With the penalty estimated from some pairs."""

    pairs = SAMPLED_PAIRS


def our_step(
    trainer: type[Trainer],
    shape: dict[str, int],
    batch: Batch,
    precision: str,
    **settings: Any,
) -> Callable[[], object]:
    """Return the template's step, at a time when nothing is logged or resampled."""
    config = Config(
        n_latents=shape["F"],
        k=shape["k"],
        batch_size=shape["B"],
        training_tokens=shape["B"] * 1_000_000,
        dead_after_tokens=shape["B"] * 1_000_000,
        precision=precision,
        **settings,
    )
    documents = Documents(
        tokens=torch.zeros(2, 9, dtype=torch.long),
        is_fact=torch.zeros(2, 9, dtype=torch.bool),
        domain=torch.zeros(2),
        residual=torch.randn(2, 9, shape["d"], device=batch.x.device),
    )
    data = Data(
        folder=Path(),
        layer=0,
        d_model=shape["d"],
        mean=torch.zeros(shape["d"], device=batch.x.device),
        scale=1.0,
        train_x=batch.x,
        train_domain=batch.domain,
        documents={"validation": documents},
        content_sha256="",
        device=batch.x.device,
    )
    session = Session(trainer(config, shape["d"], 0), config, data)
    return lambda: session.step(3, batch)


def floor_of(shape: dict[str, int], device: torch.device, precision: str, turns: int) -> float:
    """Return the seconds that products and Adam's memory traffic alone would take."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    x = torch.randn(shape["B"], shape["d"], device=device, dtype=dtype)
    weights = torch.randn(shape["d"], shape["F"], device=device, dtype=dtype)
    large = torch.empty(32_000_000 if device.type == "cpu" else 512_000_000, device=device)
    other = torch.empty_like(large)
    product = min(seconds_of(lambda: x @ weights, 5, device) for _ in range(turns))
    copy = min(seconds_of(lambda: other.copy_(large), 1, device) for _ in range(turns))
    bytes_per_s = 8 * large.numel() / copy
    return 5 * product + 28 * 2 * shape["d"] * shape["F"] / bytes_per_s


def main(shapes: list[dict[str, int]], steps: int, turns: int) -> None:
    """Print what was measured of each shape."""
    torch.set_num_threads(1)
    torch.utils.deterministic.fill_uninitialized_memory = False  # as contract.py has it
    measured = [compare(shape, steps, turns) for shape in shapes]
    print(json.dumps(measured))
