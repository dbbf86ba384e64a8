"""Batches over a queue, with the launcher's double behind the real door."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from ai_scientist.errors import InputError
from ai_scientist.inputs.ideas import parse_idea
from ai_scientist.queue.entries import QueueState
from ai_scientist.queue.progress import status
from tests.digits_runs import left_running
from tests.doors import PROJECT
from tests.queue_batches import DOUBLE, BatchPlace, idea_content, make_idea
from tests.waiting import PATIENCE_S, wait_until

DONE = QueueState.DONE
FIRST = ("run_1", "began")


@pytest.fixture
def place(tmp_path: Path) -> BatchPlace:
    """Folders for a batch."""
    return BatchPlace(tmp_path)


def test_bad_ideas_do_not_stop_the_others(place: BatchPlace) -> None:
    """An unreadable file in the middle is said with its place; the rest is run; exit 1."""
    ideas = place.write_ideas(
        idea_content("one"), '{"Name": "torn', idea_content("three"), '{"Name": "Bad Name"}'
    )
    code, printed = place.batch("--ideas", str(ideas))
    assert code == 1, printed
    assert "01.json, line 1" in printed
    assert "03.json: key `Name`" in printed
    assert place.states() == {"one": DONE, "three": DONE}
    assert place.batch("--ideas", str(ideas / "01.json"))[0] == 2


def test_the_same_command_goes_on(place: BatchPlace) -> None:
    """A second time, what is done is skipped and what failed goes on; --again repeats."""
    ideas = place.write_ideas(idea_content("good"), idea_content("bad", exit=1, error="no effect"))
    code, printed = place.batch("--ideas", str(ideas))
    assert code == 1, printed
    assert place.queue.find("bad").state.reason == "run limit: no effect"
    first = {item.id: item.state.run_dir for item in place.queue.items()}
    code, printed = place.batch("--ideas", str(ideas), "--max-cost-usd", "9")
    assert "good: done before" in printed
    assert {item.id: item.state.run_dir for item in place.queue.items()} == first
    assert "--max-cost-usd" in place.queue.find("bad").state.options
    assert place.ended() == ["bad/run_1", "good/run_1"]
    place.batch("--idea", str(ideas / "00.json"), "--idea", str(ideas / "00.json"), "--again")
    assert place.states()["good.2"] is DONE


def test_order_and_dependencies(place: BatchPlace) -> None:
    """One at a time: priority first; what waits for a failed idea is not run, and says so."""
    ideas = place.write_ideas(*(idea_content(name) for name in ("low", "high", "later")))
    bad = place.write_ideas(idea_content("bad", exit=2, error="no template `x`"))
    contents = {path.name: json.loads(path.read_text()) for path in ideas.iterdir()}
    assert bad == ideas
    by_name = {content["Name"]: content for content in contents.values()}
    read = {name: parse_idea(content, name) for name, content in by_name.items()}
    low = {**idea_content("low"), "Double": by_name["bad"]["Double"] | {"exit": 0}}
    place.queue.add([parse_idea(low, "low")])
    place.queue.add([read["high"]], priority=5)
    place.queue.add([read["bad"]], priority=1)
    place.queue.add([read["later"]], after=["high"])
    never = parse_idea(idea_content("never"), "never")
    place.queue.add([never], after=["bad"], priority=99)
    code, printed = place.batch("--ideas", str(ideas / "01.json"), "--workers", "1")
    assert code == 0, printed
    order = [row[2] for row in place.trace() if row[4] == "began"]
    assert order == ["high", "bad", "low", "later"]
    assert place.states()["never"] is QueueState.QUEUED
    assert place.queue.find("bad").state.reason == "no template `x`"
    assert "after bad" in status(place.runs)


def test_cancel_kills_the_tree_and_retry_goes_on(place: BatchPlace) -> None:
    """Cancelling from outside ends launcher and all; a retry makes only what was not finished."""
    gate = place.folder / "gate"
    long = idea_content("long", runs=3, until={"run_2": str(gate)})
    ideas = place.write_ideas(long, idea_content("short"))
    batch = place.start("--ideas", str(ideas), "--workers", "2")
    wait_until(lambda: "long/run_1" in place.ended(), what="the first run")
    worker = next(row[1] for row in place.trace() if row[2] == "long")
    place.queue.cancel("long")
    printed, _ = batch.communicate(timeout=PATIENCE_S)
    assert batch.returncode == 1, printed
    assert place.states() == {"long": QueueState.CANCELLED, "short": DONE}
    assert not Path(f"/proc/{worker}").exists()
    gate.touch()
    place.queue.retry("long")
    assert place.batch("--ideas", str(ideas))[0] == 0
    assert place.ended() == ["long/run_1", "long/run_2", "long/run_3", "short/run_1"]


def test_pause_and_resume(place: BatchPlace) -> None:
    """Paused at once, what runs is stopped and nothing starts; resumed, it goes on, never twice."""
    ideas = place.write_ideas(*(idea_content(f"i{n}", runs=3, seconds=0.4) for n in range(3)))
    batch = place.start("--ideas", str(ideas), "--workers", "2")
    wait_until(lambda: len(place.ended()) >= 2, what="two runs")
    place.queue.pause(now=True)
    wait_until(lambda: QueueState.RUNNING not in place.states().values(), what="all stopped")
    assert "paused" in status(place.runs)
    before = place.ended()
    time.sleep(1.0)  # in which the batch looks ten times for what it may start
    assert place.ended() == before
    place.queue.resume()
    printed, _ = batch.communicate(timeout=PATIENCE_S)
    assert batch.returncode == 0, printed
    assert place.ended() == sorted(f"i{n}/run_{r}" for n in range(3) for r in (1, 2, 3))


def test_a_person_in_the_loop(place: BatchPlace) -> None:
    """An idea that waits frees its place, the batch exits 3; a decision lets the next one go on."""
    ideas = place.write_ideas(idea_content("asks", wait_at=1, runs=2), idea_content("other"))
    code, printed = place.batch("--ideas", str(ideas), "--workers", "1")
    assert code == 3, printed
    assert place.states() == {"asks": QueueState.WAITING, "other": DONE}
    assert place.queue.find("asks").state.reason == "a person decides on the edit"
    assert place.batch("--ideas", str(ideas))[0] == 3
    inbox = Path(str(place.queue.find("asks").state.run_dir)) / "inbox"
    (inbox / "decision.json").write_text("{}")
    assert place.batch("--ideas", str(ideas))[0] == 0
    assert place.ended() == ["asks/run_1", "asks/run_2", "other/run_1"]


def test_a_launcher_killed_is_started_again(place: BatchPlace) -> None:
    """A launcher that dies of -9 is started again on its folder, and finishes; nothing twice."""
    ideas = place.write_ideas(idea_content("dies", runs=3, die_after=2))
    code, printed = place.batch("--ideas", str(ideas))
    assert code == 0, printed
    assert "killed from outside by SIGKILL" in printed
    assert place.ended() == ["dies/run_1", "dies/run_2", "dies/run_3"]
    assert place.queue.find("dies").state.attempts == 2


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_interrupted_batch_is_resumable(place: BatchPlace, interruption: signal.Signals) -> None:
    """Ctrl-C stops launchers, exits 130 and leaves the ideas queued; nothing runs on."""
    ideas = place.write_ideas(idea_content("one", runs=2, until={"run_2": "/never"}))
    batch = place.start("--ideas", str(ideas))
    wait_until(place.ended, what="the first run")
    batch.send_signal(interruption)
    printed, _ = batch.communicate(timeout=PATIENCE_S)
    assert batch.returncode == 130, printed
    assert place.states() == {"one": QueueState.QUEUED}
    assert left_running(place.folder) == []


@pytest.mark.slow
def test_eight_ideas_over_two_gpus(place: BatchPlace) -> None:
    """Slots are busy at least 90% of the time while work waits, and never lent twice.

    Work waits once the first run of each idea has begun: until then launchers start.
    """
    double = {"runs": 3, "seconds": 0.7, "think_s": 0.3, "gpus": 1, "devices": ["0", "1"]}
    ideas = place.write_ideas(*(idea_content(f"i{n}", **double) for n in range(8)))
    code, printed = place.batch("--ideas", str(ideas), "--workers", "8")
    assert code == 0, printed
    spans = _spans(place)
    assert len(spans) == 24
    for gpu in ("0", "1"):
        used = sorted(span for span in spans if span[2] == gpu)
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(used))
    last_start = max(span[0] for span in spans)
    begin = max(when for when, _, _, run, word, _ in place.trace() if (run, word) == FIRST)
    busy = sum(max(0.0, min(span[1], last_start) - max(span[0], begin)) for span in spans)
    assert busy / (2 * (last_start - begin)) >= 0.90
    assert "8 done" in status(place.runs)


def _spans(place: BatchPlace) -> list[tuple[float, float, str]]:
    open_since: dict[tuple[str, str], float] = {}
    spans = []
    for when, _, idea, run, word, gpus in place.trace():
        if word == "began":
            open_since[idea, run] = when
        else:
            spans.append((open_since.pop((idea, run)), when, gpus[0]))
    return spans


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(place: BatchPlace) -> None:
    """When a batch is killed with -9, launchers end with it; the next goes on, nothing twice."""
    double = {"runs": 3, "seconds": 0.5, "gpus": 1, "devices": ["0", "1"]}
    ideas = place.write_ideas(*(idea_content(f"i{n}", **double) for n in range(8)))
    batch = place.start("--ideas", str(ideas), "--workers", "3")
    wait_until(lambda: len(place.ended()) >= 4, what="four runs")
    batch.kill()
    batch.communicate()
    assert left_running(place.folder) == []
    assert "its worker is gone" in status(place.runs)
    folders = {item.state.run_dir for item in place.queue.items() if item.state.run_dir}
    code, printed = place.batch("--ideas", str(ideas), "--workers", "3")
    assert code == 0, printed
    assert folders <= {item.state.run_dir for item in place.queue.items()}
    assert len(list(place.runs.glob("*_i*"))) == 8
    assert place.ended() == sorted(f"i{n}/run_{r}" for n in range(8) for r in (1, 2, 3))


@pytest.mark.slow
def test_two_batches_share_one_queue(place: BatchPlace) -> None:
    """Two workers on one queue, as on two hosts: each idea is run by one of them, once."""
    ideas = place.write_ideas(*(idea_content(f"i{n}", seconds=0.3) for n in range(10)))
    both = [place.start("--ideas", str(ideas), "--workers", "2") for _ in range(2)]
    for batch in both:
        printed, _ = batch.communicate(timeout=PATIENCE_S)
        assert batch.returncode == 0, printed
    assert place.ended() == sorted(f"i{n}/run_1" for n in range(10))
    assert {item.state.attempts for item in place.queue.items()} == {1}


def test_ideas_are_added_while_it_runs(place: BatchPlace) -> None:
    """A batch takes up what is added to its queue while it runs."""
    gate = place.folder / "gate"
    ideas = place.write_ideas(idea_content("one", until={"run_1": str(gate)}))
    double = json.loads((ideas / "00.json").read_text())["Double"]
    batch = place.start("--ideas", str(ideas), "--workers", "1")
    wait_until(place.trace, what="the start")
    place.queue.add([make_idea("late", **double)])
    gate.touch()
    printed, _ = batch.communicate(timeout=PATIENCE_S)
    assert batch.returncode == 0, printed
    assert place.states() == {"one": DONE, "late": DONE}


# --- disks ---------------------------------------------------------------------------------------


def _inside_small_disk(tmp_path: Path, script: str, mount: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script where RUNS is a file system of its own, in a private namespace."""
    (tmp_path / "disk").mkdir()
    batch = f"{sys.executable} {PROJECT}/tests/queue_double/batch.py {PROJECT}/tests/queue_double"
    setup = f"set -e; RUNS={tmp_path}/disk; BATCH='{batch} {tmp_path}/disk'; {mount}; set +e; "
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", setup + script],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_full_disk(place: BatchPlace, tmp_path: Path) -> None:
    """On a full disk nothing is half added; with room again, the same command runs everything."""
    ideas = place.write_ideas(idea_content("one"), idea_content("two"))
    script = f"""
        head -c 2M /dev/zero > $RUNS/filler
        $BATCH --ideas {ideas}; echo exit $?; ls -A $RUNS/.queue
        rm $RUNS/filler
        $BATCH --ideas {ideas}; echo exit $?
    """
    done = _inside_small_disk(tmp_path, script, "mount -t tmpfs -o size=1m none $RUNS")
    assert "no space left on device; nothing was added" in done.stderr
    assert "Traceback" not in done.stderr
    assert "exit 2\nexit 0" not in done.stdout
    assert done.stdout.index("exit 2") < done.stdout.index("2 done") < done.stdout.index("exit 0")


