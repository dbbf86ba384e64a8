"""Baselines measured before: on this machine, or stored with the template.

    CACHE/baselines/KEY/                              each baseline that was measured here
    TEMPLATE/baselines/PROFILE/NAME/executions/KEY/   those that `template baseline` stored

KEY is a hash of all that can move a number: code, lock, profile, data, seed and kind of machine.
Each folder holds what the execution left, and observation.json.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.machine.hardware import hardware_class
from ai_scientist.machine.shared_cache import use
from ai_scientist.records import Json, Template
from ai_scientist.run_folder.journal import write_atomically

OBSERVATION = "observation.json"


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """The baselines of one template at one profile."""

    cache: Path
    template: Path
    profile: str

    def take(self, key: str, destination: Path) -> tuple[Json, str] | None:
        """Copy what an equal execution left to `destination`.

        Returns its observation and where it comes from, or None when there is none.
        """
        stored = sorted(self.template.glob(f"baselines/{self.profile}/*/executions/{key}"))
        places = [(self.cache / "baselines" / key, "measured before on this machine")]
        places += [(one, f"stored with the template as {one.parts[-3]}") for one in stored]
        for place, words in places:
            used = use(place)  # held while it is copied, so that nobody removes it
            if used and all((place / name).is_file() for name in ("final_info.json", OBSERVATION)):
                shutil.rmtree(destination, ignore_errors=True)
                shutil.copytree(place, destination)
                observation: Json = json.loads((destination / OBSERVATION).read_text())
                return observation | {"gpu_hours": 0.0}, words
        return None

    def put(self, key: str, left: Path, observation: Json) -> None:
        """Keep what an execution left in the cache, whole or not at all."""
        place = self.cache / "baselines" / key
        aside = place.with_name(f".{key}.{id(observation)}")
        shutil.copytree(left, aside)
        write_atomically(aside / OBSERVATION, json.dumps(observation))
        try:
            aside.rename(place)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)


def baseline_key(code: Iterable[str], *, lock: str, profile: str, data: str, seed: int) -> str:
    """Return the key of a baseline on this kind of machine; `code` are lines of git's ls-tree."""
    parts = (*code, lock, profile, data, str(seed), hardware_class())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def measuring_key(template: Template, *, lock: str, profile: str, data: str) -> str:
    """Hash what two executions must share to be comparable: all but the code that is edited."""
    digest = hashlib.sha256(f"{lock} {profile} {data} {hardware_class()}".encode())
    for name in sorted(template.frozen):
        digest.update(name.encode() + (template.folder / name).read_bytes())
    return digest.hexdigest()[:24]
