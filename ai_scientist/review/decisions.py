"""What a person decides: one file in inbox/, written whole or not at all.

    inbox/20261120T201500.123456Z_run_3.edit_2.json
    {"decision", "about", "step", "target", "comment", "user", "time"}

Nobody else's file is touched, so pages and command lines of several people cannot disturb each
other. The holder of the folder's lock takes a decision up and writes it to the journal.
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from ai_scientist.errors import InputError
from ai_scientist.records import Json, parse_json
from ai_scientist.review.files import open_plain
from ai_scientist.run_folder.journal import write_json

Verdict = Literal["approve", "reject", "cancel", "comment"]
About = Literal["edit", "run", "claim", "writeup", "line"]
MAX_COMMENT_CHARACTERS = 8_000
STEP = re.compile(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One decision, as it lies in the inbox."""

    file: str
    decision: str
    about: str
    step: str
    target: str
    comment: str
    user: str
    time: str
    taken: bool = False
    """The loop has taken it up: a line of the journal names the file."""


def write_decision(
    folder: Path,
    *,
    decision: str,
    about: str,
    step: str,
    target: str = "",
    comment: str = "",
    user: str = "",
    now: datetime | None = None,
) -> Path:
    """Write one decision into the folder's inbox and return its file.

    Raises InputError for the person: an unknown word, a rejection without a reason, a folder that
    is not ours to write to.
    """
    check_words(decision, about, step, comment)
    if not (folder / "settings.json").is_file():
        raise InputError(
            f"{folder.name} was not made by this program: it is shown, not written to",
            hint="decide on folders that launch_scientist.py made",
        )
    time = now or datetime.now(UTC)
    inbox = folder / "inbox"
    if inbox.is_symlink():
        raise InputError(
            f"{folder.name}/inbox is a link: nothing is written through it",
            hint="make it a plain folder",
        )
    path = inbox / f"{time.strftime('%Y%m%dT%H%M%S.%fZ')}_{step.replace('/', '.')}.json"
    content: Json = {
        "decision": decision,
        "about": about,
        "step": step,
        "target": target[:500],
        "comment": comment[:MAX_COMMENT_CHARACTERS],
        "user": (user or login_name())[:80],
        "time": time.isoformat(timespec="microseconds"),
    }
    try:
        write_json(path, content)
    except OSError as error:
        raise InputError(
            f"{inbox} cannot be written: {(error.strerror or str(error)).lower()}",
            hint="make it a folder of yours, with room on its disk",
        ) from None
    return path


def check_words(decision: str, about: str, step: str, comment: str) -> None:
    """Raise InputError when a decision cannot be understood or carries no reason."""
    if decision not in get_args(Verdict):
        raise InputError(
            f"`{decision[:40]}` is no decision", hint=f"one of {', '.join(get_args(Verdict))}"
        )
    if about not in get_args(About):
        raise InputError(
            f"a decision cannot be about `{about[:40]}`",
            hint=f"one of {', '.join(get_args(About))}",
        )
    if len(step) > 120 or not STEP.fullmatch(step):
        raise InputError(f"`{step[:60]}` is no step", hint="a step looks like run_3/edit_2")
    if decision in ("reject", "comment") and not comment.strip():
        raise InputError(
            f"a {'rejection' if decision == 'reject' else 'comment'} needs words",
            hint="say what is wrong: the coder gets it as its next instruction",
        )


def about_step(step: str) -> About:
    """Return what a step is: an edit, a run, or the writeup."""
    if "/edit_" in step:
        return "edit"
    return "run" if step.startswith("run_") else "writeup"


def read_decisions(folder: Path, journal: list[Json]) -> list[Decision]:
    """Return the inbox, oldest first; a file that is no decision is left out."""
    taken = taken_up(journal)
    decisions = []
    inbox = folder / "inbox"
    paths = [] if inbox.is_symlink() else sorted(inbox.glob("*.json"))
    for path in paths:
        if path.name.startswith("."):
            continue
        try:
            with open_plain(path) as file:
                stored = parse_json(file.read(8 * MAX_COMMENT_CHARACTERS))
        except (OSError, ValueError):
            continue
        if not isinstance(stored, dict):
            continue
        names = ("decision", "about", "step", "target", "comment", "user", "time")
        values = {name: str(stored.get(name, "")) for name in names}
        decisions.append(Decision(file=path.name, taken=path.name in taken, **values))
    return decisions


def taken_up(journal: list[Json]) -> set[str]:
    """Return the inbox files that effects `STEP/decision` and `STEP/inbox` of the loop name."""
    found = set()
    for line in journal:
        key, result = str(line.get("key", "")), line.get("result")
        if not key.endswith(("/decision", "/inbox")) or not isinstance(result, dict):
            continue
        several = result.get("decisions")
        for one in several if isinstance(several, list) else [result]:
            found.add(str(one.get("file", "")) if isinstance(one, dict) else "")
    return found - {""}


def login_name() -> str:
    """Return the name of the user this process belongs to."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
