"""What `python -m ai_scientist COMMAND` does: each function takes the options, returns the code."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ai_scientist.environments import default_cache_root
from ai_scientist.launch import PROJECT
from ai_scientist.settings import Places


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
    from ai_scientist.template_commands import template_command

    return template_command(options, places_for(options))
