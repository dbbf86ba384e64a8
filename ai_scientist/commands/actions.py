"""What `python -m ai_scientist COMMAND` does: each function takes the options, returns the code."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ai_scientist.errors import InputError
from ai_scientist.inputs.settings import Places
from ai_scientist.launch import PROJECT
from ai_scientist.machine.environments import default_cache_root


def places_for(options: argparse.Namespace) -> Places:
    """Return the folders of this installation as the options and the environment name them."""
    runs = getattr(options, "runs_dir", Path("runs"))
    return Places(project=PROJECT, runs=runs, cache=default_cache_root(os.environ))


def status(options: argparse.Namespace) -> int:
    """Print where everything stands."""
    from ai_scientist.queue import status_command

    return status_command(options)


def queue(options: argparse.Namespace) -> int:
    """List and change the queue."""
    from ai_scientist.queue import queue_command

    return queue_command(options, places_for(options))


def review(options: argparse.Namespace) -> int:
    """Serve the review, or write it to a file or to the terminal."""
    from ai_scientist import review as pages

    folder = options.run_dir or options.runs_dir
    if options.export:
        return pages.export(folder, options.export)
    if options.text:
        print(pages.text(folder))
        return 0
    token = os.environ.get("AI_SCIENTIST_REVIEW_TOKEN")
    return pages.serve(folder, port=options.port, host=options.host, token=token)


def decide(options: argparse.Namespace) -> int:
    """Leave a person's decision in a run folder's inbox."""
    from ai_scientist.review import decide as write_decision

    path = write_decision(options.run_dir, options.step, options.verdict, options.comment)
    print(path)
    return 0


def audit(options: argparse.Namespace) -> int:
    """Print the findings of a run folder, ours or another system's."""
    from ai_scientist.audit import audit_command

    return audit_command(options.run_dir, options.json)


def check_paper(options: argparse.Namespace) -> int:
    """Print what becomes of every number of a paper."""
    from ai_scientist.audit import check_paper_command

    return check_paper_command(options.paper, options.runs, options.json)


def template(options: argparse.Namespace) -> int:
    """Check, start or measure a template."""
    from ai_scientist.template_tools.commands import template_command

    return template_command(options, places_for(options), os.environ)


def replay(options: argparse.Namespace) -> int:
    """Make one run again from its record, or the whole loop from its stored replies."""
    from ai_scientist.commands.replay import replay_model, replay_run
    from ai_scientist.launch import reporter

    places, report = places_for(options), reporter()
    if options.model:
        return replay_model(options.run_dir, places=places, report=report)
    if options.run_name is None:
        raise InputError(
            "no run was named", hint="for example run_1; or --model for the whole loop"
        )
    outcome = replay_run(
        options.run_dir,
        options.run_name,
        places=places,
        report=report,
        variables=os.environ,
        allow_unsandboxed=options.allow_unsandboxed,
    )
    print("\n".join(outcome.lines()))
    return outcome.code


def export(options: argparse.Namespace) -> int:
    """Write one zip of a run folder for a colleague."""
    from ai_scientist.commands.export import export_bundle

    folder = options.run_dir.resolve()
    destination = options.to or folder.with_name(f"{folder.name}.zip")
    packing = export_bundle(options.run_dir, destination, max_file_mb=options.max_file_mb)
    for line in packing.left_out:
        print(f"left out: {line}")
    for line in packing.redacted:
        print(f"redacted: {line}")
    print(f"{destination}: {len(packing.files)} files")
    return 0


def clean(options: argparse.Namespace) -> int:
    """Report what runs and caches take on disk, and remove what is named."""
    from ai_scientist.commands.clean import clean as clean_disk

    places = places_for(options)
    return clean_disk(
        places.runs,
        places.cache,
        places.templates,
        names=options.names,
        unused=options.unused,
        yes=options.yes,
    )


def doctor(options: argparse.Namespace) -> int:
    """Print what works on this machine, and how to get what does not."""
    from ai_scientist.commands.doctor import doctor as examine
    from ai_scientist.inputs.settings import read_keys

    return examine(
        places_for(options),
        read_keys(os.environ),
        variables=os.environ,
        call=options.call,
        base_url=options.base_url,
    )
