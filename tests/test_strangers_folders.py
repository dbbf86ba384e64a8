"""Run folders come from strangers: to look at one starts nothing and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai_scientist import review
from ai_scientist.commands.clean import clean
from ai_scientist.commands.export import export_bundle
from ai_scientist.errors import InputError
from ai_scientist.review.files import read_window
from ai_scientist.run_folder.workspace import RunFolder
from tests.png import png
from tests.review_folders import git, make_idea, visited, write

SIGNED = """tree {tree}
author t <t@t> 1792526400 +0000
committer t <t@t> 1792526400 +0000
gpgsig -----BEGIN PGP SIGNATURE-----
 x
 -----END PGP SIGNATURE-----

signed
"""


def signed_commit(folder: Path) -> str:
    """Put a commit that claims a signature on the branch and return its hash."""
    content = SIGNED.format(tree=git(folder, "rev-parse", "HEAD^{tree}"))
    made = subprocess.run(
        ["git", "-C", str(folder), "hash-object", "-t", "commit", "-w", "--stdin"],
        input=content,
        capture_output=True,
        text=True,
        check=True,
    )
    commit = made.stdout.strip()
    git(folder, "update-ref", "refs/heads/main", commit)
    return commit


def booby_trap(folder: Path, settings: str) -> Path:
    """Give a folder's repository settings that start a program; return what that would leave."""
    mark = folder.parent / "started"
    program = folder / "program.sh"
    program.write_text(f'#!/bin/sh\ntouch {mark}\ncat "$1" 2>/dev/null\n')
    program.chmod(0o755)
    (folder / ".gitattributes").write_text("*.py diff=theirs filter=theirs\n")
    with (folder / ".git" / "config").open("a") as file:
        file.write(settings.replace("PROGRAM", str(program)))
    return mark


SETTINGS = {
    "a converter": '[diff "theirs"]\n\ttextconv = PROGRAM\n',
    "a checker of signatures": "[gpg]\n\tprogram = PROGRAM\n[format]\n\tpretty = %G?\n",
    "a monitor": "[core]\n\tfsmonitor = PROGRAM\n",
    "all on one line": '[diff "theirs"] textconv = PROGRAM\n',
    "another file": "[include]\n\tpath = ../theirs\n",
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_settings_of_a_strangers_repository_start_nothing(tmp_path: Path, settings: str) -> None:
    """Export and review of a folder whose .git/config names programs run none, and say so."""
    folder = make_idea(tmp_path / "runs", runs=1, log_lines=2)
    commit = signed_commit(folder)
    mark = booby_trap(folder, settings)
    (folder / "theirs").write_text(f'[diff "theirs"]\n\ttextconv = {folder}/program.sh\n')
    packing = export_bundle(folder, tmp_path / "bundle.zip")
    assert not mark.exists()
    assert "history.patch" not in packing.files
    assert any(".git/config" in line for line in packing.left_out)
    with visited(folder) as client:
        answer = client.get(f"/idea/{folder.name}/commit/{commit}")
    assert answer.status_code == 404
    assert ".git/config" in answer.text
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["a file", "a link", "a common folder"])
def test_a_repository_that_lies_elsewhere_is_not_used(tmp_path: Path, kind: str) -> None:
    """A .git that leads to settings in another place is refused before git reads them."""
    folder = make_idea(tmp_path / "runs", runs=1, log_lines=2)
    elsewhere = tmp_path / "elsewhere"
    if kind == "a common folder":
        (folder / ".git" / "commondir").write_text("../../elsewhere\n")
    else:
        (folder / ".git").rename(elsewhere)
        if kind == "a file":
            (folder / ".git").write_text(f"gitdir: {elsewhere}\n")
        else:
            (folder / ".git").symlink_to(elsewhere)
    with pytest.raises(InputError, match="lies elsewhere"):
        RunFolder(folder).git("log")


def test_a_persons_remote_does_no_harm(tmp_path: Path) -> None:
    """What `git remote add` and `git config user.name` write is no reason to refuse a folder."""
    folder = make_idea(tmp_path / "runs", runs=1, log_lines=2)
    git(folder, "remote", "add", "origin", "https://example.org/x.git")
    git(folder, "config", "user.name", "Ada Lovelace")
    git(folder, "config", "branch.main.remote", "origin")
    assert "history.patch" in export_bundle(folder, tmp_path / "bundle.zip").files


def test_a_commit_is_the_one_that_its_hash_names(tmp_path: Path) -> None:
    """A replacement in refs/replace does not stand in for a commit."""
    folder = make_idea(tmp_path / "runs", runs=1, log_lines=2)
    first, last = git(folder, "rev-list", "HEAD").splitlines()[-1], git(folder, "rev-parse", "HEAD")
    true = RunFolder(folder).read(last, "experiment.py")
    git(folder, "replace", last, first)
    assert RunFolder(folder).read(last, "experiment.py") == true


