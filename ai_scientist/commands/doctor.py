"""One page on this machine: what works here, and the exact words that bring what does not.

    needed   agent, git, sae environment, sandbox, disk    the main job runs without a key or a GPU
    extra    TeX, other environments, GPU, keys, Slurm, weights

Nothing is installed or paid for; `call` makes one tiny call per key.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from ai_scientist.commands.doctor_full import look_at_full
from ai_scientist.commands.doctor_lines import Line, Patient, first_line
from ai_scientist.errors import ScientistError
from ai_scientist.execution.slurm.client import SlurmClient, client_environment
from ai_scientist.inputs.settings import Keys, Places
from ai_scientist.inputs.templates import load_template
from ai_scientist.machine.environments import Environment, finished_environment
from ai_scientist.machine.hardware import describe_hardware
from ai_scientist.model.client import ModelClient, Retries
from ai_scientist.records import Limits
from ai_scientist.run_folder.journal import FolderJournal
from ai_scientist.sandbox.choice import UBUNTU_PROFILE, Trial, remedy, try_tiers
from ai_scientist.sandbox.tiers import LimitsOnly
from ai_scientist.writeup.latex import missing_tools

LEAST_FREE_GB, ENOUGH_FREE_GB = 1.0, 20.0
NEEDED_TEMPLATE = "sae"
CHEAP_MODELS = {"anthropic": "anthropic/claude-haiku-4-5", "openai": "openai/gpt-5-nano"}
EXTRA_TEX = ("chktex", "pdftotext", "pdffonts", "pdfinfo")
ASK_TORCH = (
    "import json, torch; print(json.dumps([torch.__version__, torch.version.cuda, "
    "torch.cuda.device_count()]))"
)
RESTRICTED = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


def doctor(
    places: Places,
    keys: Keys,
    *,
    variables: Mapping[str, str],
    call: bool = False,
    base_url: str | None = None,
) -> int:
    """Print the page and return 0 when the main job can run here, else 1.

    `call` tries each key with one tiny call of a cheap model, at `base_url` where one is given.
    """
    patient = Patient(places=places, keys=keys, variables=variables, call=call, base_url=base_url)
    found: list[Line] = []
    for look in LOOKS:
        for line in look(patient):
            found.append(line)
            print(line.text(), flush=True)
    missing = [line.name for line in found if line.state == "missing"]
    if missing:
        print(f"\nThe main job cannot run here yet: {', '.join(missing)}")
        return 1
    print("\nThe main job can run: python launch_scientist.py --idea ratio_ranked_orthogonal_sae")
    return 0


# --- what is needed ------------------------------------------------------------------------------


def look_at_agent(patient: Patient) -> Iterator[Line]:
    """The program's own environment, and git."""
    own = patient.places.project / ".venv"
    wanted = patient.places.project / "requirements.lock"
    built = own / "requirements.lock"
    python = "Python {}.{}.{}".format(*sys.version_info[:3])
    if Path(sys.prefix).resolve() != own.resolve():
        detail = f"{python} at {sys.prefix}, not the .venv that is tested"
        yield Line(name="agent environment", state="absent", detail=detail, remedy="make setup")
    elif not built.is_file() or built.read_bytes() != wanted.read_bytes():
        detail = f"{python}, older than requirements.lock"
        yield Line(name="agent environment", state="absent", detail=detail, remedy="make setup")
    else:
        yield Line(name="agent environment", state="ok", detail=python)
    version = first_line(["git", "--version"])
    if version is None:
        fix = "apt-get install git (as root; on RHEL: dnf install git)"
        yield Line(name="git", state="missing", detail="not found", remedy=fix)
    else:
        yield Line(name="git", state="ok", detail=version.removeprefix("git version "))


def look_at_environments(patient: Patient) -> Iterator[Line]:
    """The environment of each template that has a lock."""
    for folder in sorted(patient.places.templates.iterdir()):
        name = f"{folder.name} environment"
        try:
            template = load_template(folder)
        except ScientistError as error:
            fix = f"python -m ai_scientist template check {folder}"
            yield Line(name=name, state="absent", detail=error.message, remedy=fix)
            continue
        if template.lock is None:
            continue
        environment = finished_environment(template.lock, patient.places.cache)
        if environment is not None:
            detail = f"{len(environment.packages)} packages, {environment.folder}"
            yield Line(name=name, state="ok", detail=detail)
            continue
        yield Line(
            name=name,
            state="missing" if folder.name == NEEDED_TEMPLATE else "absent",
            detail="not built",
            remedy=f"make environments TEMPLATES={folder.name}",
        )


