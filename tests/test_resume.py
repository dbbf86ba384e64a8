"""A killed launcher loses nothing and pays nothing twice; budgets stop before the call."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.digits_runs import (
    NEW,
    end_state,
    finish,
    kill_group,
    launcher,
    left_running,
    paid_calls,
)
from tests.waiting import PATIENCE_S

CUTS = 26
"""In each of two folders."""


def lines_in(journal: Path) -> int:
    """Complete lines of a journal that may not exist yet."""
    try:
        return journal.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def kill_at_line(process: subprocess.Popen[str], journal: Path, line: int) -> bool:
    """Kill as soon as the journal holds that many lines; False when the launcher ended before."""
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None:
        if lines_in(journal) >= line:
            kill_group(process)
            return True
        assert time.monotonic() < end, f"the journal does not get to line {line}"
        time.sleep(0.004)
    return False


def kill_after(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill after some time; False when the launcher ended before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill_group(process)
        return True
    return False


@pytest.mark.slow
@pytest.mark.timeout(900)  # it starts a launcher thirty times
@pytest.mark.parametrize("first", [1, 2])
def test_wherever_it_is_killed_the_end_is_the_same(
    first: int, tmp_path: Path, finished_digits: Path, fresh_cache: Path
) -> None:
    """SIGKILL of the whole group after every second journal line, and at random times between."""
    folder = tmp_path / "cut"
    journal = folder / "events.jsonl"
    command = (*NEW, "--no-writeup", f"--run-dir={folder}")
    moments = random.Random(first)

    def cut_at_random() -> bool:
        with launcher(*command, cache=fresh_cache) as process:
            return kill_after(process, moments.uniform(0.1, 1.5))

    line, cuts, ended = first, 0, False
    while not ended:
        if cuts % 4 == 3:
            cuts += cut_at_random()
        with launcher(*command, cache=fresh_cache) as process:
            line = max(line, lines_in(journal) + 1)
            ended = not kill_at_line(process, journal, line)
            cuts += not ended
            line += 2
    while cuts < CUTS:  # lines that come faster than a kill are cut together
        cuts += cut_at_random()
    code, errors = finish(f"--resume={folder}", cache=fresh_cache)
    assert code == 0, errors
    assert left_running(folder) == []
    assert end_state(folder) == end_state(finished_digits)


def ask_for_a_paper(folder: Path) -> None:
    """Change the stored setting; to be done before each start, since recovery undoes it."""
    settings = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps(settings | {"writeup": True}))


def kill_while_it_writes(
    folder: Path, line: int, *, also: Callable[[], bool] = lambda: True
) -> None:
    """Resume with a paper, and kill at a journal line once `also` holds too."""
    ask_for_a_paper(folder)
    with launcher(f"--resume={folder}") as process:
        while not (lines_in(folder / "events.jsonl") >= line and also()):
            assert process.poll() is None
            time.sleep(0.004)
        kill_group(process)


@pytest.mark.slow
def test_killed_while_it_writes_the_paper_is_the_same(
    tmp_path: Path, finished_digits: Path
) -> None:
    """SIGKILL between sections, while TeX runs and after it: same paper, each section paid once."""
    whole, cut = (Path(shutil.copytree(finished_digits, tmp_path / n)) for n in ("whole", "cut"))
    ask_for_a_paper(whole)
    code, errors = finish(f"--resume={whole}")
    assert code == 0, errors
    before = lines_in(finished_digits / "events.jsonl")
    after = lines_in(whole / "events.jsonl")
    assert after - before > 8
    kill_while_it_writes(cut, before + 1)
    kill_while_it_writes(cut, after - 2)
    copies = cut / ".staging" / "work"
    kill_while_it_writes(cut, after - 2, also=lambda: any(copies.glob("*/source/build")))
    assert lines_in(cut / "events.jsonl") == after - 2
    kill_while_it_writes(cut, after - 1)
    ask_for_a_paper(cut)
    code, errors = finish(f"--resume={cut}")
    assert code == 0, errors
    assert left_running(cut) == []
    assert end_state(cut) == end_state(whole)
    for section in sorted((whole / "latex" / "sections").iterdir()):
        assert (cut / "latex" / "sections" / section.name).read_bytes() == section.read_bytes()
    assert (cut / "label_smoothing_digits.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_a_second_launcher_is_refused_and_the_first_goes_on(
    tmp_path: Path, finished_digits: Path
) -> None:
    """Two launchers on one folder: the second ends with 2, and harms nothing."""
    folder = tmp_path / "shared"
    with launcher(*NEW, "--no-writeup", f"--run-dir={folder}") as first:
        while lines_in(folder / "events.jsonl") < 3:
            assert first.poll() is None
            time.sleep(0.02)
        code, errors = finish(f"--resume={folder}")
        assert code == 2
        assert errors.startswith("error: ")
        assert f"in use by another launcher (process {first.pid} on" in errors
        assert first.wait(PATIENCE_S) == 0
    assert end_state(folder) == end_state(finished_digits)


@pytest.mark.slow
def test_a_spent_budget_stops_before_the_call_and_resumes_with_a_larger_one(
    tmp_path: Path, finished_digits: Path
) -> None:
    """The cap on prompt tokens is kept, told, and raised by --resume; nothing is paid again."""
    folder = tmp_path / "poor"
    cap = 9000
    code, errors = finish(*NEW, "--no-writeup", f"--run-dir={folder}", f"--max-prompt-tokens={cap}")
    assert code == 1
    assert "the cap is 9000" in errors
    assert "--max-prompt-tokens" in errors.splitlines()[-1]
    report = json.loads((folder / "report.json").read_text())
    assert report["stop"] == "budget spent"
    assert 0 < report["prompt_tokens"] <= cap
    paid = paid_calls(folder)
    assert 0 < len(paid) < len(paid_calls(finished_digits))
    code, errors = finish(f"--resume={folder}", "--max-prompt-tokens=1000000")
    assert code == 0, errors
    assert set(paid) < set(paid_calls(folder))
    assert end_state(folder) == end_state(finished_digits)
