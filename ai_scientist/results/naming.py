"""Names of metrics: what a person or a model types for a path in final_info.json.

A name is the shortest suffix of the path that no other path has, with characters outside
`[A-Za-z0-9_./ -]` replaced by `-`. Any longer suffix and the whole path are understood too.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

from ai_scientist.errors import ReplyError
from ai_scientist.records import MetricSpec


def metric_names(paths: Iterable[str]) -> dict[str, str]:
    """Return path -> name: the shortest unique suffix, with odd characters replaced by `-`.

    A path through a list of records (`details[a]/rate`) never takes a name from one that is not,
    and its own name reaches back to the list.
    """
    paths = list(paths)
    whole = set(paths)
    plain: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for path in paths:
        suffixes = _suffixes(path)
        every.update(suffixes)
        if not _through_list(path):
            plain.update(suffixes)
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in sorted(paths, key=_through_list):
        counts = every if _through_list(path) else plain
        options = _suffixes(path)
        if _through_list(path):
            options = [o for o, raw in zip(options, _raw(path), strict=True) if "[" in raw]
        name = next((o for o in options if counts[o] == 1 and o not in taken), options[-1])
        number = 2
        while name in taken or (name in whole and name != path) or (number > 2 and every[name]):
            name, number = f"{options[-1]} {number}", number + 1
        taken.add(name)
        names[path] = name
    return names


@lru_cache(maxsize=64)
def _names_of(paths: tuple[str, ...]) -> Mapping[str, str]:
    return metric_names(paths)


def short_name(path: str, paths: Iterable[str]) -> str:
    """Return the name of `path` among `paths`."""
    return metric_names({*paths, path})[path]


def resolve(name: str, paths: Iterable[str]) -> str:
    """Return the one path that `name` means: a full path, its name, or any unique suffix.

    Raises ReplyError, worded for the model, with the candidates or the nearest names.
    """
    paths = list(paths)
    name = name.strip()
    if name in paths:
        return name
    matches = [path for path in paths if ends_with(path, name)]
    if len(matches) == 1:
        return matches[0]
    names = _names_of(tuple(paths))
    exact = [path for path, known in names.items() if known == name]
    plain = [path for path in matches if not _through_list(path)]
    for found in (exact, plain):
        if len(found) == 1:
            return found[0]
    if matches:
        options = ", ".join(repr(names[path]) for path in matches[:8])
        raise ReplyError(f"{name!r} could mean any of {options}. Write one of these.")
    raise ReplyError(f"There is no metric named {name!r}.{nearest(name, names.values())}")


def spec_at(path: str, specs: Mapping[str, MetricSpec]) -> MetricSpec | None:
    """Return what a template says of the metric at `path`: by its whole path, else by an end of it.

    Several paths may end alike, as the loss of each of two data sets does: what is said is said of
    all of them.
    """
    ends = (specs.get(end) for end in reversed(_raw(path)))
    return next((spec for spec in ends if spec is not None), None)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a sentence naming the known names that look like `name`; empty when none are known."""
    known = sorted(set(names))
    lower = {option.lower(): option for option in known}
    close = difflib.get_close_matches(name.lower(), list(lower), n=5, cutoff=0.5)
    found = [lower[option] for option in close] or known[:8]
    return f" The nearest are: {', '.join(repr(option) for option in found)}." if found else ""


def _raw(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]


def _suffixes(path: str) -> list[str]:
    return [clean_name(suffix) for suffix in _raw(path)]


def ends_with(path: str, name: str) -> bool:
    """Say whether `name` is a suffix of `path` at a `/`."""
    whole, wanted = "/" + clean_name(path), "/" + clean_name(name)
    return whole.endswith(wanted) and bool(name)


def _through_list(path: str) -> bool:
    return "[" in path


@lru_cache(maxsize=65536)
def clean_name(text: str) -> str:
    """Replace what a name may not hold by `-`, so that it can be typed in notes and LaTeX."""
    return re.sub(r"[^A-Za-z0-9_./ -]", "-", text)
