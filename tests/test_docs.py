from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_scientist.cli import launch_parser, main_parser
from ai_scientist.inputs.settings import Settings
from ai_scientist.model.recorded import PURPOSES
from ai_scientist.records import Attempt, AttemptKind, Check, Finding, Hypothesis, Limits, Run, Stop
from scripts import formats
from tests.doors import LONGEST_S, PROJECT

PAGES = sorted(page for page in (*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")))
RUNNABLE = [page for page in PAGES if "```console" in page.read_text()]
FORMATS = (PROJECT / "docs" / "run-folder.md").read_text()


def named(heading: str) -> set[str]:
    """Every `word` in the table below a heading of docs/run-folder.md, first column and second."""
    body = FORMATS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert body, heading
    rows = "\n".join(line for line in body.splitlines() if line.startswith("| `"))
    return set(re.findall(r"`([^`]+)`", rows))


def keys(heading: str) -> set[str]:
    """The keys of that table: its first column."""
    body = FORMATS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in body.splitlines() if line.startswith("| `")]
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def fields(kind: type) -> set[str]:
    """The fields of a record."""
    return {field.name for field in dataclasses.fields(kind)}


# --- the formats ---------------------------------------------------------------------------------


def test_the_reference_names_every_key() -> None:
    """docs/run-folder.md names each key that is written, and none that is not."""
    assert keys("settings.json") == fields(Settings)
    assert fields(Limits) <= named("settings.json")
    assert keys("run_N/run.json") == fields(Run) - {"results", "arms"}
    assert fields(Check) <= named("run_N/run.json")
    assert keys("attempts/") == fields(Attempt)
    assert {str(kind) for kind in AttemptKind} <= named("attempts/")
    assert fields(Hypothesis) <= named("hypotheses.json")
    assert set(PURPOSES) <= named("calls.jsonl")
    assert fields(Finding) <= named("report.json")
    assert {str(stop) for stop in Stop} <= named("report.json")


def test_the_format_reference_is_the_code() -> None:
    """docs/formats.md is what `python -m scripts.formats` would write now."""
    assert formats.PAGE.read_text(encoding="utf-8") == formats.page()


@pytest.mark.slow
def test_a_real_folder_is_as_the_reference_says(finished_digits: Path) -> None:
    """Every key of every file of a run folder that was just made stands in the reference."""

    def lines(name: str) -> set[str]:
        text = (finished_digits / name).read_text()
        return {key for line in text.splitlines() for key in json.loads(line)}

    def content(name: str) -> set[str]:
        return set(json.loads((finished_digits / name).read_text()))

    assert lines("calls.jsonl") <= keys("calls.jsonl") | {"problem", "tokens_estimated"}
    events = {"kind"} | keys("events.jsonl") | fields(Limits)  # of the note `limits`
    assert {key for key in lines("events.jsonl") if key != "seconds"} <= events
    assert content("report.json") <= keys("report.json") | {"paper", "reason"}
    assert content("settings.json") == keys("settings.json")
    assert content("hypotheses.json") == keys("hypotheses.json")
    assert content("run_1/run.json") == keys("run_N/run.json")
    attempt = next((finished_digits / "attempts").glob("*.json"))
    assert content(f"attempts/{attempt.name}") == keys("attempts/")
    tree = FORMATS.partition("```\n")[2].partition("```")[0]
    template = {path.name for path in (PROJECT / "templates" / "digits").iterdir()}
    for path in finished_digits.iterdir():
        known = path.name in tree or re.fullmatch(r"run_\d+(\.py)?|\w+\.png", path.name)
        assert known or path.name in template, path.name


# --- the commands --------------------------------------------------------------------------------


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each command of a page's console blocks, with the lines of output that are shown."""
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), re.M | re.S):
        found: list[tuple[str, list[str]]] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
        yield from found


