"""The review of folders in every state, empty to damaged; its export, and words for clicks."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest

from ai_scientist import review
from ai_scientist.errors import InputError, SetupError
from ai_scientist.inputs.ideas import parse_idea
from ai_scientist.queue.store import Queue
from ai_scientist.run_folder.workspace import RunFolder
from tests.review_folders import make_idea, make_summary, visited, write, write_lines


def test_an_empty_place_says_so(tmp_path: Path) -> None:
    """No runs yet: the list says what makes the first, and there is nothing to export."""
    with visited(tmp_path) as client:
        assert "No idea has been run yet" in client.get("/").text
    with pytest.raises(InputError, match="holds no run folder"):
        review.export(tmp_path, tmp_path / "x.html")


def test_damaged_folders_still_open(tmp_path: Path) -> None:
    """A torn journal, broken JSON and missing files leave pages that say what is wrong."""
    folder = make_idea(tmp_path, git=False)
    (folder / "events.jsonl").write_text('{"key": "a"}\nnot json\n{"key": "b", "result": {}}\n')
    (folder / "report.json").write_text("[1, 2")
    (folder / "run_2" / "final_info.json").write_text('{"digits": {"means"')
    (folder / "run_3" / "run.json").write_text("{}")
    (folder / "calls.jsonl").write_text('{"purpose": "plan"}\ngarbage\n[1]\n{"cost_usd": "x"}\n')
    (folder / "inbox" / "x.json").write_text("[]")
    (folder / "idea.json").unlink()
    os.mkfifo(folder / "idea.json")
    with visited(tmp_path) as client:
        base = f"/idea/{folder.name}"
        for page in ("", "/claims", "/science", "/calls", "/call/1", "/files", "/run/run_1"):
            assert client.get(base + page).status_code == 200, page
        assert "the journal is damaged here" in client.get(base).text
        assert client.get("/").status_code == 200
        assert client.get("/many").status_code == 200


@pytest.mark.parametrize("name", ["notes.txt", "run_1/final_info.json", "latex", "calls.jsonl"])
def test_a_folder_with_links_out_of_it_is_not_opened(tmp_path: Path, name: str) -> None:
    """A link in place of a file of the study shows nothing of what it names."""
    folder = make_idea(tmp_path / "runs", git=False, runs=1)
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "template.tex").write_text("a secret")
    if (folder / name).is_dir():
        shutil.rmtree(folder / name)
        (folder / name).symlink_to(secret)
    else:
        (folder / name).unlink()
        (folder / name).symlink_to(secret / "template.tex")
    with pytest.raises(InputError, match=f"its {name} is a link"):
        review.text(folder)
    with pytest.raises(InputError, match="is a link"):
        review.export(folder, tmp_path / "x.html")
    make_summary(folder.parent, 1)
    assert review.export(folder.parent, tmp_path / "x.html") == 0
    assert "a secret" not in (tmp_path / "x.html").read_text()


def test_a_single_run_folder_can_be_served(tmp_path: Path) -> None:
    """Pointed at one run folder, the review shows that one and not its neighbors."""
    one = make_idea(tmp_path, git=False, runs=1)
    other = make_summary(tmp_path, 5)
    with visited(one) as client:
        assert "The 5th idea" not in client.get("/").text
        assert client.get(f"/idea/{one.name}").status_code == 200
        assert client.get(f"/idea/{other.name}").status_code == 404


def test_the_list_follows_what_happens(tmp_path: Path) -> None:
    """A held folder is running, a waiting one waits, and a finished report changes the row."""
    folder = make_idea(tmp_path, git=False, finished=False)
    with visited(tmp_path) as client:
        assert ">interrupted<" in client.get("/").text
        (folder / ".holder").write_text(f"{socket.gethostname()} {os.getpid()}\n")
        text = client.get("/").text
        assert ">running<" in text
        assert 'data-live="4"' in text
        staging = RunFolder(folder).clear_staging("run_4/execution_5")
        (staging / "stdout.log").write_text("step 12 <b>\n")
        page = client.get(f"/idea/{folder.name}").text
        assert "run_4.execution_5/stdout.log" in page
        assert "step 12 &lt;b&gt;" in page
        (folder / ".holder").unlink()
        write(folder / "report.json", {"stop": "waiting", "reason": "approve run_2/edit_1"})
        write_lines(folder / "events.jsonl", [{"note": "waiting", "step": "run_2/edit_1"}])
        assert ">waiting<" in client.get("/").text
        page = client.get(f"/idea/{folder.name}").text
        assert "Waiting for a person" in page
        assert 'name="step" value="run_2/edit_1"' in page


def test_queued_ideas_stand_in_the_list(tmp_path: Path) -> None:
    """What waits in the queue is a row before it has a folder, and the page then is live."""
    make_summary(tmp_path, 1)
    idea = parse_idea({"Name": "later", "Title": "An idea for later", "Experiment": "x"}, "here")
    Queue(tmp_path).add([idea])
    with visited(tmp_path) as client:
        text = client.get("/").text
    assert "An idea for later" in text
    assert ">queued<" in text
    assert 'data-live="4"' in text


def test_an_export_is_one_file_that_asks_for_nothing(tmp_path: Path) -> None:
    """A ten-run idea becomes one file under 5 MB: no address outside it, every anchor answered."""
    make_idea(tmp_path, name="big", runs=10, log_lines=20_000)
    file = tmp_path / "report.html"
    assert review.export(tmp_path, file) == 0
    text = file.read_text()
    assert len(text.encode()) < 5_000_000
    assert re.search(
        r"script-src 'sha256-[^']+'; style-src 'sha256-[^']+'", text.replace("&#39;", "'")
    )
    targets = set(re.findall(r'\bid="([^"]+)"', text))
    assert {one for one in re.findall(r'href="#([^"]+)"', text) if one not in targets} == set()
    assert set(re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', text)) <= {"https://example.org/"}
    assert "unchanged lines" in text
    assert "data:image/webp;base64," in text


def test_words_on_the_command_line_decide_too(tmp_path: Path) -> None:
    """The same file comes from the command line; unknown words and empty rejections are refused."""
    folder = make_idea(tmp_path, runs=1, git=False)
    path = review.decide(
        folder, "run_1/edit_1", "reject", "why not 0.1?", "ada", target="experiment.py:9"
    )
    stored = json.loads(path.read_text())
    assert (stored["about"], stored["target"]) == ("line", "experiment.py:9")
    assert json.loads(review.decide(folder, "writeup", "approve").read_text())["about"] == "writeup"
    for step, verdict, comment in (
        ("run_1/edit_1", "reject", " "),
        ("run_1/edit_1", "agree", ""),
        ("../../x", "approve", ""),
        ("run_1/../x", "approve", ""),
    ):
        with pytest.raises(InputError):
            review.decide(folder, step, verdict, comment)
    assert len(list((folder / "inbox").iterdir())) == 2
    shutil.rmtree(folder / "inbox")
    (folder / "inbox").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        review.decide(folder, "run_1", "approve")


def test_addresses_that_cannot_be_had_are_said_in_words(tmp_path: Path) -> None:
    """A taken port, a short token and a folder that is none end in one plain sentence."""
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SetupError, match="cannot listen"),
    ):
        review.serve(tmp_path, port=taken.getsockname()[1])
    with pytest.raises(InputError, match="shorter than 16"):
        review.serve(tmp_path, port=0, token="short")
    with pytest.raises(InputError, match="is no folder"):
        review.serve(tmp_path / "absent", port=0)
