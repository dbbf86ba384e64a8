"""Mirrors of what was measured, for people who watch TensorBoard, Weights & Biases or MLflow.

    run_N/run.json appears --> run_N/metrics.jsonl, final_info.json --> tracker

A thread outside the sandbox reads what finished runs left; the experiments know nothing of it and
see no tracker's key. The packages are extras, see pyproject.toml. A tracker that fails or hangs is
told of once and left: it never fails or delays a run.
"""

from __future__ import annotations

import importlib
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from ai_scientist.errors import ResultError, SetupError
from ai_scientist.protocols import Tracker
from ai_scientist.results.reading import read_results

PACKAGES = {
    "tensorboard": "tensorboardX",
    "wandb": "wandb",
    "wandb-online": "wandb",
    "mlflow": "mlflow",
}
INSTALL = {
    "tensorboardX": "tensorboardX",
    "wandb": "wandb",
    "mlflow": "mlflow-skinny sqlalchemy alembic",
}
POLL_S = 2.0
PATIENCE_S = 60.0
"""Time a tracker gets to send what is left when everything else is done; a first MLflow database
takes half of it on a busy disk, and one cut off half-made stays broken."""
MAX_LINES = 100_000
BATCH = 1000
"""Most metrics that MLflow takes at once."""


class TensorBoardTracker:
    """Event files below RUNS_DIR/.tensorboard, a folder per idea and run."""

    def __init__(self, module: Any, folder: Path, idea: str) -> None:
        self._module, self._folder = module, folder / idea
        self._writers: dict[str, Any] = {}

    def log(self, run: str, step: int, metrics: Mapping[str, float]) -> None:
        """Add one step of one run."""
        if run not in self._writers:
            self._writers[run] = self._module.SummaryWriter(logdir=str(self._folder / run))
        for name, value in metrics.items():
            self._writers[run].add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is buffered."""
        for writer in self._writers.values():
            writer.close()


class WandbTracker:
    """One W&B run per run, grouped by idea; the same ids again when a folder is resumed."""

    def __init__(self, module: Any, folder: Path, idea: str, *, online: bool) -> None:
        self._module, self._folder, self._idea = module, folder, idea
        self._mode = "online" if online else "offline"
        self._name, self._current = "", None

    def log(self, run: str, step: int, metrics: Mapping[str, float]) -> None:
        """Add one step of one run; W&B has one run open at a time."""
        if run != self._name:
            self.close()
            self._current = self._module.init(
                project="ai_scientist",
                group=self._idea,
                name=run,
                id=f"{self._idea}-{run}"[-120:],
                resume="allow" if self._mode == "online" else None,
                dir=str(self._folder),
                mode=self._mode,
                settings={"silent": True, "console": "off", "disable_git": True},
            )
            self._name = run
        assert self._current is not None
        self._current.log(dict(metrics), step=step)

    def close(self) -> None:
        """End the run that is open."""
        if self._current is not None:
            self._current.finish()
            self._current = None


class MlflowTracker:
    """One MLflow run per run in the experiment named after the idea.

    It goes where MLflow's own settings say, else into RUNS_DIR/.mlflow. Values are sent in batches:
    a transaction for each would take minutes for a long curve.
    """

    def __init__(self, module: Any, folder: Path, idea: str) -> None:
        if not module.is_tracking_uri_set():
            module.set_tracking_uri(f"sqlite:///{folder.absolute()}/mlflow.db")
        self._metric = module.entities.Metric
        self._client = module.MlflowClient()
        found = self._client.get_experiment_by_name(idea)
        self._experiment = found.experiment_id if found else self._client.create_experiment(idea)
        self._runs: dict[str, str] = {}
        self._waiting: dict[str, list[Any]] = {}

    def log(self, run: str, step: int, metrics: Mapping[str, float]) -> None:
        """Add one step of one run."""
        if run not in self._runs:
            made = self._client.create_run(self._experiment, run_name=run)
            self._runs[run] = made.info.run_id
        now_ms = int(time.time() * 1000)
        waiting = self._waiting.setdefault(self._runs[run], [])
        waiting += [self._metric(allowed_name(k), v, now_ms, step) for k, v in metrics.items()]
        if len(waiting) >= BATCH:
            self._send(self._runs[run])

    def close(self) -> None:
        """Send what waits and mark the runs as finished."""
        for run_id in self._runs.values():
            self._send(run_id)
            self._client.set_terminated(run_id)

    def _send(self, run_id: str) -> None:
        waiting = self._waiting.pop(run_id, [])
        for start in range(0, len(waiting), BATCH):
            self._client.log_batch(run_id, metrics=waiting[start : start + BATCH])


def allowed_name(name: str) -> str:
    """Return a metric's name in the characters that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-. /" else "-" for c in name)[:250]