def test_read_only_runs_folder(place: BatchPlace, tmp_path: Path) -> None:
    """A runs folder that cannot be written is said in plain words; exit 2."""
    ideas = place.write_ideas(idea_content("one"))
    done = _inside_small_disk(
        tmp_path, f"$BATCH --ideas {ideas}; echo exit $?", "mount -t tmpfs -o ro none $RUNS"
    )
    assert done.stdout.endswith("exit 2\n")
    assert "read-only file system; nothing was added" in done.stderr
    assert "Traceback" not in done.stderr


# --- what a person sees --------------------------------------------------------------------------


@pytest.mark.slow
def test_live_view_and_plain_lines(place: BatchPlace) -> None:
    """A terminal gets a table that renews itself; a file gets lines without control characters."""
    ideas = place.write_ideas(idea_content("one", runs=3, seconds=0.6), idea_content("two"))
    code, printed = place.batch("--ideas", str(ideas / "01.json"))
    assert code == 0
    assert "\x1b" not in printed
    assert "two: done" in printed
    ours, theirs = pty.openpty()
    command = [sys.executable, str(DOUBLE / "batch.py"), str(DOUBLE), str(place.runs)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm", "COLUMNS": "120"}
    batch = subprocess.Popen(
        [*command, "--ideas", str(ideas)], env=environment, stdout=theirs, stdin=theirs
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the batch has ended
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert batch.wait(PATIENCE_S) == 0
    text = shown.decode()
    assert "GPU-hours" in text
    assert "of 3" in text
    assert "\x1b[" in text


def test_status_tells_runs_cost_and_time(place: BatchPlace) -> None:
    """Status reads runs, cost and the state from the files, for the folder and for one run."""
    ideas = place.write_ideas(idea_content("one", runs=3), idea_content("bad", exit=1, error="x"))
    place.batch("--ideas", str(ideas))
    text = status(place.runs)
    assert "1 done, 1 failed" in text
    row = next(line for line in text.splitlines() if line.startswith("one"))
    assert row.split()[1:6] == ["done", "3", "of", "3", "$0.75"]
    single = status(Path(str(place.queue.find("one").state.run_dir)))
    assert "runs        3 of 3" in single
    with pytest.raises(InputError, match="there is no folder"):
        status(place.folder / "nowhere")
