"""`template baseline`: a template's own numbers, and those of what ideas are seen beside.

baselines/PROFILE/NAME/
  final_info.json run.json    the untouched code's, or a reference's
  executions/KEY/             of the untouched code: what runs take as run_0
  sae/ latents.json …         of a reference: what it left
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ai_scientist.errors import InputError, SetupError
from ai_scientist.execution.observation import Observation
from ai_scientist.inputs.templates import load_template, profile_of
from ai_scientist.machine.hardware import describe_hardware
from ai_scientist.records import Attempt, Limits, Run, Scalar, Template
from ai_scientist.results.files import results_to_final_info
from ai_scientist.run_folder.journal import write_json
from ai_scientist.run_folder.study import run_to_json
from ai_scientist.steps.workbench import FolderWorkbench
from ai_scientist.template_tools.scratch import NO_IDEA, Scratch, scratch_laboratory

MAX_FOUND = 100
"""SAEs of one source that are measured, at most."""
UNTOUCHED = "the untouched code"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What is to be measured of a template, where, and how."""

    folder: Path
    profile: str
    cache: Path
    report: Callable[[str], None]
    variables: Mapping[str, str]
    """The environment that names the profile's input folders."""
    python: Path | None = None
    allow_unsandboxed: bool = False
    complete: bool = False
    """Whether all is measured that the profile can."""

    @contextmanager
    def laboratory(self) -> Iterator[Scratch]:
        """Open a laboratory on the untouched template."""
        template = load_template(self.folder)
        profile_of(template, self.profile)
        with scratch_laboratory(
            template,
            self.profile,
            cache=self.cache,
            report=self.report,
            variables=self.variables,
            python=self.python,
            limits=Limits(max_gpu_hours=None),
            allow_unsandboxed=self.allow_unsandboxed,
            complete=self.complete,
        ) as scratch:
            yield scratch

    def place(self, template: Template, name: str, origin: str = UNTOUCHED) -> Path:
        """Return the folder of what was measured of `origin`, empty.

        Raises InputError where it holds what was measured of something else.
        """
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or set(name) == {"."}:
            raise InputError(
                f"`{name}` cannot name a baseline", hint="letters, digits, `_`, `-`, `.`"
            )
        place = template.folder / "baselines" / self.profile / name
        if (place / "run.json").exists() and (held := _stored_origin(place)) != origin:
            raise InputError(
                f"{place} holds {held}, and {origin} would replace it",
                hint="give that folder another name, or remove it",
            )
        shutil.rmtree(place, ignore_errors=True)
        return place


def measure_untouched(what: Measurement, *, name: str, seeds: int) -> Path:
    """Measure the untouched code, store it as baselines/PROFILE/NAME/, and return that folder.

    Raises SetupError for the person, with the last lines of the log, when it fails.
    """
    with what.laboratory() as scratch:
        workbench = FolderWorkbench(
            idea=NO_IDEA,
            journal=scratch.journal,
            laboratory=scratch.laboratory,
            seeds_per_run=seeds,
            repair=lambda step, prose, problems: prose,
            examine=lambda step, run, title, code: "[]",
            cost_of=lambda step: None,
            report=what.report,
        )
        run = workbench.measure_baseline(scratch.code, range(seeds))
        if isinstance(run, Attempt):
            raise _failure(what, "the untouched template", run.reason, run.log)
        place = what.place(scratch.laboratory.bench.template, name)
        shutil.copytree(scratch.measured, place / "executions")
    write_json(place / "final_info.json", results_to_final_info(run.results))
    write_json(place / "run.json", run_to_json(replace(run, commit="")))
    return place