def test_a_link_in_place_of_the_holder_is_not_written_through(tmp_path: Path) -> None:
    """Removing a stranger's folder leaves the file alone that its .holder names."""
    runs, cache, templates = tmp_path / "runs", tmp_path / "cache", tmp_path / "templates"
    folder = make_idea(runs, git=False, runs=1, log_lines=2)
    precious = tmp_path / "precious"
    precious.write_text("precious\n")
    (folder / ".holder").symlink_to(precious)
    names = [f"runs/{folder.name}"]
    assert clean(runs, cache, templates, names=names, yes=True, tell=lambda line: None) == 0
    assert precious.read_text() == "precious\n"
    assert not folder.exists()


def test_a_lock_that_cannot_be_taken_is_said_in_words(tmp_path: Path) -> None:
    """A link in place of the lock ends in a sentence with the place."""
    runs = tmp_path / "runs"
    folder = make_idea(runs, git=False, runs=1, log_lines=2)
    (folder / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="cannot be written"):
        clean(runs, tmp_path, tmp_path, names=[f"runs/{folder.name}"], yes=True)
    assert not os.path.lexists(tmp_path / "elsewhere")


def test_a_bundle_leaves_out_names_that_are_no_text(tmp_path: Path) -> None:
    """Names that no list or terminal shows well stay behind, and are told in a form that it can."""
    folder = make_idea(tmp_path / "runs", git=False, runs=1, log_lines=2)
    odd = [os.fsdecode(b"x\xff.txt"), "two\nlines.txt", "\x1b[2Jclear.txt"]
    for name in odd:
        (folder / name).write_text("x")
    (folder / "\x1b[2J").symlink_to(tmp_path)
    packing = export_bundle(folder, tmp_path / "bundle.zip")
    assert not set(odd) & set(packing.files)
    assert len(packing.left_out) == 4
    assert all(line.isprintable() for line in packing.left_out)
    assert "clear.txt" in packing.files["README.md"].decode()


# --- content that no program of ours would write -------------------------------------------------

DEEP = "[" * 100_000
Change = Callable[[Path], Any]


def reported(**values: Any) -> Change:
    """Return the change that puts values into report.json."""

    def change(folder: Path) -> None:
        path = folder / "report.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def measured(kind: str, name: str, value: float) -> Change:
    """Return the change that puts a number into a run's results."""

    def change(folder: Path) -> None:
        path = folder / "run_1" / "final_info.json"
        content = json.loads(path.read_text())
        content["digits"][kind][name] = value
        path.write_text(json.dumps(content))

    return change


def stored(name: str, content: str | bytes) -> Change:
    """Return the change that writes a file, whose name may be no UTF-8."""
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


def latents(content: Any) -> Change:
    """Return the change that leaves a latent report."""
    return lambda folder: write(folder / "run_1" / "latents.json", content)


def held_elsewhere(folder: Path) -> None:
    """Let the folder seem to run on another host, with a journal that no parser can hold."""
    (folder / ".holder").write_text("elsewhere 1\n")
    (folder / "events.jsonl").write_text("[" * 60_000 + "\n")


