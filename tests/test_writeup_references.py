"""What a paper points at: stored numbers, citations, its own parts, and figures."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ai_scientist.writeup.figures import ConfinedDraw, default_plots
from ai_scientist.writeup.parts import Effort, Figure
from tests.paper_desk import BIB, SECTIONS, Desk, kinds, text_of
from tests.paper_study import SELECTIVITY, make_study
from tests.png import png

RESULTS = SECTIONS["results"]
L0, FVU = "core evaluation/l0", "core evaluation/fvu"


def test_typed_numbers_go_back_twice_and_are_marked(tmp_path: Path) -> None:
    """A literal that the results do not bear out is replaced by a mark and listed, never passed."""
    typed = RESULTS + "\nIn run_1 the mean log-selectivity is 3.87, as expected.\n"
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/section_results"): [typed],
            ("repair", "paper/section_results"): [typed, typed],
        },
        options={"compile": None},
    )
    outcome = desk.write()
    assert desk.model.count("repair") == 2
    assert "nearest stored" in next(a for a in desk.model.asked if a.purpose == "repair").prompt
    assert "3.87" not in desk.section("results")
    assert "[unsupported number]" in desk.section("results")
    assert kinds(outcome) == {"unsupported_number"}


def test_names_become_numbers(tmp_path: Path) -> None:
    """What the model names is printed from the stored results; an unknown name is marked."""
    text = RESULTS + "\nThen \\result{run_9}{fvu} and \\result{run_1}{no_such} follow.\n"
    desk = Desk(
        tmp_path,
        script={("section", "paper/section_results"): [text]},
        options={"effort": Effort(drafts=1, repairs=0)},
    )
    outcome = desk.write()
    assert kinds(outcome) == {"unknown_run"}
    assert desk.section("results").count("[unknown number]") == 2
    printed = " ".join(text_of(outcome.pdf).split())
    mean = desk.study.runs["run_1"].results.metrics["unlearning evaluation/mean_log_selectivity"]
    assert f"and {mean:.3f} ± " in printed
    assert re.search(r"it is (lower|higher) by .*? than the baseline|not distinguishable", printed)


def test_an_unknown_citation_is_dropped_and_listed(tmp_path: Path) -> None:
    """A key that the bibliography lacks cannot be cited; its neighbor in the same command can."""
    text = SECTIONS["related_work"].replace(
        r"\citet{karvonen2025saebench}", r"\citet{karvonen2025saebench, invented2024}"
    )
    text += "It was shown before \\citep[see][]{nobody1999}.\n"
    script = {("section", "paper/section_related_work"): [text]}
    desk = Desk(tmp_path, script=script, options={"compile": None})
    outcome = desk.write()
    assert outcome.citations_dropped == ("invented2024", "nobody1999")
    assert kinds(outcome) == {"unknown_citation"}
    assert r"\citet{karvonen2025saebench}" in desk.section("related_work")
    assert "shown before." in desk.section("related_work")
    appendix = (desk.paper.latex / "appendix.tex").read_text()
    assert "Citations asked for and not found in the bibliography" in appendix


def test_a_broken_bibliography_entry_is_listed(tmp_path: Path) -> None:
    """An entry that cannot be read costs itself, not the paper."""
    desk = Desk(tmp_path, template_files={"references.bib": BIB + "\n@broken{ foo\n"})
    outcome = desk.write()
    assert outcome.compiled
    assert kinds(outcome) == {"unknown_citation"}


def test_a_reference_to_nothing_is_removed(tmp_path: Path) -> None:
    """No `??` stands in the PDF: the reference is removed visibly and a finding says so."""
    text = RESULTS + "\nSection~\\ref{sec:nowhere} says more.\n"
    desk = Desk(tmp_path, script={("section", "paper/section_results"): [text]})
    outcome = desk.write()
    assert outcome.compiled
    assert kinds(outcome) == {"undefined_reference"}
    assert "(reference removed) says more" in desk.section("results")


# --- figures -------------------------------------------------------------------------------------


def test_a_figure_that_does_not_exist_is_a_finding(tmp_path: Path) -> None:
    """A missing figure is told to the model, then removed and listed; no draft box is shown."""
    text = RESULTS + "\n\\placefigure{invented.png}{What \\texttt{run_1} might look like.}\n"
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/section_results"): [text],
            ("repair", "paper/section_results"): [text, text],
        },
        options={"compile": None},
    )
    outcome = desk.write()
    assert kinds(outcome) == {"missing_figure"}
    assert "invented" not in desk.section("results")
    assert "There is no figure `invented.png`" in desk.model.asked[3].prompt


def test_the_books_on_figures(tmp_path: Path) -> None:
    """Shown figures become floats; others are listed, and runs that only a caption claims."""
    for name in ("shown_once.png", "left over.png"):
        (tmp_path / name).write_bytes(png(1, 1))
    known = {"shown_once.png": ("run_0", "run_1")}
    (tmp_path / "fake.png").write_text("<svg onload=…>")
    text = RESULTS + (
        "\n\\begin{figure}[h]\\centering\\includegraphics[width=3cm]{shown_once.png}"
        "\\caption{Selectivity of run_1 and run_4 (all seeds).}\\label{fig:mine}"
        "\\end{figure}\n"
        "See Figure~\\ref{fig:mine}.\n"
    )
    desk = Desk(
        tmp_path / "desk",
        script={("section", "paper/section_results"): [text]},
        options={
            "figures": [
                Figure(path=path, runs=known.get(path.name, ()))
                for path in sorted(tmp_path.glob("*.png"))
            ]
        },
    )
    outcome = desk.write()
    assert outcome.compiled
    assert desk.model.count("repair") == 0
    assert r"\label{fig:shown_once}" in desk.section("results")
    assert {(f.kind, f.where) for f in outcome.findings} == {
        ("missing_figure", "fake.png"),
        ("unused_figure", "left over.png"),
        ("run_not_in_plots", "shown_once.png"),
    }


def test_default_figures_are_drawn_by_the_experiments_python(
    tmp_path: Path, digits_python: Path
) -> None:
    """Code draws the primary metric and the frontier with all seeds; the paper shows both."""
    desk = Desk(tmp_path)
    compiler = desk.compiler()
    draw = ConfinedDraw(
        executor=compiler.executor,
        staging=tmp_path / "staging",
        python=digits_python,
        readable=(),
        environment={"PATH": "/usr/bin:/bin"},
    )
    desk.options = {"draw": draw}
    outcome = desk.write()
    assert (outcome.compiled, outcome.findings) == (True, ())
    drawn = sorted(path.name for path in (desk.paper.latex / "figures").glob("*.png"))
    assert drawn == ["default-frontier.png", "default-primary-metric.png"]
    placed = (desk.paper.latex / "figures.tex").read_text()
    assert "default-frontier.png" in placed
    assert "default-primary-metric.png" in placed


def test_the_last_page_holds_no_figure_alone(tmp_path: Path) -> None:
    """Figures that no section shows stand in the record where it says so, and text follows them."""
    for name in ("shown.png", "default_primary_metric.png", "default_frontier.png"):
        (tmp_path / name).write_bytes(png(1, 1))
    placed = RESULTS + "\n\\placefigure{shown.png}{All runs.}\n"
    desk = Desk(
        tmp_path,
        script={("section", "paper/section_results"): [placed]},
        options={
            "figures": [Figure(path=tmp_path / "shown.png")],
            "draw": lambda files: (tmp_path, ""),
        },
    )
    pages = text_of(desk.write().pdf).rstrip("\f").split("\f")
    record = (desk.paper.latex / "appendix.tex").read_text()
    assert "default-frontier.png" not in (desk.paper.latex / "figures.tex").read_text()
    assert record.count(r"\begin{fixedfigure}") == 2
    assert record.index("default-frontier.png") < record.index("app:settings")
    assert "How to run it again" in pages[-1]


def test_a_frontier_needs_two_sparsities(tmp_path: Path) -> None:
    """Where L0 is the same in every run, the primary metric stands against fidelity instead."""
    study = make_study(tmp_path)
    assert [plot["metrics"] for plot in default_plots(study)][1] == [L0, FVU]
    flat = {
        name: replace(
            run, arms={}, results=replace(run.results, metrics={**run.results.metrics, L0: 8.0})
        )
        for name, run in study.runs.items()
    }
    assert default_plots(replace(study, runs=flat))[1]["metrics"] == [FVU, SELECTIVITY]
