"""What is wrong with a template as it lies there: found by reading, without running anything."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ai_scientist.errors import InputError
from ai_scientist.inputs.foreign import data_beside
from ai_scientist.inputs.templates import EDITABLE, NOT_CODE, load_template
from ai_scientist.records import Template

RESERVED = (
    "idea.json", "settings.json", "hypotheses.json", "report.json", "notes.txt", "events.jsonl",
    "calls.jsonl", "attempts", "inbox",
)  # fmt: skip
PLACEHOLDERS = (
    "TITLE HERE", "ABSTRACT HERE", "INTRO HERE", "RELATED WORK HERE", "BACKGROUND HERE",
    "METHOD HERE", "EXPERIMENTAL SETUP HERE", "RESULTS HERE", "CONCLUSIONS HERE",
)  # fmt: skip
PIN = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w,]+\])?\s*==\s*[^\s;]+\s*(;.*)?$")
OUTSIDE = re.compile(r"""["'](\.\./[^"'\n]*)["']""")
FIGURE = re.compile(r"\\includegraphics\s*(?:\[[^\]]*\])?\s*\{([^{}]+)\}")


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One thing that is wrong with a template, and how it is mended."""

    kind: str
    """A name for programs, such as `not_deterministic`."""
    where: str
    """The file or folder, relative to the template."""
    problem: str
    remedy: str = ""
    severity: Literal["defect", "note"] = "defect"
    """A note costs something, but an idea can be run."""


