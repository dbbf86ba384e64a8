from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_scientist.audit import (
    audit,
    audit_command,
    audit_report,
    check_paper,
    check_paper_command,
    to_json,
)
from ai_scientist.audit.chats import parse_chat
from ai_scientist.audit.rebuilt import code_from_chats
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
    ("… which another metric happens to equal", "lost_idea", "unsupported_number", "", "scr_dir2"),
    ("the baseline's variance, in a list", "lost_idea", "wrong_attribution", "run_6", "41.23% in"),
    ("an ablation of no log", "lost_idea", "unsupported_number", "", "333.77"),
    ("… in a list", "lost_idea", "unsupported_number", "", "256 in"),
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
    ("an improvement between widths", "widths", "not_comparable", "run_1", "46.0% in"),
    ("a run that only notes tell", "told_in_notes", "missing_result", "run_2", "no result"),
    ("… at another width", "told_in_notes", "not_comparable", "run_1", "41.2% in"),
    ("a run that never was", "widths", "unknown_run", "", "run 7"),
    ("a metric never measured", "widths", "unsupported_number", "run_1", "0.926"),
    ("a run on edits that failed", "told_in_a_chat", "edit_not_applied", "run_2", "$0.25"),
    ("… on code of no effect", "told_in_a_chat", "identical_metrics", "run_2", "44.8125"),
    ("a run that only a chat knows", "told_in_a_chat", "missing_result", "run_4", "no note"),
    ("the idea is called no more", "told_in_a_chat", "mechanism_missing", "run_3", "uncalled"),
    ("… the paper still claims it", "told_in_a_chat", "mechanism_missing", "run_3", "the paper"),
    ("halves without labels", "told_in_a_chat", "mechanism_missing", "run_1", "toxic against"),
    ("a wrong axis would pass", "told_in_a_chat", "equal_axes", "run_1", "`rows.T @ rows`"),
    ("another layer's result", "told_in_a_chat", "foreign_result", "run_0", "hook_layer 3"),
    ("another width's result", "told_in_a_chat", "foreign_result", "run_0", "d_sae 192"),
    (
        "a false comparison in a reply",
        "told_in_a_chat",
        "wrong_comparison",
        "",
        "not higher than 44.81",
    ),
    ("a constant nobody recorded", "told_in_a_chat", "config_drift", "run_3", "`step` is 900"),
]


