"""The training of one SAE: its steps, its dead latents, its optimizer. Frozen: edits are undone.

Shapes: B tokens of a batch, d width of the residual stream, F latents, D of them dead.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from compiled import CompiledLoss, compiles
from contract import stop
from data import Batch, Data
from dictionary import Trained, fold_scale
from loss_terms import TermLog
from schedules import (
    Timing,
    count_steps,
    learning_factor,
    resampling_steps,
    steps_between_refreshes,
)

PROBE_TOKENS = 2000
"""Held-out tokens that a trained SAE is probed on."""
CURVE_BATCHES = 4
"""Held-out tokens, as many as so many batches, that the curve of unexplained variance over training
is measured on, PROBE_TOKENS at most: else a short training spends its time on that."""


class Settings(Timing, Protocol):
    """What training reads of the configuration."""

    n_latents: int
    k: int
    l1_coefficient: float
    learning_rate: float
    repeats: int
    frontier_repeats: int
    precision: str
    sparse_decode: bool
    shared_order: bool
    compiled: str


class Forward(NamedTuple):
    """What an SAE made of a batch."""

    pre: Tensor
    """(B, F), before all but the k largest are switched off."""
    latents: Tensor
    """(B, F)"""
    error: Tensor
    """What the reconstruction misses, (B, d)."""
    dead: Tensor
    """Indices (D,) of the latents that have not fired for long."""


class Learner(Protocol):
    """One SAE and what it is trained for: experiment.py's Trainer."""

    sae: Any
    generator: torch.Generator

    def loss_terms(self, batch: Batch, forward: Forward) -> dict[str, Tensor]:
        """Return each term of the loss by name; they are summed."""
        ...

    def latents_to_resample(self, dead: Tensor) -> Tensor:
        """Return the indices of the latents to be drawn anew, given those of the dead ones."""
        ...

    def resample_scores(self, batch: Batch, error: Tensor) -> Tensor:
        """Return how likely each token (B,) is to become the direction of one of them."""
        ...


