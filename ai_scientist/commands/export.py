"""`export RUN_DIR`: one zip for a colleague, the same bytes whenever it is made of the same folder.

    NAME/README.md        what is where, the runs, what was left out
    NAME/MANIFEST.txt     sha256 and size of every file
    NAME/history.patch    the folder's git history, as patches
    NAME/…                code, results with their capsules, notes, PDF, journal, attempts

Text is redacted once more on its way; links, locks, staging copies and giants stay behind.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ai_scientist.errors import InputError, ScientistError
from ai_scientist.records import Study
from ai_scientist.redaction import redact
from ai_scientist.run_folder.study import read_study
from ai_scientist.run_folder.workspace import RunFolder

LEFT_OUT = {".git", ".staging", ".lock", ".holder", "__pycache__", ".queue"}
BINARY = {".png", ".pdf", ".jpg", ".npy", ".npz", ".pt", ".safetensors", ".pkl", ".zip", ".gz"}
EPOCH = (2000, 1, 1, 0, 0, 0)
"""Time of every entry: a zip would else differ from its twin."""
MAX_FILE_MB = 100.0
PARTS = (
    ("idea.json", "the idea as it was given"),
    ("settings.json", "every choice and budget"),
    ("hypotheses.json", "the predictions with their hash, fixed before the first edit"),
    ("NAME.pdf", "the paper, if one was written; latex/ holds its sources"),
    ("notes.txt", "what each run showed: facts by code, interpretation by the model"),
    ("experiment.py plot.py", "the code at the end; run_N.py is the code of each run"),
    ("run_N/final_info.json", "the results of a run"),
    ("run_N/run.json", "its capsule: commit, command, configuration, versions, hardware, checks"),
    ("run_N/metrics.jsonl", "its training curve"),
    ("attempts/", "every refused, crashed or stopped attempt: diff, reason, log"),
    ("report.json", "why it stopped, verdicts, findings, cost"),
    ("events.jsonl", "the journal: every effect in order"),
    ("calls.jsonl", "every model call with prompt, reply, tokens and price"),
    ("history.patch", "one patch per accepted edit and per run"),
    ("requirements.lock", "the environment of the experiments"),
)


@dataclass
class Packing:
    """What goes into a bundle, and what does not."""

    files: dict[str, bytes] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    redacted: list[str] = field(default_factory=list)


def export_bundle(folder: Path, destination: Path, *, max_file_mb: float = MAX_FILE_MB) -> Packing:
    """Write the bundle of a run folder to `destination`, aside first, and return what it holds.

    Raises InputError for the person when it is no run folder or the place cannot be written.
    """
    study = read_study(folder)
    if not study.runs and not (folder / "idea.json").exists():
        raise InputError(f"{folder} is no run folder: it has no run and no idea.json")
    packing = Packing()
    for name, path in walk(folder, packing.left_out):
        if path.resolve() == destination.resolve():
            continue
        if path.stat().st_size > max_file_mb * 1e6:
            packing.left_out.append(f"{name}: {path.stat().st_size / 1e6:.0f} MB")
            continue
        packing.files[name] = clean_content(name, path.read_bytes(), packing.redacted)
    history = history_of(folder, packing.left_out)
    if history:
        packing.files["history.patch"] = clean_content("history.patch", history, packing.redacted)
    packing.files["README.md"] = describe_bundle(folder.resolve().name, study, packing).encode()
    packing.files["MANIFEST.txt"] = manifest(packing.files).encode()
    try:
        write_zip(destination, folder.resolve().name, packing.files)
    except OSError as error:
        raise InputError(
            f"{destination} cannot be written: {error.strerror}", hint="name another with --to"
        ) from None
    return packing


def walk(folder: Path, left_out: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield (relative name, path) of the plain files, in order; never through a link."""
    for place, folders, names in os.walk(folder, followlinks=False):
        here = Path(place)
        for name in sorted(folders):
            if (here / name).is_symlink():
                left_out.append(f"{shown(here / name, folder)}: a link")
        folders[:] = sorted(one for one in folders if one not in LEFT_OUT)
        for name in sorted(names):
            path = here / name
            if name in LEFT_OUT or (name.startswith(".") and name.endswith(".tmp")):
                continue
            relative = path.relative_to(folder).as_posix()
            if not stat.S_ISREG(path.lstat().st_mode):
                left_out.append(f"{shown(path, folder)}: no plain file")
            elif not relative.isprintable():
                left_out.append(f"{shown(path, folder)}: a name that is no plain text")
            else:
                yield relative, path


