"""Putting together everything that works on one idea; the one place that names concrete classes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from ai_scientist.coder.aider_coder import AiderCoder
from ai_scientist.coder.search_replace import warm_up
from ai_scientist.execution.bench import make_bench, prepare_complete
from ai_scientist.execution.choice import Executors, choose_executors
from ai_scientist.execution.laboratory import Bench, Laboratory
from ai_scientist.inputs.ideas import find_recording
from ai_scientist.inputs.prompts import Prompts
from ai_scientist.inputs.settings import Keys, read_keys
from ai_scientist.model.client import ModelClient
from ai_scientist.model.recorded import RecordedServer, load_recording
from ai_scientist.protocols import Executor, Render
from ai_scientist.run_folder.journal import FolderJournal
from ai_scientist.sandbox.choice import choose_sandbox
from ai_scientist.scientist import Assignment, Staff
from ai_scientist.steps.approval import Approvals
from ai_scientist.steps.correspondent import Correspondent
from ai_scientist.steps.plots import Draughtsman
from ai_scientist.steps.workbench import FolderWorkbench
from ai_scientist.trackers import mirroring
from ai_scientist.writeup.authorship import Author
from ai_scientist.writeup.literature import WebLiterature, choose_catalogs
from ai_scientist.writeup.parts import Effort


@contextmanager
def assemble(
    assignment: Assignment,
    journal: FolderJournal,
    variables: Mapping[str, str],
    report: Callable[[str], None],
    *,
    announce: Callable[[ModelClient], None],
    prepared: bool = True,
) -> Iterator[Staff]:
    """Put together everything that works on one idea, checking each part as it is taken up.

    The model comes first: a bad name, a missing key or an unreachable server costs no minute.
    `announce` is called before the first thing that may take hours: preparing data, which is left
    out where they are not to be `prepared`.
    """
    settings, places = assignment.settings, assignment.places
    keys = read_keys(variables)
    with (
        mirroring(assignment.folder.path, settings.tracker, report),
        open_model(assignment, journal, keys, report) as model,
    ):
        model.ping()
        render = Prompts(places.prompts)
        warming = threading.Thread(target=warm_up, daemon=True)
        warming.start()
        sandbox = choose_sandbox(
            allow_unsandboxed=settings.allow_unsandboxed, probe_folder=places.cache / "probe"
        )
        report(f"sandbox: {sandbox.tier}")
        executors = choose_executors(settings, sandbox, variables=variables, report=report)
        announce(model)
        bench = bench_for(assignment, executors.here, variables, report, prepared=prepared)
        yield staff_at(
            replace(bench, gpus=executors.gpus),
            assignment,
            executors=executors,
            journal=journal,
            keys=keys,
            model=model,
            render=render,
            report=report,
        )
        warming.join()


def bench_for(
    assignment: Assignment,
    executor: Executor,
    variables: Mapping[str, str],
    report: Callable[[str], None],
    *,
    prepared: bool,
) -> Bench:
    """Return the bench that an assignment's settings ask for, building what is missing."""
    settings = assignment.settings
    return make_bench(
        assignment.template,
        settings.profile or "full",
        executor=executor,
        cache=assignment.places.cache,
        report=report,
        python=Path(settings.python) if settings.python else None,
        variables=variables,
        cache_gb=settings.cache_gb,
        idea=assignment.idea,
        prepared=prepared,
    )


def staff_at(
    bench: Bench,
    assignment: Assignment,
    *,
    executors: Executors,
    journal: FolderJournal,
    keys: Keys,
    model: ModelClient,
    render: Render,
    report: Callable[[str], None],
) -> Staff:
    """Return everything that works at one bench on one idea."""
    folder, settings = assignment.folder, assignment.settings
    shared: dict[str, Any] = {"journal": journal, "report": report}
    correspondent = Correspondent(model, render, assignment.template.system, assignment.idea)
    approvals = Approvals(folder, journal, settings.approve)
    laboratory = Laboratory(
        folder,
        executor=executors.runs,
        bench=bench,
        limits=settings.limits,
        cache=assignment.places.cache,
        **shared,
    )
    workbench = FolderWorkbench(
        idea=assignment.idea,
        laboratory=laboratory,
        seeds_per_run=settings.seeds_per_run,
        repair=correspondent.repair,
        examine=correspondent.examine,
        cost_of=model.cost_of,
        approvals=approvals,
        **shared,
    )
    return Staff(
        assignment=assignment,
        model=model,
        coder=AiderCoder(model, render),
        laboratory=laboratory,
        workbench=workbench,
        draughtsman=Draughtsman(folder, executor=executors.here, journal=journal, bench=bench),
        render=render,
        author=author_at(
            bench, assignment, keys, executors.here, model=model, render=render, **shared
        ),
        approvals=approvals,
        prepare_complete=preparation_at(bench, assignment, executors.here, report),
        spent=lambda: asdict(model.spent),
        **shared,
    )


def preparation_at(
    bench: Bench, assignment: Assignment, executor: Executor, report: Callable[[str], None]
) -> Callable[[], None]:
    """Return what prepares all evaluations of the bench's profile."""
    cache, cache_gb = assignment.places.cache, assignment.settings.cache_gb
    return partial(
        prepare_complete, bench, executor=executor, cache=cache, report=report, cache_gb=cache_gb
    )


def author_at(
    bench: Bench, assignment: Assignment, keys: Keys, executor: Executor, **shared: Any
) -> Author:
    """Return the author of the paper.

    Recorded replies hold one draft of each section and ask for no literature: nothing but the
    package index is reached with them.
    """
    recorded = assignment.settings.model.startswith("recorded")
    catalogs = choose_catalogs(
        semantic_scholar_key=keys.semantic_scholar, openalex_key=keys.openalex
    )
    cache = assignment.places.cache / "literature"
    return Author(
        folder=assignment.folder,
        executor=executor,
        bench=bench,
        literature=None if recorded else WebLiterature(catalogs=catalogs, cache=cache),
        references=assignment.places.ideas / "references.bib",
        effort=Effort(drafts=1, repairs=0, search=False) if recorded else Effort(),
        **shared,
    )


@contextmanager
def open_model(
    assignment: Assignment,
    journal: FolderJournal,
    keys: Keys,
    report: Callable[[str], None],
) -> Iterator[ModelClient]:
    """Open the model client, with the recorded server behind it when replies are replayed."""
    settings = assignment.settings
    with ExitStack() as stack:
        base_url = settings.base_url
        if settings.model.startswith("recorded"):
            recording = find_recording(settings.model, assignment.idea, assignment.places.ideas)
            server = RecordedServer(load_recording(recording), name=str(recording))
            base_url = stack.enter_context(server).url
        yield stack.enter_context(
            ModelClient(
                settings.model,
                journal=journal,
                calls=assignment.folder.calls,
                limits=settings.limits,
                keys=keys.models,
                base_url=base_url,
                warn=report,
            )
        )
