"""What a queue stores, what of it may be changed, and who may work on it."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from ai_scientist.errors import FolderBusy, InputError, SetupError
from ai_scientist.inputs.ideas import parse_idea
from ai_scientist.machine.leases import LeaseLost, look_at_lease, take_lease, this_process
from ai_scientist.queue.entries import QueueState
from ai_scientist.queue.progress import status
from ai_scientist.queue.store import Queue
from tests.queue_batches import idea_content, make_idea
from tests.waiting import PATIENCE_S

DONE = QueueState.DONE


def test_entries_are_found_again(tmp_path: Path) -> None:
    """What was added is there for another process, in order of priority, then of adding."""
    queue = Queue(tmp_path)
    queue.add([make_idea("first"), make_idea("second")], options=["--max-cost-usd", "5"])
    queue.add([make_idea("urgent")], priority=9, after=["first"])
    items = Queue(tmp_path).items()
    assert [item.id for item in items] == ["urgent", "first", "second"]
    assert items[0].entry.after == ("first",)
    assert items[1].state.options == ("--max-cost-usd", "5")
    assert {item.state.state for item in items} == {QueueState.QUEUED}
    queue.prioritise("second", 20)
    assert next(item.id for item in queue.items()) == "second"


def test_what_is_there_is_not_added_again(tmp_path: Path) -> None:
    """An idea word for word the same keeps its entry; --again gives it a second one."""
    queue = Queue(tmp_path)
    assert queue.add([make_idea("one")])[0].new
    answer = queue.add([make_idea("one")])[0]
    assert (answer.entry, answer.new) == ("one", False)
    assert queue.add([make_idea("one")], again=True)[0].entry == "one.2"


def test_near_identical_ideas_are_refused(tmp_path: Path) -> None:
    """The same name with other words, or nearly the same words, is refused unless forced."""
    queue = Queue(tmp_path)
    content = idea_content("one")
    queue.add([make_idea("one"), make_idea("other")])
    renamed = {**content, "Name": "two", "Title": "Another " + content["Title"]}
    changed = {**idea_content("unlike"), "Name": "one"}
    near, same = queue.add([parse_idea(renamed, ""), parse_idea(changed, "")])
    assert near.entry is None
    assert "nearly the words of `one`" in near.problem
    assert same.entry is None
    assert "of this name" in same.problem
    forced = queue.add([parse_idea(renamed, ""), parse_idea(changed, "")], force=True)
    assert [one.entry for one in forced] == ["two", "one.2"]


def test_unknown_names_are_said(tmp_path: Path) -> None:
    """A name that is not in the queue is answered with near ones; so is one to wait for."""
    queue = Queue(tmp_path)
    queue.add([make_idea("ratio_ranked")])
    with pytest.raises(InputError, match="no idea `ratio_rankd`") as caught:
        queue.cancel("ratio_rankd")
    assert "ratio_ranked" in caught.value.hint
    with pytest.raises(InputError, match="no idea `nobody`"):
        queue.add([make_idea("late")], after=["nobody"])


@pytest.mark.parametrize(
    "content",
    ["{torn", "[]", "{}", '{"priority": "x", "state": "queued", "idea": 5}', "[" * 100_000, "\0"],
)
@pytest.mark.parametrize("file", ["entry.json", "state.json"])
def test_a_damaged_entry_stops_nobody(tmp_path: Path, file: str, content: str) -> None:
    """An entry that cannot be read is shown as failed, with its file; others are not."""
    queue = Queue(tmp_path)
    queue.add([make_idea("good"), make_idea("bad")])
    (queue.folder / "bad" / file).write_text(content)
    states = {item.id: item.state for item in queue.items()}
    assert states["good"].state is QueueState.QUEUED
    assert states["bad"].state is QueueState.FAILED
    assert f"{file} cannot be read" in states["bad"].reason
    assert "bad" in status(tmp_path)


def test_keys_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    """An entry that holds a key we do not know is read all the same."""
    queue = Queue(tmp_path)
    queue.add([make_idea("one")], priority=3)
    path = queue.folder / "one" / "entry.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"later": 1}))
    (item,) = queue.items()
    assert (item.state.state, item.state.priority) == (QueueState.QUEUED, 3)


def test_status_of_a_strange_folder_is_plain_text(tmp_path: Path) -> None:
    """Costs and limits that are no numbers count as absent; no word of it commands a terminal."""
    result = {"cost_usd": "x", "prompt_tokens": 1, "gpu_hours": 10**400}
    lines = [{"key": "run_1/\x1b[2Jcall", "result": result}, {"key": "run_1/record", "result": {}}]
    folder = tmp_path / "20261120T201500Z_\x1b[31mred"
    folder.mkdir()
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "settings.json").write_text('{"limits": {"max_runs": "many"}}')
    (folder / "report.json").write_text('{"stop": "\\u001b[2J", "reason": "\\u0007"}')
    for text in (status(tmp_path), status(folder)):
        assert "$0.00" in text
        assert all(line.isprintable() for line in text.splitlines())


def test_cancel_retry_of_what_does_not_run(tmp_path: Path) -> None:
    """A queued idea is cancelled at once and can be queued again; a done one cannot."""
    queue = Queue(tmp_path)
    queue.add([make_idea("one")])
    assert queue.cancel("one") == "one: cancelled"
    with pytest.raises(InputError, match="is cancelled already"):
        queue.cancel("one")
    assert queue.retry("one").state.state is QueueState.QUEUED
    with queue.changing("one") as claim:
        claim.write(state=DONE)
        with pytest.raises(FolderBusy, match="being worked on"):
            queue.prioritise("one", 3)
    with pytest.raises(InputError, match="is done"):
        queue.retry("one")


def test_disk_trouble_is_worded(tmp_path: Path) -> None:
    """A queue folder that cannot be made is a SetupError with the place."""
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(SetupError, match="cannot be written"):
        Queue(tmp_path / "runs").add([make_idea("one")])


# --- leases --------------------------------------------------------------------------------------


def _grab(folder: Path, won: multiprocessing.Queue[int], together: Barrier) -> None:
    together.wait()
    if take_lease(folder):
        won.put(os.getpid())
    together.wait()  # all have tried,
    together.wait()  # and the test has looked


def test_one_of_many_gets_the_lease(tmp_path: Path) -> None:
    """Of processes that try at the same moment, one gets the lease; after its death, the next."""
    context = multiprocessing.get_context("fork")
    won: multiprocessing.Queue[int] = context.Queue()
    together = context.Barrier(9, timeout=PATIENCE_S)
    tries = [context.Process(target=_grab, args=(tmp_path, won, together)) for _ in range(8)]
    for one in tries:
        one.start()
    together.wait()
    together.wait()
    assert take_lease(tmp_path) is None
    together.wait()
    for one in tries:
        one.join()
    assert won.get(timeout=PATIENCE_S)
    assert won.empty()
    assert take_lease(tmp_path)


def _pretend_other_host(lease: Path) -> None:
    content = json.loads(lease.read_text())
    content["holder"] |= {"boot": "another", "host": "node7"}
    lease.write_text(json.dumps(content))


def test_a_lease_of_another_host_expires(tmp_path: Path) -> None:
    """What another host holds is left alone until it was not touched for long; then it lost it."""
    held = take_lease(tmp_path, expiry_s=60)
    assert held
    _pretend_other_host(held.path)
    assert take_lease(tmp_path, expiry_s=60) is None
    os.utime(held.path, (time.time() - 61, time.time() - 61))
    assert take_lease(tmp_path, expiry_s=60)
    with pytest.raises(LeaseLost):
        held.beat()


def test_a_lease_survives_a_process_of_the_same_number(tmp_path: Path) -> None:
    """A process that got the number of a dead holder is not taken for it."""
    held = take_lease(tmp_path)
    assert held
    content = json.loads(held.path.read_text())
    content["holder"]["started"] = "12"
    held.path.write_text(json.dumps(content))
    newest = look_at_lease(tmp_path)
    assert newest
    assert not newest.alive
    assert this_process().pid == content["holder"]["pid"]