def measure_references(
    what: Measurement, *, families: Sequence[str] = (), sources: Sequence[str] = ()
) -> list[Path]:
    """Measure other families, and what was trained elsewhere, by the template's own script.

    `sources` are folders of trained SAEs or RELEASE:REGEX. Each reference is stored like a
    baseline, under its own name. Raises SetupError for the person when one cannot be measured,
    InputError when the template has no such script.
    """
    places: list[Path] = []
    with what.laboratory() as scratch:
        if scratch.laboratory.bench.template.references is None:
            raise InputError(
                f"template {what.folder} measures no references",
                hint="its template.toml names no script under `references`",
            )
        for family in families:
            what.report(f"reference {family}: measuring")
            places.append(_measure(what, scratch, f"family_{family}", {"family": family})[0])
        for number, source in enumerate(sources):
            places += _measure_source(what, scratch, f"source_{number}", source)
    return places


def _measure_source(what: Measurement, scratch: Scratch, key: str, source: str) -> list[Path]:
    folder = Path(source).resolve()
    known = str(folder) if folder.is_dir() else source
    places: list[Path] = []
    for number in range(MAX_FOUND):
        what.report(f"{source}: measuring number {number}")
        overrides: dict[str, Scalar] = {"family": "trained", "source": known, "number": number}
        readable = [folder] if folder.is_dir() else []
        place, count = _measure(what, scratch, f"{key}_{number}", overrides, readable)
        places.append(place)
        if number == 0 and count > MAX_FOUND:
            what.report(
                f"{source} holds {count} SAEs, and only the first {MAX_FOUND} are measured; "
                "give the others by their own folders or a narrower REGEX"
            )
        if number + 1 >= count:
            break
    return places


def _measure(
    what: Measurement,
    scratch: Scratch,
    key: str,
    overrides: Mapping[str, Scalar],
    readable: Sequence[Path] = (),
) -> tuple[Path, int]:
    """Return where one reference was stored, and how many SAEs its source holds."""
    laboratory = scratch.laboratory
    template = laboratory.bench.template
    seen = laboratory.run_script(
        f"references/{key}",
        scratch.code.commit,
        str(template.references),
        "run_0",
        overrides=overrides,
        readable=readable,
    )
    if seen.results is None:
        raise _failure(what, f"the reference {overrides['family']}", seen.problem, seen.log_tail)
    told = {
        key.rpartition("/")[2]: value
        for key, value in seen.results.config.items()
        if key.startswith("reference/")
    }
    about = {key: overrides[key] for key in ("source",) if key in overrides} | told
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", str(about["name"]))
    place = what.place(template, name, _origin(about))
    place.parent.mkdir(parents=True, exist_ok=True)
    laboratory.keep(seen.key, "run_0", place)
    capsule = run_to_json(_capsule(scratch, seen, str(template.references)))
    same = {"reference": about, "measured_with": laboratory.bench.measuring_key}
    write_json(place / "run.json", capsule | same)
    return place, int(about.get("of") or 1)


def _origin(reference: Mapping[str, Any]) -> str:
    """Say what a reference was measured of: where it was loaded from, or its family."""
    return str(reference.get("source") or f"the family {reference.get('family')}")


def _stored_origin(place: Path) -> str:
    try:
        stored = json.loads((place / "run.json").read_text())
        return _origin(stored["reference"]) if "reference" in stored else UNTOUCHED
    except (OSError, ValueError, TypeError, AttributeError):
        return "a run.json that cannot be read"


def _capsule(scratch: Scratch, seen: Observation, script: str) -> Run:
    bench = scratch.laboratory.bench
    assert seen.results is not None
    return Run(
        name="run_0",
        title="A reference, no run",
        results=seen.results,
        command=("python", script, "--out_dir=run_0"),
        profile=bench.profile.name,
        seeds=(0,),
        versions=bench.versions,
        hardware=describe_hardware(),
        sandbox_tier=seen.sandbox_tier,
        started_at=seen.started_at,
        seconds=seen.seconds,
        gpu_hours=seen.gpu_hours,
    )


def _failure(what: Measurement, subject: str, reason: str, log: str) -> SetupError:
    last = "\n".join(log.strip().splitlines()[-6:])
    return SetupError(
        f"{subject} fails: {reason}\n{last}",
        hint=f"python -m ai_scientist template check {what.folder}",
    )
