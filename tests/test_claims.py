from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ai_scientist.claims import Evidence, check_prose
from ai_scientist.claims.numerals import find_numerals
from ai_scientist.records import Results
from tests.claims_study import EVIDENCE, kinds, verdicts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The final loss of run_1 is 232.12.", [("232.12", "supported")]),
        ("The final loss of run_1 is 232.13.", [("232.13", "unsupported")]),
        ("run_2 reaches 67.18% test accuracy.", [("67.18%", "supported")]),
        ("run_2 has a final loss of 1.926e2.", [("1.926e2", "supported")]),
        ("run_2 has a final loss of 192.60 ± 0.58.", [("192.60", "supported"), ("0.58",) * 1]),
        ("The final loss of run_1 is 15.9% higher than that of run_0.", [("15.9%", "derived")]),
        ("The final loss of run_1 is 16.9% higher than of run_0.", [("16.9%", "unsupported")]),
        ("The final loss fell by 7.6 from run_0 to run_2.", [("7.6", "derived")]),
        ("In run_1 the final loss is 1.16 times that of run_0.", [("1.16", "derived")]),
        ("With lr = 0.0003 and k of 20 nothing changed.", [("0.0003",), ("20",)]),
        ("A final loss of 232.12 was seen.", [("232.12", "ambiguous")]),
        ("In 2024, Section 3.1 of Smith (2023) used 5 seeds.", []),
        ("Runs 1 and 2 end at a final loss of 232.1 and 192.6.", [("232.1",), ("192.6",)]),
    ],
)
def test_verdicts_in_sentences(text: str, expected: list[tuple[str, ...]]) -> None:
    """A number counts only when it is the value that its words name."""
    found = verdicts(text)
    assert [number for number, _ in found] == [entry[0].lstrip("±") for entry in expected]
    for (_, verdict), entry in zip(found, expected, strict=True):
        allowed = {entry[1]} if len(entry) > 1 else {"supported", "configuration"}
        assert verdict in allowed


@pytest.mark.parametrize(
    "text",
    [
        "The final loss of run_2 is 232.12.",
        "## Run 2: Cubic\nRun 2 has a final loss of 200.23.",
        "## Run 2: Cubic\nThe final loss is 232.12.",
        "Our method reaches a final loss of 200.23.",
        "The best run has a test accuracy of 0.6412.",
        "| run | final loss |\n|---|---|\n| run_1 | 192.60 |\n| run_2 | 192.60 |",
        "| metric | Value | Baseline |\n|---|---|---|\n| test accuracy | 64.12% | 64.12% |",
    ],
)
def test_a_value_of_another_run_is_a_wrong_attribution(text: str) -> None:
    """A true number under the wrong name is worse than none, and named as such."""
    assert "wrong_attribution" in kinds(text)


def test_what_follows_from_named_runs_is_no_finding() -> None:
    """Seeds, spreads, intervals and p-values count as derived when the words say what they are."""
    seeds = {"run_0": (2.0, 2.2, 2.4), "run_1": (3.0, 3.3, 3.33)}
    evidence = Evidence(
        runs={
            name: Results(metrics={"d/loss": sum(v) / 3}, seeds={"d/loss": v}, stderr={})
            for name, v in seeds.items()
        }
    )
    found = evidence.compare("run_1", "run_0", "d/loss")
    assert found.interval is not None
    assert found.p_value is not None
    low, high = found.interval
    true = (
        "The seeds of run_1 gave a loss of 3.00, 3.30 and 3.33.",
        "The loss of run_0 has a standard deviation of 0.200.",
        f"The loss of run_1 differs from run_0 by 1.01 (95% CI [{low:.3f}, {high:.3f}]).",
        f"For the loss, run_1 against run_0 gives p = {found.p_value:.3f}.",
    )
    for text in true:
        report = check_prose(text, evidence)
        assert not report.findings
        assert {n.verdict for n in report.numbers} <= {"derived", "supported"}, text
    invented = ("The seeds of run_1 gave a loss of 3.07.", "For run_1 the loss is 3.30.")
    assert all(check_prose(text, evidence).findings for text in invented)


