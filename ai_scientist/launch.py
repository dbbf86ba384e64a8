"""The launch layer: the one place that reads the process's environment.

options + environment variables -> Settings, Places, Keys -> Staff -> scientist.research
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ai_scientist.errors import InputError
from ai_scientist.inputs.ideas import find_idea, find_recording
from ai_scientist.inputs.settings import Places, Settings, read_keys, read_settings
from ai_scientist.inputs.templates import find_template, profile_of
from ai_scientist.machine.environments import default_cache_root
from ai_scientist.model.prices import load_prices
from ai_scientist.model.recorded import load_recording
from ai_scientist.model.wire import check_model
from ai_scientist.preflight import (
    Priced,
    agree_to_measure,
    describe_missing_baseline,
    describe_plan,
)
from ai_scientist.records import Code, Idea, Json, Limits, Profile, Template
from ai_scientist.run_folder.journal import FolderJournal, FolderLock, last_commit, read_events
from ai_scientist.run_folder.workspace import RunFolder, create_run_folder, open_run_folder
from ai_scientist.steps.keeping import KEPT

if TYPE_CHECKING:
    from ai_scientist.scientist import Assignment

PROJECT = Path(__file__).resolve().parent.parent
LEAST_FREE_GB = 1.0
LIMITS_NOTE = "limits"
"""Kind of the journal's note with budgets that were given anew."""
BANNER = (
    "Replaying recorded replies: they were written by the authors for this template and are "
    "replayed. Edits, runs, numbers, notes, plots and PDF are made now."
)


def launch_ideas(options: argparse.Namespace) -> int:
    """Do what launch_scientist.py was asked for and return its exit code."""
    refuse_contradictions(options)
    places = Places(project=PROJECT, runs=options.runs_dir, cache=default_cache_root(os.environ))
    if options.resume or (options.run_dir and (options.run_dir / "settings.json").exists()):
        return resume_idea(options.resume or options.run_dir, options, places)
    if len(options.idea) + len(options.ideas) == 0:
        raise InputError(
            "no idea was named", hint="for example: --idea ratio_ranked_orthogonal_sae, see ideas/"
        )
    if options.ideas or len(options.idea) > 1:
        from ai_scientist.queue import run_batch

        if options.template and not options.yes:
            template = find_template(options.template, places.templates)
            # Its launchers have no terminal to ask at.
            options.yes = agree_to_measure(template, settings_from_options(options))
        return run_batch(options, places, environment=os.environ)
    from ai_scientist.scientist import Assignment

    idea = find_idea(options.idea[0], places.ideas)
    settings = settings_from_options(options)
    template = find_template(settings.template or idea.template or "sae", places.templates)
    settings = complete_settings(settings, idea, template, places)
    check_disk(places.runs)
    make = partial(create_run_folder, idea=idea, template=template, settings=settings.to_json())
    assign = partial(Assignment, idea=idea, template=template, settings=settings, places=places)
    if options.dry_run:
        with tempfile.TemporaryDirectory(prefix="ai_scientist_") as aside:
            return work_on(assign(folder=make(Path(aside))), dry_run=True)
    if not options.yes:
        agree_to_measure(template, settings)
    return work_on(assign(folder=make(places.runs, path=options.run_dir)))


def refuse_contradictions(options: argparse.Namespace) -> None:
    """Raise InputError for the person where one option would be passed over because of another."""
    several = bool(options.ideas) or len(options.idea) > 1
    if options.resume and (options.idea or options.ideas):
        raise InputError(
            "--resume goes on with the idea of its folder, and another one is named beside it",
            hint="leave out --idea, or --resume",
        )
    if several and options.dry_run:
        raise InputError(
            "--dry-run looks at one idea, and several are named",
            hint="try one of them: --idea NAME",
        )
    if several and options.run_dir:
        raise InputError(
            "--run-dir names the folder of one idea, and several are named",
            hint="--runs-dir names where the folders of all are made",
        )


