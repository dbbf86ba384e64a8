"""A coder in a process of its own, and over real HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ai_scientist.coder.aider_coder import AiderCoder
from ai_scientist.model.client import ModelClient, Retries
from ai_scientist.model.recorded import RecordedServer, load_recording
from ai_scientist.records import Edit, EditStatus, Limits
from ai_scientist.testing import MemoryJournal
from tests.coder_replies import CODE, FILES, GOOD, MENDED, MISSING, PROMPTS, SECOND
from tests.doors import PROJECT


def test_aider_leaves_no_trace(tmp_path: Path) -> None:
    """A step in a fresh process prints nothing, writes nothing, and never loads litellm."""
    script = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
from pathlib import Path
from ai_scientist.coder.aider_coder import AiderCoder, warm_up
from ai_scientist.inputs.prompts import Prompts
from ai_scientist.testing import ScriptedModel
assert "aider" not in sys.modules and "jinja2" not in sys.modules
warm_up()
model = ScriptedModel([{MISSING + GOOD!r}, {MENDED!r}])
coder = AiderCoder(model, Prompts(Path({str(PROJECT)!r}, "prompts")))
edit = coder.edit(step="s", purpose="edit", instruction="go", files={FILES!r})
assert edit.status == "applied", edit
assert "litellm" not in sys.modules
"""
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    environment = {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "PATH": os.environ["PATH"],
        "TERM": "dumb",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path / "work",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path for path in tmp_path.rglob("*") if path.parent != tmp_path] == []


def connect(folder: Path, server: RecordedServer, journal: MemoryJournal) -> ModelClient:
    """Return a client of the recorded server that never waits."""
    return ModelClient(
        "recorded",
        journal=journal,
        calls=folder / "calls.jsonl",
        limits=Limits(),
        base_url=server.url,
        retries=Retries(tries=3),
        sleep=lambda seconds: None,
    )


def record(path: Path, *replies: dict[str, Any]) -> Path:
    """Write a recording of one edit step."""
    lines = [{"purpose": "edit", "step": "run_1/edit_1", **reply} for reply in replies]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def over_http(folder: Path, path: Path, journal: MemoryJournal) -> tuple[Edit, int]:
    """Make one edit through the real client and server; return it and the count of requests."""
    with (
        RecordedServer(load_recording(path)) as server,
        connect(folder, server, journal) as model,
    ):
        result = AiderCoder(model, PROMPTS).edit(
            step="run_1/edit_1", purpose="edit", instruction="Change the loss.", files=FILES
        )
        return result, server.requests


def test_a_repaired_edit_over_http(tmp_path: Path) -> None:
    """A miss, its explanation and the repair go over real HTTP; a new process asks nothing."""
    path = record(
        tmp_path / "r.jsonl",
        {"reply": "The loss fell.\n" + GOOD + MISSING, "expect": ["Change the loss"]},
        {"reply": MENDED, "expect": ["failed to exactly match", "1 other block was applied"]},
    )
    journal = MemoryJournal()
    first, requests = over_http(tmp_path, path, journal)
    assert (first.status, first.calls, requests) == (EditStatus.APPLIED, 2, 2)
    assert first.prose == "The loss fell."
    assert "return 2 * loss" in first.files["experiment.py"]
    again, requests = over_http(tmp_path, path, journal)
    assert (again, requests) == (first, 0)
    assert journal.lines == [], "the prompt of a new process is the same to the byte"


def test_faults_and_a_cut_off_reply_over_http(tmp_path: Path) -> None:
    """A busy server, a dropped line and a truncated reply cost tries and calls, no wrong edit."""
    path = record(
        tmp_path / "r.jsonl",
        {"call": 1, "status": 429, "headers": {"Retry-After": "0"}},
        {"call": 1, "drop": True},
        {"call": 1, "reply": GOOD, "finish_reason": "length"},
        {"call": 2, "reply": SECOND, "expect": ["cut off"]},
    )
    result, requests = over_http(tmp_path, path, MemoryJournal())
    assert (result.status, result.calls, requests) == (EditStatus.APPLIED, 2, 4)
    assert result.files["experiment.py"] == CODE.replace("loss, 3", "loss, 5")
