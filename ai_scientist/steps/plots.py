"""Pictures of a study: the coder's plot.py, run on the stored results in a throw-away copy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ai_scientist.execution.laboratory import Bench, run_environment
from ai_scientist.execution.observation import describe_failure, tail_of_logs
from ai_scientist.protocols import Coder, Executor, Journal, Render
from ai_scientist.records import EditStatus, ExitCause, Json, Profile, RunLimits, RunRequest
from ai_scientist.run_folder.journal import write_atomically
from ai_scientist.run_folder.workspace import RunFolder

PLOT_FILE = "plot.py"
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

        Returns {"commit", "pictures": names, "problem": why there are none, for the coder}.
        """
        return self._journal.effect(key, lambda: self._draw(key, commit, files, script))

    def _draw(self, key: str, commit: str, files: Mapping[str, str], script: str) -> Json:
        staging = self._folder.clear_staging(key)
        self._folder.export(commit, staging / "source")
        for name, content in files.items():
            write_atomically(staging / "source" / name, content)
        request = RunRequest(
            key=key,
            staging=staging,
            out_name=".",
            command=(str(self._bench.python), script),
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
        for name, picture in pictures.items():
            write_atomically(self._folder.path / name, picture)
        self._folder.write({name: text for name, text in files.items() if name == PLOT_FILE})
        commit = self._folder.commit(f"{key}: draw {len(pictures)} pictures", [*pictures, *files])
        self._folder.clear_staging(key).rmdir()
        return {"commit": commit, "pictures": sorted(pictures), "problem": ""}


def draw_plots(
    coder: Coder,
    draughtsman: Draughtsman,
    render: Render,
    *,
    system: str,
    commit: str,
    plot: str,
    context: Mapping[str, object],
    tries: int = 3,
) -> Json:
    """Let the coder adapt plot.py to the runs and draw; fall back on the script as it was.

    Returns what `Draughtsman.draw` does, with "failures": the reasons of drawings that failed.
    """
    failures: list[str] = []
    files = {PLOT_FILE: plot}
    for number in range(1, tries + 1):
        step = f"plot/edit_{number}"
        problem = failures[-1] if failures else ""
        instruction = render("plot/ask.j2", problem=problem, **context)
        edit = coder.edit(
            step=step, purpose="plot", instruction=instruction, files=files, reminders=system
        )
        if edit.status is EditStatus.APPLIED:
            files = {**files, **edit.files}
        elif edit.status is EditStatus.NOT_APPLIED:
            failures.append(edit.problem)
            continue
        drawn = draughtsman.draw(f"{step}/draw", commit, files)
        if not drawn["problem"]:
            return {**drawn, "failures": failures}
        failures.append(drawn["problem"])
    drawn = draughtsman.draw("plot/fallback", commit, {PLOT_FILE: plot})
    return {**drawn, "failures": failures}


def read_pictures(folder: Path) -> dict[str, bytes]:
    """Return the PNG files that a script left directly in `folder`, links and giants left out."""
    pictures: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.png")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_PICTURE_BYTES:
            continue
        content = path.read_bytes()
        if content.startswith(PNG) and len(pictures) < MAX_PICTURES:
            pictures[path.name] = content
    return pictures