def resume_idea(path: Path, options: argparse.Namespace, places: Places) -> int:
    """Go on with a run folder, with the budgets given anew."""
    from ai_scientist.scientist import Assignment

    folder = open_run_folder(path)
    stored = stored_settings(folder)
    settings = renew_settings(stored, options)
    before, now = (
        (one.max_runs, one.max_executions, one.max_failures)
        for one in (stored.limits, settings.limits)
    )
    if now != before and has_ended(folder):
        raise InputError(
            f"the experiments of {folder.path} have ended, and what follows rests on them",
            hint="--resume without --max-runs and its like; for more runs start the idea again",
        )
    idea = find_idea(str(path / "idea.json"), places.ideas)
    template = find_template(settings.template or "sae", places.templates)
    assignment = Assignment(
        folder=folder, idea=idea, template=template, settings=settings, places=places
    )
    return work_on(assignment, dry_run=options.dry_run)


def stored_settings(folder: RunFolder) -> Settings:
    """Return the settings of a run folder, with the budgets of the launcher that was here last."""
    settings = read_settings(folder.path / "settings.json")
    names = {item.name for item in fields(Limits)}
    for line in read_events(folder.events):
        if line.get("note") == LIMITS_NOTE:
            given = {key: value for key, value in line.items() if key in names}
            settings = replace(settings, limits=Limits(**given))
    return settings


def has_ended(folder: RunFolder) -> bool:
    """Tell whether the experiments of a run folder are over: what is kept of them is decided."""
    return any(line.get("key") == KEPT for line in read_events(folder.events))


def renew_settings(settings: Settings, options: argparse.Namespace) -> Settings:
    """Return the settings of a resumed idea with what was given anew: budgets, model, machine."""
    return replace(
        settings,
        limits=replace(settings.limits, **limits_given(options)),
        base_url=options.base_url or settings.base_url,
        model=options.model or settings.model,
        python=str(options.python.absolute()) if options.python else settings.python,
        allow_unsandboxed=options.allow_unsandboxed or settings.allow_unsandboxed,
    )


def settings_from_options(options: argparse.Namespace) -> Settings:
    """Return the settings that the command line asks for."""
    model = options.model or ("recorded" if not read_keys(os.environ).any_model else None)
    if model is None and options.base_url:
        raise InputError("--base-url names a server, and no --model stands with it")
    if model is None:
        raise InputError(
            "a key is set, and no model was named",
            hint="--model anthropic/claude-… or openai/gpt-…, or --model recorded for the demo",
        )
    return Settings(
        template=options.template,
        model=model,
        base_url=options.base_url,
        profile=options.profile,
        limits=Limits(**limits_given(options)),
        baseline_seeds=options.baseline_seeds,
        seeds_per_run=options.seeds_per_run,
        confirm_best=options.confirm_best,
        keep=options.keep,
        cache_gb=options.cache_gb,
        writeup=not options.no_writeup,
        approve=options.approve,
        allow_unsandboxed=options.allow_unsandboxed,
        python=str(options.python.absolute()) if options.python else None,
        tracker=options.tracker,
        executor=options.executor,
        slurm=options.slurm,
    )


def limits_given(options: argparse.Namespace) -> Json:
    """Return the budgets that stand on the command line."""
    named = {
        "max_runs": options.max_runs,
        "max_executions": options.max_executions,
        "max_failures": options.max_failures,
        "run_timeout_s": options.run_timeout,
        "max_cost_usd": options.max_cost_usd,
        "max_prompt_tokens": options.max_prompt_tokens,
        "max_gpu_hours": options.max_gpu_hours,
    }
    return {key: value for key, value in named.items() if value is not None}


def complete_settings(
    settings: Settings, idea: Idea, template: Template, places: Places
) -> Settings:
    """Decide what was left open: the template's name and the profile.

    Raises InputError and SetupError for the person when the model cannot be asked.
    """
    recorded = settings.model.startswith("recorded")
    if recorded:
        recording = find_recording(settings.model, idea, places.ideas)
        load_recording(recording)
        if settings.model != "recorded":  # a resume may come from another folder
            settings = replace(settings, model=f"recorded:{recording.absolute()}")
    else:
        check_model(
            settings.model,
            keys=read_keys(os.environ).models,
            base_url=settings.base_url,
            known=sorted(load_prices()),
        )
    profile = settings.profile or default_profile(template, recorded=recorded, variables=os.environ)
    shipped = template.folder == (places.templates / template.name).resolve()
    known = template.name if shipped else str(template.folder)
    return replace(settings, profile=profile, template=known)