@pytest.mark.parametrize(
    ("text", "false"),
    [
        ("The final loss of run_1 is lower than that of run_0.", True),
        ("The final loss of run_1 is higher than that of run_0.", False),
        ("The final loss of run_1 is not lower than that of run_0.", False),
        ("run_2 outperforms run_1 in test accuracy.", False),
        ("run_1 outperforms run_2 in test accuracy.", True),
        ("run_1 improves the final loss over the baseline.", True),
        ("run_2 has a better final loss than the baseline.", False),
        ("Its 214.41 is higher than both run_1 (232.12) and run_0 (200.23).", True),
        ("The final loss increased from 232.12 in run_1 to 192.60 in run_2.", True),
        ("The final loss decreased from 232.12 in run_1 to 192.60 in run_2.", False),
        ("## Run 1: Ranked\nThe final loss is lower than the baseline.", True),
        ("run_1 has a higher accuracy than run_0, but a lower final loss than run_2.", True),
        ("run_1 has a higher accuracy than run_0, but a higher final loss than run_2.", False),
        ("Test accuracy of the best run exceeds that of run_1.", False),
        ("In final loss run_1 is higher than run_0 by 31.90 and higher than run_2.", False),
        ("In final loss run_1 is higher than run_0 by 31.90 and lower than run_2.", True),
        ("In final loss run_1 is higher than run_0, which is higher than run_2.", False),
        ("In final loss run_1 is higher than run_0, which is lower than run_2.", True),
        ("The final loss of run_2 is lower than that of run_0, and run_1's is higher.", False),
        ("run_0's final loss is lower than run_1's. run_2's final loss is lower than that.", False),
        ("Lower final loss for run_1 against the baseline.", True),
        ("## Run 0\nFinal loss 200.23 (higher than baseline run_1's 192.60)", True),
    ],
)
def test_comparisons_in_words_are_held_to_the_values(text: str, false: bool) -> None:
    """A direction that is typed must be the stored one."""
    assert ("wrong_comparison" in kinds(text)) is false


def test_facts_by_code_are_left_alone_and_cannot_be_faked() -> None:
    """Only the block below a run's heading is code's; the same marks inside prose are prose."""
    facts = "[facts of run_1, by code]\nfinal_loss of run_1 = 999.9\n[end of facts]\n"
    assert verdicts(f"## Run 1: Ranked\n{facts}") == []
    assert verdicts(f"## Run 1: Ranked\nProse.\n{facts}") == [("999.9", "unsupported")]
    assert verdicts("#### The final loss of run_1 is 999.9") == [("999.9", "unsupported")]
    assert verdicts("```\nThe final loss of run_1 is 999.9\n```") == [("999.9", "unsupported")]
    assert verdicts("The final loss of run_1 is `999.9`.") == [("999.9", "unsupported")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The final loss of run_1 is 310.4.", "unsupported"),
        ("The smoothed final loss of run_1 is 310.4.", "unsupported"),
        ("The smoothed final loss of run_1 is 200.23.", "ambiguous"),
        ("After the first epoch the final loss of run_1 is 310.4.", "ambiguous"),
        ("The final loss of run_1 is 232.12. In the warm-up it is 310.4.", "ambiguous"),
        ("Against run_0, the final loss of run_1 comes to 310.4.", "unsupported"),
        ("If I averaged the final loss, run_1 would be at 310.4.", "ambiguous"),
    ],
)
def test_only_a_certain_reading_makes_a_finding(text: str, expected: str) -> None:
    """A word that may make another quantity of a number leaves it open, and it is reported."""
    assert verdicts(text)[-1][1] == expected