@pytest.fixture
def checkout(tmp_path: Path, finished_digits: Path, cache_root: Path) -> Path:
    """A scratch copy of the project with a `python` of its own, and a finished idea in runs/."""
    left_out = shutil.ignore_patterns(".*", "__pycache__", "runs", "tests", "node_modules")
    copy = Path(shutil.copytree(PROJECT, tmp_path / "copy", ignore=left_out))
    shutil.copytree(finished_digits, copy / "runs" / "demo")
    (copy / "bin").mkdir()
    (copy / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (copy / "bin" / "python").chmod(0o755)
    return copy


def run(command: str, checkout: Path, cache_root: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the docs in the scratch copy."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=checkout,
        env={
            **os.environ,
            "PATH": f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "AI_SCIENTIST_CACHE": str(cache_root),
            "OMP_NUM_THREADS": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_commands_in_the_docs_work(page: Path, checkout: Path, cache_root: Path) -> None:
    """Each command marked as runnable ends well and prints what the page shows; … is anything."""
    for command, shown in commands(page):
        done = run(command, checkout, cache_root)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        position = 0
        for line in shown:
            parts = [re.escape(part) for part in line.strip().split("…")]
            match = re.compile(r"[^\n]*".join(parts)).search(done.stdout, position)
            assert match, f"{command} does not print {line!r}:\n{done.stdout}"
            position = match.end()


# What stands for something of the reader's own, in the order of the docs.
FILLED = (
    (r"\[[^\]]*\]", ""),  # what may be left out
    ("RUN_DIR", "runs/demo"),
    ("PAPER.tex --runs DIR", "paper.tex --runs runs/demo"),
    ("template new NAME", "template new waves"),
    ("(check|baseline) DIR", r"\1 templates/digits"),
    ("IDEA… --priority 5 --after OTHER", "ideas/label_smoothing_digits.json --priority 5"),
    (r"(cancel|retry|prioritise) IDEA", r"\1 label_smoothing_digits"),
)
# What needs a model, a cluster, minutes or a person, and the tests that do it.
ELSEWHERE = {
    r"launch_scientist.py --idea ratio_ranked_orthogonal_sae": "test_sae_template.py",
    r"launch_scientist.py --idea NAME --model .*": "test_model.py",
    r"launch_scientist.py --resume .*": "test_resume.py",
    r"launch_scientist.py --ideas .* --executor slurm .*": "test_slurm_door.py",
    r"launch_scientist.py --ideas .*": "test_queue_door.py",
    r"-m ai_scientist queue work .*": "test_queue.py",
    r"-m ai_scientist review( runs/demo)?": "test_review_browser.py",
    r"-m ai_scientist review --export .*": "test_review_states.py",
    r"-m ai_scientist decide .*": "test_front_door.py",
    r"-m ai_scientist template baseline sae .*": "test_references.py",
}


def plain_commands() -> list[str]:
    """Every command of ours outside the console blocks, filled in; those run elsewhere left out."""
    found = {}
    elsewhere = re.compile("|".join(ELSEWHERE))
    for page in PAGES:
        for line in code_lines(page):
            words = line.split("#")[0].strip()
            if "_scientist" not in words or page.name == "CHANGELOG.md":
                continue
            for placeholder, value in FILLED:
                words = re.sub(placeholder, value, words)
            words = " ".join(words.split())
            if words.startswith("python ") and not elsewhere.fullmatch(words[7:]):
                found[words] = None
    return list(found)


@pytest.mark.slow
def test_all_other_commands_work_too(checkout: Path, cache_root: Path) -> None:
    """Commands without shown output end with success, or with findings: never with an error."""
    assert all((PROJECT / "tests" / name).is_file() for name in ELSEWHERE.values())
    (checkout / "paper.tex").write_text(
        r"\documentclass{article}\begin{document}Nothing was measured.\end{document}"
    )
    ran = plain_commands()
    assert len(ran) > 15
    for command in ran:
        done = run(command, checkout, cache_root)
        told = f"{command}\n{done.stdout}{done.stderr}"
        assert done.returncode in (0, 1), told
        assert "error:" not in done.stderr, told
        assert "Traceback" not in done.stderr, told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_docs_exist(page: Path) -> None:
    """Every command line of ours in a code block names commands and options that there are."""
    for line in code_lines(page):
        words = line.split("#")[0].split("|")[0]
        for door in ("launch_scientist.py", "-m ai_scientist"):
            before, found, rest = words.partition(door)
            if not found or "python" not in before:
                continue
            arguments = shlex.split(rest.replace("…", " "))
            parser = launch_parser() if door.startswith("launch") else main_parser(arguments)
            assert_known(parser, arguments, line)


def code_lines(page: Path) -> Iterator[str]:
    """The lines of a page's code blocks, continued ones joined, and its commands in the text."""
    text = page.read_text().replace("\\\n", " ")
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S):
        yield from block.splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    yield from re.findall(r"`(python [^`]+)`", prose)


def assert_known(parser: object, arguments: list[str], line: str) -> None:
    """Walk down the subcommands and look each option up in the help of the last."""
    help_text = ""
    while True:
        help_text += parser.format_help()  # type: ignore[attr-defined]
        actions = parser._actions  # type: ignore[attr-defined]
        below = next((one.choices for one in actions if isinstance(one.choices, dict)), None)
        if not below or not arguments:
            break
        name = arguments[0].split("|")[0]
        assert name in below, f"{line}: no command `{name}`"
        parser, arguments = below[name], arguments[1:]
    for argument in arguments:
        if argument.startswith("--"):
            option = argument.split("=")[0]
            assert re.search(rf"{re.escape(option)}\b", help_text), f"{line}: no option `{option}`"
