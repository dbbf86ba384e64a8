"""A laboratory in a throw-away folder: for looking at a template without an idea."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.execution.bench import make_bench
from ai_scientist.execution.laboratory import Laboratory
from ai_scientist.execution.local import LocalExecutor
from ai_scientist.execution.watching import WatchedExecutor
from ai_scientist.judging.gates import MAIN_FILE
from ai_scientist.machine.slots import list_gpus
from ai_scientist.records import Code, Idea, Limits, Template
from ai_scientist.run_folder.journal import FolderJournal
from ai_scientist.run_folder.workspace import RunFolder, create_run_folder
from ai_scientist.sandbox.choice import choose_sandbox
from ai_scientist.steps.plots import Draughtsman

NO_IDEA = Idea(name="no_idea", title="The untouched template", experiment="None.")


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """Everything that runs and draws the untouched code of one template."""

    folder: RunFolder
    journal: FolderJournal
    laboratory: Laboratory
    draughtsman: Draughtsman
    code: Code
    measured: Path
    """The untouched code's executions, as the cache of baselines holds them."""


@contextmanager
def scratch_laboratory(
    template: Template,
    profile: str,
    *,
    cache: Path,
    report: Callable[[str], None],
    variables: Mapping[str, str],
    python: Path | None = None,
    limits: Limits | None = None,
    allow_unsandboxed: bool = False,
    complete: bool = False,
) -> Iterator[Scratch]:
    """Open a laboratory on the untouched template; its folder is gone afterwards.

    `variables` names the profile's input folders; `complete` measures all that the profile can.
    Raises SetupError or InputError for the person when environment, data or sandbox are missing.
    """
    sandbox = choose_sandbox(allow_unsandboxed=allow_unsandboxed, probe_folder=cache / "probe")
    executor = WatchedExecutor(LocalExecutor(sandbox, gpus=list_gpus()), report)
    bench = make_bench(
        template,
        profile,
        executor=executor,
        cache=cache,
        report=report,
        python=python,
        variables=variables,
        complete=complete,
    )
    (cache / "scratch").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache / "scratch", ignore_cleanup_errors=True) as aside:
        folder = create_run_folder(Path(aside), NO_IDEA, template, {})
        with closing(FolderJournal(folder.events)) as journal:
            laboratory = Laboratory(
                folder,
                journal=journal,
                executor=executor,
                bench=bench,
                limits=limits or Limits(),
                cache=folder.path.parent,  # nothing measured before is taken
                report=report,
            )
            yield Scratch(
                folder=folder,
                journal=journal,
                laboratory=laboratory,
                draughtsman=Draughtsman(folder, executor=executor, journal=journal, bench=bench),
                code=_untouched_code(folder),
                measured=folder.path.parent / "baselines",
            )


def _untouched_code(folder: RunFolder) -> Code:
    commit = folder.git("rev-parse", "HEAD").strip()
    return Code(commit=commit, files={MAIN_FILE: folder.read(commit, MAIN_FILE)})
