from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ai_scientist.execution import lines_ran

RECORDER = Path(lines_ran.__file__).read_text()
SCRIPT = """\
import os
import sys
import threading
import time


def used(value):
    if value > 5:
        return 9
    return value


def in_a_thread():
    time.sleep(0)


worker = threading.Thread(target=in_a_thread)
worker.start()
worker.join()
if os.fork() == 0:
    forked = 1
    os._exit(0)
os.wait()
used(2)
if len(sys.argv) > 1:
    try:
        import coverage
    except ImportError:
        print("no coverage here:", sys.argv, __name__, os.path.basename(__file__))
"""


def line(text: str) -> int:
    """The number of the line of SCRIPT that holds `text`."""
    return next(n for n, one in enumerate(SCRIPT.splitlines(), 1) if text in one)


def record(
    folder: Path, script: str, *arguments: str, recorder: str = RECORDER
) -> tuple[subprocess.CompletedProcess[str], bytes]:
    """Run a script under the recorder, in an interpreter without any package."""
    (folder / "experiment.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-S", "-c", recorder, "record", "experiment.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, (folder / "record").read_bytes()


def test_lines_are_recorded_where_no_coverage_is_installed(tmp_path: Path) -> None:
    """Branches, threads and forked children: what ran is there, and what did not is not."""
    done, found = record(tmp_path, SCRIPT, "--out_dir=run_1")
    said = "no coverage here: ['experiment.py', '--out_dir=run_1'] __main__ experiment.py\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
    ran = lines_ran.lines_of(found)
    assert ran is not None
    for text in ("if value > 5", "return value", "time.sleep(0)", "forked = 1", "used(2)"):
        assert line(text) in ran, text
    assert line("return 9") not in ran


def test_imports_hide_no_line(tmp_path: Path) -> None:
    """Lines after an import, after a failed one and in a function that imports are recorded."""
    script = (
        "import json\n"
        "def load():\n"
        "    import decimal\n"
        "    return decimal\n"
        "try:\n"
        "    import nowhere\n"
        "except ImportError:\n"
        "    load()\n"
        "if not json:\n"
        "    never = 1\n"
        "last = 1\n"
    )
    done, found = record(tmp_path, script)
    assert (done.returncode, done.stderr) == (0, "")
    assert lines_ran.lines_of(found) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]


def test_a_script_ends_as_it_would_without(tmp_path: Path) -> None:
    """Its exit status and its traceback are its own; what ran before is recorded."""
    done, found = record(tmp_path, "x = 1\nraise SystemExit(3)\ny = 2\n")
    assert (done.returncode, lines_ran.lines_of(found)) == (3, [1, 2])
    done, found = record(tmp_path, "import os\nos.kill(os.getpid(), 9)\ny = 2\n")
    assert (done.returncode, lines_ran.lines_of(found)) == (-9, [1, 2])
    done, _ = record(tmp_path, "x = 1\nundefined\n")
    assert 'experiment.py", line 2, in <module>\n    undefined\n' in done.stderr


def test_a_record_that_was_cut_says_nothing(tmp_path: Path) -> None:
    """After its budget the script runs on at full speed, and nobody knows which lines ran."""
    short = RECORDER.replace("BUDGET = 10_000_000", "BUDGET = 100")
    done, found = record(tmp_path, "for i in range(300):\n    j = i\nprint(j)\n", recorder=short)
    assert (done.returncode, done.stdout) == (0, "299\n")
    assert lines_ran.lines_of(found) is None


@pytest.mark.parametrize("damaged", [b"", b"\0\1\1", b"\7"])
def test_a_damaged_record_says_nothing(damaged: bytes) -> None:
    """What is no record names no line."""
    assert lines_ran.lines_of(damaged) is None
