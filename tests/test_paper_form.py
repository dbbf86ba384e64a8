"""How a paper looks: what is set badly is mended by rule, then by the model once, then told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ai_scientist.writeup.parts import Effort
from tests.paper_desk import BIB, SECTIONS, Desk, kinds

V1 = Path(__file__).resolve().parent / "fixtures" / "v1" / "templates"
METHOD = SECTIONS["method"]
WIDE_FORMULA = "\\[\n  " + " + ".join(f"x_{{{n}}} y_{{{n}}}" for n in range(30)) + "\n\\]\n"
NARROW = SECTIONS["method"] + "Nothing is wide here.\n"
TWO_COLUMNS = (
    "\\documentclass[10pt,twocolumn]{article}\n\\usepackage{conference}\n"
    "\\title{TITLE HERE}\n\\author{Anonymous}\n\\begin{document}\n\\maketitle\n"
    "\\begin{abstract}\nABSTRACT HERE\n\\end{abstract}\n"
    "\\section{Introduction}\nINTRO HERE\n\\section{Related Work}\nRELATED WORK HERE\n"
    "\\section{Background}\nBACKGROUND HERE\n\\section{Method}\nMETHOD HERE\n"
    "\\section{Experimental Setup}\nEXPERIMENTAL SETUP HERE\n\\section{Results}\nRESULTS HERE\n"
    "\\section{Conclusions}\nCONCLUSIONS HERE\n"
    "\\bibliographystyle{plainnat}\n\\bibliography{references}\n\\end{document}\n"
)
CONFERENCE = r"""\ProvidesPackage{conference}[2026/01/01 a conference's style]
\RequirePackage[T1]{fontenc}
\RequirePackage{times,natbib,fancyhdr}
\RequirePackage[letterpaper,margin=0.8in]{geometry}
\setlength{\columnsep}{0.25in}
\pagestyle{fancy}\fancyhf{}\lhead{Under review}\cfoot{\thepage}
"""


def write_method(folder: Path, text: str, repairs: tuple[str, ...] = ()) -> Desk:
    """Return a desk whose method is `text`, with the model's answers to complaints of form."""
    return Desk(
        folder,
        script={
            ("section", "paper/section_method"): [text],
            ("repair", "paper/form_method"): list(repairs),
        },
        options={"effort": Effort(drafts=1, repairs=1 if repairs else 0)},
    )


def test_what_chktex_objects_to_is_told(tmp_path: Path) -> None:
    """An objection of chktex is a finding with its file and line when nobody may repair it."""
    outcome = write_method(tmp_path, METHOD + "\nIt grows as $cos(x)$ does.\n").write()
    assert outcome.compiled
    (finding,) = outcome.findings
    assert finding.kind == "style"
    assert finding.where.startswith("latex/sections/method.tex:")
    assert "\\cos" in finding.detail


def test_what_chktex_objects_to_is_mended_by_the_model(tmp_path: Path) -> None:
    """The model sees the objection and its line, once; its mended section is in the PDF."""
    desk = write_method(tmp_path, METHOD + "\nIt grows as $cos(x)$ does.\n", (METHOD,))
    outcome = desk.write()
    assert (outcome.compiled, outcome.findings, desk.model.count("repair")) == (True, (), 1)
    told = next(asked for asked in desk.model.asked if asked.purpose == "repair")
    assert "At: `It grows as $cos(x)$ does.`" in told.prompt


def test_keyboard_habits_are_set_by_rule(tmp_path: Path) -> None:
    """Straight quotes, three dots, spaces before references and stops cost no call."""
    text = METHOD + '\nSo "ranks" count... See Table \\ref{tab:results} , below.\n$$a + b$$\n'
    desk = write_method(tmp_path, text)
    assert desk.write().findings == ()
    placed = desk.section("method")
    assert "So ``ranks'' count\\ldots{} See Table~\\ref{tab:results}, below." in placed
    assert "\\[a + b\\]" in placed


def test_no_heading_is_there_twice(tmp_path: Path) -> None:
    """A heading that another section has gets its section's name; a repeated own one goes."""
    twice = "\\subsection{Data}\nWords.\n\\subsection{data}\nWords.\n"
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/section_method"): [f"\\subsection{{Method}}\n{METHOD}\n{twice}"],
            ("section", "paper/section_results"): [SECTIONS["results"] + twice],
        },
        options={"effort": Effort(drafts=1, repairs=0)},
    )
    assert desk.write().findings == ()
    heading = re.compile(r"section\{(.*)\}")
    assert heading.findall(desk.section("method")) == ["Variants", "Data", "data (Method)"]
    told_apart = ["Data (Results)", "data (Results, 2)"]
    assert heading.findall(desk.section("results"))[-2:] == told_apart


