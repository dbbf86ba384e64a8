"""The review: a page where notes, diffs, plots and claims meet their evidence.

serve(runs_dir)              pages on loopback, or elsewhere behind a token
export(folder, file)         one self-contained HTML file
text(run_dir)                the same story for a terminal
decide(run_dir, …)           a person's decision, into the folder's inbox
"""

from __future__ import annotations

from pathlib import Path


def serve(
    runs_dir: Path, *, port: int = 8765, host: str = "127.0.0.1", token: str | None = None
) -> int:
    """Serve the review until it is interrupted, and return the exit code.

    `port` 0 takes any free one; the address is printed. Raises InputError for a folder that is
    none, and SetupError for an address that cannot be had or that needs a token.
    """
    from ai_scientist.review.server import run_server

    return run_server(runs_dir, port=port, host=host, token=token)


def export(folder: Path, file: Path) -> int:
    """Write one self-contained HTML file of a run folder, or of a folder of them."""
    from ai_scientist.review.single_file import write_export

    return write_export(folder, file)


def text(run_dir: Path) -> str:
    """Return the story of one run folder as plain text."""
    from ai_scientist.review.plain import story_text

    return story_text(run_dir)


def decide(
    run_dir: Path, step: str, verdict: str, comment: str = "", user: str = "", *, target: str = ""
) -> Path:
    """Write one decision (approve, reject, cancel, comment) about a step, and return its file.

    Raises InputError for the person.
    """
    from ai_scientist.review.decisions import about_step, write_decision

    about = "line" if target else about_step(step)
    return write_decision(
        run_dir, decision=verdict, about=about, step=step, target=target, comment=comment, user=user
    )
