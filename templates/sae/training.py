"""How SAEs are trained: seeds, values of k, penalties that are tuned to k. Frozen.

experiment.py says what an SAE is and what it is trained for, session.py takes the steps. A run
trains one SAE for each seed at the configuration's k, and for a few seeds at half and at twice that
k, because a single k is not evidence. SAEs of one seed see the same batches and are trained in one
pass.

Where L0 follows from a penalty, the penalty is tuned before the training: two SAEs at different L0
cannot be compared.
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from compiled import releasing_compiled
from contract import Request
from data import Data
from dictionary import Dictionary, Trained, check_axes
from schedules import check_schedules, count_steps
from session import Learner, Session
from settings import check_settings
from training_log import TrainingLog
from workers import granted_processes, in_processes

PENALTIES = tuple(10 ** (number / 2 - 4) for number in range(8))
"""Tried in the tuning pass, 1e-4 to 3e-1."""
TUNING_SHARES = {"smoke": (1.0, 1.0), "small": (0.5, 1.0), "full": (0.1, 0.3)}
"""How much of the training the coarse and the fine tuning pass take."""
AROUND = (0.7, 1.0, 1.4)
"""What the fine pass tries, as multiples of what the coarse one said."""

MakeLearner = Callable[[Any, int, int], Learner]
"""From configuration, width d and seed."""


def train_all(
    request: Request[Any], data: Data, make_learner: MakeLearner, *, tuned: bool = False
) -> list[Trained]:
    """Train the SAEs of a run; return those at the configuration's k first, in seed order.

    Seeds are spread over the processes that the run was granted. `tuned` says that L0 follows from
    the penalty, as it does of architecture `standard`.
    """
    gc.freeze()  # what was imported stays: looking through it again costs a tenth of a rehearsal
    architectures = getattr(make_learner, "architectures", ())
    check_settings(request.config, len(data.train_x), architectures)
    configs = points(request.config)
    for config in configs:
        check_axes(
            n_latents=config.n_latents,
            d_model=data.d_model,
            batch_size=config.batch_size,
            k=config.k,
        )
        check_schedules(config)
    data = data.for_training()
    if tuned or (request.config.architecture == "standard" and not request.config.l1_coefficient):
        configs = tune(request, data, make_learner, configs)
        tuned = True
    frontier = min(request.config.frontier_repeats, request.config.repeats)
    plans = [
        (repeat, configs if repeat < frontier else configs[:1])
        for repeat in range(request.config.repeats)
    ]

    groups = [plans] if request.config.shared_order else [[plan] for plan in plans]

    def train_group(group: Sequence[tuple[int, Sequence[Any]]]) -> list[Trained]:
        return train_together(request, data, make_learner, group)

    trained = [
        one for group in in_processes(train_group, groups, granted_processes()) for one in group
    ]
    if tuned:
        trained = [_with_penalty(one, configs) for one in trained]
    place = {config.k: number for number, config in enumerate(configs)}
    return sorted(trained, key=lambda one: (place[one.k], one.seed))


def _with_penalty(one: Trained, configs: Sequence[Any]) -> Trained:
    """Report the penalty that an SAE was trained with."""
    penalty = next(config.l1_coefficient for config in configs if config.k == one.k)
    return dataclasses.replace(one, report={**one.report, "tuned_l1_coefficient": penalty})


def points(config: Any) -> list[Any]:
    """Return the configurations of the frontier: at k, at half of it, at twice as much.

    A penalty on the sum of latents is halved where k doubles: its L0 is measured, not set.
    """
    if not config.frontier_repeats:
        return [config]
    factors = [1.0, 0.5, 2.0] if config.k > 1 else [1.0, 2.0]
    return [
        dataclasses.replace(
            config, k=int(config.k * factor), l1_coefficient=config.l1_coefficient / factor
        )
        for factor in factors
    ]


@releasing_compiled()
def train_together(
    request: Request[Any],
    data: Data,
    make_learner: MakeLearner,
    group: Sequence[tuple[int, Sequence[Any]]],
) -> list[Trained]:
    """Train SAEs, given by seed and configurations, in one pass over the same batches.

    The order of the data is that of the group's first seed.
    """
    first, config = group[0][0], group[0][1][0]
    steps = count_steps(config)
    passes = [
        (
            TrainingLog(request, repeat=repeat, steps=steps, batch_size=config.batch_size),
            repeat,
            [
                Session(make_learner(one, data.d_model, 1000 * request.seed + repeat), one, data)
                for one in configs
            ],
        )
        for repeat, configs in group
    ]
    started = time.perf_counter()
    batches = data.batches(config.batch_size, steps, 1000 * request.seed + first)
    for number, batch in enumerate(batches):
        for log, _, sessions in passes:
            log.step(number, {one.config.k: one.step(number, batch) for one in sessions})
    trained = [session.finish(repeat) for _, repeat, sessions in passes for session in sessions]
    # A GPU has done all by now, since numbers were read; before, nobody can tell whose time it was.
    seconds = (time.perf_counter() - started) / len(trained)
    return [dataclasses.replace(one, report={**one.report, "seconds": seconds}) for one in trained]


def tune(
    request: Request[Any], data: Data, make_learner: MakeLearner, configs: Sequence[Any]
) -> list[Any]:
    """Return the configurations with the penalties at which L0 comes to their k.

    A coarse pass over all PENALTIES, then one of more tokens over a few around what it says.
    """
    coarse, fine = TUNING_SHARES[request.profile]
    measured = sweep(request, data, make_learner, PENALTIES, coarse)
    guesses = [penalty_for(config.k, measured) for config in configs]
    around = {guess * factor for guess in guesses for factor in AROUND}
    measured = sweep(request, data, make_learner, sorted(around), fine)
    return [
        dataclasses.replace(config, l1_coefficient=penalty_for(config.k, measured))
        for config in configs
    ]


def sweep(
    request: Request[Any],
    data: Data,
    make_learner: MakeLearner,
    penalties: Sequence[float],
    share: float,
) -> list[tuple[float, float]]:
    """Train with several penalties in one pass, and return each with the L0 that came of it."""
    tokens = int(request.config.training_tokens * share)
    tried = [
        dataclasses.replace(
            request.config, l1_coefficient=penalty, training_tokens=tokens, k=number + 1
        )  # k is not used by these architectures; it tells the SAEs of the pass apart
        for number, penalty in enumerate(penalties)
    ]
    print(f"tuning the penalty on {tokens} tokens, {len(tried)} values at once", flush=True)
    aside = dataclasses.replace(request, out_dir=request.out_dir / "tuning")
    aside.out_dir.mkdir(exist_ok=True)
    trained = train_together(aside, data, make_learner, [(0, tried)])
    measured = [
        (penalty, mean_l0(one.sae, data)) for penalty, one in zip(penalties, trained, strict=True)
    ]
    for penalty, l0 in measured:
        print(f"penalty {penalty:.3g}: L0 {l0:.2f}", flush=True)
    return measured


def penalty_for(target: float, measured: Sequence[tuple[float, float]]) -> float:
    """Return the penalty at which L0 is `target`, linear between neighbors on both log scales.

    L0 falls with the penalty; where the target is out of reach, the closest end is returned.
    """
    for (low, above), (high, below) in itertools.pairwise(measured):
        if above >= target >= below > 0 and above > below:
            share = math.log(above / target) / math.log(above / below)
            return low * (high / low) ** share
    return min(measured, key=lambda pair: abs(math.log(max(pair[1], 1e-3) / target)))[0]


@torch.no_grad()
def mean_l0(sae: Dictionary, data: Data, split: str = "validation") -> float:
    """Return the mean number of active latents per token."""
    x = data.documents[split].activations()
    counts = [(sae.encode(rows) != 0).sum(1) for rows in x.split(4096)]
    return float(torch.cat(counts).float().mean())
