"""The review as a person uses it, in the Chromium of the system: clicking, reading, deciding."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ai_scientist import review
from tests.digits_runs import IDEA, finish
from tests.review_folders import (
    make_foreign,
    make_hostile,
    make_idea,
    make_sae,
    make_summary,
    served,
)
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.slow
expect.set_options(timeout=PATIENCE_S * 1000)

# Root needs --no-sandbox; the rest keeps the browser itself from asking the network for anything.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
]
WORDS = "That is too fast. Half of it."
CHANGE = """experiment.py
```python
<<<<<<< SEARCH
    learning_rate: float = 0.1
=======
    learning_rate: float = {}
>>>>>>> REPLACE
```"""
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
DIGITS = "20261120T201500Z_label_smoothing_digits"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    assert found, "install Debian's chromium: scripts/setup-chromium.sh"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of each kind."""
    root = tmp_path_factory.mktemp("runs")
    make_idea(root)
    make_sae(root)
    make_foreign(root)
    make_hostile(root)
    for number in range(5):
        make_summary(root, number)
    return root


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    """A real server."""
    with served(runs) as base:
        yield base


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of, or asked of the outside."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    """A page that writes down every console message, dialog, error and foreign request."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_S * 1000)
    opened = context.new_page()
    watch(opened, complaints)
    yield opened
    context.close()
    assert complaints == []


def watch(page: Page, complaints: list[str]) -> None:
    """Collect what a quiet, self-contained page never does."""
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    local = re.compile(r"http://127\.0\.0\.1:|file:|data:")
    page.on(
        "request",
        lambda asked: None if local.match(asked.url) else complaints.append(f"asked {asked.url}"),
    )


def test_from_the_list_to_the_log_line(page: Page, address: str) -> None:
    """Search, sort, open an idea, read a diff, and follow a number to the line of its log."""
    page.goto(address)
    page.keyboard.press("/")
    page.keyboard.type("idea_000")
    expect(page.locator("table.ideas tbody tr")).to_have_count(5)
    page.get_by_role("link", name="valid / refused / crashed").click()
    valid = [
        int(one.split("/")[0]) for one in page.locator("tbody td:nth-child(5)").all_inner_texts()
    ]
    assert valid == sorted(valid, reverse=True)
    page.goto(address)
    page.get_by_role("link", name="Label smoothing for a small network").click()
    expect(page.locator("ol.story > li").first).to_contain_text("run_0")
    expect(page.locator("li.attempt").first).to_contain_text("overridden at the call site")
    page.get_by_role("link", name="run_2", exact=True).click()
    changed = page.locator("table.diff").first.locator("tr.changed")
    expect(changed.first.locator("td.old")).to_contain_text("hidden: int = 72")
    expect(changed.first.locator("td.new")).to_contain_text("hidden: int = 80")
    expect(page.locator("figure.chart").first).to_be_visible()
    page.get_by_role("link", name="Claims").click()
    page.locator(".statements a.num.supported", has_text="0.9148").first.click()
    expect(page.locator("h2.big")).to_contain_text("test_accuracy")
    page.locator("table.hits a", has_text="run_2/stdout.log:").click()
    line = page.locator("tr.hit")
    expect(line).to_contain_text("test_accuracy 0.914778")
    expect(line).to_be_in_viewport()


def test_an_edit_is_rejected_with_the_keyboard(page: Page, address: str, runs: Path) -> None:
    """Tab and Enter are enough to reject an edit with a comment; the file holds what was typed."""
    page.goto(f"{address}/idea/{DIGITS}/attempt/run_2/edit_1")
    page.keyboard.press("c")
    page.keyboard.type("Set it where the function is called.")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Reject")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Recorded in inbox/")
    (path,) = (runs / DIGITS / "inbox").glob("*run_2.edit_1.json")
    stored = json.loads(path.read_text())
    assert stored["decision"] == "reject"
    assert stored["comment"] == "Set it where the function is called."
    expect(page.locator(".decisions")).to_contain_text("in the inbox")


def test_a_rejection_reaches_the_loop_and_it_finishes(page: Page, tmp_path: Path) -> None:
    """With --approve edits: reject on the page, the coder tries again, approve, and it is done."""
    recording = tmp_path / "recording.jsonl"
    lines: list[dict[str, object]] = [{"purpose": "plan", "step": "plan", "reply": "1. A change."}]
    for step, value, words in (("run_1/edit_1", "0.3", []), ("run_1/edit_2", "0.15", [WORDS])):
        reply = f"RUN: a rate of {value}\n\n{CHANGE.format(value)}"
        lines.append({"purpose": "edit", "step": step, "reply": reply, "expect": words})
    lines.append({"purpose": "plot", "step": "plot/edit_1", "reply": "ALL_COMPLETED"})
    for step in ("run_1/interpret", "plot/notes"):
        lines.append({"purpose": "interpret", "step": step, "reply": "It is done."})
    recording.write_text("".join(json.dumps(line) + "\n" for line in lines))
    runs_dir = tmp_path / "runs"
    options = (f"--runs-dir={runs_dir}", f"--model=recorded:{recording}", "--no-writeup")
    begun = finish(f"--idea={IDEA}", *options, "--approve=edits", "--max-runs=1")
    assert begun[0] == 3, begun
    (folder,) = [path for path in runs_dir.iterdir() if not path.name.startswith(".")]
    with served(runs_dir) as base:
        page.goto(base)
        expect(page.locator("tbody tr")).to_contain_text("waiting")
        page.locator("td.idea a").click()
        expect(page.locator(".waiting .patch")).to_contain_text("0.3")
        page.locator("#comment").fill(WORDS)
        page.get_by_role("button", name="Reject").click()
        expect(page.locator(".decisions").first).to_contain_text("in the inbox")
        assert finish(f"--resume={folder}")[0] == 3
        page.goto(f"{base}/idea/{folder.name}")
        expect(page.locator("li.attempt")).to_contain_text("rejected")
        expect(page.locator(".decisions").last).to_contain_text("taken up")
        expect(page.locator(".waiting .patch")).to_contain_text("0.15")
        page.get_by_role("button", name="Approve").click()
        code, errors = finish(f"--resume={folder}")
        assert code == 0, errors
        page.goto(f"{base}/idea/{folder.name}")
        expect(page.locator("header.head .chip")).to_have_text("done")
        expect(page.locator("li.run").last).to_contain_text("a rate of 0.15")
        page.goto("about:blank")