def shown(path: Path, folder: Path) -> str:
    """Return a path as lists and terminals can show it, whatever its name holds."""
    relative = path.relative_to(folder).as_posix()
    return relative if relative.isprintable() else repr(relative)


def clean_content(name: str, content: bytes, redacted: list[str]) -> bytes:
    """Return a file's content without secrets; binary formats as they are."""
    if Path(name).suffix.lower() in BINARY:
        return content
    text, kinds = redact(content.decode("latin-1"))  # latin-1 gives every byte back
    if kinds:
        redacted.append(f"{name}: {', '.join(kinds)}")
    return text.encode("latin-1")


def history_of(folder: Path, left_out: list[str]) -> bytes:
    """Return the git history as patches, oldest first; empty where there is none to be had."""
    if not os.path.lexists(folder / ".git"):
        return b""
    try:
        log = RunFolder(folder).git(
            "log", "--reverse", "--no-color", "--stat", "--patch", "--", "."
        )
    except ScientistError as error:
        left_out.append(f"history.patch: {error.message}")
        return b""
    return log.encode("utf-8", errors="replace")


def describe_bundle(name: str, study: Study, packing: Packing) -> str:
    """Return README.md: what this is, the runs, what is where, what is missing."""
    lines = [f"# {study.idea.title or name}", "", study.idea.experiment, ""]
    lines += [
        f"It stopped: {study.stop or 'not yet'}. {max(0, len(study.runs) - 1)} valid runs.",
        "",
    ]
    lines += ["| run | what | commit | provenance |", "|---|---|---|---|"]
    lines += [
        f"| {run.name} | {cell(run.title)} | {run.commit[:10]} | {run.provenance} |"
        for run in study.runs.values()
    ]
    present = {path.split("/")[0] for path in packing.files}
    lines += ["", "## What is where", ""]
    lines += [f"- `{place}`: {what}" for place, what in PARTS if is_here(place, present)]
    lines += ["", "`MANIFEST.txt` has the sha256 of every file.", ""]
    lines += section("Left out", packing.left_out)
    lines += section("Redacted: what looked like a secret", packing.redacted)
    lines += ["## To look at it", "", "With a checkout of ai_scientist:", ""]
    lines += [
        f"    python -m ai_scientist audit {name}",
        f"    python -m ai_scientist review {name}",
    ]
    return "\n".join(lines) + "\n"


def is_here(place: str, present: set[str]) -> bool:
    """Tell whether a bundle with these top-level names holds a part of PARTS."""
    first = place.partition(" ")[0].partition("/")[0]
    if first == "NAME.pdf":
        return any(one.endswith(".pdf") for one in present)
    if first == "run_N":
        return any(one.startswith("run_") for one in present)
    return first in present


def cell(text: str) -> str:
    """Return a text that cannot break a table row."""
    return " ".join(text.split()).replace("|", "\\|")


def section(title: str, lines: Sequence[str]) -> list[str]:
    """Return a list under a heading, or nothing."""
    return [f"## {title}", "", *(f"- `{line}`" for line in lines), ""] if lines else []


def manifest(files: dict[str, bytes]) -> str:
    """Return one line `sha256  bytes  name` per file, as they lie in the zip."""
    rows = [
        f"{hashlib.sha256(content).hexdigest()}  {len(content):>10}  {name}"
        for name, content in sorted(files.items())
    ]
    return "\n".join(rows) + "\n"


def write_zip(destination: Path, top: str, files: dict[str, bytes]) -> None:
    """Write the files below `top` into a zip, in order and with fixed times, and move it there."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{top}/{name}", date_time=EPOCH)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    destination.parent.mkdir(parents=True, exist_ok=True)
    aside = destination.with_name(f".{destination.name}.{os.getpid()}.tmp")
    aside.write_bytes(packed.getvalue())
    aside.replace(destination)