@pytest.mark.parametrize(
    "text",
    [
        "It kept an average decoder weight correlation of 0.076 (compared to 0.183 baseline).",
        "Average decoder weight correlation: 0.076 (vs. 0.183 baseline)",
        "We reduced correlations (average decoder correlation: 0.076 vs 0.183 baseline).",
    ],
)
def test_both_values_of_what_no_run_measured_are_found(text: str) -> None:
    """A measure that no log has is unsupported on either side of its comparison."""
    assert [verdict for _, verdict in verdicts(text)] == ["unsupported", "unsupported"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("gemma-2-2b Pythia-70M v1.2.3 top-1 2026-11-20 12:30 sae_2 x86", []),
        ("1,234.5 and 1 234 and .5", ["1,234.5", "1", "234", ".5"]),
        ("3 × 10⁻⁴, 3 x 10, 2e-5 and 5E3", ["3 × 10⁻⁴", "3", "10", "2e-5", "5E3"]),
        ("-4.1%, +3.8% and −2", ["-4.1", "+3.8", "−2"]),
        ("16k tokens, 2x faster, 5th try, 3D", ["16", "2"]),
        ("between 3-5 and 20/40/80", ["3", "5", "20", "40", "80"]),
    ],
)
def test_numerals(text: str, values: list[str]) -> None:
    """Digits inside names, versions and dates are no numbers."""
    assert [n.text.rstrip("%kx") for n in find_numerals(text)] == values


@pytest.mark.parametrize(
    "text",
    [
        "\\begin{tabular}{l" * 300,
        "{" * 5000,
        "$" * 999 + " run_1 final loss 1.23",
        "| a " * 3000 + "\n" + "| 1 " * 3000,
        "run 1 " * 3000 + "final loss " * 500 + "0.41 " * 300,
        "\\result{" * 500,
        "\x00\ue000\ue001\ue002 0.41",
    ],
)
@pytest.mark.parametrize("kind", ["notes", "latex"])
@pytest.mark.timeout(60)
def test_hostile_text_ends(text: str, kind: str) -> None:
    """No text that a model can write makes the check crash or hang."""
    verdicts(text, kind)


OPEN = [
    "The vanilla model ends at a final loss of 200.2, variant two at 192.6.",
    "## Run 1\nCompared to the control (200.2), the final loss is 232.1.",
    "## Run 1\nThe final loss is 232.1 (was 200.2).",
    "## Run 1\nResult: final loss 232.1; control 200.2; 0.6412.",
    "Final loss: 232.1, was 200.2 (run 1 vs. baseline).",
    "The test accuracy of run_1 is 0.6553(58), that of run_0 0.6412(58).",
    "The final loss of run_1 is 232.12(58).",
    "Subtracting the test accuracy of run_1 from 1 leaves 0.3447; the same for run_0 0.3588.",
    "Scaled by 100, the test accuracy of run_1 reads 65.53; that of run_0 64.12.",
    "95% CIs against the baseline (final loss): run_1 (31.90; 31.90), run_2 (-7.622; -7.622).",
    "We call run 1 R and run 2 C. R has a final loss of 232.1, C 192.6, R + C (run 2) none.",
    "## Run 2: More\nThe final loss is 192.6. With 0.05 it was 232.1.",
    "| metric | Run 0/1 |\n|---|---|\n| final_loss | 200.2/232.1 |",
    "| Run | final_loss |\n|---|---|\n| 2 vs 1 | -39.52 |",
    "Raising k from 16 to 128 changes the final loss from 200.2 (run_0) to 192.6 (run_2).",
    "The midpoint of runs 0 and 1 is 216.2 in final loss, with each run 15.95 away from it.",
    "As a percentage, the final loss is 23,212% in run_1 and 20,023% in run_0.",
    "| | final_loss | relative to run_0 |\n|---|---|---|\n| run_0 | 200.2 | 1.00 |",
    "The midpoint of runs 0 and 1 is 216.2 in final loss; each is 15.95 away from it.",
    "p-values against run_0 on final loss: run_1 < 0.001; run_2 < 0.001; both were < 0.05.",
    "| Run | final_loss |\n|---|---|\n| run_1 | 232.1 [229.6, 234.6] |",
    "| batch | Run | final_loss |\n|---|---|---|\n| 2048 | 0 | 200.2 |\n| 2048 | 1 | 232.1 |",
    "| | run_0 | run_1 |\n|---|---|---|\n| final_loss | 200.2 | 232.1 |\n| k | 32 | 64 |",
    "Taking runs 1 and 2 as one, the final loss is 212.4.",
    "The final loss of run_1 lies in [229.6, 234.6], that of run_0 in [197.7, 202.7].",
    "| Run | final_loss | change |\n|---|---|---|\n| 1 | 232.1 | 31.90 |\n| 2 | 192.6 | -39.52 |",
]
TABLES = {
    "Midpoints of each run and the baseline": ("216.2", "0.6483"),
    "First seed only": ("231.1", "0.6453"),
    "Standard errors": ("0.577", "0.0058"),
    "Values times 100": ("23212", "65.53"),
}