CHAT_LINES = [
    "#### Run 1 completed. Here are the results:",
    "#### python experiment.py --out_dir=run_2",
    "#### {'Name': 'a', 'Title': 'A', 'Experiment': 'x', 'loss': nan}",
    "experiment.py",
    "```python",
    "<<<<<<< SEARCH",
    "    def loss(self, x=(1,",
    "        return x",
    "=======",
    ">>>>>>> REPLACE",
    "> Tokens: 1.5k sent, 1M received. Cost: $0.01 message, $0.02 session.",
    "> The LLM did not conform to the edit format.",
    "> # 1 SEARCH/REPLACE block failed to match!",
    "## SearchReplaceNoExactMatch: This SEARCH block failed to exactly match lines in a.py",
    "> Only 3 reflections allowed, stopping.",
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
    assert [f.kind for f in found["widths"] if "46.0%" in f.detail] == ["not_comparable"]
    assert "22.1%" not in " ".join(f.detail for f in found["told_in_notes"])


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


def test_what_agrees_with_its_run_is_not_called_foreign(found: dict[str, list[Finding]]) -> None:
    """Of four evaluations only the two of another model are named."""
    foreign = [f for f in found["told_in_a_chat"] if f.kind == "foreign_result"]
    assert [f.detail.split("`")[1] for f in foreign] == ["probing", "unlearning"]


def test_a_chat_history_is_told_in_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Failed edits, requests given up, replies, tokens and costs are facts, for people and in JSON.

    Links are not followed, and words of the model are no remark of its host.
    """
    chat = FOLDERS / "told_in_a_chat" / "halves_aider.txt"
    quoted = "The LLM did not conform to the edit format, says the model.\n"
    (tmp_path / "idea_aider.txt").write_text(chat.read_text() + quoted)
    (tmp_path / "other_aider.txt").symlink_to(chat)
    audit_command(tmp_path, False)
    (line,) = [one for one in capsys.readouterr().out.splitlines() if one.startswith("chat ")]
    assert "idea_aider.txt: 2 edit-format failures" in line
    assert "6 replies with costs, $0.52, 0.11 M prompt tokens" in line
    audit_command(tmp_path, True)
    assert json.loads(capsys.readouterr().out)["chats"] == [
        {
            "name": "idea_aider.txt",
            "replies": 6,
            "cost_usd": 0.52,
            "prompt_tokens": 107000,
            "malformed": 2,
            "unmatched": 2,
            "given_up": 1,
        }
    ]


def test_a_chat_adds_nothing_to_what_the_folder_keeps(tmp_path: Path) -> None:
    """Where code and results are kept, they are what is judged, whatever a chat says of them."""
    shutil.copytree(FOLDERS / "penalties", tmp_path, dirs_exist_ok=True)
    before = audit(tmp_path)
    (tmp_path / "idea_aider.txt").write_text(
        "#### Run 1 completed. Here are the results:\n#### {'a': {'means': {'loss': 0.5}}}\n"
    )
    assert audit(tmp_path) == before


@given(st.lists(st.sampled_from(CHAT_LINES) | st.text(max_size=20), max_size=30))
def test_no_chat_history_is_too_odd(lines: list[str]) -> None:
    """Whatever stands in a history, it is read, and its edits give code that can be parsed."""
    chat = parse_chat("\n".join(lines), "odd_aider.txt")
    assert chat.to_json()["given_up"] <= len(chat.requests)
    for source in code_from_chats([chat]).values():
        assert ast.parse(source.text)


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


def test_what_the_gates_found_is_repeated(tmp_path: Path) -> None:
    """A capsule's findings on what measured the run keep their kinds."""
    for name in ("run_0", "run_1"):
        (tmp_path / name).mkdir()
        shutil.copy(FOLDERS / "widths" / "run_0" / "final_info.json", tmp_path / name)
    checks = [
        {"gate": "frozen", "verdict": "finding", "detail": "the commit changed data.py"},
        {"gate": "comparable", "verdict": "finding", "detail": "measured otherwise than run_0"},
        {"gate": "mechanism", "verdict": "finding", "detail": "mechanism_missing: it is gone"},
    ]
    (tmp_path / "run_1" / "run.json").write_text(json.dumps({"name": "run_1", "checks": checks}))
    told = {f.kind: f.detail for f in audit(tmp_path) if f.where == "run_1/run.json"}
    assert told == {
        "frozen_touched": "the commit changed data.py",
        "not_comparable": "measured otherwise than run_0",
        "mechanism_missing": "it is gone",
    }


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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run_1/run.json", '{"name": "run_1", "config_diff_baseline": [1]}'),
        ("run_1/run.json", '{"name": "run_1", "title": 5, "checks": [{"gate": 1}]}'),
        ("hypotheses.json", '{"hypotheses": null}'),
        ("hypotheses.json", '{"hypotheses": [3, {"metric": "loss", "direction": "sideways"}]}'),
        ("attempts/a.json", '{"step": "run_1/edit_1", "kind": "odd"}'),
        ("attempts/a.json", '{"step": "run_1/edit_1", "kind": "refused"}'),
        ("report.json", '{"hypotheses": [{"hypothesis": {"metric": 1}, "verdict": "confirmed"}]}'),
        ("report.json", '{"findings": [{"kind": [], "detail": {}}]}'),
        ("settings.json", "[" * 100_000),
    ],
)
def test_what_another_system_broke_is_left_out(tmp_path: Path, name: str, content: str) -> None:
    """A record that cannot be read is passed over; the results beside it are read all the same."""
    (tmp_path / "run_1").mkdir()
    (tmp_path / "attempts").mkdir()
    (tmp_path / "run_1" / "final_info.json").write_text('{"loss": 1.5}')
    (tmp_path / name).write_text(content)
    study = read_study(tmp_path)
    run = study.runs["run_1"]
    assert (run.title, run.results.metrics) == ("run_1", {"loss": 1.5})
    kept = (study.attempts, study.hypotheses, study.judgements, study.findings, study.settings)
    assert not any(kept)


