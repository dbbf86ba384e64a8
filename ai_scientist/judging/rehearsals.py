"""Rehearsals: every code twice in the smoke profile, and none a third time.

    old, new ─► seen in this folder? ─► the untouched template: seen on this machine? ─► the rest,
                                                                                 side by side

Every idea on a template begins by rehearsing the same untouched code, so its pair is kept:

    CACHE/baselines/KEY/rehearsals.json

KEY is a hash of all that can move a bit: the files, the environment (variables, threads, seed,
packages, the data's name) and this machine since it was started. What a model wrote is kept with
its own run folder only, and a pair is taken whole: it is the comparison of a code with itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ai_scientist.execution.environment import run_environment
from ai_scientist.execution.laboratory import Laboratory
from ai_scientist.execution.observation import (
    Observation,
    observation_from_json,
    observation_to_json,
)
from ai_scientist.machine.hardware import this_start
from ai_scientist.machine.shared_cache import use
from ai_scientist.records import Code, Json
from ai_scientist.run_folder.journal import write_atomically

KEPT = "rehearsals.json"
OF_THE_IDEA = ("idea.json", "settings.json")
"""Files of a folder's first commit that are not the template's."""


class Rehearsals:
    """What the rehearsals of one run folder's codes showed."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory
        self._seen: dict[str, list[Observation]] = {}

    def of(self, code: Code) -> list[Observation]:
        """Return what is known of a code: two observations once it was rehearsed, else none."""
        return self._seen.get(code_sha256(code), [])

    def lines_of(self, code: Code) -> tuple[int, ...] | None:
        """Return which lines of a code ran, None when nobody knows."""
        return next((one.lines_ran for one in self.of(code) if one.lines_ran is not None), None)

    def make(self, step: str, old: Code, new: Code) -> None:
        """Rehearse each code twice, side by side on free cores, unless that was done before.

        The new code's second rehearsal records which lines run; that changes no number.
        """
        kept = None if self.of(old) else self._place(old)
        if kept and (pair := _read(kept)):
            kept, self._seen[code_sha256(old)] = None, pair
            self._laboratory.report(f"{step}: the untouched code was rehearsed here before")
        wanted = [
            (f"{step}/smoke_{side}_{number}", code, side == "new" and number == 1)
            for side, code in (("new", new), ("old", old))
            for number in range(len(self.of(code)), 2)
        ]
        with ThreadPoolExecutor(max(1, len(wanted))) as pool:  # slots say how many go on at once
            seen = list(pool.map(lambda one: self._make_one(*one), wanted))
        for (_, code, _), observation in zip(wanted, seen, strict=True):
            self._seen.setdefault(code_sha256(code), []).append(observation)
        if kept:
            _write(kept, self.of(old))

    def stored(self, *codes: Code) -> Json:
        """Return what the journal keeps of the rehearsals of some codes."""
        return {
            code_sha256(code): [observation_to_json(seen) for seen in self.of(code)]
            for code in codes
        }

    def restore(self, stored: Json) -> None:
        """Take what the journal kept."""
        for sha256, observations in stored.items():
            self._seen[sha256] = [observation_from_json(seen) for seen in observations]

    def _make_one(self, key: str, code: Code, record_lines: bool) -> Observation:
        seen = self._laboratory.smoke(key, code.commit, code.files, record_lines=record_lines)
        self._laboratory.discard(key)
        return seen

    def _place(self, code: Code) -> Path | None:
        """Return where the pair of an untouched template is kept, None for any other code.

        None also where something that moves numbers has no name: an interpreter or folders of the
        person's own.
        """
        bench, folder = self._laboratory.bench, self._laboratory.folder
        profile = bench.template.profiles["smoke"]
        untouched = folder.git("rev-list", "--max-parents=0", code.commit).split() == [code.commit]
        start = this_start()
        if not untouched or not bench.template.lock or profile.inputs or not start:
            return None
        if any(folder.read(code.commit, name) != text for name, text in code.files.items()):
            return None
        tree = folder.git("ls-tree", "-r", code.commit).splitlines()
        environment = run_environment(profile, 0, bench.data.get("smoke"), {})
        parts = [
            [line for line in tree if line.partition("\t")[2] not in OF_THE_IDEA],
            sorted(environment.items()),
            [str(bench.python), bench.lock_sha256, sorted(bench.versions.items())],
            start,
        ]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
        return self._laboratory.cache / "baselines" / key / KEPT


def _read(kept: Path) -> list[Observation]:
    """Return a pair that was kept; nothing where there is none, or it cannot be read."""
    used = use(kept.parent)  # held while it is read, so that nobody removes it
    try:
        pair = [observation_from_json(one) for one in json.loads(kept.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return pair if used and len(pair) == 2 else []


def _write(kept: Path, pair: list[Observation]) -> None:
    """Keep a pair that came to results; a cache that cannot be written is done without."""
    if len(pair) == 2 and all(one.failure is None for one in pair):
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, json.dumps([observation_to_json(one) for one in pair]))


def code_sha256(code: Code) -> str:
    """Return the hash of what runs: plot.py cannot move a number."""
    main = {name: text for name, text in code.files.items() if name != "plot.py"}
    return hashlib.sha256(json.dumps(main, sort_keys=True).encode()).hexdigest()