def test_a_wide_table_shrinks_and_a_long_name_breaks(tmp_path: Path) -> None:
    """A table of the model's own fits the text, and no name of code sticks out."""
    row = " & ".join(["a rather long cell"] * 9)
    wide = "\\begin{tabular}{" + "l" * 9 + "}\n" + row + " \\\\\n\\end{tabular}\n"
    name = "the_" * 30 + "name"
    outcome = write_method(tmp_path, f"{METHOD}\n{wide}\nIt is \\texttt{{{name}}} there.\n").write()
    assert (outcome.compiled, outcome.findings) == (True, ())


def test_words_that_stick_out_get_wider_spaces(tmp_path: Path) -> None:
    """A line that cannot be broken well is set loosely, without asking."""
    word = "\\mbox{" + "x" * 40 + "}"
    text = f"{METHOD}\nNow the words {word} and {word} and {word} and some more {word} stand.\n"
    desk = write_method(tmp_path, text)
    outcome = desk.write()
    assert (outcome.compiled, outcome.findings) == (True, ())


@pytest.mark.slow
def test_a_formula_that_sticks_out_goes_to_the_model(tmp_path: Path) -> None:
    """What no rule can mend is sent back with how far it sticks out; the better PDF is kept."""
    desk = write_method(tmp_path, METHOD + WIDE_FORMULA, (NARROW,))
    outcome = desk.write()
    assert (outcome.compiled, outcome.findings, desk.model.count("repair")) == (True, (), 1)
    told = next(asked for asked in desk.model.asked if asked.purpose == "repair")
    assert "points stick out into the margin" in told.prompt
    assert "Nothing is wide here" in desk.section("method")


@pytest.mark.slow
def test_a_mend_that_makes_it_worse_is_not_kept(tmp_path: Path) -> None:
    """A repair of form that is no better costs its call: text, sources and PDF stay."""
    worse = METHOD + WIDE_FORMULA + "And once more.\n" + WIDE_FORMULA
    desk = write_method(tmp_path, METHOD + WIDE_FORMULA, (worse,))
    outcome = desk.write()
    assert outcome.compiled
    assert kinds(outcome) == {"overfull"}
    assert "And once more" not in desk.section("method")


def test_a_conference_style_of_two_columns(tmp_path: Path) -> None:
    """A person's template.tex and .sty carry the paper: tables span columns, the record has one."""
    desk = Desk(
        tmp_path,
        template_files={
            "template.tex": TWO_COLUMNS,
            "conference.sty": CONFERENCE,
            "references.bib": BIB,
        },
    )
    outcome = desk.write()
    assert (outcome.compiled, outcome.findings) == (True, ())
    assert (desk.paper.latex / "conference.sty").is_file()
    assert "HERE" not in (desk.paper.latex / "paper.tex").read_text()


def test_a_skeleton_as_ai_scientist_has_it(tmp_path: Path) -> None:
    """Its example figure, which nothing draws, is left out; its own bibliography may be cited."""
    skeleton = (V1 / "given_baseline" / "latex" / "template.tex").read_text()
    assert "epidemic_plot_run_0.png" in skeleton
    cites = METHOD + "\nEpidemics spread \\citep{kermack1927contribution}.\n"
    desk = Desk(
        tmp_path,
        script={("section", "paper/section_method"): [cites]},
        options={"effort": Effort(drafts=1, repairs=0)},
        template_files={"template.tex": skeleton, "references.bib": BIB},
    )
    outcome = desk.write()
    assert outcome.compiled
    assert not kinds(outcome) & {"missing_figure", "unknown_citation"}
    tex = (desk.paper.latex / "paper.tex").read_text()
    assert "epidemic_plot_run_0" not in tex
    assert " HERE" not in tex
