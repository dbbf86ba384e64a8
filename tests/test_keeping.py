from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ai_scientist.run_folder.journal import FolderLock
from tests.doors import ai_scientist

GHOST = "ghp_" + "a1B2c3D4e5F6" * 3


def command(
    *arguments: object, cwd: Path, cache: Path | None = None, answer: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `python -m ai_scientist …` with an answer on standard input."""
    cache = cache or cwd / "cache"
    return ai_scientist(*arguments, cwd=cwd, answer=answer, AI_SCIENTIST_CACHE=str(cache))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with runs/ and cache/, and beside them something that must survive."""
    for name in ("one", "two"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "idea.json").write_text('{"Name": "x", "Title": "X | Y", "Experiment": "z"}')
        (folder / "weights.pt").write_bytes(os.urandom(100_000))
    (tmp_path / "cache" / "environments" / "0123-py3.11").mkdir(parents=True)
    (tmp_path / "cache" / "environments" / "0123-py3.11.log").write_text("built")
    (tmp_path / "cache" / "scratch" / "left").mkdir(parents=True)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years")
    return tmp_path


# --- export --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_bundle_holds_what_a_colleague_needs(finished_digits: Path, tmp_path: Path) -> None:
    """Code, results, capsules, notes, plots, journal and history are there, and a map of them."""
    target = tmp_path / "b.zip"
    done = command("export", finished_digits, "--to", target, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(target) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
        readme = archive.read("finished_digits/README.md").decode()
        archive.extractall(tmp_path / "there")
    assert {
        "idea.json", "experiment.py", "run_1.py", "run_1/final_info.json", "run_1/run.json",
        "notes.txt", "events.jsonl", "calls.jsonl", "report.json", "history.patch",
        "requirements.lock", "test_metrics.png",
    } <= names  # fmt: skip
    assert any(name.startswith("attempts/") for name in names)
    assert not any(name.startswith((".git/", ".staging/", ".lock")) for name in names)
    assert "| run_1 | strong smoothing, 0.1 |" in readme
    audit = command("audit", tmp_path / "there" / "finished_digits", "--json", cwd=tmp_path)
    assert "findings" in json.loads(audit.stdout)
    again = command("export", finished_digits, "--to", tmp_path / "c.zip", cwd=tmp_path)
    assert again.returncode == 0
    assert target.read_bytes() == (tmp_path / "c.zip").read_bytes()


def test_a_bundle_holds_no_secret_and_no_link(place: Path) -> None:
    """Keys are redacted, links and giants stay behind, and the README says so."""
    folder = place / "runs" / "one"
    (folder / "events.jsonl").write_text(json.dumps({"key": "x", "result": GHOST}) + "\n")
    (folder / "way_out").symlink_to(place / "precious")
    (folder / "passwd").symlink_to("/etc/passwd")
    done = command("export", "runs/one", "--max-file-mb", "0.05", cwd=place)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(place / "runs" / "one.zip") as archive:
        content = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(content) == {
        f"one/{name}" for name in ("idea.json", "events.jsonl", "README.md", "MANIFEST.txt")
    }
    assert GHOST not in "".join(content.values())
    for line in ("way_out: a link", "passwd: no plain file", "weights.pt: 0 MB", "GitHub Token"):
        assert line in content["one/README.md"]
    assert "x | Y" not in content["one/README.md"]


def test_only_run_folders_are_exported(place: Path) -> None:
    """A folder that is none ends in a sentence, exit 2, and no zip."""
    done = command("export", "precious", cwd=place)
    assert done.returncode == 2
    assert "precious is no run folder" in done.stderr
    assert not (place / "precious.zip").exists()


# --- clean ---------------------------------------------------------------------------------------


def test_clean_reports_and_removes_nothing(place: Path) -> None:
    """Without a name it prints sizes, ages and states, and changes nothing."""
    before = sorted(place.rglob("*"))
    done = command("clean", cwd=place)
    assert done.returncode == 0
    assert "runs/one" in done.stdout
    assert "cache/environments/0123-py3.11" in done.stdout
    assert "of no template  (unused)" in done.stdout
    assert "unfinished" in done.stdout
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(("answer", "removed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_clean_asks(place: Path, answer: str, removed: bool) -> None:
    """What is named is removed after a yes only, and nothing else with it."""
    done = command("clean", "runs/one", cwd=place, answer=answer)
    assert done.returncode == 0, done.stderr
    assert (place / "runs" / "one").exists() is not removed
    assert (place / "runs" / "two" / "idea.json").exists()


def test_clean_needs_an_answer_or_yes(place: Path) -> None:
    """Nobody at the keyboard is no yes; --yes is."""
    done = command("clean", "runs/one", cwd=place)
    assert done.returncode == 2
    assert "nobody answered, and nothing was removed" in done.stderr
    assert command("clean", "--unused", "--yes", cwd=place).returncode == 0
    assert not (place / "cache" / "environments" / "0123-py3.11").exists()
    assert not (place / "cache" / "environments" / "0123-py3.11.log").exists()
    assert not (place / "cache" / "scratch" / "left").exists()
    assert (place / "runs" / "one").exists()


@pytest.mark.parametrize("name", ["precious", "../precious", "runs/../precious", "runs", "/etc"])
def test_clean_stays_in_its_roots(place: Path, name: str) -> None:
    """A name that the report does not show removes nothing, whatever it leads to."""
    done = command("clean", name, "--yes", cwd=place)
    assert done.returncode == 2
    assert f"there is nothing called `{name}`" in done.stderr
    assert (place / "precious" / "thesis.tex").exists()


def test_clean_follows_no_link(place: Path) -> None:
    """Links inside, in place of and above what is removed lead nowhere."""
    (place / "runs" / "one" / "inside").symlink_to(place / "precious")
    (place / "runs" / "instead").symlink_to(place / "precious")
    shutil.rmtree(place / "cache" / "scratch")
    (place / "cache" / "scratch").symlink_to(place)
    done = command("clean", "runs/one", "runs/instead", "--unused", "--yes", cwd=place)
    assert done.returncode == 0, done.stderr
    assert not (place / "runs" / "one").exists()
    assert not (place / "runs" / "instead").is_symlink()
    assert (place / "precious" / "thesis.tex").read_text() == "years"
    assert (place / "runs" / "two").exists()


def test_clean_keeps_what_is_in_use(place: Path) -> None:
    """A run folder that a launcher holds, and an environment whose python runs, stay."""
    python = place / "cache" / "environments" / "0123-py3.11" / "python"
    with FolderLock(place / "runs" / "one"):
        user = subprocess.Popen([sys.executable, "-c", "input()", str(python)], stdin=-1)
        try:
            done = command("clean", "runs/one", "--unused", "--yes", cwd=place)
        finally:
            user.communicate(b"\n")
    assert done.returncode == 0, done.stderr
    assert "kept: runs/one is in use by a launcher" in done.stdout
    assert f"kept: cache/environments/0123-py3.11 is in use by process {user.pid}" in done.stdout
    assert (place / "runs" / "one" / "idea.json").exists()
