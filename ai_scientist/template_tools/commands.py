"""`python -m ai_scientist template check | new | baseline`: options in, exit code out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ai_scientist.errors import InputError
from ai_scientist.inputs.settings import PROFILES, Places
from ai_scientist.template_tools.defects import Defect

DONE, DEFECTS = 0, 1


def add_template_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the three actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="check|new|baseline")
    check = actions.add_parser("check", help="name each defect of a template")
    check.add_argument("folder", metavar="DIR|NAME")
    check.add_argument("--json", action="store_true")
    check.add_argument(
        "--run",
        dest="run_it",
        action="store_true",
        help="run it also without a smoke profile, however long that takes",
    )
    new = actions.add_parser("new", help="write a working template, with an idea and a test")
    new.add_argument("folder", metavar="NAME|DIR")
    baseline = actions.add_parser("baseline", help="measure the untouched code and store it")
    baseline.add_argument("folder", metavar="DIR|NAME")
    baseline.add_argument("--profile", choices=PROFILES, help="default: small, else full")
    baseline.add_argument("--name", default="default", help="names the folder it is stored in")
    baseline.add_argument("--seeds", type=int, default=1, metavar="K", choices=range(1, 101))
    baseline.add_argument(
        "--complete", action="store_true", help="with all evaluations that the profile has"
    )
    baseline.add_argument(
        "--family",
        action="append",
        default=[],
        metavar="NAME",
        help="measure this family of models as a reference instead; may be repeated",
    )
    baseline.add_argument(
        "--sae",
        action="append",
        default=[],
        metavar="FOLDER|RELEASE:REGEX",
        help="measure SAEs that were trained elsewhere (SAELens, dictionary_learning) instead",
    )
    for action in (check, baseline):
        action.add_argument("--python", type=Path, metavar="PATH", help="for one without a lock")
        action.add_argument("--allow-unsandboxed", action="store_true")


def template_command(
    options: argparse.Namespace, places: Places, variables: Mapping[str, str]
) -> int:
    """Do what was asked for and return the exit code: 1 when there are defects.

    `variables` is the environment, which names folders that profiles read.
    """
    if options.action == "new":
        return _new(options, places)
    folder = find_folder(options.folder, places.templates)
    if options.action == "check":
        return _check(folder, options, places, variables)
    return _baseline(folder, options, places, variables)


def find_folder(name: str, templates: Path) -> Path:
    """Return the folder `name`, or that of the template called so.

    Raises InputError for the person when there is neither.
    """
    for folder in (Path(name), templates / name):
        if folder.is_dir():
            return folder
    known = sorted(path.parent.name for path in templates.glob("*/prompt.json"))
    raise InputError(f"there is no template `{name}`", hint=f"known: {', '.join(known)}")


def _check(
    folder: Path, options: argparse.Namespace, places: Places, variables: Mapping[str, str]
) -> int:
    from ai_scientist.template_tools.check import check_template

    found = check_template(
        folder,
        cache=places.cache,
        report=(lambda line: None) if options.json else print,
        variables=variables,
        python=options.python,
        run=options.run_it,
        allow_unsandboxed=options.allow_unsandboxed,
    )
    defects = [one for one in found if one.severity == "defect"]
    if options.json:
        print(json.dumps({"defects": [asdict(one) for one in found]}, indent=2))
    else:
        print(describe(folder, found))
    return DEFECTS if defects else DONE


def describe(folder: Path, found: Sequence[Defect]) -> str:
    """Return the defects, then the notes, as lines for a person."""
    lines = []
    for severity in ("defect", "note"):
        for one in (one for one in found if one.severity == severity):
            lines.append(f"{severity}: {one.where}: {one.problem}")
            lines += [f"  hint: {one.remedy}"] if one.remedy else []
    count = sum(one.severity == "defect" for one in found)
    notes = len(found) - count
    lines.append(f"{folder}: {count} defects, {notes} notes")
    return "\n".join(lines)


def _new(options: argparse.Namespace, places: Places) -> int:
    from ai_scientist.template_tools.new import new_template

    name = options.folder
    folder = Path(name) if "/" in name else places.templates / name
    files = new_template(folder, places.templates / "digits")
    for path in files:
        print(path)
    print(f"\nIt works as it is: python -m ai_scientist template check {folder}")
    print(f"A first idea for it: {folder / 'ideas.json'}; next, replace data.py and evaluation.py")
    return DONE


def _baseline(
    folder: Path, options: argparse.Namespace, places: Places, variables: Mapping[str, str]
) -> int:
    from ai_scientist.inputs.templates import load_template
    from ai_scientist.template_tools.baseline import (
        Measurement,
        measure_references,
        measure_untouched,
    )

    known = load_template(folder).profiles
    what = Measurement(
        folder=folder,
        profile=options.profile or next((p for p in ("small", "full") if p in known), "smoke"),
        cache=places.cache,
        report=print,
        variables=variables,
        python=options.python,
        allow_unsandboxed=options.allow_unsandboxed,
        complete=options.complete,
    )
    if options.family or options.sae:
        stored = measure_references(what, families=options.family, sources=options.sae)
    else:
        stored = [measure_untouched(what, name=options.name, seeds=options.seeds)]
    for place in stored:
        print(place)
    return DONE
