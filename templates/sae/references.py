"""Measure what ideas are seen beside: another family of SAEs, or one trained elsewhere. Frozen.

    python references.py --out_dir=OUT       with AI_SCIENTIST_OVERRIDES
        {"family": "batch_topk"}                     trained here, on the untouched configuration
        {"family": "trained", "source": "FOLDER"}    loaded, see trained_saes.py
        {"family": "trained", "source": …, "number": 1}   the second one found there

Everything else is as in experiment.py: data, seeds, sizes, evaluations, files. `relu` and `gated`
are tuned to the k of the others by two passes over several penalties and interpolation; where
the L0 of the test documents misses k all the same, the result says "different L0".
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from contract import Request, read_request, stop, write_results
from data import Data, load_data
from dictionary import Dictionary, Trained
from evaluation import evaluate
from experiment import PROFILES
from experiment import Config as Untouched
from families import FAMILIES, TUNED, FamilyLearner, linear_family
from trained_saes import check_place, find_trained
from training import points, train_all, train_together

LINEAR = ("pca", "identity")
PENALTIES = tuple(10 ** (number / 2 - 4) for number in range(8))
"""Tried in the tuning pass, 1e-4 to 3e-1."""
TUNING_SHARES = {"smoke": (1.0, 1.0), "small": (0.5, 1.0), "full": (0.1, 0.3)}
"""How much of the training the coarse and the fine tuning pass take."""
AROUND = (0.7, 1.0, 1.4)
"""What the fine pass tries, as multiples of what the coarse one said."""
L0_TOLERANCE = 0.1
"""Relative distance of L0 from k up to which two SAEs count as equally sparse."""


@dataclass(frozen=True, kw_only=True)
class Config(Untouched):
    """The untouched configuration, and what is measured instead of it."""

    family: str = "relu"
    source: str = ""
    """A folder or RELEASE:REGEX, of the family `trained`."""
    number: int = 0
    """Which of the SAEs that were found there."""


def main() -> None:
    """Train or load the SAEs, measure them, and write the results."""
    request = read_request(Config(), PROFILES)
    data = load_data(request.data_dir)
    family = request.config.family
    about: dict[str, Any] = {"family": family, "name": family, "of": 1}
    if family == "trained":
        request, trained, about = load_one(request, data)
    elif family in LINEAR:
        request = _sized(request, n_latents=data.d_model, k=data.d_model)
        trained = [_untrained(linear_family(family, request.config, data), request)]
    elif family in FAMILIES:
        trained = train_family(request, data)
    else:
        known = ", ".join([*FAMILIES, *LINEAR, "trained"])
        stop(f"there is no family {family!r}; there are {known}")
    results = evaluate(request, data, trained, about.get("architecture", family))
    about |= _matching(request, data, trained)
    write_results(request, results | {"reference": {"config": about}})


def train_family(request: Request[Config], data: Data) -> list[Trained]:
    """Return one family's SAEs at all seeds and values of k."""
    configs = points(request.config)
    if request.config.family in TUNED:
        configs = tune(request, data, configs)
    return train_all(request, data, FamilyLearner, configs)


def tune(request: Request[Config], data: Data, configs: Sequence[Config]) -> list[Config]:
    """Return the configurations with the penalties at which L0 comes to their k.

    A coarse pass over all PENALTIES, then one of more tokens over a few around what it says.
    """
    coarse, fine = TUNING_SHARES[request.profile]
    measured = sweep(request, data, PENALTIES, coarse)
    guesses = [penalty_for(config.k, measured) for config in configs]
    around = {guess * factor for guess in guesses for factor in AROUND}
    measured = sweep(request, data, sorted(around), fine)
    return [
        dataclasses.replace(config, l1_coefficient=penalty_for(config.k, measured))
        for config in configs
    ]


def sweep(
    request: Request[Config], data: Data, penalties: Sequence[float], share: float
) -> list[tuple[float, float]]:
    """Train with several penalties in one pass, and return each with the L0 that came of it."""
    tokens = int(request.config.training_tokens * share)
    tried = [
        dataclasses.replace(
            request.config, l1_coefficient=penalty, training_tokens=tokens, k=number + 1
        )  # k is not used by these families; it tells the SAEs of the pass apart
        for number, penalty in enumerate(penalties)
    ]
    print(f"tuning the penalty on {tokens} tokens, {len(tried)} values at once", flush=True)
    aside = dataclasses.replace(request, out_dir=request.out_dir / "tuning")
    aside.out_dir.mkdir(exist_ok=True)
    trained = train_together(aside, data, FamilyLearner, [(0, tried)])
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


def load_one(
    request: Request[Config], data: Data
) -> tuple[Request[Config], list[Trained], dict[str, Any]]:
    """Return the SAE that is asked for, with a request that states its sizes."""
    found = find_trained(request.config.source)
    number = request.config.number
    if number >= len(found):
        stop(f"{request.config.source} holds {len(found)} SAEs, and number {number} was asked for")
    name = found[number].name
    loaded = found[number].load()
    check_place(loaded, data, name)
    k = loaded.k or max(1, round(mean_l0(loaded.sae, data)))
    sizes = {"n_latents": loaded.sae.W_dec.shape[0], "k": k}
    request = _sized(request, architecture=loaded.architecture, **sizes)
    about = {
        "family": "trained",
        "name": name,
        "of": len(found),
        "architecture": loaded.architecture,
    }
    return request, [_untrained(loaded.sae, request)], about


def _sized(request: Request[Config], **values: Any) -> Request[Config]:
    """State the sizes of an SAE that is not trained here."""
    untrained = {"training_tokens": 0, "repeats": 1, "frontier_repeats": 0}
    config = dataclasses.replace(request.config, **(untrained | values))
    return dataclasses.replace(request, config=config)


def _untrained(sae: Any, request: Request[Config]) -> Trained:
    return Trained(sae=sae, seed=0, k=request.config.k, report={})


def _matching(request: Request[Config], data: Data, trained: Sequence[Trained]) -> dict[str, str]:
    """Say whether the SAEs are as sparse as the untouched configuration's."""
    wanted = dataclasses.replace(Untouched(), **PROFILES[request.profile]).k
    own = [mean_l0(one.sae, data, "test") for one in trained if one.k == request.config.k]
    l0 = sum(own) / len(own)
    if abs(l0 / wanted - 1) <= L0_TOLERANCE:
        return {"sparsity": "matched L0"}
    return {"sparsity": f"different L0: {l0:.3g}, not {wanted}"}


if __name__ == "__main__":
    main()
