from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ai_scientist.claims import check_prose
from benchmarks.__main__ import ON_GPU, PAGE, STORE, benchmarks, page
from benchmarks.correct_claims import fill, with_settings
from benchmarks.false_accept import results_of
from benchmarks.form import Row, finish, parser

GOALS = [
    (Row("a", 0.5, "s", goal=0.5), True),
    (Row("a", 0.51, "s", goal=0.5), False),
    (Row("a", 0.5, goal=0.5, bound="at least"), True),
    (Row("a", 0.49, goal=0.5, bound="at least"), False),
    (Row("a", float("nan"), goal=0.5), False),
    (Row("a", None, goal=0.5, note="needs a GPU"), None),
    (Row("a", 7.0), None),
]


@pytest.mark.parametrize(("row", "met"), GOALS)
def test_a_goal_is_a_bound(row: Row, met: bool | None) -> None:
    """A goal is met at the bound itself, never by a NaN, and not judged without a figure."""
    assert row.met is met


def test_a_missed_goal_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missed goal stands in the table and in the JSON, and makes the exit code 1."""
    options = parser("About this.\n").parse_args([f"--json={tmp_path / 'rows.json'}"])
    assert (
        finish([Row("fast", 1.5, "s", goal=2), Row("not here", None, note="no GPU")], options) == 0
    )
    assert finish([Row("slow", 2345.6, "s", goal=2)], options) == 1
    assert capsys.readouterr().out.splitlines() == [
        "fast        1.5 s  at most 2 s  met",
        "not here  not run                    no GPU",
        "slow  2,346 s  at most 2 s  MISSED",
    ]
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert (row["name"], row["figure"], row["goal"], row["met"]) == ("slow", 2345.6, 2, False)


@pytest.mark.parametrize("name", benchmarks())
def test_each_runs_alone_in_the_common_form(name: str, project: Path) -> None:
    """Every benchmark says what it measures and can write its rows as JSON."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--json FILE" in done.stdout


def test_the_page_is_the_stored_results() -> None:
    """benchmarks/RESULTS.md says what RESULTS.json says, of benchmarks that there are."""
    store = json.loads(STORE.read_text())
    assert PAGE.read_text() == page(store)
    assert {name.removesuffix(ON_GPU) for name in store} <= set(benchmarks())


def test_a_setting_of_a_text_is_stored_by_the_runs_it_names() -> None:
    """`{set:1:k:32}` prints 32 and makes it true of run 1; without it the same text is open."""
    evidence = results_of((4, 3, 2), random.Random(1))
    text = "With k = {set:1:k:32} run 1 differs from the rest; all use layer {set:*:layer:12}."
    stored = with_settings(text, evidence)
    assert [stored.configs[f"run_{n}"]["config/k"] for n in range(3)] == [20, 32, 20]
    assert {config["config/layer"] for config in stored.configs.values()} == {12}
    filled = fill(text, evidence, {})
    assert filled == "With k = 32 run 1 differs from the rest; all use layer 12."
    verdicts = [check_prose(filled, one).numbers[0].verdict for one in (evidence, stored)]
    assert verdicts == ["ambiguous", "configuration"]


def test_gates_of_refused_edits_are_part_of_the_cost(tmp_path: Path, project: Path) -> None:
    """An accepted edit costs what all gates took; rehearsals count once, where they were made."""
    before, start, later = (f"2026-01-01T{hour}:00:00.000+00:00" for hour in ("08", "11", "12"))

    def judgement(seconds: float, **pairs: tuple[str, float]) -> dict[str, object]:
        rehearsed = {
            code: 2 * [{"started_at": at, "seconds": took}] for code, (at, took) in pairs.items()
        }
        return {"checks": [{"seconds": seconds}, {"seconds": 0.5}], "rehearsed": rehearsed}

    events = [
        (start, "run_0/execution_1", {}),
        (later, "run_1/edit_1/gates", judgement(3, old=(before, 9.0), first=(later, 2.0))),
        (later, "run_1/edit_2/gates", judgement(4, old=(before, 9.0), second=(later, 3.0))),
    ]
    lines = [{"time": at, "key": key, "result": result} for at, key, result in events]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "report.json").write_text('{"seconds": 80}')
    for name in ("run_0", "run_1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text('{"seconds": 10}')
    command = [sys.executable, "-m", "benchmarks.gates", str(tmp_path)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    lines_said = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines_said[0] == "gates per accepted edit 8 s at most 6 s MISSED"
    assert lines_said[1] == "gates, share of the idea 10%"
    assert lines_said[5].startswith("rehearsals 4 ")
    assert lines_said[6] == "median rehearsal 2.5 s"
