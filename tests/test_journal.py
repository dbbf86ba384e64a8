"""The journal is the truth, whatever a kill left of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ai_scientist.errors import FolderBusy, InputError
from ai_scientist.run_folder.journal import (
    FolderJournal,
    FolderLock,
    last_commit,
    read_events,
    write_atomically,
    write_json,
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


@pytest.mark.parametrize("damage", [b"\x00\x00", b"[" * 100_000], ids=["zeros", "deep"])
def test_damage_before_the_last_line_is_told(tmp_path: Path, damage: bytes) -> None:
    """A damaged middle is no torn tail: nothing is cut off, and the line is named."""
    path = tmp_path / "events.jsonl"
    fill(path)
    lines = path.read_bytes().split(b"\n")
    lines[1] = damage
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
        assert (tmp_path / ".holder").read_text().split()[1] == str(os.getpid())
    assert not (tmp_path / ".holder").exists()


def test_the_lock_is_refused_also_when_its_holder_is_unknown(tmp_path: Path) -> None:
    """A second launcher is told, with the folder, whatever stands in .holder."""
    with FolderLock(tmp_path):
        for known in ("", "only-one-word"):
            (tmp_path / ".holder").write_text(known)
            with pytest.raises(FolderBusy) as caught, FolderLock(tmp_path):
                raise AssertionError
            assert caught.value.message == f"{tmp_path} is in use by another launcher"


def test_a_folder_that_cannot_be_locked_is_told(tmp_path: Path) -> None:
    """Somebody else's folder is bad input, not a bug."""
    (tmp_path / ".lock").mkdir()
    with pytest.raises(InputError, match="cannot be written"), FolderLock(tmp_path):
        pass


def test_atomic_writes_leave_nothing_aside(tmp_path: Path) -> None:
    """After a write there is the file and no temporary one."""
    write_atomically(tmp_path / "a" / "b.txt", "old")
    write_atomically(tmp_path / "a" / "b.txt", "new")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]
    assert (tmp_path / "a" / "b.txt").read_text() == "new"
    write_atomically(tmp_path / "deep" / "er" / "c.bin", b"\x00\xff")
    assert (tmp_path / "deep" / "er" / "c.bin").read_bytes() == b"\x00\xff"
    write_atomically(tmp_path / "lone.txt", "a\ud800b")
    assert (tmp_path / "lone.txt").read_text() == "a?b"


def test_json_is_written_to_be_read_by_people(tmp_path: Path) -> None:
    """Indented, in plain letters, ended by a newline, and never with a NaN."""
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"ü": 1})
    assert path.read_text() == '{\n  "ü": 1\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert path.read_text() == '{\n  "ü": 1\n}\n'


def test_a_line_carries_its_time_and_is_kept_as_written(tmp_path: Path) -> None:
    """Effects and notes get the time to the millisecond first; text stays in plain letters."""
    path = tmp_path / "runs" / "idea" / "events.jsonl"
    now = datetime(2026, 11, 20, 20, 15, 1, 234567, tzinfo=UTC)
    journal = FolderJournal(path, clock=lambda: now)
    journal.effect("plan", lambda: {"text": "ünïcode ✓"})
    journal.note("warning", {"about": "x\ud800"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.note("warning", {"about": float("inf")})
    journal.close()
    journal.close()
    time_of = '{"time": "2026-11-20T20:15:01.234+00:00", '
    assert path.read_text() == (
        time_of + '"key": "plan", "result": {"text": "ünïcode ✓"}}\n'
        f'{time_of}"note": "warning", "about": "x?"}}\n'
    )
    assert path.stat().st_mode & 0o777 == 0o644 & ~current_umask()
    stamped = FolderJournal(tmp_path / "other.jsonl")
    stamped.note("now", {})
    (line,) = stamped.notes("now")
    age = datetime.now(UTC) - datetime.fromisoformat(line["time"])
    assert abs(age.total_seconds()) < 60
    stamped.close()


def current_umask() -> int:
    """The mask of this process."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_notes_answer_nothing(tmp_path: Path) -> None:
    """A note that names a key is no effect, in this process or the next; kinds are kept apart."""
    path = tmp_path / "events.jsonl"
    journal = FolderJournal(path)
    journal.note("warning", {"key": "plan", "result": {"commit": "bad"}})
    journal.note("other", {"about": 1})
    journal.note("warning", {"about": 2})
    for seen in (journal, FolderJournal(path)):
        assert list(seen.entries()) == []
        assert [line.get("about") for line in seen.notes("warning")] == [None, 2]
        assert [line["about"] for line in seen.notes("other")] == [1]
        seen.close()
    assert last_commit(read_events(path)) is None


def test_the_last_commit_is_the_newest_effect_that_made_one() -> None:
    """Effects without a commit, and notes, are passed over."""
    lines = [
        {"key": "run_1", "result": {"commit": "old"}},
        {"key": "run_2", "result": {"commit": "new"}},
        {"key": "run_3", "result": {"commit": ""}},
        {"key": "run_4", "result": {}},
        {"note": "x", "key": "run_5", "result": {"commit": "no"}},
    ]
    assert last_commit(lines) == "new"
    assert last_commit([]) is None


def test_reading_without_repair_changes_nothing(tmp_path: Path) -> None:
    """Who only reads leaves a torn line where it is; a line that is no object is damage, too."""
    path = tmp_path / "events.jsonl"
    assert read_events(path) == []
    fill(path)
    torn = path.read_bytes() + b'{"key": "run_2", "res'
    path.write_bytes(torn)
    assert [line.get("key") for line in read_events(path)] == ["plan", "plan", "run_1"]
    assert path.read_bytes() == torn
    assert len(read_events(path, repair=True)) == 3
    assert path.read_bytes() + b'{"key": "run_2", "res' == torn
    path.write_bytes(b'[1]\n{"key": "a", "result": {}}\n')
    with pytest.raises(InputError, match="line 1: the journal is damaged"):
        read_events(path)
    path.write_bytes(b'{"key": "a", "result": {}}\n[1]\n')
    assert [line["key"] for line in read_events(path)] == ["a"]