def look_at_sandbox(patient: Patient) -> Iterator[Line]:
    """Every tier, tried by breaking out of it."""
    trials = try_tiers(patient.places.cache / "probe")
    yield from lines_of_trials(trials, restricted=userns_restricted())


def lines_of_trials(trials: tuple[Trial, ...], *, restricted: bool) -> Iterator[Line]:
    """Say which tier is used, and how to get the strongest where it is not that one."""
    confining = [one for one in trials if one.passed and not isinstance(one.sandbox, LimitsOnly)]
    for trial in trials:
        used = confining[:1] == [trial]
        mark = "; this one is used" if used else ""
        yield Line(
            name="sandbox",
            state="ok" if trial.passed else "absent",
            detail=trial.sentence + mark,
        )
    if confining and confining[0] is trials[0] and trials[0].sandbox.tier == "bubblewrap":
        return
    fix = remedy(trials)
    if restricted:
        fix = (
            "write this to /etc/apparmor.d/bwrap, then `systemctl reload apparmor`:\n"
            + UBUNTU_PROFILE
        )
    yield Line(
        name="sandbox",
        state="absent" if confining else "missing",
        detail="a stronger tier is possible" if confining else "nothing confines the code here",
        remedy=fix,
    )


def userns_restricted() -> bool:
    """Tell whether AppArmor keeps unprivileged programs from namespaces, as Ubuntu 23.10 does."""
    try:
        return RESTRICTED.read_text().strip() == "1"
    except OSError:
        return False


def look_at_disk(patient: Patient) -> Iterator[Line]:
    """The room where runs and caches go."""
    for name, place in (("runs", patient.places.runs), ("cache", patient.places.cache)):
        there = next(path for path in (place, *place.absolute().parents) if path.exists())
        free_gb = shutil.disk_usage(there).free / 1e9
        detail = f"{free_gb:.1f} GB free at {place.absolute()}"
        if not os.access(there, os.W_OK):
            detail = f"{there} cannot be written"
            fix = "--runs-dir DIR" if name == "runs" else "set AI_SCIENTIST_CACHE"
            yield Line(name=f"disk: {name}", state="missing", detail=detail, remedy=fix)
        elif free_gb < ENOUGH_FREE_GB:
            state: Literal["missing", "absent"] = "missing" if free_gb < LEAST_FREE_GB else "absent"
            fix = "make room: python -m ai_scientist clean"
            yield Line(name=f"disk: {name}", state=state, detail=detail, remedy=fix)
        else:
            yield Line(name=f"disk: {name}", state="ok", detail=detail)


# --- what is extra -------------------------------------------------------------------------------


def look_at_tex(patient: Patient) -> Iterator[Line]:
    """What turns a paper's sources into a PDF, and what checks it."""
    needed = missing_tools()
    if needed:
        detail = f"no {', no '.join(needed)}: papers stay LaTeX sources"
        yield Line(name="TeX", state="absent", detail=detail, remedy="make tex")
        return
    version = first_line(["pdflatex", "--version"]) or "pdflatex"
    extra = [tool for tool in EXTRA_TEX if shutil.which(tool) is None]
    if extra:
        detail = f"{version}, without {', '.join(extra)}: some checks of the PDF are left out"
        yield Line(name="TeX", state="absent", detail=detail, remedy="make tex")
    else:
        yield Line(name="TeX", state="ok", detail=version)


def look_at_gpu(patient: Patient) -> Iterator[Line]:
    """GPUs as the driver and as torch of the sae environment see them."""
    facts = describe_hardware()
    if not facts.get("gpus"):
        detail = "none: profile small runs on the CPU"
        yield Line(name="GPU", state="absent", detail=detail)
        return
    detail = f"{facts['gpus']} × {facts['gpu']}, driver {facts['driver']}"
    yield Line(name="GPU", state="ok", detail=detail)
    lock = patient.places.templates / NEEDED_TEMPLATE / "requirements.lock"
    environment = finished_environment(lock, patient.places.cache) if lock.is_file() else None
    if environment is not None:
        yield look_at_torch(environment, patient.variables)


