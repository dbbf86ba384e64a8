"""Near-identical ideas: the same experiment twice is money spent twice.

Two texts are compared by their sets of three consecutive words (Broder 1997): the share that both
hold of all that either holds. Each entry stores its smallest hashes, which are equal for near
texts, so that only few pairs are ever compared word by word.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

NEAR = 0.8
"""Share of common word triples from which two texts count as the same; a word changed in a
hundred leaves 0.94, five leave about 0.74."""
SKETCH = 6
COMMON = 50
"""A hash that more entries share comes from a form they were all written with."""
TEXT_KEYS = ("Title", "Experiment", "Technical_Details", "Implementation_Plan")
WORD = re.compile(r"\w+")


def triples(idea: Mapping[str, Any]) -> set[str]:
    """Return every run of three words of an idea's text, in lower case."""
    text = " ".join(str(idea.get(key, "")) for key in TEXT_KEYS)
    words = WORD.findall(text.lower())
    if len(words) < 3:
        return {" ".join(words)}
    return {f"{a} {b} {c}" for a, b, c in zip(words, words[1:], words[2:], strict=False)}


def sketch(idea: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the smallest hashes of its triples."""
    return tuple(sorted({zlib.crc32(triple.encode()) for triple in triples(idea)})[:SKETCH])


class Likeness:
    """Finds, among known entries, the one an idea repeats."""

    def __init__(self, known: Iterable[tuple[str, Mapping[str, Any], tuple[int, ...]]]) -> None:
        self._ideas: dict[str, Mapping[str, Any]] = {}
        self._names: dict[str, list[str]] = {}
        self._by_hash: dict[int, list[str]] = {}
        for entry, idea, marks in known:
            self.learn(entry, idea, marks)

    def learn(self, entry: str, idea: Mapping[str, Any], marks: tuple[int, ...]) -> None:
        """Take one more entry into account."""
        self._ideas[entry] = idea
        self._names.setdefault(str(idea.get("Name")), []).append(entry)
        for mark in marks:
            self._by_hash.setdefault(mark, []).append(entry)

    def of_name(self, name: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the entries of an idea's name, in the order they were numbered."""
        entries = sorted(self._names.get(name, ()), key=lambda one: (len(one), one))
        return [(entry, self._ideas[entry]) for entry in entries]

    def nearest(self, idea: Mapping[str, Any], marks: tuple[int, ...]) -> str | None:
        """Return an entry that says nearly the same, or None."""
        groups = [self._by_hash.get(mark, []) for mark in marks]
        candidates = {entry for group in groups if len(group) <= COMMON for entry in group}
        if not candidates:
            return None
        ours = triples(idea)
        shares = {}
        for entry in candidates:
            theirs = triples(self._ideas[entry])
            shares[entry] = len(ours & theirs) / len(ours | theirs)
        best = max(shares, key=lambda entry: shares[entry])
        return best if shares[best] >= NEAR else None

    def free_name(self, name: str) -> str:
        """Return `name`, or `name.2` and so on when it is taken."""
        number, free = 1, name
        while free in self._ideas:
            number += 1
            free = f"{name}.{number}"
        return free