class Session:
    """The training of one SAE."""

    def __init__(self, learner: Learner, config: Settings, data: Data) -> None:
        self.learner, self.config, self.data = learner, config, data
        self.steps = count_steps(config)
        self._refresh_every = steps_between_refreshes(config)
        self._resampling_steps = resampling_steps(config)
        learner.sae.to(data.device)
        self.optimizer = Adam(learner.sae.parameters())
        self.silent = torch.zeros(config.n_latents, device=data.device)
        self.dead = torch.zeros(0, dtype=torch.long, device=data.device)
        self.resampled = 0
        self.term_log = TermLog(self.steps)
        self.seconds = 0.0
        wish = compiles(config.compiled, self.steps, data.device)
        self._compiled = CompiledLoss(self.losses, learner, config.precision) if wish else None
        curve_tokens = min(PROBE_TOKENS, CURVE_BATCHES * config.batch_size)
        held_out = data.documents["validation"].activations()[:curve_tokens]
        self._held_out = (held_out - data.mean) / data.scale

    def step(self, number: int, batch: Batch) -> dict[str, float | str]:
        """Take one optimizer step; return what is to be logged."""
        started = time.perf_counter()
        sae, config = self.learner.sae, self.config
        sae.zero_grad()
        latents, logged = self._add_gradients(number, batch)
        with torch.no_grad():
            remove_parallel_gradient(sae.W_dec)
            self.optimizer.step(config.learning_rate * learning_factor(config, number))
            sae.W_dec /= sae.W_dec.norm(dim=1, keepdim=True)
            self._count_silence(number, latents)
            if number + 1 in self._resampling_steps:
                self.resample(batch)
        self.seconds += time.perf_counter() - started
        if logged:
            counts = (latents.detach() != 0).sum(1)
            if config.sparse_decode and int(counts.max()) > config.k:
                stop(f"sparse_decode rebuilds from k = {config.k} latents, and a token has more")
            active = counts.float().mean()
            dead_share = len(self.dead) / config.n_latents
            logged |= {"fvu": self.fvu(), "l0": float(active), "dead_share": dead_share}
        return logged

    def _add_gradients(self, number: int, batch: Batch) -> tuple[Tensor, dict[str, float | str]]:
        """Add the loss's gradient to the parameters; return the latents and what is to be logged.

        What is logged needs each term's own gradient, and is always of the loss as it is written.
        """
        if self._compiled is not None and not self.term_log.is_due(number):
            return self._compiled.add_gradients(batch, self.dead), {}
        latents, terms = self.losses(batch, self.dead)
        return latents, self.term_log.backward(number, terms, self.learner.sae.parameters())

    def losses(self, batch: Batch, dead: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the latents (B, F) of a batch and the terms of the loss by name."""
        sae = self.learner.sae
        with self._precision():
            pre = sae.pre_activations(batch.x)
            latents = sae.activate(pre)
            forward = Forward(pre, latents, batch.x - sae.decode(latents), dead)
            return latents, self.learner.loss_terms(batch, forward)

    def _precision(self) -> torch.autocast:
        """Return what makes matrix products bfloat16; weights, moments and sums stay float32."""
        enabled = self.config.precision == "bfloat16"
        return torch.autocast(self.data.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _count_silence(self, number: int, latents: Tensor) -> None:
        tokens = len(latents)
        self.silent = torch.where((latents > 0).any(0), 0.0, self.silent + tokens)
        if (number + 1) % self._refresh_every == 0:
            self.dead = (self.silent > self.config.dead_after_tokens).nonzero()[:, 0]

    def resample(self, batch: Batch) -> None:
        """Point latents at what the SAE explains worst, and forget their optimizer state."""
        dead = (self.silent > self.config.dead_after_tokens).nonzero()[:, 0]
        chosen = self.learner.latents_to_resample(dead)[: self.config.batch_size // 2]
        if len(chosen) == 0:
            return
        sae = self.learner.sae
        error = batch.x - sae.decode(sae.encode(batch.x))
        scores = self.learner.resample_scores(batch, error)
        # On the CPU, where the seed's generator is: the same draws on every device.
        drawn = torch.multinomial(scores.cpu(), len(chosen), generator=self.learner.generator)
        tokens = drawn.to(error.device)
        rows = nn.functional.normalize(error[tokens], dim=1)  # (C, d)
        size = sae.W_enc.norm(dim=0).mean()
        sae.W_dec[chosen] = rows
        sae.W_enc[:, chosen] = rows.T * size
        sae.b_enc[chosen] = 0.0
        for parameter, index in (
            (sae.W_dec, chosen),
            (sae.W_enc, (slice(None), chosen)),
            (sae.b_enc, chosen),
        ):
            self.optimizer.forget(parameter, index)
        self.silent[chosen] = 0.0
        self.dead = self.dead[:0]
        self.resampled += len(chosen)

    @torch.no_grad()
    def fvu(self) -> float:
        """Return the share of the held-out tokens' variance that is not explained so far."""
        x, sae = self._held_out, self.learner.sae
        error = (x - sae.decode(sae.encode(x))).square().sum()
        return float(error / (x - x.mean(0)).square().sum())

    def finish(self, repeat: int) -> Trained:
        """Return the SAE on the model's scale, and what its training reports."""
        probe = self.data.documents["validation"].activations()[:PROBE_TOKENS]
        tokens = self.steps * self.config.batch_size
        report = self.term_log.results() | {
            "resampled_latents": float(self.resampled),
            "dead_share_in_training": float(
                (self.silent > self.config.dead_after_tokens).float().mean()
            ),
            "tokens_seen": float(tokens),
            "epochs": tokens / len(self.data.train_x),
            "seconds": self.seconds,
        }
        folded = fold_scale(self.learner.sae, self.data.mean, self.data.scale, probe)
        return Trained(sae=folded, seed=repeat, k=self.config.k, report=report)


class Adam:
    """Fused Adam, with moments that can be forgotten where a latent is drawn anew.

    Calls torch's own function: making a torch.optim.Adam imports torch's compiler, which takes
    longer than a rehearsal.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._parameters = list(parameters)
        self._means = [torch.zeros_like(one) for one in self._parameters]
        self._squares = [torch.zeros_like(one) for one in self._parameters]
        self._steps = [torch.zeros((), device=one.device) for one in self._parameters]

    def step(self, learning_rate: float) -> None:
        """Move the parameters that have a gradient against it."""
        rows = zip(self._parameters, self._means, self._squares, self._steps, strict=True)
        moved = [(one, one.grad, *moments) for one, *moments in rows if one.grad is not None]
        parameters, gradients, means, squares, steps = map(list, zip(*moved, strict=True))
        adam(
            parameters,
            gradients,
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def forget(self, parameter: Tensor, index: Any) -> None:
        """Set the moments of parameter[index] to 0."""
        place = next(i for i, one in enumerate(self._parameters) if one is parameter)
        self._means[place][index] = 0.0
        self._squares[place][index] = 0.0


def decode_sparsely(latents: Tensor, rows: Tensor, k: int) -> Tensor:
    """Return latents (B, F) times decoder rows (F, d), where at most k latents are active.

    The same sum and the same gradients as the product, from k rows a token instead of F; latents
    beyond the k largest get neither.
    """
    top = latents.topk(k, dim=-1)
    weights = top.values.to(rows.dtype)
    return nn.functional.embedding_bag(top.indices, rows, per_sample_weights=weights, mode="sum")


def remove_parallel_gradient(rows: Tensor) -> None:
    """Take out of the gradient of unit rows what would only change their length."""
    assert rows.grad is not None
    rows.grad -= (rows.grad * rows).sum(1, keepdim=True) * rows