def look_at_torch(environment: Environment, variables: Mapping[str, str]) -> Line:
    """What torch says of the GPUs."""
    kept = {key: variables[key] for key in ("LD_LIBRARY_PATH",) if key in variables}
    answer = first_line(
        [str(environment.python), "-I", "-c", ASK_TORCH],
        environment={"PATH": "/usr/local/bin:/usr/bin:/bin", **kept},
        timeout_s=120,
    )
    if answer is None:
        return Line(
            name="GPU in torch",
            state="absent",
            detail="torch cannot be imported",
            remedy=f"rm -r {environment.folder} && make environments TEMPLATES={NEEDED_TEMPLATE}",
        )
    version, cuda, count = json.loads(answer)
    if count:
        return Line(name="GPU in torch", state="ok", detail=f"{count} seen by torch {version}")
    if cuda is None:
        detail = f"torch {version} is a build without CUDA"
        fix = f"rm -r {environment.folder} && make environments TEMPLATES={NEEDED_TEMPLATE}"
    else:
        detail = f"torch {version} (CUDA {cuda}) sees none"
        fix = "a newer driver, or CUDA_VISIBLE_DEVICES and /dev/nvidia* of this user"
    return Line(name="GPU in torch", state="absent", detail=detail, remedy=fix)


def look_at_keys(patient: Patient) -> Iterator[Line]:
    """Which keys are set, and with `call` whether they are taken. No key is ever printed."""
    keys = patient.keys
    for provider, key in (("anthropic", keys.anthropic), ("openai", keys.openai)):
        name = f"{provider} key"
        if not key:
            fix = f"export {provider.upper()}_API_KEY=…; none is needed with --model recorded"
            yield Line(name=name, state="absent", detail="not set", remedy=fix)
        elif patient.call:
            yield try_key(provider, key, patient.base_url)
        else:
            yield Line(name=name, state="ok", detail="set; `doctor --call` tries it")
    for name, key, variable in (
        ("Semantic Scholar key", keys.semantic_scholar, "S2_API_KEY"),
        ("OpenAlex key", keys.openalex, "OPENALEX_API_KEY"),
    ):
        if key:
            yield Line(name=name, state="ok", detail="set")
        else:
            detail = f"not set ({variable}): literature is searched more slowly without"
            yield Line(name=name, state="absent", detail=detail)


def try_key(provider: str, key: str, base_url: str | None) -> Line:
    """Make one tiny call."""
    name, model = f"{provider} key", CHEAP_MODELS[provider]
    with tempfile.TemporaryDirectory() as aside:
        journal = FolderJournal(Path(aside) / "events.jsonl")
        began = time.monotonic()
        try:
            with ModelClient(
                model,
                journal=journal,
                calls=Path(aside) / "calls.jsonl",
                limits=Limits(max_cost_usd=0.01),
                keys={provider: key},
                base_url=base_url,
                timeout_s=30,
                retries=Retries(tries=1),
            ) as client:
                client.ping()
                cost = client.spent.cost_usd
        except ScientistError as error:
            return Line(name=name, state="absent", detail=error.message, remedy=error.hint)
        finally:
            journal.close()
    seconds = time.monotonic() - began
    detail = f"works: {model} answered in {seconds:.1f} s, ${cost:.6f}"
    return Line(name=name, state="ok", detail=detail)


def look_at_slurm(patient: Patient) -> Iterator[Line]:
    """The cluster's partitions, where there is one."""
    if shutil.which("sinfo") is None:
        yield Line(name="Slurm", state="absent", detail="no sinfo: --executor local")
        return
    partitions = SlurmClient(client_environment(patient.variables)).partitions()
    if partitions:
        detail = f"partitions: {', '.join(partitions)}"
        yield Line(name="Slurm", state="ok", detail=detail)
    else:
        fix = "is its controller up? try `sinfo`"
        yield Line(name="Slurm", state="absent", detail="does not answer", remedy=fix)


LOOKS: tuple[Callable[[Patient], Iterator[Line]], ...] = (
    look_at_agent,
    look_at_environments,
    look_at_sandbox,
    look_at_disk,
    look_at_tex,
    look_at_gpu,
    look_at_keys,
    look_at_slurm,
    look_at_full,
)
