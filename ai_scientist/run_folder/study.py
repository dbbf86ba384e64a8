"""A run folder read back as one `Study`: ours, or any AI-Scientist-style one.

    run_N/run.json  run_N/final_info.json  run_N/arm_NAME/final_info.json  run_N/seed_K/   ours
    run_N/final_info.json  run_N.py  notes.txt  plot.py  latex/template.tex                both
    attempts/*.json  idea.json  hypotheses.json  settings.json  report.json                ours

Nothing here raises for what another system left out or broke: a run without a readable result is a
`missing_result` finding of the study, an absent idea is an empty one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ai_scientist.errors import InputError, ResultError, ScientistError
from ai_scientist.inputs.ideas import parse_idea
from ai_scientist.records import (
    Attempt,
    Finding,
    Hypothesis,
    Idea,
    Json,
    Judgement,
    MetricSpec,
    Results,
    Run,
    Study,
)
from ai_scientist.results.reading import combine, config_diff, read_results

MAX_JSON_BYTES = 16_000_000
RUN_FOLDER = re.compile(r"run_(\d+)\Z")
T = TypeVar("T")


def run_to_json(run: Run) -> Json:
    """Return run.json's content: every field but results and arms, which are files of their own."""
    content = dataclasses.asdict(dataclasses.replace(run, results=Results(metrics={}), arms={}))
    del content["results"], content["arms"]
    return content


def run_from_json(
    content: Mapping[str, Any], results: Results, arms: Mapping[str, Results] | None = None
) -> Run:
    """Rebuild a run from run.json's content and its results; unknown keys are left out.

    Raises ValueError where a value is missing or none of its kind.
    """
    measured = {"results": results, "arms": dict(arms or {})}
    run: Run = _reader(Run).validate_python({**content, **measured})
    return run


def attempt_to_json(attempt: Attempt) -> Json:
    """Return the content of attempts/STEP.json."""
    return dataclasses.asdict(attempt)


def attempt_from_json(content: Mapping[str, Any]) -> Attempt:
    """Rebuild an attempt; unknown keys are left out. Raises ValueError as `run_from_json` does."""
    attempt: Attempt = _reader(Attempt).validate_python(content)
    return attempt


@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _readable(kind: Callable[..., T], entries: object) -> tuple[T, ...]:
    """Return those of `entries`, where they are a list at all, that can be read as a `kind`."""
    found = []
    for entry in entries if isinstance(entries, list) else []:
        with contextlib.suppress(ValidationError):
            found.append(_reader(kind).validate_python(entry))
    return tuple(found)


