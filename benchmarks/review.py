"""How fast are the review's pages, and how large is its file?

Builds a thousand finished ideas and one of ten runs in a temporary folder, serves them in a process
of their own, and measures over real HTTP. Exits 1 when a limit is passed.

    python benchmarks/review.py [--ideas 1000]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from ai_scientist import review  # noqa: E402 (found through the line above)
from tests.review_folders import make_idea, make_summary, served  # noqa: E402

FIRST_PAGE_S = 0.5
IDEA_S = 0.3
EXPORT_MB = 5.0


def measure(client: httpx.Client, address: str, times: int) -> tuple[float, float]:
    """Return the seconds of the first request, and the median of the next ones."""
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        client.get(address).raise_for_status()
        taken.append(time.perf_counter() - began)
    return taken[0], statistics.median(taken[1:])


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--ideas", type=int, default=1000)
    ideas = parser.parse_args().ideas
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "runs"
        root.mkdir()
        big = make_idea(root, name="ten_runs", runs=10, log_lines=20_000)
        for number in range(ideas - 1):
            make_summary(root, number)
        rows = []
        with served(root) as address, httpx.Client(base_url=address, timeout=60) as client:
            base = f"/idea/{big.name}"
            for name, path, limit in (
                (f"list of {ideas} ideas", "/", FIRST_PAGE_S),
                ("idea of ten runs", base, IDEA_S),
                ("one run of it", f"{base}/run/run_7", IDEA_S),
                ("its claims", f"{base}/claims", None),
                ("many runs", "/many", None),
            ):
                first, next_ones = measure(client, path, 5)
                rows.append((name, first, next_ones, limit))
        file = Path(place) / "report.html"
        review.export(big, file)
        size = file.stat().st_size / 1e6
    print(f"{'page':<22} {'first':>8} {'then':>8}   limit")
    for name, first, next_ones, limit in rows:
        shown = f"{limit:.1f} s" if limit else ""
        print(f"{name:<22} {first:>6.3f} s {next_ones:>6.3f} s   {shown}")
    print(f"{'export of ten runs':<22} {size:>6.2f} MB            {EXPORT_MB:.1f} MB")
    slow = any(limit is not None and first > limit for _, first, _, limit in rows)
    return 1 if slow or size > EXPORT_MB else 0


if __name__ == "__main__":
    sys.exit(main())
