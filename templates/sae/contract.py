"""The contract of a run: what it is told, and what it leaves behind. Frozen: edits are undone.

A run is `python experiment.py --out_dir=run_N`. The environment says the rest:

    AI_SCIENTIST_PROFILE     which of the script's PROFILES to use (small when absent)
    AI_SCIENTIST_SEED        the one number all randomness comes from (0 when absent)
    AI_SCIENTIST_DATA        the read-only folder that prepare.py made for this profile
    AI_SCIENTIST_EVALUATIONS what to measure beyond the screen of every run, see benchmarks.py
    AI_SCIENTIST_OVERRIDES   JSON object, configuration key -> value, for control arms

The configuration is resolved as defaults <- profile <- overrides. A run writes only in its out_dir:
metrics.jsonl, a line per logged step, and final_info.json, once, at the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import torch

ConfigT = TypeVar("ConfigT")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request(Generic[ConfigT]):
    """What one run is asked to do."""

    out_dir: Path
    profile: str
    seed: int
    config: ConfigT
    data_dir: Path


def read_request(
    defaults: ConfigT, profiles: Mapping[str, Mapping[str, Any]], default_profile: str = "small"
) -> Request[ConfigT]:
    """Read the command line and the environment, make the out_dir, and fix torch's arithmetic.

    Exits with one sentence on a profile, seed, folder or configuration key that does not exist.
    """
    parser = argparse.ArgumentParser(description="Run the experiment once.")
    parser.add_argument("--out_dir", type=Path, default=Path("run_0"))
    out_dir = parser.parse_args().out_dir
    profile = os.environ.get("AI_SCIENTIST_PROFILE") or default_profile
    if profile not in profiles:
        stop(f"AI_SCIENTIST_PROFILE is {profile!r}; this script has {', '.join(profiles)}")
    seed = os.environ.get("AI_SCIENTIST_SEED") or "0"
    if not (seed.isdecimal() and int(seed) < 2**31):
        stop(f"AI_SCIENTIST_SEED is {seed!r}; it must be a whole number from 0 to 2147483647")
    config = _override(defaults, profiles[profile], f"PROFILES[{profile!r}]")
    config = _override(config, _read_overrides(), "AI_SCIENTIST_OVERRIDES")
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "metrics.jsonl").write_text("")
    _fix_arithmetic(int(seed))
    return Request(
        out_dir=out_dir, profile=profile, seed=int(seed), config=config, data_dir=_data_dir(profile)
    )


def log_step(request: Request[Any], **values: float | str) -> None:
    """Append one line to metrics.jsonl; it should hold `step`."""
    with (request.out_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(values) + "\n")


class Progress:
    """Print a line every few seconds: what is being done, and how long it will go on."""

    def __init__(self, total: int, what: str, every_s: float = 5.0) -> None:
        self._total, self._what, self._every_s = total, what, every_s
        self._started = self._last = time.monotonic()

    def step(self, done: int, **values: float) -> None:
        """Say that `done` of the total steps are done."""
        now = time.monotonic()
        if now - self._last < self._every_s and done < self._total:
            return
        self._last = now
        left = (now - self._started) / done * (self._total - done)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        print(f"{self._what}: {done} of {self._total}, {shown}, {left:.0f} s left", flush=True)


def summarize(per_seed: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return means, standard errors and the values in seed order, as final_info.json holds them.

    With one seed there is no standard error, and none is written.
    """
    return {
        "final_info": {name: sum(values) / len(values) for name, values in per_seed.items()},
        "stderr": {
            name: _standard_error(values) for name, values in per_seed.items() if len(values) > 1
        },
        "per_seed": {name: list(values) for name, values in per_seed.items()},
    }


def write_results(request: Request[Any], results: Mapping[str, Any]) -> None:
    """Write final_info.json, whole or not at all; the first section gets the configuration."""
    config = {
        **dataclasses.asdict(request.config),
        "profile": request.profile,
        "seed": request.seed,
    }
    first = next(iter(results))
    content = {**results, first: {"config": config, **results[first]}}
    written = request.out_dir / "final_info.json.part"
    written.write_text(json.dumps(content, indent=1) + "\n")
    written.replace(request.out_dir / "final_info.json")


def stop(sentence: str) -> NoReturn:
    """End the process with exit code 1 and one sentence on stderr."""
    sys.exit(f"error: {sentence}")


def _override(config: ConfigT, values: Mapping[str, Any], source: str) -> ConfigT:
    for key, value in values.items():
        if key not in vars(config):
            stop(f"{source} names {key!r}; the configuration has {', '.join(vars(config))}")
        expected = type(vars(config)[key])
        fits = type(value) is expected or (expected is float and type(value) is int)
        if not fits:
            stop(f"{source} sets {key!r} to {value!r}; it must be of type {expected.__name__}")
    try:
        return dataclasses.replace(config, **values)  # type: ignore[type-var]
    except ValueError as error:
        stop(f"{source}: {error}")


def _read_overrides() -> dict[str, Any]:
    text = os.environ.get("AI_SCIENTIST_OVERRIDES") or "{}"
    try:
        overrides = json.loads(text)
    except ValueError as error:
        stop(f"AI_SCIENTIST_OVERRIDES is not JSON: {error}")
    if not isinstance(overrides, dict):
        stop(f"AI_SCIENTIST_OVERRIDES must be a JSON object; it is {text[:200]!r}")
    return overrides


def _data_dir(profile: str) -> Path:
    folder = os.environ.get("AI_SCIENTIST_DATA")
    if not folder:
        stop(
            "AI_SCIENTIST_DATA is not set; make the folder with "
            f"`python prepare.py --profile={profile} --out_dir=DIR` and name it there"
        )
    meta = Path(folder, "meta.json")
    if not meta.is_file():
        stop(f"{folder} holds no meta.json; `prepare.py --profile={profile}` did not finish there")
    made_for = json.loads(meta.read_text())["profile"]
    if made_for != profile:
        stop(f"{folder} was made for profile {made_for}, and this run is of profile {profile}")
    return Path(folder)


def _fix_arithmetic(seed: int) -> None:
    """Make equal seeds give equal bits: fixed threads, no algorithm that depends on timing."""
    torch.set_num_threads(1)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS adds in any order
    # Unlike use_deterministic_algorithms, this does not import torch's compiler: seconds.
    torch.set_deterministic_debug_mode("error")
    # Else all memory is filled before its first use: a tenth of a step on a GPU.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.manual_seed(seed)


def _standard_error(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(values))
