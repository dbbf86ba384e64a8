"""One run folder: its paths, its git repository, and what a kill leaves in it.

    runs/20261120T201500Z_NAME/
      experiment.py plot.py notes.txt latex/ …   tracked: one commit per accepted edit and run
      run_N/final_info.json run.json             tracked; logs and weights beside them are not
      events.jsonl calls.jsonl attempts/ inbox/  never touched by git
      .staging/work/KEY/source                   throw-away copies in which processes run

Nothing reads the working tree as an input: later steps take effect results or a commit.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from ai_scientist.errors import InputError, ScientistError
from ai_scientist.records import Idea, Json, Template
from ai_scientist.run_folder.journal import sync_folder, write_atomically, write_json

UNTRACKED = (
    "events.jsonl",
    "calls.jsonl",
    "report.json",
    "attempts/",
    "inbox/",
    ".staging/",
    ".lock",
    ".holder",
    "run_*/",
    "__pycache__/",
    ".*.tmp",
)
BRANCH = "main"
LEFT_IN_TEMPLATE = (
    "run_0", "baselines", "__pycache__", "ideas.json", "seed_ideas.json", "test_template.py",
)  # fmt: skip
GIT_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsync": "all",
    "commit.gpgsign": "false",
    "gc.auto": "0",
    "user.name": "ai_scientist",
    "user.email": "ai_scientist@localhost",
    "core.autocrlf": "false",
    "core.attributesFile": os.devnull,
    "safe.directory": "*",
}
GIT_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_NO_REPLACE_OBJECTS": "1",  # a hash names the commit that was measured, no other
    "GIT_LITERAL_PATHSPECS": "1",  # a file called `:!x` means itself, not all the others
    "LC_ALL": "C.UTF-8",
}

# A folder may come from a stranger, and many of git's settings start programs. These do not: what
# `git init`, `git remote add` and a name for commits leave. Whole lines, so that nothing hides.
HARMLESS_SETTING = re.compile(
    r"""\s*
    | \[core\]
    | \s+(repositoryformatversion|filemode|bare|logallrefupdates|symlinks|ignorecase)\ =\ \w+
    | \[user\]
    | \s+(name|email)\ =\ ("[^"\\]*"|[^"\\#;]*)
    | \[(remote|branch)\ "[\w./-]+"\]
    | \s+(url|fetch|remote|merge)\ =\ ("[^"\\]*"|[^"\\#;]*)
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class RunFolder:
    """Every path of a run folder, and the operations that change its repository."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    @property
    def events(self) -> Path:
        """The journal."""
        return self.path / "events.jsonl"

    @property
    def calls(self) -> Path:
        """Every model call at HTTP level."""
        return self.path / "calls.jsonl"

    @property
    def notes(self) -> Path:
        """What the runs showed, in two voices."""
        return self.path / "notes.txt"

    @property
    def attempts(self) -> Path:
        """Edits and executions that led to no valid run."""
        return self.path / "attempts"

    @property
    def inbox(self) -> Path:
        """A person's decisions, one file each."""
        return self.path / "inbox"

    @property
    def report(self) -> Path:
        """How it ended."""
        return self.path / "report.json"

    def run(self, name: str) -> Path:
        """Folder of one run, such as `run_3`."""
        return self.path / name

    @property
    def copies(self) -> Path:
        """Throw-away copies in which processes run, a folder each.

        Below .staging/work/, so that the ../../../data of a foreign template stays in there.
        """
        return self.path / ".staging" / "work"

    def staging(self, key: str) -> Path:
        """Folder in which the effect `key` does its work."""
        return self.copies / key.replace("/", ".")

    # --- repository ------------------------------------------------------------------------------

    def git(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """Run git here, deaf to the user's configuration and hooks, and return what it printed.

        Raises InputError for the person when the repository's own settings could start a program.
        """
        _refuse_settings(self.path / ".git")
        settings = [part for pair in GIT_SETTINGS.items() for part in ("-c", "=".join(pair))]
        done = subprocess.run(
            ["git", *settings, "-C", str(self.path), *arguments],
            capture_output=True,
            env=environment or GIT_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            problem = done.stderr.decode(errors="replace").strip().splitlines()
            raise ScientistError(
                f"git {arguments[0]} failed in {self.path}: {problem[-1] if problem else ''}",
                hint="check the disk and the folder's permissions, then resume",
            )
        return done.stdout.decode(errors="replace")

    def commit(self, message: str, paths: Iterable[str]) -> str:
        """Commit the present content of `paths` (deleted ones too) and return the commit's hash."""
        names = sorted(set(paths))
        present = [name for name in names if (self.path / name).exists()]
        if present:
            self.git("add", "--force", "--", *present)
        gone = [name for name in names if name not in present]
        if gone:
            self.git("rm", "--cached", "--quiet", "--ignore-unmatch", "--", *gone)
        self.git("commit", "--quiet", "--allow-empty", "--no-verify", "-m", message)
        return (self.path / ".git" / "refs" / "heads" / BRANCH).read_text().strip()

    def write(self, files: Mapping[str, str]) -> None:
        """Write files of the working tree, each atomically."""
        for name, content in files.items():
            write_atomically(self._inside(name), content)

    def read(self, commit: str, name: str) -> str:
        """Return the content of one file in a commit."""
        return self.git("show", f"{commit}:{name}")

    def hashes(self, commit: str, names: Iterable[str]) -> dict[str, str]:
        """Return git's content hash of those of `names` that a commit holds."""
        listed = self.git("ls-tree", "-r", "-z", commit, "--", *names)
        rows = [line.partition("\t") for line in listed.split("\0") if line]
        return {name: facts.split()[2] for facts, _, name in rows}

    def diff(self, old: str, new: str, *names: str) -> str:
        """Return the unified diff between two commits."""
        return self.git("diff", "--no-color", "--no-ext-diff", old, new, "--", *names)

    def export(self, commit: str, destination: Path) -> None:
        """Write the files of a commit into a new folder, as a process shall find them."""
        destination.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as aside:
            index = {**GIT_ENVIRONMENT, "GIT_INDEX_FILE": f"{aside}/index"}
            files = f"--work-tree={destination.resolve()}"
            self.git(files, "read-tree", "--reset", "-u", commit, environment=index)

    def _inside(self, name: str) -> Path:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ScientistError(f"`{name}` is not inside the run folder")
        return self.path / path

    # --- beginning and recovering ----------------------------------------------------------------

    def recover(self, commit: str | None) -> None:
        """Bring the tracked files to the last journaled commit.

        Run folders are not git's to delete: the results of a run that was moved into place, but not
        journaled, stay there, and recording it again finds them.
        """
        for lock in (self.path / ".git").rglob("*.lock"):
            lock.unlink(missing_ok=True)
        if commit:
            self.git("reset", "--mixed", "--quiet", commit)
            self.git("checkout", "--force", "--quiet", "--", ".")
            self.git("clean", "-d", "--force", "--quiet")

    def clear_staging(self, key: str) -> Path:
        """Return the emptied staging folder of `key`."""
        staging = self.staging(key)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        return staging


def create_run_folder(
    runs_dir: Path,
    idea: Idea,
    template: Template,
    settings: Json,
    *,
    path: Path | None = None,
    now: datetime | None = None,
) -> RunFolder:
    """Make a new run folder from a template, commit it, and return it.

    It is called after the time and the idea, unless `path` names it.

    Raises InputError for the person when the folder cannot be written.
    """
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    place = path or runs_dir / f"{stamp}_{idea.name}"
    with _built_aside(place) as aside:
        folder = RunFolder(aside)
        _copy_template(template, folder.path)
        write_json(folder.path / "idea.json", dict(idea.given))
        write_json(folder.path / "settings.json", settings)
        folder.attempts.mkdir()
        folder.inbox.mkdir()
        folder.git("init", "--quiet", f"--initial-branch={BRANCH}", "--template=")
        (folder.path / ".git" / "info").mkdir(exist_ok=True)
        (folder.path / ".git" / "info" / "exclude").write_text("\n".join(UNTRACKED) + "\n")
        folder.git("add", "--all")
        message = f"Start {idea.name} from {template.name}"
        folder.git("commit", "--quiet", "--no-verify", "-m", message)
        return RunFolder(_put_in_place(aside, place, alone=path is not None).resolve())


@contextmanager
def _built_aside(place: Path) -> Iterator[Path]:
    """Yield a folder beside `place`: a kill leaves no half-made run folder, only this one."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent)).resolve()
    except OSError as error:
        raise InputError(
            f"{place.parent} cannot be written: {error.strerror}",
            hint="name a writable folder with --runs-dir",
        ) from None
    try:
        aside.chmod(0o755)
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _put_in_place(aside: Path, place: Path, *, alone: bool) -> Path:
    """Rename a finished folder to `place`, or to the next free name unless it is to be `alone`."""
    for suffix in ("",) if alone else ("", *(f"_{number}" for number in range(2, 100))):
        final = place.with_name(place.name + suffix)
        with contextlib.suppress(FileExistsError, NotADirectoryError, PermissionError):
            if final.exists() and any(final.iterdir()):
                continue
            aside.rename(final)
            sync_folder(final.parent)
            return final
    if alone:
        raise InputError(
            f"{place} is there, and is no run folder of ours",
            hint="name a new folder with --run-dir, or empty this one",
        )
    raise InputError(f"{place.parent} holds 99 folders called {place.name} already")


def _refuse_settings(repository: Path) -> None:
    """Raise InputError for a repository whose settings lie elsewhere, or may start a program."""
    if not os.path.lexists(repository):
        return  # about to be made
    if repository.is_symlink() or not repository.is_dir() or (repository / "commondir").exists():
        raise InputError(
            f"the repository of {repository.parent} lies elsewhere",
            hint="a run folder holds its own: clone it into a plain folder",
        )
    with contextlib.suppress(FileNotFoundError):
        text = (repository / "config").read_text(encoding="utf-8", errors="replace")
        for line in text.split("\n"):
            if not HARMLESS_SETTING.fullmatch(line):
                raise InputError(
                    f"{repository}/config holds a line that may start a program: "
                    f"{line.strip()[:80]!r}",
                    hint="take the line out, unless it is yours and you know what it does",
                )


def _copy_template(template: Template, destination: Path) -> None:
    for path in sorted(template.folder.iterdir()):
        if path.name in LEFT_IN_TEMPLATE or path.name.startswith("."):
            continue
        _refuse_links(path, template.folder)
        if path.is_dir():
            shutil.copytree(
                path, destination / path.name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(path, destination / path.name)


def _refuse_links(path: Path, top: Path) -> None:
    """Raise InputError for a link out of a template: what it leads to may be anybody's secret."""
    for one in (path, *path.rglob("*")):
        inside = one.exists() and one.resolve().is_relative_to(top.resolve())
        if one.is_symlink() and not inside:
            raise InputError(
                f"{one} is a link that leads out of the template, or nowhere",
                hint="put the file itself there; large data are made by a prepare script",
            )


def open_run_folder(path: Path) -> RunFolder:
    """Return the run folder at `path`. Raises InputError when it is none of ours."""
    for needed in ("idea.json", "settings.json", ".git"):
        if not (path / needed).exists():
            raise InputError(
                f"{path} is no run folder: it has no {needed}",
                hint="name a folder below runs/ that launch_scientist.py made",
            )
    return RunFolder(path.resolve())


def run_number(name: str) -> int:
    """Return 3 for `run_3`; raise ValueError for another form."""
    found = re.fullmatch(r"run_(\d+)", name)
    if not found:
        raise ValueError(name)
    return int(found[1])