@pytest.mark.parametrize(
    ("heading", "title"),
    [
        ("## Run 1: Better", "Better"),
        ("### run_1 (Better)", "Better"),
        ("# Run 1 – Better  ", "Better"),
        ("## Run 1: Better (no bias)", "Better (no bias)"),
        ("## Run 1:\n\nDescription: not a title", "run_1"),
        (f"## Run 1: a{' ' * 100_000}b", f"a{' ' * 199}"),
    ],
    ids=["colon", "brackets", "dash", "both", "none", "long"],
)
def test_a_title_stands_in_the_heading(tmp_path: Path, heading: str, title: str) -> None:
    """A run's title is what its heading says in that line, however long the line is."""
    (tmp_path / "run_1").mkdir()
    (tmp_path / "run_1" / "final_info.json").write_text('{"loss": 1.5}')
    (tmp_path / "notes.txt").write_text(f"# Title: T\n{heading}\n")
    assert read_study(tmp_path).runs["run_1"].title == title


TOLD = """#### For reference, the baseline results are as follows:
#### {'m': {'final_info': {'final_loss': 200.2254}}}
####

notes.txt
<<<<<<< SEARCH
# Title
=======
# Title
## Run 1: A variant
The final loss of run_1 is 214.4, higher than in run_0 (201.7).
>>>>>>> REPLACE

> Tokens: 2k sent, 1k received. Cost: $0.01 message, $0.01 session.
> Applied edit to notes.txt

#### Run 1 completed. Here are the results:
#### {'m': {'final_info': {'final_loss': 214.4158}}}

latex/template.tex
<<<<<<< SEARCH
Results here.
=======
\\section{Results} The final loss of run 1 is 199.9.
>>>>>>> REPLACE

> Tokens: 2k sent, 1k received. Cost: $0.01 message, $0.02 session.
> Applied edit to latex/template.tex
"""


def test_notes_and_paper_that_only_a_chat_holds_are_checked(tmp_path: Path) -> None:
    """What a chat's edits left of notes and paper is checked, and its place is the chat's line."""
    (tmp_path / "a_aider.txt").write_text(TOLD)
    wrong = {f.where: f.detail for f in audit(tmp_path) if f.kind == "unsupported_number"}
    assert list(wrong) == ["a_aider.txt:11 (notes.txt)", "a_aider.txt:24 (latex/template.tex)"]
    assert "201.7" in wrong["a_aider.txt:11 (notes.txt)"]
    (tmp_path / "notes.txt").write_text("# Title\n")
    kept = [f.where for f in audit(tmp_path) if f.kind == "unsupported_number"]
    assert kept == ["a_aider.txt:24 (latex/template.tex)"]


def test_a_value_told_of_several_runs_is_found_without_results(tmp_path: Path) -> None:
    """Notes alone: the same measured value under several runs' headings is one finding."""
    heads = [
        f"## Run {n} (penalty 0.0{n})\n- Final loss 701.0478, accuracy 0.{n}4486\n"
        for n in (1, 2, 3)
    ]
    (tmp_path / "notes.txt").write_text("\n".join(heads))
    same, *lost = audit(tmp_path)
    assert (same.kind, same.run, same.where) == ("identical_metrics", "run_2", "notes.txt:5")
    assert "701.0478 is told of run_1, run_2, run_3" in same.detail
    assert [(f.kind, f.run) for f in lost] == [("missing_result", f"run_{n}") for n in (1, 2, 3)]
