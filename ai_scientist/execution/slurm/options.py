"""What a person says of the cluster: `--slurm partition=gpu,account=me,gpus=1,time=2:00:00`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

from ai_scientist.errors import InputError

SAFE = re.compile(r"[\w.,:@/+\[\]&|*()-]+")
TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")
MEMORY = re.compile(r"\d+(\.\d+)?[KMGT]?", re.IGNORECASE)
EXAMPLE = "for example: --slurm partition=gpu,account=mygroup,gpus=1,time=2:00:00"


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """Where jobs go and what they ask for; None: the run's own need, or the cluster's default."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    exclude: str | None = None
    nice: int | None = None
    gpus: int | None = None
    gpu_type: str | None = None
    cpus: int | None = None
    mem: str | None = None
    time: str | None = None
    per: Literal["run", "idea"] = "run"
    """A job for each run, or for each idea from end to end (needs the model reachable there)."""
    max_jobs: int | None = None
    """Most jobs of a batch at once, where a job is an idea."""

    def place(self) -> list[str]:
        """Return sbatch's arguments for where a job goes."""
        names = ("partition", "account", "qos", "constraint", "reservation", "exclude", "nice")
        given = {name: getattr(self, name) for name in names}
        return [f"--{name}={value}" for name, value in given.items() if value is not None]

    def gres(self, gpus: int) -> list[str]:
        """Return sbatch's argument for that many GPUs on the one node a job has."""
        kind = f"{self.gpu_type}:" if self.gpu_type else ""
        return [f"--gres=gpu:{kind}{gpus}"] if gpus else []


def parse_slurm_options(text: str) -> SlurmOptions:
    """Read KEY=VALUE pairs between commas; a value may hold commas itself (partition=a,b).

    Raises InputError for the person, naming the pair that is wrong and what was expected.
    """
    known = {item.name for item in fields(SlurmOptions)}
    pairs: dict[str, str] = {}
    last = ""
    for piece in filter(None, text.split(",")):
        key, equals, value = piece.partition("=")
        key = key.strip().replace("-", "_")
        if not equals and last:
            pairs[last] += f",{piece.strip()}"
            continue
        if not equals or not value.strip():
            raise InputError(f"--slurm: `{piece}` is no KEY=VALUE", hint=EXAMPLE)
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1) or sorted(known)
            raise InputError(f"--slurm: there is no key `{key}`", hint=f"known: {', '.join(near)}")
        if key in pairs:
            raise InputError(f"--slurm: `{key}` is there twice", hint=EXAMPLE)
        pairs[key] = value.strip()
        last = key
    return _checked(pairs)


def _checked(pairs: Mapping[str, str]) -> SlurmOptions:
    values: dict[str, str | int] = {}
    for key, value in pairs.items():
        if key in ("gpus", "cpus", "nice", "max_jobs"):
            least = 1 if key in ("cpus", "max_jobs") else 0
            if not value.isdecimal() or int(value) < least:
                raise InputError(
                    f"--slurm: `{key}={value}` is no whole number from {least} up", hint=EXAMPLE
                )
            values[key] = int(value)
            continue
        form, expected = {
            "time": (TIME, "minutes, hours:minutes:seconds or days-hours:minutes:seconds"),
            "mem": (MEMORY, "a size such as 32G"),
            "per": (re.compile("run|idea"), "run or idea"),
        }.get(key, (SAFE, "a name"))
        if not form.fullmatch(value) or value.startswith("-"):
            raise InputError(f"--slurm: `{key}={value}`: expected {expected}", hint=EXAMPLE)
        values[key] = value
    return SlurmOptions(**values)  # type: ignore[arg-type]  # each value was checked above
