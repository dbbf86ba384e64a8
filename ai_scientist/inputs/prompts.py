"""The files of prompts/ as functions of their variables.

Each file is plain Markdown with Jinja2 marks; its first line declares what it needs:

    {# variables: attempt, limits #}

Never for LaTeX: `{%` and `{#` mean something else there.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_scientist.errors import SetupError

if TYPE_CHECKING:
    from jinja2 import Environment


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
        return environment


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
