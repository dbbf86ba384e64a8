"""The sae template's folder and the interpreter that runs it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

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


def printed_by(code: str) -> Any:
    """Run code beside the template's modules and those of this folder; return its last line's JSON.

    What was compiled before does not count.
    """
    places = (TEMPLATE, Path(__file__).parent, os.environ.get("PYTHONPATH", ""))
    path = os.pathsep.join(str(place) for place in places if place)
    with tempfile.TemporaryDirectory() as nothing:
        given = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": nothing}
        done = subprocess.run(
            [str(template_python()), "-c", code],
            env=os.environ | given,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])
