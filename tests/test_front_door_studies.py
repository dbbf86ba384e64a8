"""Through the front door: whole studies, with seeds, arms, hypotheses and what is kept of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ai_scientist.audit import audit
from ai_scientist.inputs.templates import load_template
from ai_scientist.notes.facts import facts
from ai_scientist.review.summaries import summarize
from ai_scientist.run_folder.study import read_study
from tests.doors import PROJECT
from tests.scripted_launches import (
    DONE,
    RATE,
    Launch,
    Outcome,
    at_start,
    change,
    recording_of,
    resume,
    write_recording,
)


@pytest.mark.slow
def test_ten_runs_and_the_tenth_is_in_the_notes(launch: Launch, project: Path) -> None:
    """The last run is interpreted like any other, prompts do not grow, facts can be made again."""
    rates = ["0.1", *(f"0.{number:02d}" for number in range(11, 21))]
    edits = [
        (
            f"run_{number}/edit_1",
            change(
                f"    learning_rate: float = {rates[number - 1]}",
                f"    learning_rate: float = {rates[number]}",
                f"rate {rates[number]}",
            ),
        )
        for number in range(1, 11)
    ]
    outcome = launch(edits)
    assert outcome.code == 0, outcome.err
    assert outcome.report["stop"] == "run limit"
    assert outcome.report["valid_runs"] == 10
    capsule = json.loads((outcome.folder / "run_10" / "run.json").read_text())
    assert capsule["cost_usd"] == 0.0  # replayed; null would be a price nobody knows
    section = outcome.notes.split("## Run 10:")[1]
    assert "test_loss" in section
    assert "It is drawn." in section
    kinds = {one.kind for one in audit(outcome.folder)}
    assert kinds == {"config_drift", "not_comparable", "run_not_in_plots"}  # as the replies made it
    template = load_template(project / "templates" / "digits")
    study = read_study(outcome.folder, template.metrics)
    for run in study.runs.values():
        assert facts(run, study.runs["run_0"], template.metrics) in outcome.notes
    sizes = {}
    for call in outcome.calls():
        if call["purpose"] == "edit":
            sizes[call["step"]] = call["prompt_tokens"]
    assert sizes["run_10/edit_1"] < 1.1 * sizes["run_2/edit_1"] + 100


@pytest.mark.slow
def test_noise_is_measured_and_the_winner_meets_its_placebo(launch: Launch, tmp_path: Path) -> None:
    """Seeds, control arms and fresh seeds are run by us, and decide the hypotheses of the model."""
    idea = {
        "Name": "decay",
        "Title": "Weight decay",
        "Experiment": "Add weight decay.",
        "Template": "digits",
        "Varies": ["weight_decay"],
        "Controls": [
            {"name": "no_decay", "set": {"weight_decay": 0.0}},
            {"name": "wrong_key", "set": {"no_such_key": 1}},
        ],
    }
    path = tmp_path / "decay.json"
    path.write_text(json.dumps(idea))
    edit = change("    weight_decay: float = 0.0", "    weight_decay: float = 0.003", "decay")
    proposed = (
        '```json\n[{"metric": "test_loss", "direction": "decrease", "min_effect": 0.001}]\n```'
    )
    lines = recording_of([edit, ("run_2/edit_1", DONE)])
    lines.append({"purpose": "hypotheses", "step": "hypotheses/try_1", "reply": "None."})
    lines.append({"purpose": "hypotheses", "step": "hypotheses/try_2", "reply": proposed})
    recording = write_recording(tmp_path / "decay.jsonl", lines)
    seeds = ("--baseline-seeds=2", "--seeds-per-run=2", "--confirm-best=2")
    outcome = launch([], f"--idea={path}", f"--model=recorded:{recording}", *seeds)
    assert outcome.code == 0, outcome.err
    study = read_study(outcome.folder)
    assert [len(values) for values in study.runs["run_1"].results.seeds.values()] == [10] * 4
    assert list(study.runs["run_1"].arms) == ["no_decay"]
    base = study.runs["run_0"].results.metrics["digits/test_loss"]
    assert study.runs["run_1"].arms["no_decay"].metrics["digits/test_loss"] == pytest.approx(base)
    kinds = {attempt["step"]: attempt["kind"] for attempt in outcome.attempts()}
    assert kinds["run_1/arm_wrong_key/seed_0"] == "crashed"
    told = summarize(outcome.folder)
    (outcome.folder / "report.json").rename(outcome.folder / "kept.json")
    assert told.crashed == summarize(outcome.folder).crashed == [*kinds.values()].count("crashed")
    (outcome.folder / "kept.json").rename(outcome.folder / "report.json")
    assert (outcome.folder / "run_1" / "confirmation" / "seed_1001" / "stdout.log").is_file()
    hypothesis = outcome.report["hypotheses"][0]
    assert hypothesis["hypothesis"]["proposed_by"] == "model"
    assert hypothesis["reason"] == "On fresh seeds: Controls not run (no_decay, wrong_key)."
    assert outcome.report["deviations"] == [
        "The control arm wrong_key was declared and has no result."
    ]
    # Seeds of the run, of each arm up to its failure, and the same once more with fresh seeds.
    assert outcome.report["executions"] == 2 + (2 + 1) + 2 + (2 + 1)
    stored = json.loads((outcome.folder / "hypotheses.json").read_text())
    assert len(stored["sha256"]) == 64


def test_hypotheses_changed_after_they_were_fixed_are_told(launch: Launch) -> None:
    """A resumed idea that states other hypotheses is judged by the fixed ones, and this is said.

    A number whose words leave open what it is stands in report.json as well.
    """
    told = "Before the last epoch of run_1 the test_loss was 0.4321.\n\nALL_COMPLETED"
    outcome = launch([change(RATE, "    learning_rate: float = 0.2"), ("run_2/edit_1", told)])
    assert outcome.code == 0, outcome.err
    fixed = [one["hypothesis"] for one in outcome.report["hypotheses"]]
    assert [(one["text"], one["where"].partition(":")[0]) for one in
            outcome.report["open_numbers"]] == [("0.4321", "notes.txt")]  # fmt: skip
    events = (outcome.folder / "events.jsonl").read_text().splitlines(keepends=True)
    (outcome.folder / "events.jsonl").write_text("".join(events[: len(events) // 2]))
    idea = json.loads((outcome.folder / "idea.json").read_text())
    idea["Hypotheses"] = [idea["Hypotheses"][0] | {"direction": "decrease"}]
    (outcome.folder / "idea.json").write_text(json.dumps(idea))
    after = resume(outcome).report
    assert [one["hypothesis"] for one in after["hypotheses"]] == fixed
    assert after["deviations"][0] == (
        "The idea states other hypotheses now than were fixed before the first edit; the fixed "
        "ones are judged."
    )


def test_trained_models_stay_where_they_are_asked_for(launch: Launch) -> None:
    """With --keep best the finalist's are kept, and resuming changes nothing.

    Those of a run that lost go before the next one begins, those of control arms at once.
    """
    leaves = (
        'kept = request.out_dir / "sae" / "seed_0"\n'
        "kept.mkdir(parents=True)\n"
        '(kept / "weights").write_text("w" * 100)'
    )
    weaker = change("    learning_rate: float = 0.07", "    learning_rate: float = 0.001")
    edits = [at_start(leaves), ("run_2/edit_1", weaker), ("run_3/edit_1", DONE)]
    outcome = launch(edits, "--confirm-best=1")
    assert outcome.code == 0, outcome.err
    wanted = {
        "keep": "best",
        "kept": ["run_1/sae"],
        "removed": ["run_1/confirmation/sae", "run_2/sae"],
        "freed_bytes": 200,
    }
    assert outcome.report["trained"] == wanted
    assert (outcome.folder / "run_1" / "sae" / "seed_0" / "weights").is_file()
    assert not (outcome.folder / "run_2" / "sae").exists()
    journal = outcome.folder / "events.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    places = [
        next(number for number, line in enumerate(lines) if words in line)
        for words in ('"run_2/record"', '"run_2/sae"', '"run_3/edit_1', '"key": "keep"')
    ]
    assert places == sorted(places)
    journal.write_text("".join(lines[: places[-1]]))
    assert resume(outcome).report["trained"] == wanted
    assert (outcome.folder / "run_1" / "sae" / "seed_0" / "weights").is_file()


@pytest.mark.slow
def test_one_seed_is_told_before_it_is_paid_for(launch: Launch, tmp_path: Path) -> None:
    """Where no hypothesis can be decided this is said after run_0."""
    template = tmp_path / "digits"
    shutil.copytree(PROJECT / "templates" / "digits", template)
    code = (template / "experiment.py").read_text()
    (template / "experiment.py").write_text(code.replace("repeats: int = 5", "repeats: int = 1"))
    edits = [change(RATE, "    learning_rate: float = 0.2"), ("run_2/edit_1", DONE)]
    outcome = launch(edits, f"--template={template}")
    assert outcome.code == 0, outcome.err
    warning = "run_0: one seed and no noise stated: no hypothesis can be decided"
    assert outcome.out.count(warning) == 1
    assert outcome.out.index(warning) < outcome.out.index("run_1")


def confirm_with_probing(
    launch: Launch, template: Path, for_each: str, at_import: str = ""
) -> Outcome:
    """Launch a digits template with one evaluation on a fresh seed, that of the winner too.

    `for_each` is what its prepare.py does for each evaluation asked for, `at_import` what
    experiment.py does first.
    """
    shutil.copytree(PROJECT / "templates" / "digits", template)
    described = (template / "template.toml").read_text()
    (template / "template.toml").write_text(
        described.replace("[profiles.small]", '[profiles.small]\nevaluations = ["probing"]')
    )
    (template / "prepare.py").write_text(
        "import os, pathlib, sys\n"
        "out = pathlib.Path(sys.argv[2].partition('=')[2])\n"
        "out.mkdir(exist_ok=True)\n"
        "for name in os.environ.get('AI_SCIENTIST_EVALUATIONS', '').split():\n" + for_each
    )
    code = (template / "experiment.py").read_text()
    (template / "experiment.py").write_text(code.replace("@dataclass", f"{at_import}@dataclass", 1))
    edits = [change(RATE, "    learning_rate: float = 0.2"), ("run_2/edit_1", DONE)]
    outcome = launch(edits, f"--template={template}", "--confirm-best=1")
    assert outcome.code == 0, outcome.err
    return outcome


@pytest.fixture
def unmeasured(fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the launcher find nothing that was prepared or measured before."""
    monkeypatch.setenv("AI_SCIENTIST_CACHE", str(fresh_cache))


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_confirming_runs_find_what_evaluations_share(launch: Launch, tmp_path: Path) -> None:
    """What all evaluations of the profile need is prepared once, before the fresh seeds are run."""
    finding = (
        "import os\n\n"
        "for name in os.environ.get('AI_SCIENTIST_EVALUATIONS', '').split():\n"
        "    assert os.path.exists(os.path.join(os.environ['AI_SCIENTIST_DATA'], name))\n"
        "    print('found', name)\n\n\n"
    )
    outcome = confirm_with_probing(
        launch, tmp_path / "digits", "    (out / name).touch()\n", finding
    )
    assert outcome.attempts() == []
    said = [path.read_text() for path in outcome.folder.rglob("confirmation*/stdout.log")]
    assert ["found probing" in one for one in said] == [True, True]
    assert outcome.out.count("what probing need, once") == 1
    assert "found" not in (outcome.folder / "run_1" / "stdout.log").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_fresh_seeds_are_run_without_what_cannot_be_prepared(
    launch: Launch, tmp_path: Path
) -> None:
    """A set-up that fails after all runs is told, and costs none of them."""
    failing = "    sys.exit(f'no {name} today')\n"
    outcome = confirm_with_probing(launch, tmp_path / "digits", failing)
    assert "no probing today" in outcome.out
    assert outcome.out.count("each run makes its own set-up") == 1
    assert list((outcome.folder / "run_1" / "confirmation").iterdir())
