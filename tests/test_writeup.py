"""The paper of a study: what a model may do to it, and what code makes of it all the same."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ai_scientist.records import Attempt, AttemptKind, Judgement, Study
from ai_scientist.testing import make_reply
from ai_scientist.writeup.figures import ConfinedDraw, default_plots
from ai_scientist.writeup.parts import Effort, Figure
from tests.paper_desk import BIB, NOTES, SECTIONS, Desk, kinds, picture
from tests.paper_study import SELECTIVITY, make_study

RESULTS = SECTIONS["results"]
L0, FVU = "core evaluation/l0", "core evaluation/fvu"


def test_a_paper_comes_out(tmp_path: Path) -> None:
    """One reply per section makes a PDF with nothing to complain about; all fonts are embedded."""
    desk = Desk(tmp_path)
    outcome = desk.write()
    assert (outcome.findings, outcome.compiled) == ((), True)
    assert outcome.pdf == tmp_path / "paper.pdf"
    assert desk.model.count("section") == 9
    text = _text(outcome.pdf)
    for words in (
        "This paper was written by an AI system",
        "None of the 2 hypotheses fixed before the runs was confirmed",
        "Summary of verdicts, written by code",
        "Hoagy Cunningham",
        "mat1 and mat2 shapes cannot",
        "control: shuffled ranks",
        "5 seeds per run",
    ):
        assert words in " ".join(text.split()), words
    assert "??" not in text


def _text(pdf: Path | None) -> str:
    assert pdf is not None
    done = subprocess.run(["pdftotext", str(pdf), "-"], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_same_replies_give_the_same_paper(tmp_path: Path) -> None:
    """A paper written again from the same replies is the same PDF, byte for byte."""
    first, second = Desk(tmp_path / "a"), Desk(tmp_path / "b")
    one, two = first.write(), second.write()
    assert one.pdf is not None
    assert two.pdf is not None
    assert one.pdf.read_bytes() == two.pdf.read_bytes()


def test_default_effort_refines_once_and_reads_the_whole(tmp_path: Path) -> None:
    """By default each section but the title is refined once, then the whole is read once."""
    changed = SECTIONS["conclusion"].replace("Open remains", "It remains open")
    whole = f"=== SECTION: conclusion ===\n{changed}\n=== SECTION: nonsense ===\nx\n"
    desk = Desk(tmp_path, script={("section", "paper/whole"): [whole]}, options={"effort": None})
    outcome = desk.write()
    assert outcome.compiled
    assert desk.model.count("section") == 9 + 8 + 1
    assert "It remains open" in desk.section("conclusion")
    systems = {asked.messages[0].content for asked in desk.model.asked}
    assert len(systems) == 1, "every call begins with the same text, so that it is cached"


def test_ten_runs_stay_within_the_token_budget(tmp_path: Path) -> None:
    """The writeup of ten runs with long notes sends at most 400 k tokens (4 characters each)."""
    desk = Desk(tmp_path, options={"effort": None, "notes": NOTES * 4000, "compile": None})
    desk.write(make_study(tmp_path, runs=10))
    sent = sum(len(asked.prompt) for asked in desk.model.asked) / 4
    assert sent < 400_000


# --- what a model's LaTeX may hold ---------------------------------------------------------------


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


def test_a_refused_section_is_left_out_visibly(tmp_path: Path) -> None:
    """A text that stays forbidden is replaced by a note, shown as letters in the appendix."""
    bad = RESULTS + "\n\\input{/etc/passwd}\n"
    desk = Desk(
        tmp_path,
        script={("section", "paper/section_results"): [bad]},
        options={"effort": Effort(drafts=1, repairs=0)},
    )
    outcome = desk.write()
    assert outcome.compiled
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
    )
    outcome = desk.write()
    assert (outcome.compiled, outcome.findings) == (True, ())
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


def test_typed_numbers_go_back_twice_and_are_marked(tmp_path: Path) -> None:
    """A literal that the results do not bear out is replaced by a mark and listed, never passed."""
    typed = RESULTS + "\nIn run_1 the mean log-selectivity is 3.87, as expected.\n"
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/section_results"): [typed],
            ("repair", "paper/section_results"): [typed, typed],
        },
    )
    outcome = desk.write()
    assert outcome.compiled
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
    printed = " ".join(_text(outcome.pdf).split())
    mean = desk.study.runs["run_1"].results.metrics["unlearning evaluation/mean_log_selectivity"]
    assert f"and {mean:.3f} ± " in printed
    assert re.search(r"it is (lower|higher) by .*? than the baseline|not distinguishable", printed)


# --- references, figures -------------------------------------------------------------------------


def test_an_unknown_citation_is_dropped_and_listed(tmp_path: Path) -> None:
    """A key that the bibliography lacks cannot be cited; its neighbor in the same command can."""
    text = SECTIONS["related_work"].replace(
        r"\citet{karvonen2025saebench}", r"\citet{karvonen2025saebench, invented2024}"
    )
    text += "It was shown before \\citep[see][]{nobody1999}.\n"
    desk = Desk(tmp_path, script={("section", "paper/section_related_work"): [text]})
    outcome = desk.write()
    assert outcome.compiled
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


def test_a_figure_that_does_not_exist_is_a_finding(tmp_path: Path) -> None:
    """A missing figure is told to the model, then removed and listed; no draft box is shown."""
    text = RESULTS + "\n\\placefigure{invented.png}{What \\texttt{run_1} might look like.}\n"
    desk = Desk(
        tmp_path,
        script={
            ("section", "paper/section_results"): [text],
            ("repair", "paper/section_results"): [text, text],
        },
    )
    outcome = desk.write()
    assert outcome.compiled
    assert kinds(outcome) == {"missing_figure"}
    assert "invented" not in desk.section("results")
    assert "There is no figure `invented.png`" in desk.model.asked[3].prompt


def test_the_books_on_figures(tmp_path: Path) -> None:
    """Shown figures become floats; others are listed, and runs that only a caption claims."""
    for name in ("shown_once.png", "left over.png"):
        (tmp_path / name).write_bytes(picture())
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


def test_without_tex_the_sources_are_packed(tmp_path: Path) -> None:
    """On a machine without LaTeX there is a zip of all sources and one plain sentence."""
    desk = Desk(tmp_path, options={"compile": None})
    outcome = desk.write()
    assert (outcome.pdf, outcome.compiled) == (None, False)
    assert outcome.message == (
        "There is no LaTeX on this machine: the sources of the paper are in paper.zip."
    )
    assert outcome.archive is not None
    with zipfile.ZipFile(outcome.archive) as bundle:
        names = set(bundle.namelist())
    assert {"paper.tex", "references.bib", "sections/results.tex", "tables/results.tex"} <= names


def test_the_packed_sources_compile_elsewhere(tmp_path: Path) -> None:
    """What is in the zip is complete: latexmk makes the paper of it."""
    desk = Desk(tmp_path, options={"compile": None})
    outcome = desk.write()
    assert outcome.archive is not None
    shutil.unpack_archive(outcome.archive, tmp_path / "elsewhere")
    done = subprocess.run(
        ["latexmk", "-pdf", "-interaction=nonstopmode", "-norc", "paper.tex"],
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


def test_a_conference_template_is_filled(tmp_path: Path) -> None:
    """A template.tex with AI-Scientist's placeholders and inner bibliography becomes the paper."""
    inner = BIB.replace("cunningham2023sparse", "innerkey2023")
    foreign = (
        "\\documentclass{article}\n\\usepackage{natbib}\\usepackage{graphicx}\n"
        "\\graphicspath{{../}}\n"
        f"\\begin{{filecontents}}{{references.bib}}\n{inner}\n\\end{{filecontents}}\n"
        "\\title{TITLE HERE}\n\\author{LLM}\n\\begin{document}\n\\maketitle\n"
        "\\begin{abstract}\nABSTRACT HERE\n\\end{abstract}\n"
        "\\section{Introduction}\n\\label{sec:intro}\nINTRO HERE\n"
        "\\section{Related Work}\nRELATED WORK HERE\n\\section{Background}\nBACKGROUND HERE\n"
        "\\section{Method}\nMETHOD HERE\n\\section{Experimental Setup}\nEXPERIMENTAL SETUP HERE\n"
        "\\section{Results}\nRESULTS HERE\n"
        "\\begin{figure}[h]\\includegraphics{missing.png}\\caption{PLEASE FILL IN CAPTION HERE}"
        "\\end{figure}\n"
        "\\section{Conclusions and Future Work}\nCONCLUSIONS HERE\n"
        "\\bibliographystyle{plainnat}\n\\bibliography{references}\n\\end{document}\n"
    )
    text = SECTIONS["related_work"].replace("cunningham2023sparse", "innerkey2023")
    desk = Desk(
        tmp_path,
        template_files={"template.tex": foreign, "references.bib": BIB},
        script={("section", "paper/section_related_work"): [text]},
    )
    outcome = desk.write()
    assert (outcome.compiled, outcome.findings) == (True, ())
    paper = (desk.paper.latex / "paper.tex").read_text()
    assert "HERE" not in paper
    assert "innerkey2023" in (desk.paper.latex / "references.bib").read_text()