def import_tracker(kind: str) -> Any:
    """Return the package of a tracker. Raises SetupError for the person when it is missing."""
    package = PACKAGES[kind]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise SetupError(
            f"--tracker {kind} needs the package {package}: {error}",
            hint=f".venv/bin/pip install {INSTALL[package]}",
        ) from None


def open_tracker(kind: str, module: Any, runs: Path, idea: str) -> Tracker:
    """Return the tracker called `kind`, over its package."""
    folder = runs / f".{kind.partition('-')[0]}"
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "tensorboard":
        return TensorBoardTracker(module, folder, idea)
    if kind == "mlflow":
        return MlflowTracker(module, folder, idea)
    return WandbTracker(module, folder, idea, online=kind == "wandb-online")


@contextmanager
def mirroring(
    folder: Path, kind: str, report: Callable[[str], None], *, patience_s: float = PATIENCE_S
) -> Iterator[None]:
    """Mirror the finished runs of a run folder while the block runs, and what is left at its end.

    What is left must be sent within `patience_s`. Raises SetupError for the person at once when the
    tracker's package is missing.
    """
    if kind == "none":
        yield
        return
    module = import_tracker(kind)
    over = threading.Event()
    mirror = Mirror(folder, lambda: open_tracker(kind, module, folder.parent, folder.name), report)
    thread = threading.Thread(target=mirror.follow, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(patience_s)
        if thread.is_alive():
            report(f"tracker: {kind} does not answer; it is left behind")


class Mirror:
    """Feeds finished runs to a tracker, each once, also over several launches of one folder."""

    def __init__(
        self, folder: Path, make: Callable[[], Tracker], report: Callable[[str], None]
    ) -> None:
        self._folder, self._make, self._report = folder, make, report
        self._seen = folder / ".staging" / "tracked"

    def follow(self, over: threading.Event) -> None:
        """Feed runs as they finish until `over` is set, then those that are left.

        Whatever a tracker raises ends the mirroring with a line of report, and nothing else.
        """
        try:
            tracker = self._make()
            while True:
                last = over.wait(POLL_S)
                self._feed_finished(tracker)
                if last:
                    tracker.close()
                    return
        except Exception as error:
            words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self._report(f"tracker: given up, the runs go on: {words}")

    def _feed_finished(self, tracker: Tracker) -> None:
        seen = self._seen.read_text().split() if self._seen.exists() else []
        for capsule in sorted(self._folder.glob("run_*/run.json"), key=by_number):
            run = capsule.parent.name
            if run in seen:
                continue
            for name, step, metrics in steps_of(capsule.parent):
                tracker.log(name, step, metrics)
            self._seen.parent.mkdir(exist_ok=True)
            with self._seen.open("a") as file:
                file.write(f"{run}\n")


def by_number(capsule: Path) -> tuple[int, str]:
    """Order run_2 before run_10."""
    name = capsule.parent.name
    return len(name), name


def steps_of(run: Path) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Yield (name, step, metrics) of a run's training curves and of its results.

    Seeds and repeats have curves of their own. The step of a line is its `step`, where it has one,
    else its number; results stand at the step after the last, below `final/`.
    """
    counts: Counter[str] = Counter()
    last = 0
    for path in sorted(path for path in run.glob("**/metrics.jsonl") if path.is_file()):
        inner = path.parent.relative_to(run).as_posix()
        place = run.name if inner == "." else f"{run.name}-{inner.replace('/', '-')}"
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in islice(lines, MAX_LINES):
                values = numbers_in(line)
                repeat = values.pop("repeat", None)
                name = place if repeat is None else f"{place}-repeat_{repeat:g}"
                step = int(values.pop("step", counts[name]))
                if values:
                    counts[name] += 1
                    last = max(last, step)
                    yield name, step, values
    try:
        results = read_results(run / "final_info.json", {})
    except ResultError:
        return
    yield run.name, last + 1, {f"final/{path}": value for path, value in results.metrics.items()}


def numbers_in(line: str) -> dict[str, float]:
    """Return the finite numbers of a JSON object; empty for anything else."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    found = {}
    for name, value in content.items():
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
            found[name] = float(value)
    return {name: value for name, value in found.items() if math.isfinite(value)}
