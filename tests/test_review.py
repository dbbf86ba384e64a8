"""The review's pages over real HTTP: what they show, and what nobody can make them do."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from ai_scientist import review
from ai_scientist.errors import InputError
from ai_scientist.run_folder.study import read_study
from tests.review_folders import (
    EVIL,
    LOG_LINE,
    make_foreign,
    make_hostile,
    make_idea,
    make_sae,
    make_summary,
    visit,
    visited,
    write_lines,
)


class Scripts(HTMLParser):
    """Collects all that could run in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one tag."""
        values = {name: value or "" for name, value in attrs}
        if tag == "script" and not values.get("src", "").startswith("/static/"):
            self.found.append(f"script {values}")
        if tag in ("iframe", "object", "embed", "style", "base"):
            self.found.append(tag)
        for name, value in values.items():
            address = value.replace("\t", "").replace("\n", "").strip().lower()
            if name.startswith("on") or name == "style" or address.startswith("javascript:"):
                self.found.append(f"{tag} {name}={value}")


def scripts_in(html: str) -> list[str]:
    """Return whatever in a page could run and is not ours."""
    parser = Scripts()
    parser.feed(html)
    return parser.found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: one of each kind, and a hostile one."""
    root = tmp_path_factory.mktemp("runs")
    make_idea(root)
    make_sae(root)
    make_foreign(root)
    for number in range(3):
        make_summary(root, number)
    make_hostile(root)
    return root


@pytest.fixture(scope="module")
def site(runs: Path) -> Iterator[httpx.Client]:
    """A client of a real server over the runs."""
    with visited(runs) as client:
        yield client


def idea(runs: Path, part: str) -> str:
    """Return the address of the idea whose folder name holds `part`."""
    return "/idea/" + next(path.name for path in runs.iterdir() if part in path.name)


def pages_of(base: str) -> list[str]:
    """Return the addresses of an idea's pages."""
    return [
        base,
        *(f"{base}/{page}" for page in ("claims", "science", "calls", "files", "run/run_1")),
        f"{base}/file/run_1/final_info.json",
    ]


def test_every_page_is_served_with_a_strict_policy_and_nothing_that_runs(
    site: httpx.Client, runs: Path
) -> None:
    """Every page of every kind of folder answers, and holds no script or handler of its own."""
    addresses = ["/", "/many", "/compare"]
    for part in ("label_smoothing", "ratio_ranked", "adaptive", "hostile", "idea_0001"):
        addresses += [
            one for one in pages_of(idea(runs, part)) if "0001" not in one or "run" not in one
        ]
    base = idea(runs, "label_smoothing")
    addresses += [
        f"{base}/call/1",
        f"{base}/attempt/run_2/edit_1",
        f"{base}/evidence?run=run_1&metric=digits/test_accuracy",
        f"{idea(runs, 'ratio_ranked')}/latents/run_1",
        f"/compare?a={base[6:]}/run_0&b={base[6:]}/run_2",
    ]
    for address in addresses:
        answer = site.get(address)
        assert answer.status_code == 200, (address, answer.text[-300:])
        assert scripts_in(answer.text) == [], address
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy, address
        assert "unsafe" not in policy, address
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_hostile_text_is_shown_as_text(site: httpx.Client, runs: Path) -> None:
    """A title, a note, a log and code full of markup arrive as words."""
    base = idea(runs, "hostile")
    for address in (
        "/",
        base,
        f"{base}/claims",
        f"{base}/run/run_1",
        f"{base}/file/run_1/stderr.log",
    ):
        text = site.get(address).text
        assert "<script>alert(1)" not in text, address
        assert "onerror=alert(2)>" not in text.replace("&gt;", "x"), address
    assert "&lt;script&gt;alert(1)" in site.get(base).text


@pytest.mark.parametrize(
    "path",
    [
        "raw/../../../etc/passwd",
        "file/..%2f..%2f..%2fetc%2fpasswd",
        "file/%2e%2e/%2e%2e/etc/passwd",
        "file//etc/passwd",
        "file/outside.dat",
        "file/.git/config",
        "file/.git%2fconfig",
        "file/run_3/loop/../../x",
        "file/a%00b",
        "file/pipe.txt",
        "file/run_1",
        "raw/run_1/stdout.log",
        "run/..",
        "latents/..%2f..",
        "commit/--output=x",
        "commit/HEAD",
        "attempt/..%2f..%2fsettings",
        "call/0",
        "call/99999",
    ],
)
def test_nothing_outside_the_runs_can_be_read(site: httpx.Client, runs: Path, path: str) -> None:
    """Traversal, links out, hidden files, pipes and options in names answer 404 without content."""
    # httpx tidies paths; this sends them as they are.
    connection = http.client.HTTPConnection(site.base_url.host, site.base_url.port or 80)
    connection.request("GET", f"{idea(runs, 'hostile')}/{path}")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 404, text[:200]
    assert "root:" not in text
    assert "[core]" not in text


