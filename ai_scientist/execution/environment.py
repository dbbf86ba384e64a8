"""The environment variables of an experiment: all it is told besides its code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ai_scientist.records import Profile, Scalar


def run_environment(
    profile: Profile,
    seed: int,
    data: Path | None,
    overrides: Mapping[str, Scalar],
    inputs: Mapping[str, Path] | None = None,
) -> dict[str, str]:
    """Return the whole environment of an experiment: an allow-list, so that no key can be in it."""
    threads = str(profile.cpu_threads)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "WANDB_MODE": "disabled",
        "AI_SCIENTIST_PROFILE": profile.name,
        "AI_SCIENTIST_SEED": str(seed),
    }
    if inputs:
        folders = {name: str(folder) for name, folder in inputs.items()}
        environment["AI_SCIENTIST_INPUTS"] = json.dumps(folders)
    if data:
        environment["AI_SCIENTIST_DATA"] = str(data)
    if overrides:
        environment["AI_SCIENTIST_OVERRIDES"] = json.dumps(dict(overrides))
    return environment