SIDES = {"hypothesis": {"metric": "x"}, "run": "run_1"}
STRANGE: dict[str, Change] = {
    "a cost of 400 digits": reported(cost_usd=10**400),
    "a reason with no number": reported(
        best=None, hypotheses=[{**SIDES, "reason": "x 1.2.3, y 1.0: difference foo (bar)"}]
    ),
    "a reason with a huge number": reported(
        best=None, hypotheses=[{**SIDES, "reason": "x 1e999, y 1.0: difference foo (bar)"}]
    ),
    "half a sign in the report": reported(stop="\ud800", reason="\ud800"),
    "half a sign in the title": stored(
        "idea.json", '{"Name": "x", "Title": "half \\ud800", "Experiment": "y"}'
    ),
    "half a sign in a metric": measured("means", "\ud800m", 0.5),
    "an error beyond all numbers": measured("stderrs", "test_accuracy", 1.7e308),
    "numbers beyond all in notes": stored(
        "notes.txt", "## Run 1: x\n1.23e400, 1.234e-999999999 and 0.000e999 there\n"
    ),
    "latents that are a number": latents({"latents": 5, "x": 1}),
    "an activation beyond all numbers": latents(
        {"latents": [{"index": 1, "contexts": [{"tokens": ["a"], "activations": [1e308]}]}]}
    ),
    "edges that are no numbers": latents(
        {"histograms": {"x": {"edges": [10**400, "a", 1], "counts": [1, 2, 10**400]}}}
    ),
    "a picture whose name is no text": stored(os.fsdecode(b"x\xff.png"), png(3, 3)),
    "a log whose name is no text": stored(os.fsdecode(b"run_1/x\xff.log"), "hello\n"),
    "a deep call": stored("calls.jsonl", DEEP + "\n"),
    "a deep journal": stored("events.jsonl", DEEP + "\n{}\n"),
    "a deep decision": stored("inbox/a.json", DEEP),
    "a deep curve": stored("run_1/metrics.jsonl", DEEP + "\n"),
    "a deep journal that is at work": held_elsewhere,
}
PAGES = ("", "/claims", "/science", "/calls", "/files", "/run/run_1", "/latents/run_1")


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, each with one thing in it that no program of ours writes."""
    root = tmp_path_factory.mktemp("strange")
    for number, change in enumerate(STRANGE.values()):
        name = f"strange_{number:02}"
        change(make_idea(root, name=name, title=name, runs=1, git=False, log_lines=2))
    return root


@pytest.fixture(scope="module")
def site(strange: Path) -> Iterator[httpx.Client]:
    """A client of a real server over these folders."""
    with visited(strange) as client:
        yield client


@pytest.mark.slow
def test_strange_content_hides_no_page(strange: Path, site: httpx.Client) -> None:
    """Every page of every such folder opens, and so do the list, the overview and the export."""
    for page in ("/", "/many"):
        assert site.get(page).status_code == 200, page
    failed = [
        (what, page)
        for (what, folder) in zip(STRANGE, sorted(strange.iterdir()), strict=True)
        for page in PAGES
        if site.get(f"/idea/{folder.name}{page}").status_code == 500
    ]
    assert failed == []
    assert review.export(strange, strange.parent / "all.html") == 0


@pytest.mark.parametrize("path", ["/idea/" + "a" * 300, "/?at=first", "/idea/x/call/y"])
def test_an_address_that_names_nothing_gets_a_page(site: httpx.Client, path: str) -> None:
    """Names too long for a file and numbers that are none are answered like a missing page."""
    answer = site.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_a_host_that_is_no_name_is_refused(site: httpx.Client) -> None:
    """A Host header that cannot be read is answered as one that is not ours."""
    assert site.get("/", headers={"host": "["}).status_code == 421


@pytest.mark.parametrize("name", ["references", ".staging"])
def test_no_folder_beside_is_shown_through_a_link(tmp_path: Path, name: str) -> None:
    """A link in place of the references or of the throw-away copies shows nothing behind it."""
    beside = tmp_path / "beside"
    staging = RunFolder(beside).clear_staging("run_1/execution_1")
    (staging / "stdout.log").write_text("a secret\n")
    write(beside / "secret.json", {"digits": {"means": {"test_accuracy": 0.9, "a_secret": 1.0}}})
    folder = make_idea(tmp_path / "runs", git=False, runs=1, log_lines=2)
    (folder / ".holder").write_text("elsewhere 1\n")
    (folder / name).symlink_to(beside if name == "references" else beside / ".staging")
    with visited(folder) as client:
        assert "secret" not in client.get(f"/idea/{folder.name}").text


def test_lines_of_other_systems_are_whole(tmp_path: Path) -> None:
    """The carriage return of a Windows line counts as no hidden text."""
    (tmp_path / "x.log").write_bytes(b"one\r\ntwo\r\n")
    assert [(line.text, line.hidden) for line in read_window(tmp_path / "x.log").lines] == [
        ("one", 0),
        ("two", 0),
    ]


def test_a_file_that_shrinks_while_it_is_read_ends_nobody(tmp_path: Path) -> None:
    """A run may cut its log at any moment; who reads it sees what is there."""
    path = tmp_path / "x.log"
    path.write_text("line\n" * 400_000)
    ended = threading.Event()

    def shrink() -> None:
        while not ended.is_set():
            os.truncate(path, 0)
            os.truncate(path, 2_000_000)

    thread = threading.Thread(target=shrink)
    thread.start()
    try:
        for _ in range(20):
            assert read_window(path, query="line").size >= 0
    finally:
        ended.set()
        thread.join()


def test_an_inbox_that_cannot_be_written_is_said_in_words(tmp_path: Path) -> None:
    """A file in place of the inbox ends a decision in a sentence with the place."""
    folder = make_idea(tmp_path / "runs", git=False, runs=1, log_lines=2)
    (folder / "inbox").rmdir()
    (folder / "inbox").write_text("")
    with pytest.raises(InputError, match="inbox cannot be written"):
        review.decide(folder, "run_1", "approve")
