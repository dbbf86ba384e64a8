from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ai_scientist.audit import (
    audit,
    audit_command,
    audit_report,
    check_paper,
    check_paper_command,
    to_json,
)
from ai_scientist.errors import InputError
from ai_scientist.records import Finding, Run
from ai_scientist.results.reading import read_results
from ai_scientist.run_folder.study import read_study, run_from_json, run_to_json

FOLDERS = Path(__file__).parent / "fixtures" / "audit"

# Row of the record, folder, kind, run, words that the detail must hold.
ROWS = [
    ("an edit that changed nothing", "lost_idea", "identical_metrics", "run_2", "355.91284"),
    ("a false comparison", "lost_idea", "wrong_comparison", "", "331.21 is not higher than 355.91"),
    ("the baseline's value as run 2's", "lost_idea", "wrong_attribution", "run_2", "of run_0"),
    ("the mechanism leaves the code", "lost_idea", "mechanism_missing", "run_5", "`ratio`"),
    ("a run that nobody tells of", "lost_idea", "run_not_in_notes", "run_6", "run_6"),
    ("… nor draws", "lost_idea", "run_not_in_plots", "run_6", "run_6"),
    ("… nor reports", "lost_idea", "run_not_in_paper", "run_6", "silent"),
    ("the baseline's variance", "lost_idea", "wrong_attribution", "", "41.23% in “Explained"),
    ("the same, in the abstract", "lost_idea", "wrong_attribution", "", "41.23% in “Our method"),
    ("correlations of no log", "lost_idea", "unsupported_number", "", "0.091"),
    ("and their baseline", "lost_idea", "unsupported_number", "run_0", "0.204"),
    ("an ablation of no log", "lost_idea", "unsupported_number", "", "333.77"),
    ("an ablated value as baseline", "lost_idea", "wrong_attribution", "", "9.44"),
    ("a citation of nothing", "lost_idea", "unknown_citation", "", "nobody2031"),
    ("a figure of nothing", "lost_idea", "missing_figure", "", "loss_curves"),
    ("a placeholder", "lost_idea", "placeholder_left", "", "TODO"),
    ("one seed", "lost_idea", "noise_not_measured", "", "one seed"),
    ("penalties without effect", "penalties", "identical_metrics", "run_3", "`training results"),
    ("… on the accuracy too", "penalties", "identical_metrics", "run_2", "sparse probing"),
    ("another width", "widths", "config_drift", "run_1", "dict_size 32768 -> 768"),
    ("another evaluation", "widths", "not_comparable", "run_1", "n_batches 200 -> 20"),
    ("another model's result", "widths", "foreign_result", "run_0", "d_sae 4096"),
    ("a term without a gradient", "widths", "mechanism_inactive", "run_1", "consistency"),
    ("a seed as the change", "widths", "seed_only_change", "run_1", "seeds"),
    ("a comment as the change", "widths", "identical_code", "run_2", "run_1"),
    ("a cut-off result", "widths", "missing_result", "run_2", "not valid JSON"),
    ("a run that never was", "widths", "unknown_run", "", "run 7"),
    ("a metric never measured", "widths", "unsupported_number", "run_1", "0.926"),
]


@pytest.fixture(scope="module")
def found() -> dict[str, list[Finding]]:
    """The findings of each folder."""
    return {path.name: audit(path) for path in sorted(FOLDERS.iterdir())}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_failure_of_the_records_is_found(
    found: dict[str, list[Finding]], row: tuple[str, str, str, str, str]
) -> None:
    """Each way in which an earlier system misled its reader is a finding of its own."""
    _, folder, kind, run, words = row
    kinds = [f for f in found[folder] if f.kind == kind and (not run or f.run == run)]
    assert any(words in f.detail for f in kinds), [f.detail for f in kinds]


def test_true_sentences_of_the_same_folder_are_left_alone(
    found: dict[str, list[Finding]],
) -> None:
    """What the records say truly is no finding."""
    for true in ("318.64", "355.91", "355.91284", "14.6%", "2.8%", "301.90"):
        assert not [f for f in found["lost_idea"] if f.detail.startswith(f"{true} in")]
    assert "46.0%" not in " ".join(f.detail for f in found["widths"])


def test_json_has_the_documented_form() -> None:
    """`--json` prints numbers with place, verdict and evidence, and findings with four keys."""
    content = json.loads(json.dumps(to_json(audit_report(FOLDERS / "lost_idea"))))
    assert {"numbers", "findings"} == set(content)
    for number in content["numbers"]:
        assert {"text", "line", "column", "context", "verdict", "evidence"} <= set(number)
    assert all({"kind", "run", "where", "detail"} == set(f) for f in content["findings"])
    abstract = [n for n in content["numbers"] if n["context"] == "abstract"]
    assert [(n["text"], n["line"]) for n in abstract] == [("41.23%", 4)]


