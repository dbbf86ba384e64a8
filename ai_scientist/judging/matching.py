"""May two results be compared at all? Not where what a template calls `matched` differs.

A sparser autoencoder explains less and absorbs more whatever else it does: two of them at different
L0 differ by that first of all. Where a template reads a metric off at one L0 as well, that stands
for it between them (`at_matched`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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


def stand_in(metric: str, specs: Mapping[str, MetricSpec], of: Iterable[Results]) -> str:
    """Return the path of what stands for `metric` between unmatched runs; "" where one lacks it.

    `metric` is a name or a path.
    """
    spec = specs.get(metric.rsplit("/", 1)[-1])
    if spec is None or spec.at_matched is None:
        return ""
    try:
        paths = {resolve(spec.at_matched, results.metrics) for results in of}
    except ReplyError:
        return ""
    return paths.pop() if len(paths) == 1 else ""


def check_matched(results: Results, base: Results, specs: Mapping[str, MetricSpec]) -> list[Check]:
    """Find a run that is not to be compared with its baseline, and say what can be compared."""
    said = describe_mismatch(results, base, specs)
    if not said:
        return []
    detail = f"not matched to the baseline: {said}"
    instead = [
        f"{path.rsplit('/', 1)[-1]} {format_number(results.metrics[path])} against "
        f"{format_number(base.metrics[path])}"
        for name in specs
        if (path := stand_in(name, specs, (results, base)))
    ]
    if instead:
        detail += f"; read off where they are: {', '.join(instead)}"
    return [Check(gate="comparable", verdict="finding", detail=detail)]
