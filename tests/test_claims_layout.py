"""Where a number stands in a text, what hides it, and how it is quoted and marked."""

from __future__ import annotations

import pytest

from ai_scientist.claims import check_prose, mark_unsupported
from tests.claims_study import EVIDENCE, verdicts


@pytest.mark.parametrize(
    "text",
    [
        r"The final loss of Run 1 is \textcolor{blue}{310.4}.",
        r"\resizebox{\columnwidth}{!}{\begin{tabular}{lr} & Final loss \\ Run 1 & 310.4 \\"
        r"\end{tabular}}",
        r"\begin{tabular}{lr} & Final loss \\ Top-k (Run 1) & $310.4_{\pm 0.58}$ \\ \end{tabular}",
        r"The final loss of Run 1 is \num{310.4(6)}.",
    ],
)
def test_no_layout_hides_a_number(text: str) -> None:
    """Colors, boxes, indices and settings in a row's label leave its numbers to be judged."""
    assert ("310.4", "unsupported") in verdicts(text, "latex")


LATEX = r"""\documentclass{article}
\newcommand{\ourloss}{999.1}
\begin{document}
\begin{abstract}
The final loss of run 2 is 192.61.
\end{abstract}
% The final loss of run 2 is 1.111.
The final loss of Run~2 is $1.926 \times 10^{2}$, of run 1 \textbf{232.1}, of run 0 \ourloss.
\begin{equation} x = 0.123 \end{equation}
\begin{table}
\caption{The final loss of run 2 is 77.7.}
\begin{tabular}{lr}
Run & \multicolumn{1}{c}{Final loss} \\ \hline
Run 1 & $232.1 \pm 0.6$ \\
Run 2 & 444.4 \\
\end{tabular}
\end{table}
\end{document}
"""


def test_latex_is_read_as_printed_with_places() -> None:
    """Comments and equations are no claims; captions, cells and the author's macros are."""
    report = check_prose(LATEX, EVIDENCE, kind="latex")
    seen = {n.text.replace("\u2009", ""): (n.line, n.context, n.verdict) for n in report.numbers}
    assert seen == {
        "192.61": (5, "abstract", "unsupported"),
        "1.926 ×10^2": (8, "text", "supported"),
        "232.1": (14, "table", "supported"),
        "999.1": (8, "text", "unsupported"),
        "77.7": (11, "caption", "unsupported"),
        "0.6": (14, "table", "supported"),
        "444.4": (15, "table", "unsupported"),
    }


def test_what_stays_unsupported_is_marked() -> None:
    """The mark replaces the number where it stands and nothing else."""
    text = "The final loss of run_1 is 232.12.\nThe final loss of run_2 is 555.5, not 192.60."
    report = check_prose(text, EVIDENCE)
    marked = "\n".join(mark_unsupported(text, report, mark="[?]"))
    assert marked == text.replace("555.5", "[?]")


@pytest.mark.parametrize(
    ("kind", "text", "marked"),
    [
        ("notes", "The final loss of run_2 is 3.87, so far.", "[?], so far."),
        ("notes", "The final loss of run_2 is 3.87e2 or so.", "[?] or so."),
        ("notes", "The final loss of run_2 is -3.871.", "[?]."),
        ("latex", r"The final loss of run 2 is $3.9\times 10^{4}$, so far.", "$[?]$, so far."),
        ("latex", "The final loss of run 2 is 1{,}234, so far.", "[?], so far."),
        ("latex", r"The test accuracy of run 2 is 3.87\%, so far.", r"[?]\%, so far."),
    ],
)
def test_a_mark_takes_the_whole_number_and_nothing_behind_it(
    kind: str, text: str, marked: str
) -> None:
    """Exponents and thousands separators go with the number; commas and units stay."""
    report = check_prose(text, EVIDENCE, kind="latex" if kind == "latex" else "notes")
    assert "".join(mark_unsupported(text, report, mark="[?]")).partition(" is ")[2] == marked


def stretched(length: int) -> str:
    """A sentence of that many characters with a number that nothing stored is."""
    begin = "The final loss of run_1 is 232.13 and "
    return begin + "y" * (length - len(begin) - 1) + "."


@pytest.mark.parametrize(("length", "shown"), [(139, 139), (140, 140), (141, 140), (400, 140)])
def test_a_finding_quotes_its_sentence_as_far_as_a_line_holds(length: int, shown: int) -> None:
    """A sentence of up to 140 characters stands whole; a longer one is cut, visibly."""
    text = stretched(length)
    (finding,) = check_prose(text, EVIDENCE).findings
    quoted = finding.detail.partition("“")[2].partition("”")[0]
    assert quoted == (text if length == shown else f"{text[: shown - 1]}…")


def test_a_number_carries_its_sentence_up_to_a_limit() -> None:
    """What is kept beside a number does not grow with its paragraph."""
    excerpts = [check_prose(stretched(n), EVIDENCE).numbers[0].excerpt for n in (300, 400)]
    assert excerpts == [stretched(300), stretched(400)[:300]]


def test_a_named_number_moves_no_place() -> None:
    """The column of a typed number is the one in the file, whatever is named before it."""
    text = r"The final loss of run\_1 is \result{run_1}{final_loss}, not 232.13."
    report = check_prose(text, EVIDENCE, kind="latex")
    assert [number.column for number in report.numbers] == [
        text.index(r"\result") + 1,
        text.index("232.13") + 1,
    ]
    assert report.numbers[0].evidence == r"\result{run_1}{final_loss} is final_loss"
