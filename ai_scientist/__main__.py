"""The second door, `python -m ai_scientist COMMAND`, and how both doors find their environment.

Only the standard library is imported before the environment is right.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
NEEDED = ("pydantic", "jinja2", "aider")


def enter_environment(door: Sequence[str]) -> None:
    """Become the .venv that `make` built, with the same arguments; return when already inside.

    `door` is what follows the interpreter: a script, or -m and a module. Where there is no .venv,
    an interpreter that has the packages will do; any other leaves with exit code 2.
    """
    environment = CHECKOUT / ".venv"
    python = environment / "bin" / "python"
    if Path(sys.prefix).resolve() == environment.resolve():
        return
    if (environment / "requirements.lock").exists() and python.exists():  # both: it is complete
        os.execv(python, [str(python), *door, *sys.argv[1:]])
    supported = (3, 11) <= sys.version_info[:2] < (3, 13)
    if supported and all(importlib.util.find_spec(name) for name in NEEDED):
        return
    print(f"error: the program's environment is not built: {environment}", file=sys.stderr)
    print("hint: make demo", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    enter_environment(["-m", "ai_scientist"])
    from ai_scientist.cli import main

    sys.exit(main(sys.argv[1:]))