# --- honesty -------------------------------------------------------------------------------------


def test_no_valid_run_no_paper(tmp_path: Path) -> None:
    """A study with nothing but its baseline gets a sentence, not a paper, and costs no call."""
    desk = Desk(tmp_path)
    study = desk.study
    outcome = desk.write(replace(study, runs={"run_0": study.runs["run_0"]}))
    assert (outcome.pdf, desk.model.asked) == (None, [])
    assert "no valid run" in outcome.message


@pytest.mark.parametrize(
    ("judged", "words"),
    [
        (slice(0, 0), "No hypothesis was fixed before the runs"),
        (slice(0, 1), "The hypothesis fixed before the runs was not confirmed."),
        (slice(0, 2), "None of the 2 hypotheses fixed before the runs was confirmed."),
    ],
)
def test_negative_results_are_said_by_code(tmp_path: Path, judged: slice, words: str) -> None:
    """Whatever the model writes, first page and results begin with what the verdicts are."""
    desk = Desk(tmp_path, options={"compile": None})
    study: Study = desk.study
    judgements: tuple[Judgement, ...] = study.judgements[judged]
    desk.write(replace(study, judgements=judgements))
    for file in ("disclosure.tex", "verdicts.tex"):
        assert words in (desk.paper.latex / file).read_text()


