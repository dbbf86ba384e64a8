"""Pictures of a study: the coder's plot.py, run on the stored results in a throw-away copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ai_scientist.execution.environment import run_environment
from ai_scientist.execution.laboratory import Bench
from ai_scientist.execution.observation import describe_failure, tail_of_logs
from ai_scientist.protocols import Coder, Executor, Journal, Render
from ai_scientist.records import (
    EditStatus,
    ExitCause,
    Finding,
    Json,
    Profile,
    RunLimits,
    RunRequest,
)
from ai_scientist.run_folder.journal import write_atomically
from ai_scientist.run_folder.workspace import RunFolder
from ai_scientist.sandbox.leftovers import CollectionLimits, examine
from ai_scientist.steps.pictures import objections, read_notes

PLOT_FILE = "plot.py"
FALLBACK = "plot/fallback"
WATCHER = Path(__file__).with_name("watched_plot.py")
NOTES = "watched.json"
PLOT_TIMEOUT_S = 600.0
MAX_PICTURES = 40
MAX_PICTURE_BYTES = 20_000_000
PNG = b"\x89PNG\r\n\x1a\n"


class Draughtsman:
    """Runs plotting scripts in throw-away copies and takes only pictures from them."""

    def __init__(
        self, folder: RunFolder, *, executor: Executor, journal: Journal, bench: Bench
    ) -> None:
        self._folder = folder
        self._executor = executor
        self._journal = journal
        self._bench = bench

    def draw(
        self, key: str, commit: str, files: Mapping[str, str], script: str = PLOT_FILE
    ) -> Json:
        """Run a script over a commit and commit the pictures it made.

        Returns {"commit", "pictures": names, "shown": what is known of each, "problem": why there
        are none, for the coder}.
        """
        return self._journal.effect(key, lambda: self._draw(key, commit, files, script))

    def _draw(self, key: str, commit: str, files: Mapping[str, str], script: str) -> Json:
        staging = self._folder.clear_staging(key)
        self._folder.export(commit, staging / "source")
        for name, content in files.items():
            write_atomically(staging / "source" / name, content)
        write_atomically(staging / "source" / WATCHER.name, WATCHER.read_text(encoding="utf-8"))
        request = RunRequest(
            key=key,
            staging=staging,
            out_name=".",
            command=(str(self._bench.python), WATCHER.name, script),
            environment=run_environment(Profile(name="plot"), 0, None, {}),
            readable=self._bench.readable,
            limits=RunLimits(timeout_s=PLOT_TIMEOUT_S, disk_gb=1.0),
        )
        execution = self._executor.run(request)
        if execution.cause is not ExitCause.EXIT:
            problem = f"{script}: {describe_failure(execution, request.limits)}"
            return {"pictures": [], "problem": f"{problem}\n{tail_of_logs(execution)}"}
        pictures = read_pictures(staging / "source")
        if not pictures:
            return {"pictures": [], "problem": f"{script} ran, and made no PNG picture"}
        # Not what stands in the copy by now: a script can replace itself, by a pipe or by a link.
        drawn_by = files.get(script) or self._folder.read(commit, script)
        shown = read_notes(staging / "source" / NOTES, pictures, drawn_by)
        for name, picture in pictures.items():
            write_atomically(self._folder.path / name, picture)
        self._folder.write({name: text for name, text in files.items() if name == PLOT_FILE})
        message = f"{key}: draw {len(pictures)} pictures"
        drawn = self._folder.commit(message, [*pictures, *files])
        self._folder.clear_staging(key).rmdir()
        return {"commit": drawn, "pictures": sorted(pictures), "shown": shown, "problem": ""}


def draw_plots(
    coder: Coder,
    draughtsman: Draughtsman,
    render: Render,
    *,
    system: str,
    commit: str,
    plot: str,
    context: Mapping[str, Any],
    tries: int = 3,
) -> Json:
    """Let the coder adapt plot.py to the runs and draw; fall back on the script as it was.

    Pictures that leave out a run or cannot be read in print go back once and are then taken as they
    are. Returns what `Draughtsman.draw` does, with "failures", the reasons of drawings that failed,
    and "objections", what is wrong with the pictures.
    """
    runs = [run.name for run in context["runs"]]
    failures: list[str] = []
    found: list[Finding] = []
    files = {PLOT_FILE: plot}
    drawn: Json | None = None
    for number in range(1, tries + 1):
        step = f"plot/edit_{number}"
        said = {"problem": (failures or [""])[-1], "remarks": [one.detail for one in found]}
        instruction = render("plot/ask.j2", **said, **context)
        edit = coder.edit(
            step=step, purpose="plot", instruction=instruction, files=files, reminders=system
        )
        if edit.status is EditStatus.APPLIED:
            files = {**files, **edit.files}
        elif edit.status is EditStatus.NOT_APPLIED:
            failures.append(edit.problem)
            continue
        elif drawn is not None:
            break
        tried = draughtsman.draw(f"{step}/draw", commit, files)
        if tried["problem"]:
            failures.append(tried["problem"])
            continue
        again, drawn = drawn is not None, tried
        found = objections(drawn["shown"], runs)
        if again or not found:
            break
    books: Json = {"failures": failures, "fallback": drawn is None}
    if drawn is None:
        drawn = draughtsman.draw(FALLBACK, commit, {PLOT_FILE: plot})
        found = objections(drawn.get("shown", {}), runs)
    return {**drawn, **books, "objections": [asdict(one) for one in found]}


def plot_findings(drawn: Json) -> list[Finding]:
    """Return what a reader must know of how the pictures came about."""
    found = [Finding(**one) for one in drawn["objections"]]
    if drawn["problem"]:
        detail = f"it made no picture; only the figures drawn by code are there: {drawn['problem']}"
        found.append(Finding(kind="missing_figure", detail=detail, where=PLOT_FILE))
    elif drawn["fallback"]:
        detail = "the coder's versions made no picture; the template's own version drew these"
        found.append(Finding(kind="missing_figure", detail=detail, where=PLOT_FILE))
    return found


def read_pictures(folder: Path) -> dict[str, bytes]:
    """Return the PNG files that a script left directly in `folder`.

    What is no plain file of a plain name, and giants, are left out.
    """
    limits = CollectionLimits()
    pictures: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.png")):
        odd, is_folder = examine(path, path.name, 0, limits)
        if odd or is_folder or path.stat().st_size > MAX_PICTURE_BYTES:
            continue
        content = path.read_bytes()
        if content.startswith(PNG) and len(pictures) < MAX_PICTURES:
            pictures[path.name] = content
    return pictures
