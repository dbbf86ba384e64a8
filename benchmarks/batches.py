"""What the queue costs: ten thousand ideas, one idea's start and end, one slot.

Times are wall-clock, the best of three where a busy machine could spoil one.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ai_scientist.inputs.ideas import parse_idea
from ai_scientist.machine.slots import SlotPool
from ai_scientist.queue.entries import Item, QueueState
from ai_scientist.queue.progress import describe_queue
from ai_scientist.queue.store import Queue
from ai_scientist.queue.worker import Workers
from ai_scientist.records import Idea
from benchmarks.form import Row, finish, parser

IDEAS = 10_000


def make_ideas(count: int) -> list[Idea]:
    """Return ideas of a hundred words each, no two alike."""
    words = [f"word{number}" for number in range(5000)]
    chosen = random.Random(7)
    return [
        parse_idea(
            {
                "Name": f"idea_{number}",
                "Title": " ".join(chosen.choices(words, k=8)),
                "Experiment": " ".join(chosen.choices(words, k=92)),
            },
            "benchmark",
        )
        for number in range(count)
    ]


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def best_of_three(work: Callable[[Path], float]) -> float:
    """Return the least of three measurements, each in a folder of its own."""
    measured = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            measured.append(work(Path(folder)))
    return min(measured)


def time_per_idea(folder: Path) -> float:
    """Return what starting and settling an idea costs, beyond the process that does nothing."""
    queue = Queue(folder)
    queue.add(make_ideas(20))

    def nothing(item: Item) -> list[str]:
        return ["/bin/true"]

    def over(items: list[Item]) -> bool:
        return all(item.state.state is QueueState.DONE for item in items)

    workers = Workers(queue, places=20, command_for=nothing, report=lambda line: None)
    began = time.process_time()
    workers.run(over, lambda items: None)
    return (time.process_time() - began) / 20


def time_per_slot(folder: Path) -> float:
    """Return what taking and giving back a GPU costs."""
    pool = SlotPool(folder, gpus=["0", "1"])

    def once() -> None:
        with pool.acquire(1):
            pass

    return seconds(lambda: [once() for _ in range(200)]) / 200


def main() -> int:
    """Measure, report, and return the exit code."""
    options = parser(__doc__).parse_args()
    ideas = make_ideas(IDEAS)
    folder = tempfile.TemporaryDirectory()
    queue = Queue(Path(folder.name))
    queue.add(ideas)
    added = best_of_three(lambda place: seconds(lambda: Queue(place).add(ideas)))
    rows = [
        Row("add 10,000 ideas", added, "s", goal=2.0),
        Row("read 10,000 ideas", min(seconds(queue.items) for _ in range(3)), "s", goal=2.0),
        Row("list 10,000 ideas", seconds(lambda: describe_queue(queue.items())), "s", goal=2.0),
        Row("add them again, all known", seconds(lambda: queue.add(ideas)), "s", goal=2.0),
        Row("start and settle an idea", best_of_three(time_per_idea), "s", goal=0.1, note="CPU"),
        Row("take and return a slot", best_of_three(time_per_slot), "s", goal=0.1),
    ]
    folder.cleanup()
    return finish(rows, options)


if __name__ == "__main__":
    sys.exit(main())
