"""May two results be compared at all? Not where what a template calls `matched` differs.

A sparser autoencoder explains less and absorbs more whatever else it does: two of them at different
L0 differ by that first of all.
"""

from __future__ import annotations

from collections.abc import Mapping

from ai_scientist.errors import ReplyError
from ai_scientist.records import Check, MetricSpec, Results
from ai_scientist.results.naming import resolve
from ai_scientist.results.tables import format_number


def describe_mismatch(results: Results, base: Results, specs: Mapping[str, MetricSpec]) -> str:
    """Say which matched metrics are too far apart, "" where the two may be compared."""
    parts = []
    for spec in specs.values():
        if spec.matched is None:
            continue
        try:
            value = results.metrics[resolve(spec.name, results.metrics)]
            known = base.metrics[resolve(spec.name, base.metrics)]
        except ReplyError:
            continue
        if abs(value - known) > spec.matched * abs(known):
            numbers = f"{format_number(value)} against {format_number(known)}"
            parts.append(f"{spec.name} is {numbers}, more than {spec.matched:.0%} off")
    return "; ".join(parts)


def check_matched(results: Results, base: Results, specs: Mapping[str, MetricSpec]) -> list[Check]:
    """Find a run that is not to be compared with its baseline."""
    said = describe_mismatch(results, base, specs)
    if not said:
        return []
    detail = f"not matched to the baseline: {said}"
    return [Check(gate="comparable", verdict="finding", detail=detail)]
