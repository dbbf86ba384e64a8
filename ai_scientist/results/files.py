"""Results on their way to disk: into the journal, and into a final_info.json of combined seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ai_scientist.records import Json, Results


def results_to_json(results: Results) -> Json:
    """Return the journal's form of results."""
    return asdict(results)


def results_from_json(stored: Json) -> Results:
    """Rebuild results from the journal's form."""
    seeds = {path: tuple(values) for path, values in stored["seeds"].items()}
    return Results(**{**stored, "seeds": seeds})


def results_to_final_info(results: Results) -> Json:
    """Return results in the shape of final_info.json, so that reading it gives them back."""
    content: dict[str, Json] = defaultdict(lambda: defaultdict(dict))
    tables: tuple[tuple[str, Mapping[str, Any]], ...] = (
        ("means", results.metrics),
        ("stderrs", results.stderr),
        ("final_info_dict", {path: list(seeds) for path, seeds in results.seeds.items()}),
    )
    for key, values in tables:
        for path, value in values.items():
            block, _, name = path.rpartition("/")
            content[block][key][name] = value
    for path, setting in results.config.items():
        block, _, name = path.rpartition("/")
        content[block]["config"][name] = setting
    for block, measured in results.measured.items():
        content[block]["measured"] = dict(measured)
    nested: Json = {}
    for block, table in content.items():
        place = nested
        for key in block.split("/"):
            place = place.setdefault(key, {})
        place.update(table)
    if results.not_run:
        nested["not run"] = dict(results.not_run)
    return nested
