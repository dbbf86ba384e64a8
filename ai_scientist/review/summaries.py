"""One line per run folder, read from as little as possible and kept while nothing changes.

A thousand finished ideas are a thousand small report.json and idea.json files. Only what is not
finished yet costs more: the tail of its journal, its capsules and its calls.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ai_scientist.records import Json, number, parse_json
from ai_scientist.results.tables import format_percent
from ai_scientist.review.files import Shelf, open_plain

STAMP = re.compile(r"(\d{8}T\d{6}Z)_|(\d{8}_\d{6})_")
SHOWN = r"(-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d{1,3})?)"
REASON = re.compile(
    rf"\S+ {SHOWN}, \S+ {SHOWN}: "
    r"difference ([^(]{1,60}?) \(([^)]{1,160})\)"
)
"""How hypotheses.judge words what it compared."""
TAIL_BYTES = 65_536
COST = re.compile(rb'(?<!\\)"cost_usd": ?([0-9.eE+-]+)')
VERDICT_ORDER = ("refuted", "undecided within noise", "not testable", "confirmed")
WATCHED = ("report.json", "events.jsonl", "calls.jsonl", ".holder", "idea.json", "inbox")


@dataclass(frozen=True, kw_only=True)
class Best:
    """The run that decided the first hypothesis, and what stands beside its delta."""

    run: str
    metric: str
    text: str
    share: float | None = None
    """Relative change against run_0; None when it cannot be formed."""
    good: bool | None = None
    noise: str = "noise not measured"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the list of ideas says about one folder."""

    name: str
    idea: str
    title: str
    state: str
    """running, waiting, interrupted, done, failed, read-only or queued."""
    reason: str = ""
    verdicts: tuple[str, ...] = ()
    best: Best | None = None
    valid: int = 0
    refused: int = 0
    crashed: int = 0
    findings: int | None = 0
    """None: nobody has looked yet, the idea's page does."""
    cost_usd: float | None = None
    gpu_hours: float | None = None
    started: float = 0.0
    """UNIX time, from the folder's name or else its own time."""

    @property
    def verdict(self) -> str:
        """The verdict to show first: the most sobering one."""
        return next((word for word in VERDICT_ORDER if word in self.verdicts), "")

    @property
    def age_s(self) -> float:
        """Seconds since it began."""
        return max(0.0, time.time() - self.started)


class Summaries:
    """Reads the summaries of a shelf and keeps them by the times of the files they come from."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._kept: dict[str, tuple[tuple[int, ...], Summary]] = {}

    def all(self) -> list[Summary]:
        """Return every folder's summary, newest folder first."""
        rows = [self.one(name) for name in self._shelf.names()]
        return rows if self._shelf.only else [*queued_ideas(self._shelf.root), *rows]

    def one(self, name: str) -> Summary:
        """Return the summary of one folder; what cannot be read is shown as such, never raised."""
        folder = self._shelf.root / name
        signature = signature_of(folder)
        kept = self._kept.get(name)
        if kept and kept[0] == signature:
            return kept[1]
        summary = summarize(folder)
        self._kept[name] = (signature, summary)
        return summary


def queued_ideas(runs_dir: Path) -> list[Summary]:
    """Return the ideas of the queue that have no run folder yet."""
    from ai_scientist.queue.entries import blocked_by
    from ai_scientist.queue.store import Queue

    items = Queue(runs_dir).items()
    states = {item.id: item.state.state for item in items}
    rows = []
    for item in items:
        if item.state.run_dir is None:
            before = blocked_by(item, states)
            rows.append(
                Summary(
                    name="",
                    idea=item.id,
                    title=str(item.entry.idea.get("Title") or item.id),
                    state=str(item.state.state),
                    reason=f"after {', '.join(before)}" if before else item.state.reason,
                    started=moment(item.entry.added_at),
                )
            )
    return rows


def moment(text: str) -> float:
    """Return an ISO time as a UNIX time; 0 for anything else."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def signature_of(folder: Path, names: Sequence[str] = WATCHED) -> tuple[int, ...]:
    """Return the change times of a folder's own files: equal means nothing new."""
    times = []
    for name in ("", *names):
        try:
            found = os.stat(f"{folder}/{name}")  # noqa: PTH116 (thousands of them: Path doubles the time)
            times.append(found.st_mtime_ns ^ found.st_size)
        except OSError:
            times.append(0)
    return tuple(times)


def summarize(folder: Path) -> Summary:
    """Read one folder's summary."""
    report = read_object(folder / "report.json")
    idea = read_object(folder / "idea.json")
    ours = bool(idea) and ((folder / "settings.json").exists() or bool(report))
    state, reason = state_of(folder, report, ours)
    finished = bool(report) and state in ("done", "failed")
    counted = finished and "failed_executions" in report
    counts = report_counts(report) if counted else count_folder(folder)
    cost = number(report.get("cost_usd")) if report else sum_costs(folder / "calls.jsonl")
    return Summary(
        name=folder.name,
        idea=str(idea.get("Name") or STAMP.sub("", folder.name)),
        title=str(idea.get("Title") or first_title(folder) or folder.name),
        state=state,
        reason=reason,
        verdicts=tuple(verdicts_of(report)),
        best=best_of(report),
        valid=counts[0],
        refused=counts[1],
        crashed=counts[2],
        findings=count_findings(report) if ours else None,
        cost_usd=cost,
        gpu_hours=number(report.get("gpu_hours")),
        started=started_at(folder),
    )