def test_recorded_replies_are_called_so(tmp_path: Path) -> None:
    """A paper of replayed replies says that they were written beforehand."""
    desk = Desk(tmp_path, options={"compile": None})
    study = desk.study
    desk.write(replace(study, settings={**study.settings, "model": "recorded"}))
    words = " ".join((desk.paper.latex / "disclosure.tex").read_text().split())
    assert "wrote for this idea beforehand and that were replayed" in words


def test_settings_that_look_secret_are_left_out(tmp_path: Path) -> None:
    """No key reaches the appendix."""
    desk = Desk(tmp_path, options={"compile": None})
    study = desk.study
    desk.write(replace(study, settings={**study.settings, "api_key": "sk-12345"}))
    assert "sk-12345" not in (desk.paper.latex / "appendix.tex").read_text()


def test_the_appendix_holds_the_complete_denominator(tmp_path: Path) -> None:
    """Every failed attempt of every kind is a row with its seconds and cost, and in the sum."""
    attempts = tuple(
        Attempt(
            step=f"run_{number}/edit_1",
            run=f"run_{number}",
            kind=kind,
            reason=f"reason number {number}",
            seconds=10.0 + number,
            cost_usd=0.011 * number,
        )
        for number, kind in enumerate(AttemptKind, 1)
    )
    desk = Desk(tmp_path, options={"compile": None})
    desk.write(replace(desk.study, attempts=attempts))
    words = (desk.paper.latex / "appendix.tex").read_text()
    assert f"{len(AttemptKind)} attempts that led to none" in " ".join(words.split())
    assert rf"failed attempts: \${sum(0.011 * n for n in range(1, len(attempts) + 1)):.2f}" in words
    for number, attempt in enumerate(attempts, 1):
        row = next(line for line in words.splitlines() if f"reason number {number}" in line)
        kind = attempt.kind.value.replace("_", " ")
        assert all(part in row for part in (kind, f"{10 + number}.0", f"{0.011 * number:.3f}")), row
