"""The review's parts by themselves: prose, windows into files, diffs, charts."""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_scientist.errors import InputError
from ai_scientist.review.charts import Point, Series, bars, plot, tree
from ai_scientist.review.decisions import read_decisions
from ai_scientist.review.diffs import compare_texts, read_patch
from ai_scientist.review.files import Shelf, read_ends, read_window
from ai_scientist.review.latents import read_latents
from ai_scientist.review.prose import TAGS, Mark, render_line, render_plain, render_prose
from ai_scientist.review.science import read_curves
from ai_scientist.review.statements import sources_of
from ai_scientist.review.story import step_order
from ai_scientist.review.unlearning import read_frontier
from ai_scientist.run_folder.study import read_study
from tests.review_folders import make_foreign

TAG = re.compile(r"<(/?)([a-zA-Z0-9]+)([^>]*)>")
ALLOWED = {*TAGS, "span"}
MARKUP = st.text(
    st.sampled_from("<>&\"'()[]!#*_`~|-:/\\ \n\tax1.%\ue000\ue001\ue002"),
    max_size=80,
) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "<a href='data:text/html,x'>x</a>",
        "![x](http://a/b.png)",
        "<img src=x onerror=alert(1)>",
        "[a](http://x/\ue0000\ue001y\ue002)",
        "<svg/onload=alert(1)>",
        "<style>*{}</style>",
    ]
)


def only_harmless(html: str) -> bool:
    """Tell whether HTML holds nothing but allowed tags, our classes and web addresses."""
    for _, name, rest in TAG.findall(html):
        if name.lower() not in ALLOWED or re.search(r"\bon\w+\s*=", rest):
            return False
        address = re.search(r'href="([^"]*)"', rest)
        if address and not address[1].startswith(("http://", "https://", "/ours")):
            return False
    return True


@given(MARKUP)
def test_prose_never_becomes_a_program(text: str) -> None:
    """Whatever a model writes, blocks and lines hold harmless tags and web links only."""
    assert only_harmless(render_prose(text))
    mark = Mark(start=0, end=min(3, len(text)), href="/ours", css="supported", title='"><script>')
    for html in (render_line(text, [mark]), render_plain(text, [mark])):
        assert only_harmless(html)
        assert "<script>" not in html
        assert not re.search("[\ue000-\ue002]", html)


def test_marks_become_links_inside_markdown() -> None:
    """A number in bold or in code keeps its link."""
    text = "Accuracy is **0.91** and `0.32`."
    marks = [
        Mark(start=14, end=18, href="/ours/a", css="supported", title="run_1"),
        Mark(start=26, end=30, href="/ours/b", css="ambiguous", title="two"),
    ]
    html = render_line(text, marks)
    assert '<strong><a class="num supported" href="/ours/a" title="run_1">0.91</a></strong>' in html
    assert '<code><a class="num ambiguous" href="/ours/b" title="two">0.32</a></code>' in html


