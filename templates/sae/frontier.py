"""What SAEs at several values of k say together: their points, and the value at one L0. Frozen.

    fvu_at_half_k, l0_at_double_k, …   the points beside the one at the configuration's k
    fvu_at_matched_l0, …               read off at the profile's L0, between a seed's own points

An SAE with more active latents rebuilds better whatever else it does. Two runs whose L0 differs are
compared where both frontiers pass the same L0: linear in log L0 between the two nearest points of
a seed, and never beyond its ends.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contract import summarize

SECTION = "frontier results"
AT_MATCHED = ("fvu", "ce_recovered", "dead_share", "log_selectivity")
"""Metrics that move with L0."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One SAE: its seed, the k it was trained for, and what was measured of it."""

    seed: int
    k: int
    metrics: Mapping[str, float]


def summarize_frontier(
    k: int, l0: float, points: Sequence[Point]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the section of final_info.json, and the metrics that it lacks with the reasons.

    `k` is the configuration's, which the other sections hold; `l0` where metrics are read off.
    """
    found = _at_other_k(k, points)
    by_seed: dict[int, list[Point]] = defaultdict(list)
    for one in points:
        by_seed[one.seed].append(one)
    frontiers = {seed: own for seed, own in by_seed.items() if len(own) > 1}
    try:
        for name in AT_MATCHED:
            found[f"{name}_at_matched_l0"] = [
                _read_off(name, l0, seed, own) for seed, own in frontiers.items()
            ]
        not_run = {}
    except ValueError as error:
        not_run = {f"{SECTION}/{name}_at_matched_l0": str(error) for name in AT_MATCHED}
    return summarize(found), not_run


def _at_other_k(k: int, points: Sequence[Point]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in points:
        if one.k != k:
            for name in ("l0", *AT_MATCHED):
                found[name + name_k(one.k, k)].append(one.metrics[name])
    return found


def name_k(k: int, own: int) -> str:
    """Return the ending of what belongs to the SAEs at another k than the configuration's own."""
    return "_at_half_k" if k < own else "_at_double_k"


def _read_off(name: str, l0: float, seed: int, points: Sequence[Point]) -> float:
    """Return a seed's metric at `l0`. Raises ValueError, in words, where its points end before."""
    curve = sorted((one.metrics["l0"], one.metrics[name]) for one in points)
    for (low, before), (high, after) in itertools.pairwise(curve):
        if 0 < low <= l0 <= high:
            share = math.log(l0 / low) / math.log(high / low) if high > low else 0.0
            return before + share * (after - before)
    raise ValueError(
        f"the SAEs of seed {seed} have L0 {curve[0][0]:.3g} to {curve[-1][0]:.3g}, which does not "
        f"reach {l0:g}; nothing is extrapolated"
    )
