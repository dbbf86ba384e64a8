"""The training of one SAE: its steps, its dead latents, its optimizer. Frozen: edits are undone.

Shapes: B tokens of a batch, d width of the residual stream, F latents, D of them dead.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from captured import CapturedStep, Step
from compiled import CompiledLoss, compile_alone, compiles
from data import Batch, Data
from dictionary import Trained, fold_scale
from loss_terms import TermLog
from optimizer import Adam
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
        for name, value in vars(learner).items():
            if isinstance(value, Tensor):  # what an idea keeps lies where the latents lie
                setattr(learner, name, value.to(data.device))
        self.silent = torch.zeros(config.n_latents, device=data.device)
        self.dead = torch.zeros(0, dtype=torch.long, device=data.device)
        self.resampled = 0
        self.term_log = TermLog(self.steps)
        self._fast: Step | None = None
        fuses = None
        if compiles(config.compiled, self.steps, data.device):
            self._compiled = CompiledLoss(self.losses, learner, config.precision)
            self._fast = self._step_compiled
            if data.device.type == "cuda":  # a CPU has no launches, and its fused Adam is faster
                self._fast = CapturedStep(self._step_compiled, self._compiled.is_settled)
                fuses = compile_alone
        self.optimizer = Adam(learner.sae.parameters(), learner.sae.W_dec, fuses)
        curve_tokens = min(PROBE_TOKENS, CURVE_BATCHES * config.batch_size)
        held_out = data.documents["validation"].activations()[:curve_tokens]
        self._held_out = (held_out - data.mean) / data.scale

    def step(self, number: int, batch: Batch) -> dict[str, float | str]:
        """Take one optimizer step; return what is to be logged."""
        self.optimizer.rate.fill_(self.config.learning_rate * learning_factor(self.config, number))
        logged: dict[str, float | str] = {}
        if self._fast is not None and not self.term_log.is_due(number):
            self._fast(batch, self.dead)
        else:
            logged, latents = self._step_as_written(number, batch)
        if (number + 1) % self._refresh_every == 0:
            self._refresh_dead()
        if number + 1 in self._resampling_steps:
            self.resample(batch)
        if logged:
            active = (latents != 0).sum(1).float().mean()
            dead_share = len(self.dead) / self.config.n_latents
            logged |= {"fvu": self.fvu(), "l0": float(active), "dead_share": dead_share}
        return logged

    def _step_as_written(self, number: int, batch: Batch) -> tuple[dict[str, float | str], Tensor]:
        """Take a step that may be logged: that needs each term's own gradient."""
        self.learner.sae.zero_grad()
        latents, terms = self.losses(batch, self.dead)
        logged = self.term_log.backward(number, terms, self.learner.sae.parameters())
        self.optimizer.step()
        self._count_silence(latents)
        return logged, latents.detach()

    def _step_compiled(self, batch: Batch, dead: Tensor) -> None:
        """Take a step that is not logged; it may be recorded."""
        self.learner.sae.zero_grad()
        latents = self._compiled.add_gradients(batch, dead)
        self.optimizer.step()
        self._count_silence(latents)

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

    @torch.no_grad()
    def _count_silence(self, latents: Tensor) -> None:
        self.silent.add_(len(latents)).masked_fill_((latents > 0).any(0), 0.0)

    def _refresh_dead(self) -> None:
        """Bring the dead latents up to date; in place where they are as many as before."""
        dead = self._find_dead()
        if len(dead) == len(self.dead):
            self.dead.copy_(dead)
        else:
            self.dead = dead

    def _find_dead(self) -> Tensor:
        return (self.silent > self.config.dead_after_tokens).nonzero()[:, 0]

    @torch.no_grad()
    def resample(self, batch: Batch) -> None:
        """Point latents at what the SAE explains worst, and forget their optimizer state."""
        dead = self._find_dead()
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
        }
        folded = fold_scale(self.learner.sae, self.data.mean, self.data.scale, probe)
        return Trained(sae=folded, seed=repeat, k=self.config.k, report=report)
