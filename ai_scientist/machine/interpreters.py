"""The interpreter that a template without a lock runs under: looked at, never chosen or changed."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

from ai_scientist.errors import SetupError
from ai_scientist.machine.environments import Environment

LOOK_TIMEOUT_S = 60.0
LOOK = """
import importlib.metadata, json, sys
found = {f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions()}
print(json.dumps([sys.prefix, list(sys.version_info[:3]), sorted(found, key=str.lower)]))
"""


def interpreter_for(template: str, python: Path | None) -> Environment:
    """Return the environment that the interpreter `python` stands for, as it is now.

    In place of a lock's hash stands that of its version and packages, so that a baseline measured
    before an upgrade is not taken after it. Raises SetupError for the person when none was named,
    since the program's own environment is no place for experiments, or when it does not run.
    """
    if python is None:
        raise SetupError(
            f"template `{template}` has no environment lock, and no interpreter was named for it",
            hint="--python PATH: an interpreter that has the packages its scripts import",
        )
    python = python.expanduser().absolute()
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", LOOK],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=LOOK_TIMEOUT_S,
            check=True,
        )
        prefix, version, packages = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise SetupError(
            f"--python {python} is no Python interpreter that works: {error}",
            hint="name the python of an environment, such as envs/nanogpt/bin/python",
        ) from None
    facts = json.dumps([version, packages])
    return Environment(
        python=python,
        lock_sha256=hashlib.sha256(facts.encode()).hexdigest(),
        folder=Path(prefix),
        python_version=".".join(map(str, version)),
        packages=tuple(packages),
    )
