"""A run folder is a git repository that a kill cannot bring out of step with the journal."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ai_scientist.cli import launch, launch_parser
from ai_scientist.errors import InputError, ScientistError
from ai_scientist.inputs.ideas import parse_idea, read_ideas
from ai_scientist.inputs.settings import Places, Settings
from ai_scientist.inputs.templates import find_template, load_template
from ai_scientist.launch import (
    complete_settings,
    default_profile,
    renew_settings,
    stored_settings,
)
from ai_scientist.records import Limits
from ai_scientist.run_folder.journal import FolderJournal, read_events, write_json
from ai_scientist.run_folder.workspace import RunFolder, create_run_folder, open_run_folder
from ai_scientist.steps.keeping import keep_trained
from tests.doors import PROJECT

IDEA = parse_idea({"Name": "a", "Title": "A", "Experiment": "x"}, "here")
NOW = datetime(2026, 11, 20, 20, 15, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A new run folder."""
    template = load_template(PROJECT / "templates" / "digits")
    return create_run_folder(tmp_path / "runs", IDEA, template, {"model": "recorded"}, now=NOW)


def test_a_folder_holds_the_template_and_no_results(folder: RunFolder) -> None:
    """A new folder is named after the time and the idea, and its first commit is the template."""
    assert folder.name == "20261120T201500Z_a"
    names = folder.git("ls-files").split()
    assert {"experiment.py", "plot.py", "idea.json", "settings.json"} <= set(names)
    assert not [name for name in names if name.startswith(("run_", "attempts", "baselines"))]
    assert open_run_folder(folder.path) == folder


