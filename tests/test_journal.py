"""The journal is the truth, whatever a kill left of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ai_scientist.errors import FolderBusy, InputError
from ai_scientist.run_folder.journal import (
    FolderJournal,
    FolderLock,
    last_commit,
    read_events,
    write_atomically,
)


def fill(path: Path) -> None:
    """Write a journal of two effects and a note."""
    journal = FolderJournal(path)
    journal.effect("plan", lambda: {"text": "ünïcode ✓"})
    journal.note("warning", {"key": "plan", "about": "x"})
    journal.effect("run_1", lambda: {"commit": "abc"})
    journal.close()


def test_an_effect_is_performed_once(tmp_path: Path) -> None:
    """A stored key answers without performing, in this process and in the next."""
    path = tmp_path / "events.jsonl"
    fill(path)
    made: list[str] = []

    def perform() -> dict[str, str]:
        made.append("again")
        return {}

    journal = FolderJournal(path)
    assert journal.effect("plan", perform) == {"text": "ünïcode ✓"}
    assert journal.effect("run_1", perform) == {"commit": "abc"}
    assert not made
    assert [key for key, _ in journal.entries()] == ["plan", "run_1"]
    assert last_commit(read_events(path)) == "abc"
    journal.close()


def test_a_failing_effect_is_not_stored(tmp_path: Path) -> None:
    """What raises has not happened: the next process performs it."""
    journal = FolderJournal(tmp_path / "events.jsonl")
    with pytest.raises(ZeroDivisionError):
        journal.effect("run_1", lambda: {"value": 1 / 0})
    assert journal.effect("run_1", lambda: {"value": 1}) == {"value": 1}
    journal.close()


def test_a_tail_cut_at_every_byte_loses_at_most_the_cut_line(tmp_path: Path) -> None:
    """A journal cut anywhere opens, keeps every whole line, and can be appended to."""
    path = tmp_path / "events.jsonl"
    fill(path)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = whole[:cut].count(b"\n")
        journal = FolderJournal(path)
        journal.effect("after", lambda: {"done": True})
        journal.close()
        lines = path.read_text().splitlines()
        assert len(lines) == complete + 1
        assert json.loads(lines[-1])["key"] == "after"


def test_damage_before_the_last_line_is_told(tmp_path: Path) -> None:
    """A damaged middle is no torn tail: nothing is cut off, and the line is named."""
    path = tmp_path / "events.jsonl"
    fill(path)
    lines = path.read_bytes().split(b"\n")
    lines[1] = b"\x00\x00"
    path.write_bytes(b"\n".join(lines))
    before = path.read_bytes()
    with pytest.raises(InputError, match="line 2"):
        FolderJournal(path)
    assert path.read_bytes() == before


def test_a_second_launcher_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path: Path) -> None:
    """The lock names its holder, and the kernel frees it when the holder is killed."""
    code = (
        "import time; from pathlib import Path\n"
        "from ai_scientist.run_folder.journal import FolderLock\n"
        f"with FolderLock(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(FolderBusy, match=str(holder.pid)), FolderLock(tmp_path):
        raise AssertionError
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with FolderLock(tmp_path):
        pass


def test_atomic_writes_leave_nothing_aside(tmp_path: Path) -> None:
    """After a write there is the file and no temporary one."""
    write_atomically(tmp_path / "a" / "b.txt", "old")
    write_atomically(tmp_path / "a" / "b.txt", "new")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]
    assert (tmp_path / "a" / "b.txt").read_text() == "new"
