from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Literal

import pytest

from ai_scientist.claims import Evidence, check_prose, definitions, expand_latex, expand_notes
from ai_scientist.judging.statistics import NOISE_NOT_MEASURABLE, NOISE_NOT_MEASURED
from ai_scientist.records import MetricSpec, Results, Run

RUNS = {
    "run_0": Run(
        name="run_0",
        title="Baseline",
        results=Results(metrics={"train/final_loss": 200.0, "d/{odd}_metric": 1.5, "d/zero": 0.0}),
    ),
    "run_3": Run(
        name="run_3",
        title="Variant",
        results=Results(
            metrics={"train/final_loss": 191.8, "d/{odd}_metric": 2.5, "d/zero": 1.0},
            not_run={"unlearning": "no weights"},
        ),
        arms={"uniform": Results(metrics={"train/final_loss": 199.0})},
    ),
}
EVIDENCE = Evidence.from_runs(RUNS)


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ("{{run_3: final_loss}}", "191.8"),
        ("{{ run_3 : train/final_loss }}", "191.8"),
        ("{{run_3/uniform: final_loss}}", "199"),
        ("{{run_3 - run_0: final_loss, %}}", "-4.1% (one seed, noise not measured)"),
        ("{{run_3 - run_0: final_loss}}", "-8.200 (one seed, noise not measured)"),
        ("{{run_3 vs run_0: final_loss}}", "4.1% lower (one seed, noise not measured) than"),
        ("{{run_3: -odd-_metric}}", "2.500"),
        ("no name here { } {{", "no name here { } {{"),
    ],
)
def test_names_become_numbers(named: str, text: str) -> None:
    """Every form of a named number expands to what was stored."""
    expansion = expand_notes(named, EVIDENCE)
    assert (expansion.text, expansion.problems) == (text, ())


@pytest.mark.parametrize("kind", ["notes", "latex"])
@pytest.mark.parametrize("said", ["{} lower than", "lower by {} than", "{} lower (one seed) than"])
def test_what_code_writes_is_read_back(said: str, kind: Literal["notes", "latex"]) -> None:
    """Today's wording of a comparison, and that of older notes, are checked like any other."""
    percent = "4.1%" if kind == "notes" else r"4.1\%"
    text = f"The final loss of run 3 is {said.format(percent)} run 0."
    (number,) = check_prose(text, EVIDENCE, kind=kind).numbers
    assert number.verdict == "derived"


@pytest.mark.parametrize("noise", [NOISE_NOT_MEASURED, NOISE_NOT_MEASURABLE])
@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        ("The final loss of run 3 is 150.3 ({}).", "unsupported_number"),
        ("The final loss of run 3 is 6.3% lower ({}) than run 0.", "unsupported_number"),
        ("The final loss of run 3 is higher than that of run 0 ({}).", "wrong_comparison"),
        ("The final loss of run 3 is higher ({}) than that of run 0.", "wrong_comparison"),
    ],
)
def test_words_on_noise_excuse_nothing(claim: str, kind: str, noise: str) -> None:
    """A false claim with the words beside it that code writes on noise is found as without them."""
    (found,) = check_prose(claim.format(noise), EVIDENCE).findings
    assert found.kind == kind


def test_what_was_left_out_is_said_in_words() -> None:
    """A metric that the template may leave out, and a run did, is "not run": never a number."""
    specs = {"absorption": MetricSpec(name="absorption", required=False)}
    evidence = Evidence.from_runs(RUNS, specs)
    text = "Absorption: {{run_3: absorption}}; it is {{run_3 vs run_0: absorption}} the baseline."
    expansion = expand_notes(text, evidence)
    assert expansion.text == "Absorption: not run; it is not comparable with the baseline."
    assert expansion.problems == ()
    named = r"\change{run_3}{run_0}{absorption}"
    assert expand_latex(named, evidence).text == "not run"
    assert check_prose(f"It changed by {named}.", evidence, kind="latex").findings == ()
    required = Evidence.from_runs(
        RUNS, {"absorption": MetricSpec(name="absorption", required=True)}
    )
    assert "no metric named 'absorption'" in expand_notes(text, required).problems[0]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("{{run_4: final_loss}}", "no run named 'run_4'. The nearest are: "),
        ("{{run_3: final_los}}", "nearest are: 'final_loss'"),
        ("{{run_3/shuffled: final_loss}}", "'run_3/uniform'"),
        ("{{run_3/uniform: zero}}", "has no number for zero"),
        ("{{run_3 - run_0: zero, %}}", "no percentage"),
        ("{{run_3 final_loss}}", "a named number reads"),
    ],
)
def test_unknown_names_come_back_with_the_nearest(named: str, words: str) -> None:
    """A name that cannot be expanded is visible in the text and worded for the model."""
    expansion = expand_notes(f"before {named} after", EVIDENCE)
    assert expansion.text == "before [unknown number] after"
    assert words in expansion.problems[0]


def test_latex_prints_what_the_checks_expand(tmp_path: Path) -> None:
    """TeX, given the definitions only, prints the same text as `expand_latex`."""
    body = (
        r"A \result{run_3}{final_loss} B \change{run_3}{run_0}{final_loss} "
        r"C \compare{run\_3}{run\_0}{final\_loss} D \result{run_3/uniform}{final_loss} "
        r"E \result{run_3}{nothing} F \result{run_3}{-odd-_metric} G"
    )
    (tmp_path / "results.tex").write_text(definitions([body, body], EVIDENCE))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\input{results}\\pagestyle{empty}"
        f"\\begin{{document}}\\section{{On \\result{{run_3}}{{final_loss}}}}{body}\\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1500:]
    text = subprocess.run(
        ["pdftotext", "-layout", "paper.pdf", "-"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    printed = " ".join(text.split())
    expanded = expand_latex(body, EVIDENCE)
    shown = expanded.text
    for written, seen in ((r"\%", "%"), (r"\ensuremath{-}", "−"), ("[unknown number]", "??")):
        shown = shown.replace(written, seen)
    assert shown in printed
    assert "nothing" in expanded.problems[0]


def test_hostile_names_reach_no_definition() -> None:
    """TeX code in an argument is never written into results.tex."""
    text = r"\result{run_3}{final_loss}\result{run_3}{x%y}\result{run_3}{a#1\input b}"
    lines = definitions([text], EVIDENCE).splitlines()
    assert sum("csname AS@\\detokenize" in line for line in lines) == 1


def test_named_numbers_are_reported_and_unknown_ones_found() -> None:
    """In a paper a named number counts as supported, an unknown one is a finding with its place."""
    text = (
        "\\begin{document}\nThe loss is \\result{run_3}{final_loss}.\n"
        "It is \\compare{run_3}{run_0}{final_loss} the baseline; "
        "\\result{run_9}{final_loss}.\n\\end{document}"
    )
    report = check_prose(text, EVIDENCE, kind="latex", file="p.tex")
    assert [(n.text[:11], n.verdict, n.line) for n in report.numbers] == [
        ("191.8", "supported", 2),
        ("4.1\\% lower", "derived", 3),
    ]
    assert [(f.kind, f.where) for f in report.findings] == [("unknown_run", "p.tex:3")]