def test_commands_print_and_return_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Findings are printed by kind with place and reason, and the exit code is 1."""
    folder = FOLDERS / "lost_idea"
    assert audit_command(folder, False) == 1
    text = capsys.readouterr().out
    assert "wrong_comparison" in text
    assert "notes.txt:14" in text
    assert check_paper_command(folder / "latex" / "template.tex", folder, True) == 1
    assert json.loads(capsys.readouterr().out)["findings"]


def test_a_clean_folder_has_no_finding(tmp_path: Path) -> None:
    """Two honest runs with seeds and true notes give exit code 0."""
    for name, values in (("run_0", [1.0, 1.1, 1.2]), ("run_1", [0.8, 0.85, 0.9])):
        (tmp_path / name).mkdir()
        content = {"d": {"means": {"loss": sum(values) / 3}, "final_info_dict": {"loss": values}}}
        (tmp_path / name / "final_info.json").write_text(json.dumps(content))
    (tmp_path / "notes.txt").write_text("## Run 1: Better\nThe loss is 0.85, run_0 has 1.10.\n")
    assert audit(tmp_path) == []
    assert audit_command(tmp_path, True) == 0


def test_chat_histories_are_told_and_are_no_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Edits that could not be read and stated costs are counted for a person, not in the JSON."""
    shutil.copytree(FOLDERS / "widths", tmp_path, dirs_exist_ok=True)
    before = audit(tmp_path)
    (tmp_path / "idea_aider.txt").write_text(
        "> Tokens: 34k sent, 510 received. Cost: $0.11 message, $0.34 session.\n"
        "> The LLM did not conform to the edit format.\n"
        "> # 1 SEARCH/REPLACE block failed to match!\n"
        "> Tokens: 4k sent, 51 received. Cost: $0.05 message, $0.39 session.\n"
        "The LLM did not conform to the edit format, says the model.\n"
    )
    (tmp_path / "other_aider.txt").symlink_to(tmp_path / "idea_aider.txt")
    assert audit(tmp_path) == before
    audit_command(tmp_path, False)
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("chat ")]
    assert "idea_aider.txt: 1 edit-format failures" in line
    assert "2 replies with costs, $0.16" in line


def test_what_is_missing_is_told_to_the_person(tmp_path: Path) -> None:
    """A folder or a paper that is not there is bad input, with a remedy."""
    with pytest.raises(InputError):
        audit(tmp_path / "nothing")
    with pytest.raises(InputError, match="no file"):
        check_paper(tmp_path / "paper.tex", tmp_path)
    (tmp_path / "paper.tex").write_text(r"\begin{document}x\end{document}")
    with pytest.raises(InputError, match="no run"):
        check_paper(tmp_path / "paper.tex", tmp_path)


def test_a_paper_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    """An input that points outside is not read, and one inside is."""
    folder = tmp_path / "study"
    shutil.copytree(FOLDERS / "penalties", folder)
    (tmp_path / "secret.tex").write_text("The final loss of run 1 is 111.11.")
    (folder / "inner.tex").write_text("The final loss of run 1 is 222.22.")
    (folder / "link.tex").symlink_to(tmp_path / "secret.tex")
    paper = folder / "paper.tex"
    paper.write_text(
        "\\begin{document}\\input{../secret}\\input{link}\\input{inner}\\input{paper}\\end{document}"
    )
    numbers = check_paper(paper, folder).numbers
    assert [(n.text, n.file) for n in numbers] == [("222.22", "inner.tex")]


def test_a_run_survives_its_capsule(tmp_path: Path) -> None:
    """run.json read back gives the run that was written, and a damaged one loses no result."""
    results = read_results(FOLDERS / "widths" / "run_0" / "final_info.json", {})
    run = Run(
        name="run_1",
        title="T",
        results=results,
        seeds=(1, 2),
        config_diff_baseline={"a/config/k": (None, 3)},
        arms={"uniform": results},
    )
    stored = json.loads(json.dumps(run_to_json(run)))
    assert run_from_json(stored, results, {"uniform": results}) == run
    place = tmp_path / "run_1"
    place.mkdir()
    shutil.copy(FOLDERS / "widths" / "run_0" / "final_info.json", place)
    (place / "run.json").write_text('{"name": "run_1", "checks": [{"wrong": 1}]}')
    assert read_study(tmp_path).runs["run_1"].results == results
