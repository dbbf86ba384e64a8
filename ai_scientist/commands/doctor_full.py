"""What profile `full` of the sae template needs of this machine and of a person.

The sizes are those of its template.toml; docs/sae.md counts them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from ai_scientist.commands.doctor_lines import Line, Patient
from ai_scientist.errors import ScientistError
from ai_scientist.inputs.templates import load_template
from ai_scientist.machine.hardware import describe_hardware
from ai_scientist.records import Profile, Scalar

TEMPLATE, PROFILE = "sae", "full"
GEMMA = "models--google--gemma-2-2b"
WMDP = ("datasets--cais--wmdp-corpora", "datasets--cais--wmdp-bio-forget-corpus")
TEXTS = "SAE_TEXTS"
TEXT_FOLDERS = ("train", "forget", "retain")


def look_at_full(patient: Patient) -> Iterator[Line]:
    """The machine, the weights and the texts."""
    try:
        template = load_template(patient.places.templates / TEMPLATE)
    except ScientistError:
        return  # said among the environments
    profile = template.profiles.get(PROFILE)
    if profile is None:
        return
    yield from lines_of_machine(profile, describe_hardware(), free_gb(patient.places.cache))
    yield from look_at_weights(patient)
    yield look_at_texts(patient.variables)


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
    fix = f"export {TEXTS}=DIR with folders {', '.join(TEXT_FOLDERS)}: docs/sae.md"
    return Line(name=TEXTS, state="absent", detail=detail, remedy=fix)


def look_at_weights(patient: Patient) -> Iterator[Line]:
    """What profile full of the sae template needs beside a GPU."""
    home = patient.variables.get("HF_HOME")
    hub = (Path(home) if home else Path.home() / ".cache" / "huggingface") / "hub"
    gemma = any((hub / GEMMA).glob("snapshots/*/*.safetensors"))
    yield Line(
        name="gemma-2-2b",
        state="ok" if gemma else "absent",
        detail=f"{'in' if gemma else 'not in'} {hub}",
        remedy=""
        if gemma
        else "accept the license at huggingface.co/google/gemma-2-2b, then\n"
        "hf auth login && hf download google/gemma-2-2b   (profile full alone needs it)",
    )
    wmdp = any((hub / name).is_dir() for name in WMDP)
    yield Line(
        name="WMDP corpora",
        state="ok" if wmdp else "absent",
        detail=f"{'in' if wmdp else 'not in'} {hub}",
        remedy="" if wmdp else "hf download --repo-type dataset cais/wmdp-corpora   (the same)",
    )
