"""A model's LaTeX in a paper: what it may hold, how it is repaired, and what TeX is kept from."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_scientist.testing import make_reply
from ai_scientist.writeup.parts import Effort
from tests.paper_desk import BIB, SECTIONS, Desk, kinds

RESULTS = SECTIONS["results"]


@pytest.mark.parametrize(
    "poison",
    [
        r"\input{/etc/passwd}",
        r"\immediate\write18{touch stolen}",
        r"\def\result#1#2{9.99}",
        r"\let\result\relax",
        r"\newcommand{\x}{y}",
        r"\expandafter\def\csname result\endcsname{9.99}",
        r"\catcode`\%=12",
        r"$^^5cinput{/etc/passwd}$",
        r"^^\input{/etc/passwd}",
        r"\makeatletter\@input{/etc/passwd}",
        r"\openin5=/etc/passwd \read5 to\x",
        r"\special{psfile=/etc/passwd}",
        r"\directlua{os.execute('id')}",
        r"\usepackage{shellesc}",
        r"\end{document}",
        r"\begin{filecontents}{x.tex}x\end{filecontents}",
        r"\loop\iftrue\repeat",
        r"\includegraphics{/etc/passwd}",
        r"\lstinputlisting{/etc/passwd}",
        r"\textcolor{white}{invisible}",
        r"\chardef\result=65",
        r"\NewCommandCopy\x\input",
        r"\setbox0=\hbox{invisible}",
        r"\fontsize{0.1}{0.1}\selectfont invisible",
        r"\href{run:/bin/sh}{a program}",
        r"\href[page=1]{file:///etc/shells}{a file}",
        r"\url{javascript:app.alert(1)}",
        r"\url|file:///etc/shells|",
        r"\hyperref{file:///etc/shells}{a}{b}{c}",
        r"\Acrobatmenu{Quit}{x}",
        r"\PushButton[onclick={app.alert(1)}]{x}",
        r"\begin{Form}x\end{Form}",
    ],
)
def test_forbidden_latex_never_reaches_tex(tmp_path: Path, poison: str) -> None:
    """What defines, loads, reads, writes or hides goes back once and, if it stays, is left out."""
    bad = f"{RESULTS}\n{poison}\n"
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/section_results"): [bad],
            ("repair", "paper/section_results"): [bad],
        },
        options={"effort": Effort(drafts=1, repairs=1), "compile": None},
    )
    outcome = desk.write()
    assert desk.model.count("repair") == 1
    assert kinds(outcome) & {"section_dropped", "missing_figure"}
    command = poison.split("{", maxsplit=1)[0]
    assert command not in desk.section("results")
    sources = "".join(path.read_text() for path in desk.paper.latex.rglob("*.tex"))
    assert "passwd}" not in sources.replace(r"passwd\}", "")


def test_addresses_of_pages_and_links_to_parts_are_allowed(tmp_path: Path) -> None:
    """A link to the web, and one to a part of the paper, cost no call."""
    links = r"\url{https://x.org/a_b?c=1\%20d} \href{http://x.org}{y} \hyperref[sec:method]{z}"
    desk = Desk(
        tmp_path,
        script={("section", "paper/section_results"): [f"{RESULTS}\n{links}\n"]},
        options={"compile": None},
    )
    assert (desk.write().sections_dropped, desk.model.count("repair")) == ((), 0)


def test_a_refused_section_is_left_out_visibly(tmp_path: Path) -> None:
    """A text that stays forbidden is replaced by a note, shown as letters in the appendix."""
    bad = RESULTS + "\n\\input{/etc/passwd}\n"
    desk = Desk(
        tmp_path,
        script={("section", "paper/section_results"): [bad]},
        options={"effort": Effort(drafts=1, repairs=0), "compile": None},
    )
    outcome = desk.write()
    assert outcome.sections_dropped == ("results",)
    assert "could not be used" in desk.section("results")
    appendix = (desk.paper.latex / "appendix.tex").read_text()
    assert r"\textbackslash{}input\{/etc/passwd\}" in appendix


def test_a_good_answer_to_a_refusal_is_used(tmp_path: Path) -> None:
    """The model is told which command is refused and why; its corrected text is taken."""
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/section_method"): [r"\newcommand{\x}{y} " + SECTIONS["method"]],
            ("repair", "paper/section_method"): [SECTIONS["method"]],
        },
        options={"compile": None},
    )
    assert desk.write().sections_dropped == ()
    told = next(asked for asked in desk.model.asked if asked.purpose == "repair")
    assert r"`\newcommand` is refused" in told.prompt


def test_harmless_slips_are_repaired_without_asking(tmp_path: Path) -> None:
    """Fences, Markdown, percent signs, underscores, ampersands and Unicode cost no call."""
    slips = (
        "```latex\n\\section{Method}\n# Method\n"
        "We weight **every_pair** & 100% of `k_max` → λ ≤ 3, “quoted” – ok… 100 % #1 100\\% x^2.\n"
        "% a comment that nobody sees\n"
        "$a_1 ≤ λ_2 → \\text{every_pair}$\n\n"
        f"{SECTIONS['method']}\n```"
    )
    desk = Desk(tmp_path, script={("section", "paper/section_method"): [slips]})
    outcome = desk.write()
    assert (outcome.compiled, outcome.findings, desk.model.count("repair")) == (True, (), 0)
    text = desk.section("method")
    assert r"\textbf{every\_pair} \& 100\% of \texttt{k\_max}" in text
    assert "nobody sees" not in text


def test_broken_latex_goes_back_with_its_place(tmp_path: Path) -> None:
    """An environment that is not closed is sent back before TeX sees it."""
    broken = SECTIONS["introduction"].replace(r"\end{itemize}", "")
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/section_introduction"): [broken],
            ("repair", "paper/section_introduction"): [SECTIONS["introduction"]],
        },
        options={"compile": None},
    )
    assert desk.write().findings == ()
    told = next(asked for asked in desk.model.asked if asked.purpose == "repair")
    assert "itemize" in told.prompt


def test_what_only_tex_finds_goes_back_with_its_line(tmp_path: Path) -> None:
    """An undefined command stops TeX; the section it is in is repaired and the paper compiles."""
    broken = SECTIONS["background"] + "\nAs \\nosuchcommand{here} shows.\n"
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/section_background"): [broken],
            ("repair", "paper/latex_background"): [SECTIONS["background"]],
        },
    )
    outcome = desk.write()
    assert (outcome.compiled, outcome.findings) == (True, ())
    told = next(asked for asked in desk.model.asked if asked.purpose == "repair")
    assert "Undefined control sequence" in told.prompt
    assert "At: `As \\nosuchcommand{here} shows.`" in told.prompt


def test_a_section_that_never_compiles_is_dropped(tmp_path: Path) -> None:
    """After the bounded repairs the section is left out visibly and the rest is a paper."""
    broken = SECTIONS["background"] + "\nAs \\nosuchcommand{here} shows.\n"
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/section_background"): [broken],
            ("repair", "paper/latex_background"): [broken, broken],
        },
    )
    outcome = desk.write()
    assert outcome.compiled
    assert outcome.sections_dropped == ("background",)
    assert "section_dropped" in kinds(outcome)


def test_a_cut_off_reply_is_asked_again(tmp_path: Path) -> None:
    """A reply that ended at the length limit is never placed as if it were whole."""
    cut = make_reply(SECTIONS["method"][:300], finish_reason="length")
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/section_method"): [cut],
            ("repair", "paper/section_method"): [SECTIONS["method"]],
        },
        options={"compile": None},
    )
    assert desk.write().sections_dropped == ()
    assert "cut off" in next(a for a in desk.model.asked if a.purpose == "repair").prompt


def test_a_bad_refinement_keeps_the_draft(tmp_path: Path) -> None:
    """A refinement that stays unusable costs nothing but its calls: the draft stands."""
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/refine_method"): ["\\input{x}"],
            ("repair", "paper/refine_method"): ["\\input{x}", "\\input{x}"],
        },
        options={"effort": None, "compile": None},
    )
    outcome = desk.write()
    assert "rank\\_every" in desk.section("method")
    assert kinds(outcome) == {"version_refused"}


# --- TeX -----------------------------------------------------------------------------------------


def test_an_endless_loop_is_killed_and_the_last_pdf_kept(tmp_path: Path) -> None:
    """TeX that never ends is stopped by its time limit; the PDF that was there stays."""
    (tmp_path / "desk").mkdir()
    style = "\\loop\\iftrue\\repeat\n"
    desk = Desk(tmp_path / "desk", template_files={"references.bib": BIB, "style.tex": style})
    desk.options = {"compile": desk.compiler(timeout_s=3)}
    desk.paper.pdf.write_bytes(b"%PDF the good one")
    outcome = desk.write()
    assert not outcome.compiled
    assert outcome.pdf == desk.paper.pdf
    assert desk.paper.pdf.read_bytes() == b"%PDF the good one"
    assert "time limit" in outcome.message
    assert kinds(outcome) == {"latex"}


@pytest.mark.parametrize(
    ("attack", "trace"),
    [
        (r"\input{/etc/passwd}", "root:"),
        (r"\newread\f \openin\f=/etc/passwd \read\f to\x \typeout{GOT \x}", "GOT root:"),
        (r"\immediate\write18{touch stolen}", ""),
        (r"\newwrite\f \immediate\openout\f=../stolen \immediate\write\f{x}", ""),
    ],
)
def test_tex_itself_is_held(tmp_path: Path, attack: str, trace: str) -> None:
    """Even from a style file, TeX reads and writes nothing outside its folder and runs nothing."""
    desk = Desk(tmp_path, template_files={"references.bib": BIB, "style.tex": attack + "\n"})
    outcome = desk.write()
    assert not trace or trace not in outcome.log
    assert not list(tmp_path.rglob("stolen*"))
