"""The contract of a run: what it is told, and what it leaves behind. Frozen: edits are undone.

A run is `python experiment.py --out_dir=run_N`. The environment says the rest:

    AI_SCIENTIST_PROFILE     which of the script's PROFILES to use; small when absent
    AI_SCIENTIST_SEED        the one number all randomness comes from; 0 when absent
    AI_SCIENTIST_OVERRIDES   JSON object, configuration key -> value, for control arms

The configuration is resolved as defaults <- profile <- overrides. It writes only in its out_dir:
metrics.jsonl, a line per step, and final_info.json, once, at the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

ConfigT = TypeVar("ConfigT")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request(Generic[ConfigT]):
    """What one run is asked to do."""

    out_dir: Path
    profile: str
    seed: int
    config: ConfigT


def read_request(
    defaults: ConfigT, profiles: Mapping[str, Mapping[str, Any]], default_profile: str = "small"
) -> Request[ConfigT]:
    """Read the command line and the environment, and make the out_dir.

    Exits with one sentence on a profile, seed or configuration key that does not exist.
    """
    parser = argparse.ArgumentParser(description="Run the experiment once.")
    parser.add_argument("--out_dir", type=Path, default=Path("run_0"))
    out_dir = parser.parse_args().out_dir
    profile = os.environ.get("AI_SCIENTIST_PROFILE") or default_profile
    if profile not in profiles:
        _stop(f"AI_SCIENTIST_PROFILE is {profile!r}; this script has {', '.join(profiles)}")
    seed = os.environ.get("AI_SCIENTIST_SEED") or "0"
    if not seed.isdecimal():
        _stop(f"AI_SCIENTIST_SEED is {seed!r}; it must be a whole number, 0 or more")
    config = _override(defaults, profiles[profile], f"PROFILES[{profile!r}]")
    config = _override(config, _read_overrides(), "AI_SCIENTIST_OVERRIDES")
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "metrics.jsonl").write_text("")
    return Request(out_dir=out_dir, profile=profile, seed=int(seed), config=config)


def log_step(request: Request[Any], **values: float) -> None:
    """Append one line to metrics.jsonl."""
    with (request.out_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(values) + "\n")


def write_results(
    request: Request[Any], dataset: str, per_seed: Mapping[str, Sequence[float]]
) -> None:
    """Write final_info.json: means, standard errors and the values of each seed.

    With one seed there is no standard error, and none is written.
    """
    info = {
        "means": {name: sum(values) / len(values) for name, values in per_seed.items()},
        "stderrs": {
            name: _standard_error(values) for name, values in per_seed.items() if len(values) > 1
        },
        "final_info_dict": {name: list(values) for name, values in per_seed.items()},
        "config": dataclasses.asdict(request.config),
    }
    written = request.out_dir / "final_info.json.part"
    written.write_text(json.dumps({dataset: info}, indent=2) + "\n")
    written.replace(request.out_dir / "final_info.json")


def _override(config: ConfigT, values: Mapping[str, Any], source: str) -> ConfigT:
    for key, value in values.items():
        if key not in vars(config):
            _stop(f"{source} names {key!r}; the configuration has {', '.join(vars(config))}")
        expected = type(vars(config)[key])
        fits = type(value) is expected or (expected is float and type(value) is int)
        if not fits:
            _stop(f"{source} sets {key!r} to {value!r}; it must be of type {expected.__name__}")
    return dataclasses.replace(config, **values)  # type: ignore[type-var]


def _read_overrides() -> dict[str, Any]:
    text = os.environ.get("AI_SCIENTIST_OVERRIDES") or "{}"
    try:
        overrides = json.loads(text)
    except ValueError as error:
        _stop(f"AI_SCIENTIST_OVERRIDES is not JSON: {error}")
    if not isinstance(overrides, dict):
        _stop(f"AI_SCIENTIST_OVERRIDES must be a JSON object; it is {text!r}")
    return overrides


def _standard_error(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))


def _stop(sentence: str) -> NoReturn:
    sys.exit(f"error: {sentence}")
