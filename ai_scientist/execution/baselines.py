"""Baselines measured before: on this machine, or stored with the template.

    CACHE/baselines/KEY_SET/                              each baseline that was measured here
    TEMPLATE/baselines/PROFILE/NAME/executions/KEY_SET/   those that `template baseline` stored

KEY is a hash of all that can move a number: code, lock, profile, data, seed and kind of machine;
SET is one of the evaluations that were made beyond what every run measures. Each folder holds what
the execution left, and observation.json, which names these evaluations. A baseline serves an idea
that asks for some of them, and is cut to these: evaluations do not move each other's numbers. They
may read more of the input folders than the data were made from, so that where these have changed
since, it serves only ideas that ask for none.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.execution.observation import observation_from_json
from ai_scientist.machine.hardware import hardware_class
from ai_scientist.machine.shared_cache import use
from ai_scientist.records import Json, Template
from ai_scientist.results.files import results_to_json
from ai_scientist.results.reading import CONFIG_KEYS, MEASURED_KEYS, read_results
from ai_scientist.run_folder.journal import write_atomically

FINAL_INFO, OBSERVATION = "final_info.json", "observation.json"
ABOUT = ("evaluations", "inputs")
"""Keys of observation.json that are about the stored baseline, and not of the observation."""


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """The baselines of one template at one profile."""

    cache: Path
    template: Template
    profile: str
    inputs: str = ""
    """Hash of what lies in the input folders."""

    def take(
        self, key: str, evaluations: Collection[str], destination: Path
    ) -> tuple[Json, str] | None:
        """Copy what an equal execution left to `destination`, cut to `evaluations`.

        Returns its observation and where it comes from, or None when there is none.
        """
        for place, words, more in self._serving(key, set(evaluations)):
            used = use(place)  # held while it is copied, so that nobody removes it
            if used is None:
                continue
            shutil.rmtree(destination, ignore_errors=True)
            shutil.copytree(place, destination, ignore=shutil.ignore_patterns(OBSERVATION))
            observation: Json = json.loads((place / OBSERVATION).read_text())
            for about in ABOUT:
                observation.pop(about, None)
            if more:
                observation["results"] = self._cut(destination / FINAL_INFO, more)
            return observation | {"gpu_hours": 0.0}, words
        return None

    def put(self, key: str, evaluations: Collection[str], left: Path, observation: Json) -> None:
        """Keep what an execution left in the cache, whole or not at all."""
        asked = sorted(evaluations)
        place = self.cache / "baselines" / f"{key}_{_digest([*asked, self.inputs])[:8]}"
        aside = place.with_name(f".{place.name}.{id(observation)}")
        shutil.copytree(left, aside)
        about = dict(zip(ABOUT, (asked, self.inputs), strict=True))
        write_atomically(aside / OBSERVATION, json.dumps(observation | about))
        try:
            aside.rename(place)
        except OSError:
            shutil.rmtree(aside, ignore_errors=True)

    def _serving(self, key: str, wanted: set[str]) -> Iterator[tuple[Path, str, set[str]]]:
        """Yield place, origin and surplus evaluations of what serves, the closest first."""
        known = [
            (place, "measured before on this machine")
            for place in sorted((self.cache / "baselines").glob(f"{key}_*"))
        ]
        known += [
            (place, f"stored with the template as {place.parts[-3]}")
            for place in sorted(
                self.template.folder.glob(f"baselines/{self.profile}/*/executions/{key}_*")
            )
        ]
        found = []
        for place, words in known:
            about = _about(place)
            if about is None or not (place / FINAL_INFO).is_file():
                continue
            measured, inputs = about
            if wanted <= measured and (not wanted or inputs == self.inputs):
                found.append((place, words, measured - wanted))
        yield from sorted(found, key=lambda one: len(one[2]))

    def _cut(self, file: Path, evaluations: set[str]) -> Json:
        """Take what these evaluations measured out of a final_info.json; return its results."""
        specs = self.template.metrics
        names = {name for name, spec in specs.items() if spec.evaluation in evaluations}
        content = json.loads(file.read_text())
        left = _without(content, names)
        about = MEASURED_KEYS | CONFIG_KEYS
        for name, section in list(left.items()):
            if section != content[name] and set(section) <= about:
                del left[name]  # it only says of what it held numbers
        write_atomically(file, json.dumps(left, indent=1) + "\n")
        return results_to_json(read_results(file, specs))


def _about(place: Path) -> tuple[set[str], str] | None:
    """Return what a baseline measured, and of which inputs; None where that cannot be read."""
    try:
        observation = json.loads((place / OBSERVATION).read_text(encoding="utf-8"))
        measured, inputs = set(observation.pop("evaluations")), observation.pop("inputs", "")
        observation_from_json(observation)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return measured, inputs


def _without(block: Json, names: Collection[str]) -> Json:
    """Return a block of final_info.json without these metrics and what they leave empty."""
    kept = {}
    for key, value in block.items():
        if key.rpartition("/")[2] in names:
            continue
        below = _without(value, names) if isinstance(value, dict) else value
        if below or below == value:
            kept[key] = below
    return kept


def baseline_key(code: Iterable[str], *, lock: str, profile: str, data: str, seed: int) -> str:
    """Return the key of a baseline on this kind of machine; `code` are lines of git's ls-tree."""
    parts = (*code, lock, profile, data, str(seed), hardware_class())
    return _digest(parts)[:24]


def measuring_key(template: Template, *, lock: str, profile: str, data: str) -> str:
    """Hash what two executions must share to be comparable: all but the code that is edited."""
    digest = hashlib.sha256(f"{lock} {profile} {data} {hardware_class()}".encode())
    for name in sorted(template.frozen):
        digest.update(name.encode() + (template.folder / name).read_bytes())
    return digest.hexdigest()[:24]


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
