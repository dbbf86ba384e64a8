"""The sae template's folder and the interpreter that runs it."""

from __future__ import annotations

import os
from pathlib import Path

from ai_scientist.machine.environments import default_cache_root, environment_for

PROJECT = Path(__file__).resolve().parent.parent
TEMPLATE = PROJECT / "templates" / "sae"


def template_python() -> Path:
    """Return the interpreter of the template's environment, which is built where it is missing.

    BENCHMARK_PYTHON names another one that has the template's packages, for a machine with a GPU
    on which nothing can be installed.
    """
    if named := os.environ.get("BENCHMARK_PYTHON"):
        return Path(named)
    lock = TEMPLATE / "requirements.lock"
    return environment_for(lock, default_cache_root(os.environ), report=print).python
