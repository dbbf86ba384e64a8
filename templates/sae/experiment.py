"""Train sparse autoencoders (SAEs) on a language model's residual stream, and measure them.

Run as `python experiment.py --out_dir=run_N`. Each repeat trains one SAE with its own seed; the
results are means over repeats, which are the same seeds in every run. What measures (contract.py,
corpus.py, data.py, dictionary.py, evaluation.py, loss_terms.py and prepare.py) is frozen.

Shapes: B tokens of a batch, d width of the residual stream, F latents, all different.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from contract import Progress, Request, log_step, read_request, write_results
from data import Batch, Data, load_data
from dictionary import check_axes, fold_scale
from evaluation import evaluate
from loss_terms import TermLog


@dataclass(frozen=True, kw_only=True)
class Config:
    """All that a run can vary; every key is written into final_info.json."""

    architecture: str = "topk"
    """`topk`, or `standard`: ReLU latents with an L1 penalty."""
    n_latents: int = 192
    k: int = 2
    """Active latents per token (topk)."""
    l1_coefficient: float = 0.05
    """Weight of the mean sum of latents (standard)."""
    steps: int = 900
    batch_size: int = 512
    learning_rate: float = 2e-3
    warmup_steps: int = 45
    decay_share: float = 0.3
    """Share of the steps, at the end, over which the learning rate falls to 0."""
    dead_after_steps: int = 60
    """A latent that fired for no token in so many steps counts as dead while training."""
    auxiliary_coefficient: float = 1 / 32
    """Weight of the loss that lets dead latents explain what is left over (topk)."""
    auxiliary_latents: int = 32
    resample_every: int = 250
    """Steps between re-drawing dead latents; 0 is never."""
    repeats: int = 5


# A profile changes sizes and schedules. Every schedule must fit into `smoke`, the rehearsal.
PROFILES: dict[str, dict[str, Any]] = {
    "smoke": {
        "n_latents": 160,
        "k": 5,
        "steps": 60,
        "batch_size": 192,
        "learning_rate": 4e-3,
        "warmup_steps": 5,
        "dead_after_steps": 3,
        "auxiliary_latents": 8,
        "resample_every": 20,
        "repeats": 2,
    },
    "small": {},
    "full": {},
}


class SparseAutoencoder(nn.Module):
    """latents = act((x - b_dec) W_enc + b_enc), reconstruction = latents W_dec + b_dec."""

    def __init__(self, config: Config, d_model: int, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        rows = nn.functional.normalize(
            torch.randn(config.n_latents, d_model, generator=generator), dim=1
        )
        self.W_dec = nn.Parameter(rows)  # (F, d), unit rows
        self.W_enc = nn.Parameter(rows.T.clone())  # (d, F)
        self.b_enc = nn.Parameter(torch.zeros(config.n_latents))
        self.b_dec = nn.Parameter(torch.zeros(d_model))

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return the latents (B, F) before all but the k largest are switched off."""
        return ((x - self.b_dec) @ self.W_enc + self.b_enc).relu()

    def activate(self, pre: Tensor) -> Tensor:
        """Keep the k largest latents of each token (topk), or all that are positive (standard)."""
        if self.config.architecture == "standard":
            return pre
        return keep_largest(pre, self.config.k)

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents (..., F) of activations (..., d)."""
        return self.activate(self.pre_activations(x))

    def decode(self, latents: Tensor) -> Tensor:
        """Return the reconstruction (..., d) of latents (..., F)."""
        return latents @ self.W_dec + self.b_dec


def keep_largest(values: Tensor, k: int) -> Tensor:
    """Return `values` with all but the k largest of the last axis set to 0."""
    top = values.topk(k, dim=-1)
    return torch.zeros_like(values).scatter(-1, top.indices, top.values)


class Trainer:
    """Trains one SAE: reconstruction, what keeps latents alive, and what an idea adds."""

    def __init__(self, config: Config, data: Data, seed: int) -> None:
        self.config = config
        self.data = data
        self.generator = torch.Generator().manual_seed(seed)
        self.sae = SparseAutoencoder(config, data.d_model, self.generator)
        self.optimizer = torch.optim.Adam(
            self.sae.parameters(), lr=config.learning_rate, betas=(0.9, 0.999), fused=True
        )
        self.steps_silent = torch.zeros(config.n_latents)
        self.resampled = 0
        self.term_log = TermLog(config.steps)

    def loss_terms(self, batch: Batch) -> dict[str, Tensor]:
        """Return each term of the training loss by name, coefficient included; they are summed."""
        pre = self.sae.pre_activations(batch.x)  # (B, F)
        latents = self.sae.activate(pre)  # (B, F)
        error = batch.x - self.sae.decode(latents)  # (B, d)
        self.steps_silent = torch.where((latents > 0).any(0), 0.0, self.steps_silent + 1)
        terms = {"reconstruction": relative_error(error, batch.x)}
        if self.config.architecture == "standard":
            terms["sparsity"] = self.config.l1_coefficient * latents.sum(1).mean()
        else:
            terms["auxiliary"] = self.config.auxiliary_coefficient * self.auxiliary(pre, error)
        return terms | self.idea_terms(batch, latents)

    def idea_terms(self, batch: Batch, latents: Tensor) -> dict[str, Tensor]:
        """Return the loss terms that an idea adds, by name; the baseline has none.

        `latents` (B, F) have gradients; `batch.domain` (B,) is HAZARD, BENIGN or NEUTRAL (data.py).
        Penalties on pairs of latents: ortho_pairs (dictionary.py) on self.sae.W_dec (F, d).
        """
        return {}

    def auxiliary(self, pre: Tensor, error: Tensor) -> Tensor:
        """Return how badly the dead latents alone explain what the others left over."""
        dead = self.steps_silent > self.config.dead_after_steps
        count = min(self.config.auxiliary_latents, int(dead.sum()))
        if count == 0:
            return error.new_zeros(())
        latents = keep_largest(pre.masked_fill(~dead, 0.0), count)
        left = error.detach()
        return relative_error(left - latents @ self.sae.W_dec, left)

    def step(self, number: int, batch: Batch) -> dict[str, float | str]:
        """Take one optimizer step; return what is to be logged."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self.rate(number)
        terms = self.loss_terms(batch)
        self.optimizer.zero_grad()
        logged = self.term_log.backward(number, terms, self.sae.parameters())
        with torch.no_grad():
            W_dec = self.sae.W_dec
            W_dec.grad -= (W_dec.grad * W_dec).sum(1, keepdim=True) * W_dec
            self.optimizer.step()
            W_dec /= W_dec.norm(dim=1, keepdim=True)
            every = self.config.resample_every
            if every and (number + 1) % every == 0 and number < self.config.steps * 0.7:
                self.resample(batch)
        return logged

    def rate(self, number: int) -> float:
        """Return the factor of the learning rate: linear warm-up, flat, linear decay."""
        up = (number + 1) / max(1, self.config.warmup_steps)
        down = (self.config.steps - number) / max(1.0, self.config.steps * self.config.decay_share)
        return min(1.0, up, down)

    def resample_scores(self, batch: Batch, error: Tensor) -> Tensor:
        """Return, for each token (B,), how likely it is to become a dead latent's new direction."""
        return error.square().sum(1)

    def resample(self, batch: Batch) -> None:
        """Point dead latents at what the SAE explains worst, and forget their optimizer state."""
        dead = (self.steps_silent > self.config.dead_after_steps).nonzero()[:, 0]
        dead = dead[: self.config.batch_size // 2]
        if len(dead) == 0:
            return
        sae, error = self.sae, batch.x - self.sae.decode(self.sae.encode(batch.x))
        scores = self.resample_scores(batch, error)
        tokens = torch.multinomial(scores, len(dead), generator=self.generator)
        rows = nn.functional.normalize(error[tokens], dim=1)  # (dead, d)
        size = sae.W_enc.norm(dim=0).mean()
        sae.W_dec[dead] = rows
        sae.W_enc[:, dead] = rows.T * size
        sae.b_enc[dead] = 0.0
        for parameter, index in (
            (sae.W_dec, dead),
            (sae.W_enc, (slice(None), dead)),
            (sae.b_enc, dead),
        ):
            for moment in ("exp_avg", "exp_avg_sq"):
                self.optimizer.state[parameter][moment][index] = 0.0
        self.steps_silent[dead] = 0.0
        self.resampled += len(dead)

    def train(self, seed: int) -> Iterator[dict[str, float | str]]:
        """Train to the end, yielding after each step what is to be logged."""
        batches = self.data.batches(self.config.batch_size, self.config.steps, seed)
        for number, batch in enumerate(batches):
            yield self.step(number, batch)


def relative_error(error: Tensor, target: Tensor) -> Tensor:
    """Return the squared error (B, d) as a share of the target's squared size."""
    return error.square().sum() / target.square().sum().clamp_min(1e-12)


def train_repeat(
    request: Request[Config], data: Data, repeat: int, progress: Progress
) -> tuple[SparseAutoencoder, dict[str, float]]:
    """Train one SAE; return it on the model's scale, and what its training reports."""
    started = time.perf_counter()
    seed = 1000 * request.seed + repeat
    trainer = Trainer(request.config, data, seed)
    steps = request.config.steps
    for number, logged in enumerate(trainer.train(seed)):
        if logged:
            log_step(request, step=number, repeat=repeat, **logged)
        progress.step(repeat * steps + number + 1, repeat=repeat)
    probe = data.documents["validation"].activations()[:2000]
    folded = fold_scale(trainer.sae, data.mean, data.scale, probe)
    reported = trainer.term_log.results()
    reported["resampled_latents"] = float(trainer.resampled)
    reported["seconds"] = time.perf_counter() - started
    return folded, reported


def main() -> None:
    """Train the SAE of each repeat, measure all of them, and write the results."""
    request = read_request(Config(), PROFILES)
    config = request.config
    data = load_data(request.data_dir)
    check_axes(
        n_latents=config.n_latents,
        d_model=data.d_model,
        batch_size=config.batch_size,
        k=config.k,
    )
    progress = Progress(config.repeats * config.steps, "training steps")
    trained = [train_repeat(request, data, repeat, progress) for repeat in range(config.repeats)]
    saes = [sae for sae, _ in trained]
    reported = [numbers for _, numbers in trained]
    write_results(request, evaluate(request, data, saes, reported, config.architecture))


if __name__ == "__main__":
    main()