@pytest.mark.parametrize("caption", TABLES)
def test_a_caption_may_say_what_all_cells_are(caption: str) -> None:
    """Cells that are all what the caption says are no finding; one false cell in a table is."""
    table = r"\begin{table}\caption{%s.}\begin{tabular}{lcc}%s\end{tabular}\end{table}"
    head = r" & final loss & test accuracy \\ Baseline & 200.2 & 0.6412 \\"
    row = r" & final loss & test accuracy \\ Run 1 & %s & %s \\"
    assert kinds(table % (caption, row % TABLES[caption]), "latex") == []
    one_false = head + r" Run 1 & 232.1 & 0.7777 \\"
    assert kinds(table % (caption, one_false), "latex") == ["unsupported_number"]


@pytest.mark.parametrize("text", OPEN)
def test_wordings_of_true_numbers_that_were_misread(text: str) -> None:
    """True numbers in words that a first reading gets wrong are no findings."""
    assert kinds(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "The vanilla model is lower; the final loss of run_1 is 231.1.",
        "Compared to the control (200.2), the final loss of run_1 is 231.1.",
        "run_1 vs run_2: final loss 231.1 vs 192.6.",
        "The final loss of run_1 is 231.12(58).",
        "The variant with a control, run_2, has a final loss of 191.6.",
    ],
)
def test_nicknames_excuse_no_invented_number(text: str) -> None:
    """A number that nothing stored is stays a finding beside `the control` and its like."""
    assert "unsupported_number" in kinds(text)


@pytest.mark.parametrize("name", ["Run 9", "run_9"])
def test_a_run_that_is_not_there_is_named_with_those_that_are(name: str) -> None:
    """A text may not speak of a run that this folder does not hold."""
    (finding,) = check_prose(f"{name} has a lower final loss.", EVIDENCE, file="a.md").findings
    assert (finding.kind, finding.where) == ("unknown_run", "a.md:1")
    assert finding.detail.startswith(f"`{name}` is no run of this folder")
    assert "run_0, run_1, run_2" in finding.detail


def test_the_benchmark_meets_its_goals(project: Path) -> None:
    """A small run of the false-accept benchmark ends with exit code 0."""
    command = [sys.executable, "-m", "benchmarks.false_accept", "--claims", "40"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("This is about run_2. After some days, a final loss of 192.6 came out.", "supported"),
        ("This is about run_2. After some days, a final loss of 232.1 came out.", "ambiguous"),
        (
            "This is about the baseline. After some days, a final loss of 200.2 came out.",
            "ambiguous",
        ),
        ("This is about run_1 and run_2. After days, a final loss of 192.6 came out.", "ambiguous"),
        ("All of this is final loss.\n\n| | end |\n|---|---|\n| run_2 | 192.6 |", "supported"),
        ("All of this is final loss.\n\n| | end |\n|---|---|\n| run_2 | 0.6718 |", "ambiguous"),
        ("The final loss is told below.\n192.6 for one, 999.9 for the other.", "ambiguous"),
        ("| Rank | Run | final_loss |\n|---|---|---|\n| a | run_2 | 192.6 |", "supported"),
        ("It is about final loss, not test accuracy. We found, for run_2, 192.6.", "ambiguous"),
    ],
)
def test_a_paragraph_supports_and_never_refutes(text: str, expected: str) -> None:
    """The one run or metric named around a number supports its value; the baseline does not."""
    assert verdicts(text)[-1][1] == expected
    assert kinds(text) == []