def default_profile(template: Template, *, recorded: bool, variables: Mapping[str, str]) -> str:
    """Return full where its GPU and the folders it reads are there, else small, else what there is.

    `variables` is the environment that names those folders. Raises InputError for the person where
    the template has no profile.
    """
    if not template.profiles:
        raise InputError(
            f"{template.folder}/template.toml describes no profile",
            hint="add at least [profiles.small], see docs/templates.md",
        )
    full = template.profiles.get("full")
    if full is not None and not recorded and (template.foreign or has_its_needs(full, variables)):
        return full.name
    return "small" if "small" in template.profiles else next(iter(template.profiles))


def has_its_needs(profile: Profile, variables: Mapping[str, str]) -> bool:
    """Tell whether this machine has the GPUs of a profile and the folders that it reads."""
    from ai_scientist.execution.bench import find_inputs
    from ai_scientist.machine.hardware import describe_hardware

    try:
        find_inputs(profile, variables)
    except InputError:
        return False
    return int(describe_hardware().get("gpus") or 0) >= profile.gpus


def check_disk(runs: Path) -> None:
    """Refuse to begin on a disk that is nearly full."""
    place = next(path for path in (runs, *runs.absolute().parents) if path.exists())
    free_gb = shutil.disk_usage(place).free / 1e9
    if free_gb < LEAST_FREE_GB:
        raise InputError(
            f"{place} has {free_gb:.2f} GB free, and an idea needs at least {LEAST_FREE_GB:g} GB",
            hint="make room, or name another place with --runs-dir",
        )


def work_on(assignment: Assignment, *, dry_run: bool = False) -> int:
    """Do all that is left to do in a run folder and return the exit code."""
    from ai_scientist.assembly import assemble
    from ai_scientist.scientist import research

    folder = assignment.folder
    report = reporter()
    report(f"run folder: {folder.path}")
    if assignment.settings.model.startswith("recorded"):
        report(BANNER)
    with FolderLock(folder.path), ExitStack() as stack:
        folder.recover(last_commit(read_events(folder.events, repair=True)))
        journal = FolderJournal(folder.events)
        stack.callback(journal.close)
        start = starting_code(folder, assignment.template)
        announce = partial(tell_plan, assignment, start, report)
        parts = assemble(
            assignment, journal, os.environ, report, announce=announce, prepared=not dry_run
        )
        staff = stack.enter_context(parts)
        if dry_run:
            if missing := describe_missing_baseline(assignment.template, assignment.settings):
                report(missing)
            report("dry run: everything needed is here; nothing was run or paid")
            return 0
        if assignment.settings.limits != stored_settings(folder).limits:
            journal.note(LIMITS_NOTE, asdict(assignment.settings.limits))
        outcome = research(staff, start)
    report(f"stopped: {outcome['stop']}; {outcome['valid_runs']} valid runs; {folder.report}")
    if outcome["valid_runs"] == 0:
        print(f"error: {assignment.idea.name} failed: {outcome['reason']}", file=sys.stderr)
        print(f"hint: every attempt is in {folder.attempts}", file=sys.stderr)
        return 1
    return 0


def tell_plan(
    assignment: Assignment, start: Code, report: Callable[[str], None], model: Priced
) -> None:
    """Tell what is to be done, and what it will cost at most."""
    template, settings = assignment.template, assignment.settings
    profile = profile_of(template, settings.profile or "full")
    report(f"template {template.name}, profile {profile.name}")
    controls = len(assignment.idea.controls)
    for line in describe_plan(start, profile, settings, model, controls=controls):
        report(line)


def starting_code(folder: RunFolder, template: Template) -> Code:
    """Return the template's editable code as it stands in the folder's first commit."""
    first = folder.git("rev-list", "--max-parents=0", "HEAD").split()[0]
    names = [name for name in template.editable if name != "plot.py"]
    return Code(commit=first, files={name: folder.read(first, name) for name in names})


def reporter() -> Callable[[str], None]:
    """Return the function that tells a person, line by line, what happens."""
    began = time.monotonic()

    def report(line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        print(f"[{minutes:02d}:{seconds:02d}] {line}", flush=True)

    return report
