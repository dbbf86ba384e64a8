"""The coder's pictures: which runs they show, whether print leaves them legible, what is told."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ai_scientist.inputs.prompts import Prompts
from ai_scientist.records import Json
from ai_scientist.steps.pictures import objections, read_notes, run_labels
from ai_scientist.steps.plots import draw_plots, plot_findings
from ai_scientist.steps.watched_plot import NOTES
from ai_scientist.testing import ScriptedCoder
from tests.doors import PROJECT
from tests.paper_study import make_study
from tests.waiting import PATIENCE_S

WATCHER = Path(__file__).parents[1] / "ai_scientist" / "steps" / "watched_plot.py"
SCRIPT = """
import sys
from pathlib import Path
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt

labels = {"run_0": "Untouched", "run_1": "With penalty"}
for run in ("run_0", "run_1", "run_2"):
    Path(run, "final_info.json").read_text()
figure, axes = plt.subplots(figsize=(WIDTH, 3))
for label in labels.values():
    axes.plot([1, 2], label=label)
axes.legend()
figure.savefig("labeled.png")
axes.legend().remove()
plt.savefig(Path("bare.png"))
assert __name__ == "__main__" and sys.argv == ["plot.py"]
"""


def draw(folder: Path, python: Path, width: int) -> dict[str, Json]:
    """Draw as a run folder does and return what is known of the pictures."""
    script = SCRIPT.replace("WIDTH", str(width))
    (folder / "plot.py").write_text(script)
    for run in ("run_0", "run_1", "run_2"):
        (folder / run).mkdir(exist_ok=True)
        (folder / run / "final_info.json").write_text("{}")
    command = [str(python), str(WATCHER), "plot.py"]
    subprocess.run(command, cwd=folder, check=True, timeout=PATIENCE_S)
    return read_notes(folder / NOTES, ["labeled.png", "bare.png", "unknown.png"], script)


def test_a_picture_tells_its_runs(tmp_path: Path, digits_python: Path) -> None:
    """Runs are found by the labels in the picture, or else by the files that were read for it."""
    shown = draw(tmp_path, digits_python, 6)
    assert {name: facts["runs"] for name, facts in shown.items()} == {
        "labeled.png": ["run_0", "run_1"],
        "bare.png": ["run_0", "run_1", "run_2"],
    }
    (left_out,) = objections({"labeled.png": shown["labeled.png"]}, ["run_0", "run_1", "run_2"])
    assert (left_out.kind, left_out.detail) == ("run_not_in_plots", "no picture shows run_2")


@pytest.mark.parametrize(("width", "kinds"), [(6, []), (30, ["illegible_labels"] * 2)])
def test_words_must_be_legible_in_print(
    tmp_path: Path, digits_python: Path, width: int, kinds: list[str]
) -> None:
    """A figure so wide that print makes its words tiny is objected to."""
    found = objections(draw(tmp_path, digits_python, width), ["run_0"])
    assert [finding.kind for finding in found] == kinds


def note(**changes: object) -> str:
    """Return the notes on one picture."""
    plain = {"read": ["run_1"], "words": [], "smallest_pt": 8, "width_in": 6, "height_in": 4}
    return json.dumps({"a.png": {**plain, **changes}})


ODD_NOTES = [
    "", "{", "[]", '{"a.png": {}}', "[" * 100_000, note(words=3), note(width_in=0),
    note(smallest_pt=float("nan")), note(height_in=1e-300), note(read=["run_(+"]),
    note(read=["run_" + "9" * 5000]), note(smallest_pt=float("inf")),
]  # fmt: skip


@pytest.mark.parametrize("notes", ODD_NOTES)
def test_odd_notes_say_nothing(tmp_path: Path, notes: str) -> None:
    """What a script may have written itself is read with distrust and never fails a drawing."""
    (tmp_path / "good.json").write_text(note())
    assert read_notes(tmp_path / "good.json", ["a.png"], "") == {
        "a.png": {"runs": ["run_1"], "printed_pt": 8.27}
    }
    (tmp_path / NOTES).write_text(notes)
    assert read_notes(tmp_path / NOTES, ["a.png"], "labels = {") == {}
    assert run_labels("x = {'run_1': f'{a}', **b, 'run_2': 'Two'}") == {"run_2": "Two"}


class Drawings:
    """A draughtsman whose drawings come out as told."""

    def __init__(self, *drawn: Json) -> None:
        self.drawn = list(drawn)

    def draw(self, key: str, commit: str, files: Mapping[str, str]) -> Json:
        """Return the next drawing."""
        return self.drawn.pop(0)


def drawing(runs: Sequence[str]) -> Json:
    """Return a drawing of one picture."""
    shown = {"a.png": {"runs": list(runs), "printed_pt": 8.0}}
    return {"commit": "c", "pictures": ["a.png"], "shown": shown, "problem": ""}


FAILED: Json = {"pictures": [], "problem": "plot.py: it ended with status 1"}
EDITED, FINISHED = {"plot.py": "another"}, "ALL_COMPLETED"


@pytest.mark.parametrize(
    ("replies", "drawn", "kinds", "told"),
    [
        ([EDITED], [drawing(["run_0", "run_1"])], [], ""),
        ([EDITED, EDITED], [drawing(["run_0"]), drawing(["run_0", "run_1"])], [], "shows run_1"),
        ([EDITED, EDITED], [drawing(["run_0"])] * 2, ["run_not_in_plots"], "shows run_1"),
        ([EDITED, FINISHED], [drawing(["run_0"])], ["run_not_in_plots"], "shows run_1"),
        ([EDITED] * 3, [FAILED] * 4, ["missing_figure"], "ended with status 1"),
        ([EDITED] * 3, [FAILED] * 3 + [drawing(["run_0", "run_1"])], ["missing_figure"], ""),
    ],
    ids=["good", "mended", "no better", "left", "failed", "fell back"],
)
def test_pictures_go_back_once(
    tmp_path: Path,
    replies: list[Mapping[str, str] | str],
    drawn: list[Json],
    kinds: list[str],
    told: str,
) -> None:
    """Pictures that leave out a run go back once, failures up to three times; each is told."""
    study, coder = make_study(tmp_path), ScriptedCoder(replies)
    outcome = draw_plots(
        coder,
        Drawings(*drawn),  # type: ignore[arg-type]
        Prompts(PROJECT / "prompts"),
        system="",
        commit="c",
        plot="",
        context={"idea": study.idea, "table": "", "runs": list(study.runs.values())[:2]},
    )
    assert [finding.kind for finding in plot_findings(outcome)] == kinds
    assert coder.script == []
    assert told in coder.instructions[-1]
