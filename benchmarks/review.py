"""How fast are the review's pages, and how large is its file?

Builds a thousand finished ideas and one of ten runs in a temporary folder, serves them in a process
of their own, and measures over real HTTP.

    python -m benchmarks.review [--ideas 1000]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from ai_scientist import review
from benchmarks.form import Row, finish, parser
from tests.review_folders import make_idea, make_summary, served

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
    """Measure, report, and return the exit code."""
    doors = parser(__doc__)
    doors.add_argument("--ideas", type=int, default=1000)
    options = doors.parse_args()
    ideas = options.ideas
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
                then = f"the next five {next_ones:.3f} s"
                rows.append(Row(name, first, "s", goal=limit, note=then))
        file = Path(place) / "report.html"
        review.export(big, file)
        rows.append(Row("export of ten runs", file.stat().st_size / 1e6, "MB", goal=EXPORT_MB))
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