def read_template(folder: Path) -> tuple[Template | None, list[Defect]]:
    """Load a template and return it with all that reading shows; None when it does not load."""
    try:
        template = load_template(folder)
    except InputError as error:
        return None, [
            Defect(kind="unreadable", where=".", problem=error.message, remedy=error.hint)
        ]
    found = [
        *_syntax(template),
        *_names(template),
        *_paths(template),
        *_plots(template),
        *_latex(template),
    ]
    found += _of_foreign(template) if template.foreign else _description(template)
    return template, found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _syntax(template: Template) -> Iterator[Defect]:
    for name in (*template.editable, *template.frozen):
        if not name.endswith(".py"):
            continue
        try:
            ast.parse((template.folder / name).read_bytes(), filename=name)
        except (SyntaxError, ValueError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            yield Defect(kind="syntax", where=f"{name}{line}", problem=f"is no Python: {error}")


def _names(template: Template) -> Iterator[Defect]:
    """Names that a run folder needs for itself, or that break plot scripts."""
    for path in sorted(template.folder.iterdir()):
        name = path.name
        given = name == "run_0" and (path / "final_info.json").is_file()
        if path.is_dir() and name.startswith("run") and not given:
            yield Defect(
                kind="run_folder",
                where=f"{name}/",
                problem="starts with `run` and holds no final_info.json: plot scripts that read "
                "every such folder stop at it",
                remedy="give the folder another name",
            )
        if re.fullmatch(r"run_\d+\.py", name) or name in RESERVED:
            yield Defect(
                kind="reserved_name",
                where=name,
                problem="is a name that a run folder uses itself, so that this file is lost",
                remedy="give it another name",
            )


def _paths(template: Template) -> Iterator[Defect]:
    """Relative paths that lead out of the folder: a run sees its own copy only."""
    data = template.folder.parent.parent / "data"
    for name in EDITABLE:
        for found in sorted(set(OUTSIDE.findall(_text(template.folder / name)))):
            shared = re.match(r"(\.\./){2,3}data(/|$)", found)
            if template.foreign and shared and data_beside(template):
                continue
            expected = f"; it stands for {data}, and there is none" if shared else ""
            yield Defect(
                kind="outside_path",
                where=name,
                problem=f"reads `{found}`, outside the folder{expected}",
                remedy=f"put the data at {data}"
                if template.foreign and shared
                else "put the file into the template, or let prepare.py make it",
            )


def _plots(template: Template) -> Iterator[Defect]:
    text = _text(template.folder / "plot.py")
    if "listdir(" in text and "sorted(" not in text and ".sort(" not in text:
        yield Defect(
            kind="unsorted_runs",
            where="plot.py",
            problem="takes the runs in the order of os.listdir, which differs between disks",
            remedy="sort them by number",
            severity="note",
        )
    if ".show(" in text:
        yield Defect(
            kind="shows_plots",
            where="plot.py",
            problem="calls show(), which does nothing here: only what savefig writes is a picture",
            severity="note",
        )


def _latex(template: Template) -> Iterator[Defect]:
    text = _text(template.folder / "latex" / "template.tex")
    if not text:
        return
    where = "latex/template.tex"
    for needed in (r"\begin{document}", r"\end{document}"):
        if needed not in text:
            yield Defect(kind="latex", where=where, problem=f"has no {needed}")
    for placeholder in PLACEHOLDERS:
        if placeholder not in text:
            yield Defect(
                kind="placeholder",
                where=where,
                problem=f"has no `{placeholder}`: that part has no place in the paper",
                remedy="write the placeholder where the text belongs",
            )
    plots = _text(template.folder / "plot.py")
    for figure in FIGURE.findall(text):
        if Path(figure).stem not in plots:
            yield Defect(
                kind="missing_figure",
                where=where,
                problem=f"shows {figure}, which plot.py does not seem to make; example figures "
                "are taken out of the paper",
                severity="note",
            )


def _of_foreign(template: Template) -> Iterator[Defect]:
    if "out_dir" not in _text(template.folder / "experiment.py"):
        yield Defect(
            kind="no_out_dir",
            where="experiment.py",
            problem="never speaks of out_dir",
            remedy="it is run as `python experiment.py --out_dir=run_N` and must write there",
        )
    if not (template.folder / "run_0" / "final_info.json").is_file():
        yield Defect(
            kind="no_baseline",
            where="run_0/",
            problem="has no final_info.json: it is measured first, once you agree or say --yes",
            severity="note",
        )
    yield Defect(
        kind="no_smoke",
        where="template.toml",
        problem="is missing: no rehearsal before a full run, no seeds, no metric's direction; "
        "noise is not measurable",
        remedy="see docs/templates.md, once the template is worth it",
        severity="note",
    )


def _description(template: Template) -> Iterator[Defect]:
    where = "template.toml"
    required = [name for name, spec in template.metrics.items() if spec.required]
    if not required:
        yield Defect(
            kind="no_required_metric",
            where=where,
            problem="requires no metric, so that a run without a result would be valid",
            remedy="set required = true for what every run must measure",
        )
    primary = template.primary_metric
    if primary is None or primary not in template.metrics:
        yield Defect(
            kind="no_primary_metric",
            where=where,
            problem=f"primary_metric is {primary!r}, and no metric is called so",
            remedy="name one of [metrics.…]: it says which run is the best",
        )
    elif template.metrics[primary].direction == "none":
        yield Defect(
            kind="no_direction",
            where=where,
            problem=f"the primary metric {primary} has no direction",
            remedy="direction = increase or decrease",
        )
    for name, spec in template.metrics.items():
        if spec.at_matched is not None and spec.at_matched not in template.metrics:
            yield Defect(
                kind="no_stand_in",
                where=where,
                problem=f"{name} has at_matched = {spec.at_matched!r}, and no metric is called so",
                remedy=f"describe [metrics.{spec.at_matched}], or take the key out",
            )
    if "smoke" not in template.profiles:
        yield Defect(
            kind="no_smoke",
            where=where,
            problem="has no [profiles.smoke]: an edit without effect is found after a full run",
            remedy="describe a rehearsal of at most 4 s",
            severity="note",
        )
    if not template.task.strip():
        yield Defect(kind="no_task", where="prompt.json", problem="describes no task")
    yield from _unguarded(template)
    yield from _lock(template)


def _unguarded(template: Template) -> Iterator[Defect]:
    prepares = {template.prepare, template.prepare_evaluations}
    known = {*template.editable, *template.frozen, *prepares, "test_template.py"}
    for path in sorted(template.folder.rglob("*.py")):
        name = path.relative_to(template.folder).as_posix()
        if name not in known and name.split("/")[0] not in NOT_CODE:
            yield Defect(
                kind="unguarded",
                where=name,
                problem="is neither editable nor frozen",
                remedy="name it under `frozen` in template.toml",
            )


def _lock(template: Template) -> Iterator[Defect]:
    if template.lock is None:
        yield Defect(
            kind="no_lock",
            where="template.toml",
            problem="names no lock: every use needs --python, and no version is recorded for sure",
            remedy='lock = "requirements.lock", made by pip freeze',
            severity="note",
        )
        return
    for number, line in enumerate(_text(template.lock).splitlines(), 1):
        content = line.partition("#")[0].strip()
        if content and not PIN.match(content):
            yield Defect(
                kind="lock",
                where=f"{template.lock.name}, line {number}",
                problem=f"`{content[:80]}` does not pin one version",
                remedy="name==version, as pip freeze prints it",
            )