def test_other_folders_are_no_ideas(site: httpx.Client, runs: Path, tmp_path: Path) -> None:
    """A link beside the run folders, a parent folder and a hidden one are not opened."""
    (runs / "linked").symlink_to("/etc")
    try:
        for name in ("linked", "..", "%2e%2e", ".", "%2f", ".git", quote("../" + tmp_path.name)):
            assert site.get(f"/idea/{name}/files").status_code == 404, name
    finally:
        (runs / "linked").unlink()


def test_a_huge_log_is_opened_at_a_line_and_searched(site: httpx.Client, runs: Path) -> None:
    """Of a 50 MB log a page shows a window, and the search finds its last line."""
    address = f"{idea(runs, 'hostile')}/file/run_1/stdout.log"
    text = site.get(address, params={"q": LOG_LINE}).text
    assert len(text) < 400_000
    found = re.search(r'id="L(\d+)" class="hit"', text)
    assert found
    assert found[1] == str(50 * 10_486 + 1)
    assert len(site.get(f"{idea(runs, 'hostile')}/run/run_1").text) < 600_000


def test_binary_files_and_scripted_pictures_stay_harmless(site: httpx.Client, runs: Path) -> None:
    """A binary log is named, not shown; an SVG with a script is served in a sandbox."""
    base = idea(runs, "hostile")
    assert "binary file" in site.get(f"{base}/file/run_2/blob.log").text
    picture = site.get(f"{base}/raw/drawn.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in picture.headers["content-security-policy"]
    assert "default-src 'none'" in picture.headers["content-security-policy"]
    assert '<img src="' in site.get(base).text


def test_the_list_is_filtered_sorted_and_searched(site: httpx.Client) -> None:
    """The list answers to words, state and column, with or without JavaScript."""
    assert "Ratio-ranked" in site.get("/", params={"q": "ratio"}).text
    assert "Label smoothing" not in site.get("/", params={"q": "ratio"}).text
    only = site.get("/", params={"state": "read-only"}).text
    assert "Adaptive smoothing" in only
    assert "Ratio-ranked" not in only
    up = re.findall(r"(\d+) / 2 / 1", site.get("/", params={"sort": "runs", "down": 0}).text)
    assert up == sorted(up, key=int)
    assert site.get("/", params={"sort": "no such column", "at": 99}).status_code == 200
    assert "test_loss: change against run_0" in site.get("/many?metric=test_loss").text


def test_a_number_leads_to_file_journal_commit_and_log_line(site: httpx.Client, runs: Path) -> None:
    """A number of the notes links to its evidence, and that to the lines that hold it."""
    base = idea(runs, "label_smoothing")
    claims = site.get(f"{base}/claims").text
    link = re.search(r'href="([^"]*evidence\?run=run_1[^"]*test_accuracy)"', claims)
    assert link
    evidence = site.get(link[1].replace("&amp;", "&")).text
    log = re.search(r'href="([^"#]*run_1/stdout\.log[^"#]*)#(L\d+)"', evidence)
    assert log
    assert f'id="{log[2]}" class="hit"' in site.get(log[1].replace("&amp;", "&")).text
    for place in ("run_1/final_info.json:", "events.jsonl:", "/commit/"):
        assert place in evidence
    commit = re.search(r'href="([^"]*/commit/[0-9a-f]+)"', evidence)
    assert commit
    assert "run_1: smoothing" in site.get(commit[1]).text


def test_a_longer_number_is_no_evidence_for_a_shorter_one(tmp_path: Path) -> None:
    """A line whose number only begins like the value is not shown as holding it."""
    folder = make_idea(tmp_path, git=False, runs=1)
    value = read_study(folder).runs["run_1"].results.metrics["digits/test_accuracy"]
    (folder / "run_1" / "stderr.log").write_text(f"other {value:.3f}1\nrounded {value:.3f}\n")
    with visited(folder) as client:
        where = {"run": "run_1", "metric": "digits/test_accuracy"}
        text = client.get(f"/idea/{folder.name}/evidence", params=where).text
    assert "rounded" in text
    assert "other" not in text


def test_a_volatile_metric_is_not_compared(tmp_path: Path) -> None:
    """A metric that the template calls volatile is shown without a delta."""
    folder = make_idea(tmp_path, git=False, runs=1)
    with (folder / "template.toml").open("a") as file:
        file.write("\n[metrics.seconds]\nvolatile = true\n")
    for number in (0, 1):
        path = folder / f"run_{number}" / "final_info.json"
        content = json.loads(path.read_text())
        content["digits"]["means"]["seconds"] = 0.5 + number
        path.write_text(json.dumps(content))
    text = review.text(folder)
    assert "seconds = 1.500\n" in text
    assert "test_accuracy = " in text


def test_pictures_among_the_files_are_opened_as_pictures(site: httpx.Client, runs: Path) -> None:
    """The list of files leads to a picture's or a PDF's bytes, and to other files as text."""
    text = site.get(f"{idea(runs, 'label_smoothing')}/files").text
    for name, page in (("test_accuracy.png", "raw"), (".pdf", "raw"), ("notes.txt", "file")):
        assert re.search(rf'href="[^"]*/{page}/[^"]*{name}"', text)


def test_an_unsupported_number_stands_out(site: httpx.Client, runs: Path) -> None:
    """A number that no run holds is marked in the paper's line, with the finding beside it."""
    text = site.get(f"{idea(runs, 'label_smoothing')}/claims").text
    assert re.search(r'class="num unsupported"[^>]*>0\.9971<', text)
    assert "no stored value" in text


def test_a_folder_of_another_system_is_read_only(site: httpx.Client, runs: Path) -> None:
    """An AI-Scientist folder opens with runs and diffs, offers no form, takes no decision."""
    base = idea(runs, "adaptive")
    text = site.get(base).text
    assert "shown read-only" in text
    assert "<form" not in text
    for finding in ("identical metrics", "unsupported number", "run not in plots"):
        assert finding in text
    assert re.search(r'class="num unsupported"[^>]*>0\.9871<', site.get(f"{base}/claims").text)
    assert "smoothing: float" in re.sub(r"<[^>]+>", "", site.get(f"{base}/run/run_2").text)
    with pytest.raises(InputError, match="not made by this program"):
        review.decide(runs / base[6:], "run_1", "approve")
    assert not (runs / base[6:] / "inbox").exists()


def form_of(site: httpx.Client, address: str) -> dict[str, str]:
    """Return the hidden fields of a page's form."""
    text = site.get(address).text
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text))


