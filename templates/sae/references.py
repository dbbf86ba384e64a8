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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contract import Request, read_request, stop, write_results
from data import Data, load_data
from dictionary import Trained
from evaluation import evaluate
from experiment import PROFILES
from experiment import Config as Untouched
from families import FAMILIES, TUNED, FamilyLearner, linear_family
from trained_saes import check_place, find_trained
from training import mean_l0, train_all

LINEAR = ("pca", "identity")
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
        trained = train_all(request, data, FamilyLearner, tuned=family in TUNED)
    else:
        known = ", ".join([*FAMILIES, *LINEAR, "trained"])
        stop(f"there is no family {family!r}; there are {known}")
    results = evaluate(request, data, trained, about.get("architecture", family))
    about |= _matching(request, data, trained)
    write_results(request, results | {"reference": {"config": about}})


def load_one(
    request: Request[Config], data: Data
) -> tuple[Request[Config], list[Trained], dict[str, Any]]:
    """Return the SAE that is asked for, with a request that states its sizes."""
    found = find_trained(request.config.source)
    number = request.config.number
    if number >= len(found):
        stop(f"{request.config.source} holds {len(found)} SAEs, and number {number} was asked for")
    name, source, load = found[number]
    loaded = load()
    check_place(loaded, data, source)
    loaded.sae.to(data.device)
    k = loaded.k or max(1, round(mean_l0(loaded.sae, data)))
    sizes = {"n_latents": loaded.sae.W_dec.shape[0], "k": k}
    request = _sized(request, architecture=loaded.architecture, **sizes)
    about = {
        "family": "trained",
        "name": name,
        "source": source,
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
