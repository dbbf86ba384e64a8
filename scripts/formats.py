"""Write docs/formats.md: every key of the files that people write and programs read, from the code.

python -m scripts.formats            writes the page; a test compares it with the code
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ai_scientist.inputs import ideas, templates
from ai_scientist.inputs.settings import Settings
from ai_scientist.records import (
    Attempt,
    Check,
    Control,
    Finding,
    Guard,
    Hypothesis,
    Idea,
    Limits,
    MetricSpec,
    OpenNumber,
    Profile,
    Run,
    Template,
)

PAGE = Path(__file__).resolve().parent.parent / "docs" / "formats.md"
ABOUT = """# Formats, key by key

Made from the code by `python -m scripts.formats`; a test keeps the two equal. What the files are
for stands in [writing an idea](ideas.md), [writing a template](templates.md) and
[the run folder, file by file](run-folder.md).
"""
SECTIONS: tuple[tuple[str, str, type, type], ...] = (
    ("An idea", "`ideas/NAME.json`. Other keys are kept and not read.", ideas._IdeaKeys, Idea),
    ("An idea's `Hypotheses`", "A list of these.", ideas._HypothesisKeys, Hypothesis),
    ("An idea's `Guards`", "A list of these.", ideas._GuardKeys, Guard),
    ("An idea's `Controls`", "A list of these.", ideas._ControlKeys, Control),
    (
        "`[template]`",
        "In `template.toml`. Keys that are not listed here are refused.",
        templates._TemplateKeys,
        Template,
    ),
    ("`[profiles.NAME]`", "`smoke`, `small`, `full`.", templates._ProfileKeys, Profile),
    ("`[metrics.NAME]`", "NAME ends the metric's path.", templates._MetricKeys, MetricSpec),
    ("`[guards.METRIC]`", "For ideas that name none.", templates._GuardKeys, Guard),
    ("`settings.json`", "Every choice of one idea.", Settings, Settings),
    ("`settings.json`: `limits`", "`--resume` may raise them.", Limits, Limits),
    ("`hypotheses.json`: `hypotheses`", "A list of these.", Hypothesis, Hypothesis),
    ("`run_N/run.json`", "The capsule of a valid run.", Run, Run),
    ("`run_N/run.json`: `checks`", "What the gates said: a list of these.", Check, Check),
    ("`attempts/STEP.json`", "What led to no valid run.", Attempt, Attempt),
    ("`report.json`: `findings`, and `audit --json`", "A list of these.", Finding, Finding),
    ("`report.json`: `open_numbers`", "A list of these.", OpenNumber, OpenNumber),
)
"""Title, introduction, the class whose fields are the keys, the class whose fields explain them."""
CALLED = {"set": "overrides"}
WORDS = {
    r"_(\w+)Keys": r"\1",
    r"Mapping\[": "dict[",
    r"tuple\[(\w+), \.\.\.\]": r"list[\1]",
    r"Score": "1 to 10",
}
"""Types as a reader of JSON or TOML would write them."""
IN_FILES_OF_THEIR_OWN = {(Run, "results"), (Run, "arms")}


def page() -> str:
    """Return docs/formats.md."""
    parts = [ABOUT]
    for title, about, kind, explained in SECTIONS:
        rows = "".join(f"| {' | '.join(row)} |\n" for row in rows_of(kind, explained))
        parts.append(
            f"## {title}\n\n{about}\n\n| key | type | default | |\n|---|---|---|---|\n{rows}"
        )
    return "\n".join(parts)


def rows_of(kind: type, explained: type) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, type, default and meaning of every field."""
    meanings = docstrings_of(explained)
    for name, written in annotations_of(kind).items():
        if (kind, name) not in IN_FILES_OF_THEIR_OWN:
            typed = written
            for pattern, words in WORDS.items():
                typed = re.sub(pattern, words, typed)
            meaning = meanings.get(CALLED.get(name, name.lower()), "")
            yield f"`{name}`", f"`{typed}`".replace("|", r"\|"), default_of(kind, name), meaning


def annotations_of(kind: type) -> dict[str, str]:
    """Return the fields and their types as they are written."""
    own = (node for node in body_of(kind) if isinstance(node, ast.AnnAssign))
    return {
        node.target.id: ast.unparse(node.annotation).replace("'", '"')
        for node in own
        if isinstance(node.target, ast.Name)
    }


def docstrings_of(kind: type) -> dict[str, str]:
    """Return the text below each field that has one, in one line."""
    found, last = {}, ""
    for node in body_of(kind):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and last:
            found[last] = " ".join(str(node.value.value).split()).replace("|", r"\|")
    return found


def body_of(kind: type) -> list[ast.stmt]:
    """Return the statements of a class."""
    (defined,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(defined, ast.ClassDef)
    return defined.body


def default_of(kind: type, name: str) -> str:
    """Return a field's default as JSON would show it, or that it is required."""
    value: Any
    if issubclass(kind, BaseModel):
        field = kind.model_fields[name]
        if field.is_required():
            return "required"
        value = field.get_default(call_default_factory=True)
    else:
        (item,) = (item for item in dataclasses.fields(kind) if item.name == name)
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            return "required"
        value = item.default if item.default is not dataclasses.MISSING else item.default_factory()
    if isinstance(value, Limits) or value in ("", (), [], {}):
        return ""
    return f"`{shown(value)}`"


def shown(value: object) -> str:
    """Write a default as it stands in a file."""
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return words[value]
    return repr(list(value) if isinstance(value, tuple) else value).replace("'", '"')


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