def test_a_decision_is_one_file_in_the_inbox(site: httpx.Client, runs: Path) -> None:
    """A rejection from the page is written as the contract says, and shown on the page."""
    base = idea(runs, "label_smoothing")
    fields = form_of(site, f"{base}/attempt/run_2/edit_1")
    words = "The default is overridden; set it at the call site. " + EVIL
    answer = site.post(
        f"{base}/decide",
        data={**fields, "about": "edit", "decision": "reject", "comment": words, "user": "ada"},
    )
    assert answer.status_code == 303
    inbox = runs / base[6:] / "inbox"
    (path,) = inbox.glob("*.json")
    assert re.fullmatch(r"\d{8}T\d{6}\.\d{6}Z_run_2\.edit_1\.json", path.name)
    stored = json.loads(path.read_text())
    assert {**stored, "time": ""} == {
        "decision": "reject",
        "about": "edit",
        "step": "run_2/edit_1",
        "target": "",
        "comment": words,
        "user": "ada",
        "time": "",
    }
    page = site.get(answer.headers["location"]).text
    assert "The default is overridden" in page
    assert "in the inbox" in page
    assert scripts_in(page) == []
    write_lines(
        runs / base[6:] / "events.jsonl",
        [{"key": "run_2/edit_1/decision", "result": {"decision": "reject", "file": path.name}}],
    )
    assert "taken up" in site.get(f"{base}/attempt/run_2/edit_1").text


def test_forms_of_other_sites_are_refused(site: httpx.Client, runs: Path) -> None:
    """Without the page's token, with another origin or host name, nothing is written."""
    base = idea(runs, "ratio_ranked")
    fields = {**form_of(site, base), "decision": "approve"}
    inbox = runs / base[6:] / "inbox"
    assert site.post(f"{base}/decide", data={**fields, "csrf": "x" * 64}).status_code == 403
    bad = site.post(f"{base}/decide", data=fields, headers={"origin": "https://evil.example"})
    assert bad.status_code == 403
    with visit(str(site.base_url)) as alone:
        assert alone.post(f"{base}/decide", data=fields).status_code == 403
    assert site.get("/", headers={"host": "evil.example"}).status_code == 421
    assert list(inbox.iterdir()) == []
    assert site.post(f"{base}/decide", data=fields).status_code == 303
    elsewhere = site.post(f"{base}/decide", data={**fields, "back": "https://evil.example/"})
    assert elsewhere.headers["location"].startswith(base)


def test_a_token_is_asked_for(runs: Path) -> None:
    """With a token nothing is shown before it was given once; then a cookie stands for it."""
    token = "a-token-of-some-length"
    with visited(runs, token) as client:
        assert client.get("/").status_code == 401
        assert client.get("/static/review.css").status_code == 401
        assert client.get("/", params={"token": "wrong"}).status_code == 401
        entered = client.get("/", params={"token": token})
        assert entered.status_code == 303
        assert "httponly" in entered.headers["set-cookie"].lower()
        assert client.get("/").status_code == 200


def test_the_text_view_tells_the_story_without_control_characters(runs: Path) -> None:
    """The terminal gets the same order and reasons, and no escape sequence of a model."""
    text = review.text(runs / idea(runs, "label_smoothing")[6:])
    order = [text.index(word) for word in ("run_0:", "run_2/edit_1: refused", "run_2:", "run_3:")]
    assert order == sorted(order)
    assert "confounded by hidden" in text
    hostile = runs / idea(runs, "hostile")[6:]
    assert "\x1b" not in review.text(hostile)
    with pytest.raises(InputError, match="is no run folder"):
        review.text(runs / "absent")