def read_study(folder: Path, metrics: Mapping[str, MetricSpec] | None = None) -> Study:
    """Read all that a run folder holds; `metrics` is what the template says, where it is known.

    Raises InputError when there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder.", hint="name a run folder, such as runs/2026…")
    settings = _object(folder / "settings.json")
    report = _object(folder / "report.json")
    specs, primary = _template(folder)
    runs, findings = _runs(folder)
    kept = [_object(path) for path in sorted((folder / "attempts").glob("*.json"))]
    fixed = _object(folder / "hypotheses.json")
    return Study(
        folder=folder,
        idea=_idea(folder),
        runs=runs,
        attempts=_readable(Attempt, kept),
        hypotheses=_readable(Hypothesis, fixed.get("hypotheses")),
        judgements=_readable(Judgement, report.get("hypotheses")),
        findings=(*findings, *_readable(Finding, report.get("findings"))),
        settings=settings,
        metrics=metrics or specs,
        primary_metric=primary,
        stop=str(report.get("stop", "")),
        foreign=not (folder / "events.jsonl").exists() and not settings,
    )


def run_names(folder: Path) -> list[str]:
    """Return the names of the run folders, in numeric order."""
    found = [
        path.name for path in folder.iterdir() if path.is_dir() and RUN_FOLDER.match(path.name)
    ]
    return sorted(found, key=lambda name: int(name[4:]))


def _runs(folder: Path) -> tuple[dict[str, Run], list[Finding]]:
    runs: dict[str, Run] = {}
    titles = run_titles(folder)
    findings: list[Finding] = []
    for name in run_names(folder):
        try:
            results = _results(folder / name)
        except ResultError as error:
            findings.append(
                Finding(kind="missing_result", run=name, where=name, detail=error.message)
            )
            continue
        arms = {}
        for path in sorted((folder / name).glob("arm_*/final_info.json")):
            try:
                arms[path.parent.name.removeprefix("arm_")] = read_results(path, {})
            except ResultError as error:
                where = f"{name}/{path.parent.name}"
                findings.append(
                    Finding(kind="missing_result", run=name, where=where, detail=error.message)
                )
        capsule = _object(folder / name / "run.json")
        runs[name] = _run(name, capsule, results, arms, before=runs, titles=titles)
    return runs, findings


def _results(place: Path) -> Results:
    whole = place / "final_info.json"
    parts = sorted(place.glob("seed_*/final_info.json"), key=lambda p: (len(str(p)), str(p)))
    if not whole.exists() and parts:
        return combine([read_results(path, {}) for path in parts])
    return read_results(whole, {})


def _run(
    name: str,
    capsule: Json,
    results: Results,
    arms: Mapping[str, Results],
    *,
    before: Mapping[str, Run],
    titles: Mapping[str, str],
) -> Run:
    title = titles.get(name, "Baseline" if name == "run_0" else name)
    if capsule.get("name") == name:
        with contextlib.suppress(ValueError):  # a damaged capsule: its results are still readable
            return run_from_json({"title": title, **capsule}, results, arms)
    base = before.get("run_0")
    previous = list(before.values())[-1] if before else None
    return Run(
        name=name,
        title=title,
        results=results,
        arms=arms,
        provenance="given",
        config_diff_baseline=config_diff(base.results, results) if base else {},
        config_diff_previous=config_diff(previous.results, results) if previous else {},
    )


def run_titles(folder: Path) -> dict[str, str]:
    """Read run titles from the headings of notes.txt: `## Run 3: TITLE` or `## Run 3 (TITLE)`."""
    text = read_text(folder / "notes.txt")
    found = re.findall(r"^#+[ \t]*Run[ _](\d+)[ \t]*([:(–-]?)(.*)$", text, re.M | re.I)
    titles = {
        f"run_{number}": rest.strip().removesuffix(")" if mark == "(" else "").strip()
        for number, mark, rest in found
    }
    return {name: title[:200] for name, title in titles.items() if title}


def read_text(path: Path, limit: int = MAX_JSON_BYTES) -> str:
    """Return a file's text; empty when it is absent, no file or too large."""
    try:
        if not path.is_file() or path.stat().st_size > limit:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _object(path: Path) -> Json:
    try:
        content = json.loads(read_text(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _idea(folder: Path) -> Idea:
    given = _object(folder / "idea.json")
    if given:
        try:
            return parse_idea(given, str(folder / "idea.json"))
        except ScientistError:
            pass  # another system's idea may lack what ours must have
    text = read_text(folder / "notes.txt")
    head = re.search(r"^# Title:\s*(.+)$", text, re.M)
    plan = re.search(r"^# Experiment description:\s*(.+?)(?=^#|\Z)", text, re.M | re.S)
    name = re.sub(r"[^a-z0-9_]+", "_", str(given.get("Name", folder.name)).lower()).strip("_")
    return Idea(
        name=name or "unnamed",
        title=str(given.get("Title", head.group(1).strip() if head else "")),
        experiment=str(given.get("Experiment", plan.group(1).strip() if plan else "")),
        technical_details=str(given.get("Technical_Details", "")),
        implementation_plan=str(given.get("Implementation_Plan", "")),
        given=given,
    )


def _template(folder: Path) -> tuple[dict[str, MetricSpec], str | None]:
    """Read what the template says of its metrics from the folder's own template.toml."""
    from ai_scientist.inputs.templates import load_template

    if not (folder / "template.toml").is_file():
        return {}, None
    try:
        template = load_template(folder)
    except ScientistError:
        return {}, None
    return dict(template.metrics), template.primary_metric