def test_a_comment_on_a_line_of_a_diff_names_the_line(page: Page, address: str, runs: Path) -> None:
    """A click on a line number of a diff opens the form with that line as its place."""
    page.goto(f"{address}/idea/{DIGITS}/run/run_3")
    page.locator("table.diff tr.changed td.ln a").first.click()
    expect(page.locator("#comment")).to_be_focused()
    expect(page.locator("input[name=target]")).to_have_value(re.compile(r"experiment\.py:\d+"))
    page.keyboard.type("Why this value?")
    page.get_by_role("button", name="Comment only").click()
    expect(page.get_by_role("status")).to_contain_text("Recorded")
    (path,) = (runs / DIGITS / "inbox").glob("*run_3.edit_1.json")
    assert json.loads(path.read_text())["about"] == "line"


ADDRESSES = [
    "/",
    "/many",
    f"/compare?a={DIGITS}/run_0&b={DIGITS}/run_2",
    f"/idea/{DIGITS}",
    f"/idea/{DIGITS}/run/run_2",
    f"/idea/{DIGITS}/claims",
    f"/idea/{DIGITS}/evidence?run=run_1&metric=digits/test_accuracy",
    f"/idea/{DIGITS}/attempt/run_2/edit_1",
    f"/idea/{DIGITS}/calls",
    f"/idea/{DIGITS}/files",
    "/idea/20261119T080000Z_ratio_ranked_sae/science",
    "/idea/20261119T080000Z_ratio_ranked_sae/latents/run_1",
    "/idea/20240812_101500_adaptive_smoothing",
    "/idea/20261117T000000Z_hostile",
    "/idea/20261117T000000Z_hostile/claims",
    "/idea/20261117T000000Z_hostile/run/run_1",
]
CUT_OFF = """() => [...document.querySelectorAll("main *")].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width && box.right > innerWidth + 1 && !one.closest(".scroll, pre, svg");
}).map((one) => one.tagName + "." + one.className).slice(0, 5)"""
FAINT = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const one of document.querySelectorAll("main :is(a, p, td, th, span, h1, h2, li)")) {
    const text = [...one.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim());
    const style = getComputedStyle(one);
    const mixed = style.backgroundColor.startsWith("color(");
    if (!text.join("") || !one.getClientRects().length || mixed) continue;
    const [a, b] = [light(rgb(style.color)), light(ground(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${one.className} ${text.join("").slice(0, 30)} ${ratio}`);
  }
  return [...new Set(faint)].slice(0, 6);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_every_page_is_readable(
    browser: Browser, address: str, complaints: list[str], scheme: str, size: dict[str, int]
) -> None:
    """In light and dark, wide and on a phone: nothing is cut off, nothing is too faint to read."""
    context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    watch(page, complaints)
    for one in ADDRESSES:
        page.goto(address + one)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], one
        assert page.evaluate(CUT_OFF) == [], one
        assert page.evaluate(FAINT) == [], one
    context.close()
    # The hostile idea names a picture that is none; Chromium says so once per page.
    assert [one for one in complaints if "Failed to load resource" not in one] == []


def test_the_theme_can_be_switched_and_stays(page: Page, address: str) -> None:
    """The button turns light into dark, and the next page remembers it."""
    page.goto(address)
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch between light and dark").click()
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert before != after
    page.goto(f"{address}/many")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == after


def test_the_list_is_live(page: Page, browser: Browser, tmp_path: Path) -> None:
    """While something waits, the open list shows a new idea without being reloaded."""
    folder = make_idea(tmp_path, runs=1, git=False, finished=False)
    (folder / "report.json").write_text('{"stop": "waiting", "reason": "approve run_2/edit_1"}')
    with served(tmp_path) as base:
        page.goto(base)
        expect(page.locator("tbody tr")).to_have_count(1)
        make_summary(tmp_path, 3)
        expect(page.locator("tbody tr")).to_have_count(2)
        page.goto("about:blank")


def test_an_exported_file_works_offline(page: Page, runs: Path, tmp_path: Path) -> None:
    """The one file opens without a server; its links open folded parts, its theme switches."""
    file = tmp_path / "report.html"
    review.export(runs / DIGITS, file)
    page.context.set_offline(True)
    page.goto(file.as_uri())
    expect(page.locator("h1").first).to_contain_text("Label smoothing")
    page.locator(".statements a.num.supported", has_text="0.9195").first.click()
    row = page.locator("tr:target")
    expect(row).to_contain_text("0.91947")
    expect(row).to_be_in_viewport()
    page.get_by_role("link", name="Model calls").first.click()
    page.locator("section[id$=calls] td.n a").first.click()
    expect(
        page.get_by_text("Measure a strong").or_(page.get_by_text("1. Add the key.")).last
    ).to_be_visible()
    page.get_by_role("button", name="Switch between light and dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    picture = page.locator("figure img").first
    assert picture.evaluate("image => image.naturalWidth") > 100
