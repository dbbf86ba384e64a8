"""Run benchmarks one after the other and keep one table of all of them.

    python -m benchmarks [NAME …]      all, or those named

Each runs as a process of its own. What it measured replaces its rows in RESULTS.json, with the
machine, its load before the start and the date; RESULTS.md is the same as a table. A benchmark that
could measure nothing here (no GPU) leaves what stands there. Exit code 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ai_scientist.machine.hardware import describe_hardware
from benchmarks.form import Row

HERE = Path(__file__).resolve().parent
STORE = HERE / "RESULTS.json"
PAGE = HERE / "RESULTS.md"
ON_GPU = " (GPU)"
"""Ends the name of what was measured with one: figures of machines without stand beside it."""
ABOUT = """# Results

Written by `make bench` (`python -m benchmarks`); each benchmark says at its top what it measures,
and runs alone as `python -m benchmarks.NAME`. The load is the machine's before the start, by others
too: where it is near the number of cores or above, times are upper bounds.
"""


def main() -> int:
    """Run what is asked for, store and print the results, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(benchmarks()))
    names = parser.parse_args().names or benchmarks()
    if unknown := set(names) - set(benchmarks()):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    store: dict[str, Any] = json.loads(STORE.read_text()) if STORE.exists() else {}
    codes = []
    for name in names:
        print(f"== {name}", flush=True)
        code, result = run(name)
        codes.append(code)
        if any(row["figure"] is not None for row in result["rows"]):
            store[name + ON_GPU if describe_hardware().get("gpu") else name] = result
    places = [name + kind for name in benchmarks() for kind in ("", ON_GPU)]
    store = {place: store[place] for place in places if place in store}
    STORE.write_text(json.dumps(store, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(store))
    goals = [row["met"] for result in store.values() for row in result["rows"]]
    print(f"goals met: {goals.count(True)}, missed: {goals.count(False)}; see {PAGE}")
    return int(any(codes))


def benchmarks() -> list[str]:
    """Return the names of all benchmarks: the modules here that can be run."""
    modules = sorted(HERE.glob("[a-z]*.py"))
    return [module.stem for module in modules if '__name__ == "__main__"' in module.read_text()]


def run(name: str) -> tuple[int, dict[str, Any]]:
    """Run one benchmark; return its exit code and what is stored of it."""
    load, began = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", f"--json={file}"]
        code = subprocess.run(command, cwd=HERE.parent, check=False).returncode
        rows = json.loads(file.read_text()) if file.exists() else []
    return code, {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "load": round(load, 1),
        "seconds": round(time.monotonic() - began, 1),
        "rows": rows,
    }


def machine() -> str:
    """Say on what a figure was measured."""
    facts = describe_hardware()
    gpus = f", {facts['gpus']} × {facts['gpu']}" if facts.get("gpu") else ""
    return f"{facts['cores']} cores of {facts['processor']}, {facts['memory_gb']} GB{gpus}"


def page(store: dict[str, Any]) -> str:
    """Return RESULTS.md: one table of all figures, one of where they come from."""
    figures = [
        (name, *Row(**{key: value for key, value in row.items() if key != "met"}).cells())
        for name, result in store.items()
        for row in result["rows"]
    ]
    origins = [
        (name, result["date"], result["machine"], f"{result['load']:g}", f"{result['seconds']:g}")
        for name, result in store.items()
    ]
    return "\n".join(
        (
            ABOUT,
            markdown(("benchmark", "what", "figure", "goal", "", "note"), figures),
            markdown(("benchmark", "date", "machine", "load", "seconds"), origins),
        )
    )


def markdown(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rows = [titles, ["---"] * len(titles), *lines]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
