"""Two files to edit, and replies that edit them well or badly."""

from __future__ import annotations

from ai_scientist.inputs.prompts import Prompts
from tests.doors import PROJECT

PROMPTS = Prompts(PROJECT / "prompts")
CODE = """import math

RATE = 0.1


def train(rate):
    loss = 1.0 / rate
    return loss


def report(loss):
    # kept
    return round(loss, 3)


if __name__ == "__main__":
    print(report(train(RATE)))
"""
PLOT = "import json\nprint(json.dumps({}))\n"
FILES = {"experiment.py": CODE, "plot.py": PLOT}


def block(search: str, replace: str, file: str = "experiment.py") -> str:
    """Return one edit block; both texts end in a newline or are empty."""
    return f"{file}\n```python\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n```\n"


def whole(code: str, file: str = "experiment.py") -> str:
    """Return a fenced block of whole definitions."""
    return f"```python\n# file: {file}\n{code}```\n"


GOOD = block("    loss = 1.0 / rate\n", "    loss = 2.0 / rate\n")
SECOND = block("    return round(loss, 3)\n", "    return round(loss, 5)\n")
PLOTTED = block("import json\n", "import json\nimport math\n", "plot.py")
MISSING = block("    loss = 1.0 / momentum\n    return loss\n", "    return 2 * loss\n")
MENDED = block("    return loss\n", "    return 2 * loss\n")