def state_of(folder: Path, report: Json, ours: bool) -> tuple[str, str]:
    """Return a folder's state and the reason to show with it."""
    if not ours:
        return "read-only", "not made by this program"
    if is_held(folder):
        return "running", last_step(folder)
    stop = str(report.get("stop", ""))
    reason = str(report.get("reason", ""))
    if stop == "waiting":
        return "waiting", reason or "a person's decision is needed"
    if stop in ("", "unfinished", "budget spent"):
        return "interrupted", reason or stop or "no launcher holds this folder"
    if stop == "failed" or "pdf" in report:
        return "failed", reason
    return "done", stop


def is_held(folder: Path) -> bool:
    """Tell whether a launcher holds the folder: its process lives, or is on another host."""
    import socket

    try:
        with open_plain(folder / ".holder") as file:
            host, process = file.read(200).decode().split()
        if host != socket.gethostname():
            return True
        os.kill(int(process), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def last_step(folder: Path) -> str:
    """Return the key of the newest finished effect, from the journal's tail."""
    try:
        with open_plain(folder / "events.jsonl") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            key = parse_json(line).get("key")
        except (ValueError, AttributeError):
            continue
        if key:
            return f"after {key}"
    return ""


def report_counts(report: Json) -> tuple[int, int, int]:
    """Return (valid, refused, crashed) as the report has them."""
    valid, refused, crashed = (
        int(number(report.get(name)) or 0)
        for name in ("valid_runs", "refused", "failed_executions")
    )
    return valid, refused, crashed


def count_folder(folder: Path) -> tuple[int, int, int]:
    """Return (valid, refused, crashed) from the folder's names: run_N/ and attempts/."""
    valid = refused = crashed = 0
    try:
        names = os.listdir(folder)  # noqa: PTH208 (as above: called for thousands of folders)
    except OSError:
        names = []
    for name in names:
        if re.fullmatch(r"run_[1-9]\d*", name):
            valid += (folder / name / "final_info.json").exists()
    for path in (folder / "attempts").glob("*.json"):
        executed = bool(re.search(r"\.(?:execution|seed)_\d", path.name))
        crashed += executed
        refused += not executed
    return valid, refused, crashed


def verdicts_of(report: Json) -> list[str]:
    """Return the verdicts of the hypotheses, in their order."""
    return [str(one.get("verdict", "")) for one in verdicts_in(report)]


def verdicts_in(report: Json) -> list[Json]:
    """Return the judged hypotheses of a report."""
    stored = report.get("hypotheses")
    verdicts = stored.get("verdicts") if isinstance(stored, dict) else stored
    return [one for one in verdicts if isinstance(one, dict)] if isinstance(verdicts, list) else []


def count_findings(report: Json) -> int:
    """Return how many findings the report names, wherever it names them."""
    total = 0
    for place in (report, report.get("paper"), report.get("hypotheses")):
        if isinstance(place, dict):
            found = [place.get("findings"), place.get("problems")]
            total += sum(len(one) for one in found if isinstance(one, list))
    return total


def best_of(report: Json) -> Best | None:
    """Return the run that decided the first hypothesis, with the reason our code gave."""
    for one in verdicts_in(report):
        hypothesis = one.get("hypothesis")
        found = REASON.match(str(one.get("reason", "")))
        if not isinstance(hypothesis, dict) or not one.get("run") or not found:
            continue
        new, old = (float(value.replace(",", "")) for value in (found[1], found[2]))
        if not math.isfinite(new - old):
            continue
        share = (new - old) / abs(old) if old else None
        sign = "+" if new > old else "−" if new < old else ""
        return Best(
            run=str(one["run"]),
            metric=str(hypothesis.get("metric", "")),
            text=found[3] if share is None else sign + format_percent(abs(share)),
            share=share,
            good={"confirmed": True, "refuted": False}.get(str(one.get("verdict"))),
            noise=f"{found[3]}, {found[4].partition(',')[0]}",
        )
    return None


def sum_costs(path: Path) -> float | None:
    """Return the sum of the known costs in calls.jsonl; None when there is no call."""
    try:
        with open_plain(path) as file:
            data = file.read()
    except OSError:
        return None
    total = 0.0
    for found in COST.findall(data):
        try:
            total += float(found)
        except ValueError:
            continue
    return total if data else None


def first_title(folder: Path) -> str:
    """Return the title line of notes.txt, AI-Scientist's place for it."""
    try:
        with open_plain(folder / "notes.txt") as file:
            line = file.readline(500).decode(errors="replace")
    except OSError:
        return ""
    return line.removeprefix("# Title:").strip() if line.startswith("# Title:") else ""


def started_at(folder: Path) -> float:
    """Return when a folder began: the stamp in its name, else its own time."""
    found = STAMP.match(folder.name)
    if found:
        text, form = (found[1], "%Y%m%dT%H%M%SZ") if found[1] else (found[2], "%Y%m%d_%H%M%S")
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
        except ValueError:
            pass
    return changed_at(folder)


def changed_at(folder: Path) -> float:
    """Return when a folder last changed."""
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def read_object(path: Path) -> Json:
    """Return the JSON object in a small file, or an empty one."""
    try:
        with open_plain(path) as file:
            content = parse_json(file.read(4_000_000))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
