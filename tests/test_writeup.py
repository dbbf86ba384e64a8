"""The paper of a study: that it comes out, in what form, and what code says in it of the study."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from ai_scientist.records import Attempt, AttemptKind, Judgement, Study
from tests.paper_desk import BIB, NOTES, SECTIONS, Desk, text_of
from tests.paper_study import make_study


def test_a_paper_comes_out_the_same_each_time(tmp_path: Path) -> None:
    """One reply per section makes a PDF, byte for byte; nothing in it is complained of."""
    desk = Desk(tmp_path / "first")
    outcome = desk.write()
    assert (outcome.findings, outcome.compiled) == ((), True)
    assert outcome.pdf == desk.folder / "paper.pdf"
    assert desk.model.count("section") == 9
    again = Desk(tmp_path / "again").write()
    assert again.pdf is not None
    assert again.pdf.read_bytes() == outcome.pdf.read_bytes()
    text = text_of(outcome.pdf)
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


def test_default_effort_refines_once_and_reads_the_whole(tmp_path: Path) -> None:
    """By default each section but the title is refined once, then the whole is read once."""
    changed = SECTIONS["conclusion"].replace("Open remains", "It remains open")
    whole = f"=== SECTION: conclusion ===\n{changed}\n=== SECTION: nonsense ===\nx\n"
    options = {"effort": None, "compile": None}
    desk = Desk(tmp_path, script={("section", "paper/whole"): [whole]}, options=options)
    desk.write()
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