def test_two_folders_of_one_second_do_not_meet(folder: RunFolder) -> None:
    """The same idea started twice in a second gets two folders."""
    template = load_template(PROJECT / "templates" / "digits")
    other = create_run_folder(folder.path.parent, IDEA, template, {}, now=NOW)
    assert other.path != folder.path


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """What fails while a folder is made leaves nothing that a resume could meet."""
    template = load_template(PROJECT / "templates" / "digits")
    with pytest.raises(TypeError):
        create_run_folder(tmp_path, IDEA, template, {"not JSON": object()}, now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_named_folder_gets_that_name_or_none(tmp_path: Path) -> None:
    """An empty folder is filled; one that holds something else is refused, not worked around."""
    template = load_template(PROJECT / "templates" / "digits")
    (tmp_path / "mine").mkdir()
    made = create_run_folder(tmp_path, IDEA, template, {}, path=tmp_path / "mine")
    assert made.path == (tmp_path / "mine").resolve()
    with pytest.raises(InputError, match="no run folder of ours"):
        create_run_folder(tmp_path, IDEA, template, {}, path=tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_recovery_undoes_the_unjournaled_and_keeps_what_runs_left(folder: RunFolder) -> None:
    """Back to the journaled commit; a run folder's files stay, tracked in a lost commit or not."""
    journaled = folder.git("rev-parse", "HEAD").strip()
    folder.write({"experiment.py": "changed\n", "new.txt": "x"})
    run = folder.run("run_1")
    run.mkdir()
    (run / "final_info.json").write_text("{}")
    (run / "stdout.log").write_text("log")
    folder.commit("lost", ["experiment.py", "new.txt", "run_1/final_info.json"])
    for lock in ("index.lock", "HEAD.lock", "refs/heads/main.lock"):
        (folder.path / ".git" / lock).touch()
    (folder.attempts / "run_1.edit_1.json").write_text("{}")
    folder.recover(journaled)
    assert folder.git("rev-parse", "HEAD").strip() == journaled
    assert folder.git("status", "--porcelain") == ""
    assert "changed" not in (folder.path / "experiment.py").read_text()
    assert not (folder.path / "new.txt").exists()
    assert {path.name for path in run.iterdir()} == {"final_info.json", "stdout.log"}
    assert (folder.attempts / "run_1.edit_1.json").exists()


@pytest.mark.parametrize("name", [":!other.png", "*", ":(top)a.png", "[ab].png", "-n"])
def test_a_file_of_any_name_is_committed_alone(folder: RunFolder, name: str) -> None:
    """The model names its pictures; no name may take the journal or the logs into git."""
    for other in ("events.jsonl", "a.png", name):
        (folder.path / other).write_text("x")
    commit = folder.commit("draw", [name])
    assert folder.git("show", "--format=", "--name-only", "-z", commit).split("\0")[:-1] == [name]
    (folder.path / name).unlink()
    gone = folder.commit("remove", [name])
    assert folder.git("show", "--format=", "--name-only", "-z", gone).split("\0")[:-1] == [name]


def test_an_export_holds_a_commit_and_not_the_working_tree(folder: RunFolder) -> None:
    """What a process finds is the commit, whatever the working tree has become."""
    commit = folder.git("rev-parse", "HEAD").strip()
    (folder.path / "experiment.py").write_text("dirty")
    folder.export(commit, folder.staging("run_1/execution_1") / "source")
    exported = folder.staging("run_1/execution_1") / "source" / "experiment.py"
    assert exported.read_text() == folder.read(commit, "experiment.py") != "dirty"


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x"])
def test_no_name_leads_out_of_the_folder(folder: RunFolder, name: str) -> None:
    """A file name from outside cannot leave the run folder."""
    with pytest.raises(ScientistError, match="not inside"):
        folder.write({name: "x"})


def test_a_users_git_settings_do_not_matter(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hooks and configuration of the person do not run in a run folder."""
    (tmp_path / ".gitconfig").write_text(
        "[commit]\n gpgsign = true\n[core]\n hooksPath = /nowhere\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    hook = folder.path / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    folder.write({"notes.txt": "x"})
    assert folder.commit("note", ["notes.txt"])


def test_a_folder_that_is_none_of_ours_is_told(tmp_path: Path) -> None:
    """Resuming a strange folder names what it lacks."""
    with pytest.raises(InputError, match=r"idea\.json"):
        open_run_folder(tmp_path)


@pytest.mark.parametrize("missing", ["experiment.py", "plot.py", "prompt.json", "data.py"])
def test_a_template_without_a_file_is_told(tmp_path: Path, missing: str) -> None:
    """A template that lacks a file it needs or names is refused, and the file is named."""
    copy = tmp_path / "digits"
    shutil.copytree(PROJECT / "templates" / "digits", copy)
    (copy / missing).unlink()
    with pytest.raises(InputError, match=missing):
        load_template(copy)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('editable = ["plot.py"]', "does not name experiment.py"),
        ("lock = 3", "key `template.lock`"),
        ("[profiles.small]\nmemory_gb = inf", "memory_gb`: input should be a finite number"),
        ("[profiles", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_template_toml_is_told(tmp_path: Path, settings: str | None, words: str) -> None:
    """What template.toml says wrongly is named with the file, and so is a file that is none."""
    for name in ("experiment.py", "plot.py", "prompt.json"):
        shutil.copy(PROJECT / "templates" / "digits" / name, tmp_path)
    if settings is None:
        (tmp_path / "template.toml").mkdir()
    else:
        (tmp_path / "template.toml").write_text(f"[template]\n{settings}\n")
    with pytest.raises(InputError, match=words) as caught:
        load_template(tmp_path)
    assert "template.toml" in caught.value.message


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "nowhere", None])
def test_no_link_of_a_template_leads_out_of_it(tmp_path: Path, target: str | None) -> None:
    """What lies outside a template is copied into no run folder; a link inside it is followed."""
    place = tmp_path / "made"
    (tmp_path / "outside").write_text("secret")
    shutil.copytree(PROJECT / "templates" / "digits", place)
    (place / "latex" / "more.bib").symlink_to(target or "references.bib")
    if target:
        with pytest.raises(InputError, match=r"more\.bib is a link"):
            create_run_folder(tmp_path / "runs", IDEA, load_template(place), {})
        assert list((tmp_path / "runs").iterdir()) == []
        return
    folder = create_run_folder(tmp_path / "runs", IDEA, load_template(place), {})
    known = (place / "latex" / "references.bib").read_text()
    assert (folder.path / "latex" / "more.bib").read_text() == known


def test_a_template_without_profiles_is_told(tmp_path: Path) -> None:
    """Where nothing says at which size a template runs, the person is asked to say it."""
    for name in ("experiment.py", "plot.py", "prompt.json"):
        shutil.copy(PROJECT / "templates" / "digits" / name, tmp_path)
    (tmp_path / "template.toml").write_text("[template]\n")
    with pytest.raises(InputError, match="no profile"):
        default_profile(load_template(tmp_path), recorded=True, variables={})


def test_the_full_profile_is_taken_where_all_it_needs_is_there(tmp_path: Path) -> None:
    """Without its GPU or a folder that it reads, or with recorded replies, it is the small one."""
    for name in ("experiment.py", "plot.py", "prompt.json"):
        shutil.copy(PROJECT / "templates" / "digits" / name, tmp_path)
    settings = '[template]\n[profiles.small]\n[profiles.full]\ninputs = ["WEIGHTS/hub"]\n'
    (tmp_path / "hub").mkdir()
    there = {"WEIGHTS": str(tmp_path)}
    for gpus, variables, recorded, profile in (
        (0, there, False, "full"),
        (0, there, True, "small"),
        (0, {}, False, "small"),
        (99, there, False, "small"),
    ):
        (tmp_path / "template.toml").write_text(f"{settings}gpus = {gpus}\n")
        template = load_template(tmp_path)
        assert default_profile(template, recorded=recorded, variables=variables) == profile


def test_a_template_that_an_idea_names_by_its_path_is_found_again(tmp_path: Path) -> None:
    """settings.json names a folder outside templates/ so that a resume finds it."""
    place = shutil.copytree(PROJECT / "templates" / "digits", tmp_path / "mine")
    idea = read_ideas(PROJECT / "ideas" / "label_smoothing_digits.json")[0]
    places = Places(project=PROJECT, runs=tmp_path, cache=tmp_path)
    own, shipped = load_template(place), find_template("digits", places.templates)
    for template, name in ((own, str(place)), (shipped, "digits")):
        settings = complete_settings(Settings(), idea, template, places)
        assert settings.template == name
        assert find_template(name, places.templates) == template


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("settings.json", '{"limits": {"max_runs": "ten"}}', "limits.max_runs`: input should be"),
        ("settings.json", '{"limits": {"max_runs"', "cannot be read"),
        ("settings.json", "[]", "settings.json: "),
        ("idea.json", '{"Name": "a", "Ti', "line 1, column 15"),
        ("idea.json", '{"Name": "a"}', "key `Title`"),
    ],
)
def test_a_damaged_record_cannot_be_resumed_and_is_named(
    folder: RunFolder, capsys: pytest.CaptureFixture[str], file: str, content: str, words: str
) -> None:
    """A resume tells which file of the run folder is damaged, and exits 2."""
    (folder.path / file).write_text(content)
    assert launch([f"--resume={folder.path}"]) == 2
    error, hint = capsys.readouterr().err.strip().splitlines()
    assert error.startswith(f"error: {folder.path}/{file}")
    assert words in error
    assert hint


def test_a_resume_takes_what_is_given_anew() -> None:
    """Budgets, model and what the machine allows may change; all else stays as it was."""
    given = ["--resume=x", "--max-runs=3", "--model=openai/m", "--allow-unsandboxed", "--keep=all"]
    stored = Settings(template="digits", limits=Limits(max_runs=2, max_failures=4))
    renewed = renew_settings(stored, launch_parser().parse_args(given))
    assert renewed == Settings(
        template="digits",
        limits=Limits(max_runs=3, max_failures=4),
        model="openai/m",
        allow_unsandboxed=True,
    )


def test_budgets_stay_as_the_last_launcher_had_them(folder: RunFolder) -> None:
    """A resume without options goes on with what the one before was given, run by run."""
    assert stored_settings(folder).limits == Limits()
    journal = FolderJournal(folder.events)
    for runs in (12, 15):
        journal.note("limits", asdict(Limits(max_runs=runs, max_cost_usd=None)))
    journal.close()
    assert stored_settings(folder).limits == Limits(max_runs=15, max_cost_usd=None)


def test_ended_experiments_are_not_added_to(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plots and verdicts rest on the runs there were: more of them would stand in none."""
    write_json(folder.path / "settings.json", Settings(template="digits").to_json())
    journal = FolderJournal(folder.events)
    keep_trained(folder, journal, "best", {"run_0"})
    journal.close()
    assert launch([f"--resume={folder.path}", "--max-runs=12"]) == 2
    assert "have ended" in capsys.readouterr().err
    assert [line for line in read_events(folder.events) if line.get("note") == "limits"] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--idea=a", "--idea=b", "--dry-run"], "--dry-run looks at one idea"),
        (["--ideas=ideas", "--dry-run"], "--dry-run looks at one idea"),
        (["--ideas=ideas", "--run-dir=x"], "--run-dir names the folder of one idea"),
        (["--idea=a", "--resume=x"], "another one is named beside it"),
    ],
)
def test_no_option_is_passed_over_in_silence(
    capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    """A batch that was only to be looked at does not begin, and an idea is not lost to a resume."""
    assert launch(options) == 2
    assert words in capsys.readouterr().err


def test_a_recording_is_found_again_from_another_folder(tmp_path: Path) -> None:
    """settings.json names the file of recorded replies in full."""
    idea = read_ideas(PROJECT / "ideas" / "label_smoothing_digits.json")[0]
    places = Places(project=PROJECT, runs=tmp_path, cache=tmp_path)
    recording = PROJECT / "ideas" / "recordings" / f"{idea.name}.jsonl"
    near = os.path.relpath(recording)
    template = find_template("digits", places.templates)
    settings = complete_settings(Settings(model=f"recorded:{near}"), idea, template, places)
    assert settings.model.removeprefix("recorded:") == str(Path(near).absolute())
    assert complete_settings(Settings(), idea, template, places).model == "recorded"


def test_an_unknown_template_gets_the_known_names() -> None:
    """A misspelt template is answered with those there are."""
    with pytest.raises(InputError) as caught:
        find_template("digit", PROJECT / "templates")
    assert "digits" in caught.value.hint


def test_a_foreign_template_freezes_all_but_the_two_scripts(tmp_path: Path) -> None:
    """Without template.toml only experiment.py and plot.py can be edited."""
    for name in ("experiment.py", "plot.py", "data.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "prompt.json").write_text('{"system": "s", "task_description": "t"}')
    template = load_template(tmp_path)
    assert template.foreign
    assert template.frozen == ("data.py", "prompt.json")
