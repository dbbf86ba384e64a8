"""The files of prompts/ as functions of their variables.

Each file is plain Markdown with Jinja2 marks; its first line declares what it needs:

    {# variables: attempt, limits #}

Never for LaTeX: `{%` and `{#` mean something else there.
"""

from __future__ import annotations

import math
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_scientist.errors import SetupError

if TYPE_CHECKING:
    from jinja2 import Environment

_DECLARATION = re.compile(r"\{#\s*variables:(?P<names>[^#]*)#\}\s*")


class Prompts:
    """Implements protocols.Render on one folder; an undefined variable raises, it is never blank.

    Raises SetupError when the folder is missing.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise SetupError(
                f"the prompts folder {folder} is missing", hint="restore it from the repository"
            )
        self.folder = folder

    def __call__(self, name: str, /, **variables: Any) -> str:
        """Return the text of prompt `name`, such as `coder/retry.j2`."""
        return self.environment.get_template(name).render(variables)

    @cached_property
    def environment(self) -> Environment:
        """The Jinja2 environment all prompts share."""
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(self.folder),
            undefined=StrictUndefined,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters["clip"] = clip
        environment.filters["number"] = number
        return environment

    def names(self) -> list[str]:
        """Return the names of all prompts, sorted."""
        return sorted(
            path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.j2")
        )

    def declared(self, name: str) -> frozenset[str] | None:
        """Return the variables that the first line of prompt `name` declares; None without one."""
        first = (self.folder / name).read_text(encoding="utf-8").partition("\n")[0]
        match = _DECLARATION.fullmatch(first)
        if match is None:
            return None
        return frozenset(part.strip() for part in match["names"].split(",") if part.strip())

    def used(self, name: str) -> frozenset[str]:
        """Return the variables that prompt `name` reads."""
        from jinja2 import meta

        source = (self.folder / name).read_text(encoding="utf-8")
        return frozenset(meta.find_undeclared_variables(self.environment.parse(source)))


def clip(text: str, limit: int) -> str:
    """Return `text`, or its head and tail with the count of what was left out between them.

    About `limit` characters are kept. The tail gets twice the head's share: a traceback says what
    went wrong in its last lines.
    """
    if len(text) <= limit:
        return text
    head = limit // 3
    tail = limit - head
    cut = len(text) - head - tail
    return f"{text[:head]}\n[… {cut} characters left out …]\n{text[len(text) - tail :]}"


def number(value: float | int | None) -> str:
    """Return `value` with four significant digits; whole numbers in full, None as `not run`."""
    if value is None:
        return "not run"
    if isinstance(value, bool | int) or not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if -5 < exponent < 7:
        return f"{value:.{max(0, 3 - exponent)}f}"
    return f"{value:.3e}"
