"""What profile `full` of the sae template needs of this machine and of a person.

The sizes are those of its template.toml; docs/sae.md counts them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ai_scientist.commands.doctor_lines import Line, Patient, first_line
from ai_scientist.errors import ScientistError
from ai_scientist.inputs.templates import load_template
from ai_scientist.machine.environments import finished_environment
from ai_scientist.machine.hardware import describe_hardware
from ai_scientist.records import Profile, Scalar

TEMPLATE, PROFILE = "sae", "full"
HUB = "HF_HOME/hub/"
ASK_INPUTS = """import json, sys
sys.path.insert(0, sys.argv[1])
from benchmarks import EVALUATIONS
print(json.dumps({one.name: one.inputs for one in EVALUATIONS.values()}))"""
TEXTS = "SAE_TEXTS"
TEXT_FOLDERS = ("train", "forget", "retain")


def look_at_full(patient: Patient) -> Iterator[Line]:
    """The machine, the weights, the texts and what evaluations read."""
    try:
        template = load_template(patient.places.templates / TEMPLATE)
    except ScientistError:
        return  # said among the environments
    profile = template.profiles.get(PROFILE)
    if profile is None:
        return
    yield from lines_of_machine(profile, describe_hardware(), free_gb(patient.places.cache))
    yield from look_at_weights(profile, patient.variables)
    yield look_at_texts(patient.variables)
    if template.lock and (found := finished_environment(template.lock, patient.places.cache)):
        yield from look_at_evaluations(profile, found.python, template.folder, patient.variables)


def free_gb(place: Path) -> float:
    """Return the room where a folder is or will be."""
    there = next(path for path in (place, *place.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free / 1e9


def lines_of_machine(profile: Profile, facts: Mapping[str, Scalar], free: float) -> Iterator[Line]:
    """Say whether GPU, memory and disk are large enough for a profile."""
    gpu = float(facts.get("gpu_memory_gb") or 0)
    has = f"{facts['gpu']} with {gpu:.0f} GB" if gpu else "none"
    for name, enough, found, needed, fix in (
        ("GPU", gpu >= profile.gpu_memory_gb, has, profile.gpu_memory_gb, "--profile small"),
        (
            "memory",
            float(facts["memory_gb"] or 0) >= profile.memory_gb,
            f"{facts['memory_gb']} GB",
            profile.memory_gb,
            "--profile small",
        ),
        (
            "disk",
            free >= profile.data_gb,
            f"{free:.0f} GB free in the cache",
            profile.data_gb,
            "set AI_SCIENTIST_CACHE to a larger place",
        ),
    ):
        yield Line(
            name=f"profile {profile.name}: {name}",
            state="ok" if enough else "absent",
            detail=f"{found}; {needed:g} GB are needed",
            remedy="" if enough else fix,
        )


def look_at_texts(variables: Mapping[str, str]) -> Line:
    """What SAEs are trained on and measured with."""
    given = variables.get(TEXTS)
    lacking = [one for one in TEXT_FOLDERS if not (Path(given or "/nonexistent") / one).is_dir()]
    if not lacking:
        return Line(name=TEXTS, state="ok", detail=f"{', '.join(TEXT_FOLDERS)} in {given}")
    detail = f"{given} has no {', no '.join(lacking)}" if given else "not set"
    fix = (
        f"export {TEXTS}=DIR with folders {', '.join(TEXT_FOLDERS)}: docs/sae.md\n"
        "for the last two: hf download --repo-type dataset cais/wmdp-corpora"
    )
    return Line(name=TEXTS, state="absent", detail=detail, remedy=fix)


def look_at_weights(profile: Profile, variables: Mapping[str, str]) -> Iterator[Line]:
    """The models that the data are prepared with."""
    home = variables.get("HF_HOME")
    hub = Path(home or Path.home() / ".cache" / "huggingface") / "hub"
    for folder in (Path(name).name for name in profile.prepared_from if name.startswith(HUB)):
        name = folder.removeprefix("models--").replace("--", "/")
        line = partial(Line, name=name.rpartition("/")[2])
        there = any((hub / folder).glob("snapshots/*/*.safetensors"))
        if there and home:
            yield line(state="ok", detail=f"in {hub}")
        elif there:
            detail = f"in {hub}, and HF_HOME is not set: a run would not find it"
            yield line(state="absent", detail=detail, remedy=f"export HF_HOME={hub.parent}")
        else:
            yield line(
                state="absent",
                detail=f"not in {hub}" if home else "HF_HOME is not set",
                remedy=f"accept the license at huggingface.co/{name}, then\n"
                f"hf auth login && hf download {name}   (profile {profile.name} alone needs it)",
            )


def look_at_evaluations(
    profile: Profile, python: Path, folder: Path, variables: Mapping[str, str]
) -> Iterator[Line]:
    """What each evaluation reads of HF_HOME; the template's own code says what that is."""
    hub = Path(variables.get("HF_HOME") or "/nonexistent") / "hub"
    if not hub.is_dir():
        return  # said of the weights
    kept = {name: variables[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in variables}
    command = [str(python), "-I", "-B", "-c", ASK_INPUTS, str(folder)]
    answer = first_line(command, environment=kept, timeout_s=120)
    reads: dict[str, list[tuple[str, str]]] = json.loads(answer or "{}")
    for evaluation in profile.evaluations:
        inputs = reads.get(evaluation, [])
        lacking = [
            (kind, name)
            for kind, name in inputs
            if not any((hub / f"{kind}--{name.replace('/', '--')}").glob("snapshots/*"))
        ]
        options = {"models": "", "datasets": "--repo-type dataset "}
        named = ", ".join(name for _, name in lacking)
        if inputs:
            yield Line(
                name=f"{profile.name}: {evaluation}",
                state="absent" if lacking else "ok",
                detail=f"not in {hub}: {named}" if lacking else f"all it reads is in {hub}",
                remedy="\n".join(f"hf download {options[kind]}{name}" for kind, name in lacking),
            )
