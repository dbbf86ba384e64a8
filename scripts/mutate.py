"""How many faults do the tests notice? Mutants of one module, drawn at random, each tried in turn.

    make mutation                                              the modules that mutation.sh names
    scripts/mutate.py MODULE.py TEST.py … [--sample 40] [--seed 1] [--limit 120]

A mutant is one small fault by an operator of cosmic-ray: a sign, a bound, a condition, a number, an
exception. A place in the code is drawn first, then one of its mutants; places in annotations are
left out, since they are never evaluated. Each mutant is written into the checkout while the tests
run in a process forked from this one, so run it in a clone of its own. Killed: a test fails, or the
time limit passes. Needs cosmic-ray beside the project's own packages, in another environment.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import parso
import pytest
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

Place = tuple[tuple[int, int], tuple[int, int]]
HEAVY = ("filelock", "jinja2", "pydantic", "scipy.stats")
"""Imported once, before the forks."""


def main() -> int:
    """Try the sample, print the survivors, and return 1 when under 80% are killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--sample", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for a mutant")
    options = parser.parse_args()
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    source = options.module.read_text(encoding="utf-8")
    drawn = sample(source, options.sample, random.Random(options.seed))
    if not passes(options.tests, options.limit):
        print("the tests fail on the code as it is")
        return 2
    survived = 0
    try:
        for number, (place, name, mutant) in enumerate(drawn, 1):
            options.module.write_text(mutant, encoding="utf-8")
            began = time.monotonic()
            if passes(options.tests, options.limit):
                survived += 1
                print(
                    f"survived: line {place[0][0]}, {name}\n{changed(source, mutant)}", flush=True
                )
            taken = time.monotonic() - began
            print(f"{number}/{len(drawn)}: {number - survived} killed, {taken:.0f} s", flush=True)
    finally:
        options.module.write_text(source, encoding="utf-8")
    killed = 1 - survived / len(drawn)
    print(f"{options.module}: {killed:.0%} of {len(drawn)} killed (seed {options.seed})")
    return int(killed < 0.8)


def sample(source: str, size: int, draw: random.Random) -> list[tuple[Place, str, str]]:
    """Return (place, operator, mutated source) of so many places, drawn without repetition."""
    places: dict[Place, list[tuple[str, int]]] = defaultdict(list)
    idle, nodes = annotations(source), list(walk(parso.parse(source)))
    for name in operator_names():
        with contextlib.suppress(TypeError):  # an operator that must be told what to do
            operator = get_operator(name)()
            found_at = (place for node in nodes for place in operator.mutation_positions(node))
            for occurrence, place in enumerate(found_at):
                if not any(start <= place[0] < end for start, end in idle):
                    places[place].append((name, occurrence))
    chosen = draw.sample(sorted(places), min(size, len(places)))
    found = []
    for place in chosen:
        name, occurrence = draw.choice(places[place])
        mutant = mutate_code(source, get_operator(name)(), occurrence)
        if mutant is not None and mutant != source:
            found.append((place, name.rpartition("/")[2], mutant))
    return found


def walk(node: parso.tree.NodeOrLeaf) -> Iterator[parso.tree.NodeOrLeaf]:
    """Yield every node, in the order in which cosmic-ray counts the places of an operator."""
    yield node
    for child in getattr(node, "children", ()):
        yield from walk(child)


def annotations(source: str) -> list[Place]:
    """Return the spans of all annotations."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if part is not None:
                found.append(
                    ((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset))
                )
    return found


def passes(tests: list[str], limit_s: float) -> bool:
    """Run the tests in a forked process and tell whether all pass in time."""
    child = os.fork()
    if child == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        sys.path.insert(0, str(Path.cwd()))
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests])
        os._exit(int(code))
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def changed(before: str, after: str) -> str:
    """Return the changed lines."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    return "\n".join(f"  - {old.strip()}\n  + {new.strip()}" for old, new in pairs if old != new)


if __name__ == "__main__":
    sys.exit(main())