@given(st.lists(st.text("ab \r\t", max_size=12), min_size=1, max_size=40), st.integers(1, 45))
def test_a_window_shows_the_lines_of_the_file(lines: list[str], around: int) -> None:
    """Any window has the file's own lines under their own numbers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "window.txt"
        path.write_bytes("\n".join(lines).encode())
        window = read_window(path, around=around, size=7)
        truth = path.read_bytes().decode().split("\n")
        truth = truth[:-1] if truth[-1] == "" else truth
        assert window.total == len(truth)
        for line in window.lines:
            assert line.text == truth[line.number - 1].rstrip("\r")
        assert len(window.lines) == min(7, len(truth))


def test_ends_and_long_lines_are_cut_visibly(tmp_path: Path) -> None:
    """Head and tail name what is left out, and a very long line says how much more there is."""
    path = tmp_path / "a.log"
    path.write_text("z" * 50_000 + "\n" + "".join(f"line {n}\n" for n in range(1000)))
    window = read_ends(path, head=10, tail=20)
    assert len(window.lines) == 30
    assert window.skipped == 1001 - 30
    assert window.lines[0].hidden == 48_000
    assert window.lines[-1].text == "line 999"
    (tmp_path / "empty.log").write_text("")
    assert read_ends(tmp_path / "empty.log").total == 0


def test_a_shelf_gives_out_only_its_own_files(tmp_path: Path) -> None:
    """Links that stay inside are followed; those that lead out, and hidden names, are not."""
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "idea.json").write_text("{}")
    (folder / "inside.json").symlink_to("idea.json")
    (tmp_path / "secret").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "outer").symlink_to(tmp_path)
    shelf = Shelf(tmp_path / "runs")
    assert shelf.file(shelf.folder("one"), "inside.json").name == "idea.json"
    for name in ("out", "outer/secret", "../../secret", "/etc/passwd", "", ".", "a\0b", "x" * 5000):
        with pytest.raises(InputError, match="there is no"):
            shelf.file(folder, name)


def test_sides_of_a_diff_stand_beside_each_other() -> None:
    """Rows carry both line numbers, unchanged stretches fold, markup in code is text."""
    old = "\n".join(f"x{n} = {n}" for n in range(60))
    new = old.replace("x30 = 30", "x30 = '<b>'").replace("x50 = 50\n", "")
    diff = compare_texts(old, new, "experiment.py")
    assert (diff.added, diff.removed, diff.hunks) == (1, 2, 2)
    (changed,) = [row for row in diff.rows if row.kind == "changed"]
    assert (changed.left, changed.right) == (31, 31)
    assert "&lt;b&gt;" in changed.right_html
    assert "<b>" not in changed.right_html
    shown = sum(row.left is not None for row in diff.rows)
    assert shown + sum(row.folded for row in diff.rows) == 60
    assert compare_texts(old, old, "experiment.py").empty


def test_lines_that_all_look_alike_are_compared_in_seconds() -> None:
    """Code of thousands of equal lines holds up no page, and its change is shown still."""
    zeros = "0,\n" * 5_000
    began = time.process_time()
    diff = compare_texts(f"a = 1\n{zeros}", f"a = 2\n{zeros}", "data.txt")
    assert time.process_time() - began < 1.5
    assert (diff.rows[0].left, diff.rows[0].kind) == (1, "changed")


def test_a_patch_knows_the_lines_after_it() -> None:
    """Each line of a stored diff carries the number it has in the new file."""
    patch = "--- a/x\n+++ b/x\n@@ -3,2 +3,3 @@\n same\n-old\n+new\n+more\n"
    lines = read_patch(patch)
    assert [(line.kind, line.new_line) for line in lines[3:]] == [
        ("same", 3),
        ("del", None),
        ("add", 4),
        ("add", 5),
    ]


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12), st.text(max_size=20))
def test_charts_hold_any_values_and_any_words(values: list[tuple[float, float]], name: str) -> None:
    """No value breaks an axis, no label breaks the markup."""
    points = [Point(x=x, y=y, label=name, error=1e-3) for x, y in values]
    for chart in (
        plot([Series(name=name, points=points)], title=name, x=name, y=name),
        bars([(name, y) for _, y in values], title=name),
        tree([(name, [(name, "/ours", "run")])], title=name),
    ):
        for numbers in re.findall(r' (?:[xyr]\d?|c[xy]|points|width|height)="([^"]*)"', chart):
            assert all(abs(float(one)) < 1e7 for one in re.split("[ ,]", numbers)), numbers
        assert "<script" not in chart


def test_a_shown_number_finds_its_value(tmp_path: Path) -> None:
    """A value is found at the precision it is shown with, and not beyond."""
    runs = read_study(make_foreign(tmp_path)).runs.values()
    exact = next(iter(runs)).results.metrics["digits/test_accuracy"]
    assert sources_of(f"{exact:.4f}", runs)
    assert sources_of(f"{exact * 100:.2f}%", runs) == []
    assert sources_of(f"{exact + 0.0002:.4f}", runs) == []
    assert sources_of("no number", runs) == []


def test_an_unlearning_frontier_is_the_mean_over_seeds(tmp_path: Path) -> None:
    """Grid points of all seeds are averaged; damaged ones and damaged files are left out."""
    good = {"latents": 5, "test_retain_accuracy": 0.9, "test_forget_accuracy": 0.2}
    path = tmp_path / "frontier.json"
    path.write_text(
        json.dumps([[good, {"latents": 9}, 3], [{**good, "test_forget_accuracy": 0.4}]])
    )
    ((words, retain, forget),) = read_frontier(path)
    assert (words, retain) == ("latents 5", 0.9)
    assert forget == pytest.approx(0.3)
    path.write_text("[[[")
    assert read_frontier(path) == []


def test_steps_are_in_the_order_they_happened() -> None:
    """edit_10 comes after edit_9, and run_10 after run_9."""
    steps = ["run_10/edit_1", "run_2/edit_10", "run_2/edit_9", "run_9", "plan"]
    assert sorted(steps, key=step_order)[-1] == "run_10/edit_1"
    assert sorted(steps, key=step_order).index("run_2/edit_9") + 1 == sorted(
        steps, key=step_order
    ).index("run_2/edit_10")


def test_odd_files_of_a_run_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    """Damaged curves, a strange latent report and a strange inbox leave what can be used."""
    run = tmp_path / "run_1"
    run.mkdir()
    (run / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 2}\nx\n[1]\n{"step": 2, "loss": NaN}\n{"step": 3, "loss": 1}\n'
    )
    assert [point.y for point in read_curves(run)["loss"]] == [2, 1]
    (run / "metrics.jsonl").write_text(
        "".join(f'{{"step": {at}, "k": {k}, "loss": {at * k}}}\n' for at in (1, 2) for k in (4, 2))
    )
    curves = read_curves(run)
    assert {name: [point.y for point in points] for name, points in curves.items()} == {
        "loss": [4, 8]
    }
    (run / "latents.json").write_text(
        '{"latents": [1, {"index": 3, "contexts": "abc"}, {}], "clamp": [1]}'
    )
    report = read_latents(tmp_path, "run_1")
    assert report is not None
    assert [latent.index for latent in report.latents] == ["3", "2"]
    assert read_latents(tmp_path, "run_2") is None
    (tmp_path / "inbox").mkdir()
    for name, content in (("a.json", "{"), ("b.json", "[]"), ("c.json", '{"step": 5}')):
        (tmp_path / "inbox" / name).write_text(content)
    assert [one.step for one in read_decisions(tmp_path, [])] == ["5"]
