"""Findings about notes, plots and paper: numbers, comparisons, figures, citations, what is left."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ai_scientist.audit.code import Source, stem
from ai_scientist.audit.edits import losses_of
from ai_scientist.audit.runs import listed_settings, moved_settings
from ai_scientist.claims import Evidence, Report, check_prose, shorten
from ai_scientist.claims.latex import inside
from ai_scientist.errors import InputError
from ai_scientist.records import Finding, OpenNumber, Study
from ai_scientist.run_folder.journal import read_events
from ai_scientist.run_folder.study import read_text

PICTURES = ("", ".pdf", ".png", ".jpg", ".jpeg", ".eps")
CITE = re.compile(r"\\[cC]ite\w*\*?(?:\s*\[[^\]]*\]){0,2}\s*\{([^{}]*)\}")
INPUT = re.compile(r"\\(?:input|include|subfile)\s*\{([^{}]*)\}")
COMMENT = re.compile(r"(?<!\\)%.*")
FACTS = re.compile(r"(^\[facts of .*?^\[end of facts\]$)", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(
    r"\b(?:[A-Z]{3,}(?: [A-Z]{3,})? HERE|PLEASE FILL IN[A-Z ]*|TODO\b|FIXME\b|XXX+|[Ll]orem ipsum"
    r"|(?:Conclusions?|Results|Abstract|Introduction|Title|Methods?) Here)\b"
    r"|\[unknown number\]|\[\?\]|\bTBD\b"
)


def paper_of(folder: Path) -> Path | None:
    """Return the folder's paper: the LaTeX file that holds a document."""
    candidates = [folder / "latex" / "template.tex", folder / "latex" / "paper.tex"]
    candidates += sorted((folder / "latex").glob("*.tex")) + sorted(folder.glob("*.tex"))
    return next((p for p in candidates if r"\begin{document}" in read_text(p)), None)


def check_notes_text(study: Study) -> Report:
    """Check notes.txt; what our code put in for a name is checked as that name."""
    text = read_text(study.folder / "notes.txt")
    if not study.foreign:
        text = restore_names(text, named_numbers(study.folder))
    return check_prose(text, Evidence.from_study(study), file="notes.txt")


def open_numbers(study: Study) -> tuple[OpenNumber, ...]:
    """Return the numbers of notes and paper that no verdict but `ambiguous` was possible for."""
    tex = paper_of(study.folder)
    reports = [check_notes_text(study)]
    reports += [_numbers(tex, read_text(tex), study)] if tex is not None else []
    return tuple(
        OpenNumber(text=one.text, where=f"{one.file}:{one.line}", why=one.evidence)
        for report in reports
        for one in report.numbers
        if one.verdict == "ambiguous"
    )


def named_numbers(folder: Path) -> list[tuple[str, str]]:
    """Return (what stands in the notes, the name it stands for), in the order of the notes."""
    try:
        events = read_events(folder / "events.jsonl")
    except InputError:
        return []
    results = [line["result"] for line in events if isinstance(line.get("result"), dict)]
    return [
        (str(one["expansion"]), str(one["text"]))
        for result in results
        for one in result.get("references", [])
        if isinstance(one, dict)  # what stands beside the runs is called references, too
    ]


def restore_names(notes: str, named: Iterable[tuple[str, str]]) -> str:
    """Put the names back into the prose of notes; the facts, which code wrote, stay."""
    parts = FACTS.split(notes)  # prose, facts, prose, …
    prose, at = 0, 0
    for shown, name in named:
        for number in range(prose, len(parts), 2):
            found = parts[number].find(shown, at if number == prose else 0)
            if found >= 0:
                parts[number] = parts[number][:found] + name + parts[number][found + len(shown) :]
                prose, at = number, found + len(name)
                break
    return "".join(parts)


def check_paper_text(tex: Path, study: Study, sources: Mapping[str, Source]) -> Report:
    """Check a paper: its numbers, comparisons, figures, citations, placeholders, runs and claims.

    `sources` is the code of the runs, as far as it is known.
    """
    text = read_text(tex)
    report = _numbers(tex, text, study)
    parts = [(tex.name, COMMENT.sub("", text)), *_inputs(text, tex.parent)]
    other = [*_figures(parts, tex, study.folder), *_citations(parts, tex.parent)]
    other += _placeholders(parts)
    other += _claims_of_what_is_gone(parts, study, sources)
    body = " ".join(part for _, part in parts)
    for name in study.runs:
        if name != "run_0" and not _told(name, body, study, report):
            other.append(
                Finding(
                    kind="run_not_in_paper",
                    run=name,
                    where=tex.name,
                    detail=f"{name} ({study.runs[name].title}) is valid and the paper is silent "
                    "about it",
                )
            )
    other += confounded_changes(report, study)
    return Report(numbers=report.numbers, findings=(*report.findings, *other))


def _numbers(tex: Path, text: str, study: Study) -> Report:
    """Judge what a model wrote; in our own papers tables and appendix are written by code."""
    evidence = Evidence.from_study(study)
    sections = [] if study.foreign else sorted((tex.parent / "sections").glob("*.tex"))
    if not sections:
        return check_prose(text, evidence, kind="latex", file=tex.name, folder=tex.parent)
    reports = [
        check_prose(read_text(path), evidence, kind="latex", file=f"sections/{path.name}")
        for path in sections
        if not path.is_symlink()
    ]
    return Report(
        numbers=tuple(number for one in reports for number in one.numbers),
        findings=tuple(finding for one in reports for finding in one.findings),
    )


def notes_and_plots(study: Study) -> Iterator[Finding]:
    """Yield the valid runs that notes.txt or plot.py leaves out."""
    notes = read_text(study.folder / "notes.txt")
    plot = read_text(study.folder / "plot.py")
    plotted = set(re.findall(r"['\"](run_\d+)['\"]", plot))
    for name in study.runs:
        if name == "run_0":
            continue
        if notes and not _named(name, notes):
            yield Finding(
                kind="run_not_in_notes",
                run=name,
                where="notes.txt",
                detail=f"{name} has a result, and notes.txt never speaks of it",
            )
        if plotted and name not in plotted:
            yield Finding(
                kind="run_not_in_plots",
                run=name,
                where="plot.py",
                detail=f"plot.py names {', '.join(sorted(plotted, key=_number))} but not {name}",
            )


def confounded_changes(report: Report, study: Study) -> Iterator[Finding]:
    """Yield each typed change against a baseline that was set otherwise than the run."""
    for number in report.numbers:
        if len(number.between) != 2 or "run_0" not in number.between:
            continue
        name = next(run for run in number.between if run != "run_0")
        run = study.runs.get(name.partition("/")[0])
        moved = moved_settings(run, study) if run is not None else {}
        if moved:
            where = f"{number.file}:{number.line}"
            yield incomparable(name, where, number.text, number.excerpt, listed_settings(moved, 4))


def incomparable(run: str, where: str, text: str, excerpt: str, moved: str) -> Finding:
    """Return the finding on a change between a run and a baseline that was set otherwise."""
    return Finding(
        kind="not_comparable",
        run=run,
        where=where,
        detail=f"{text} in “{shorten(excerpt)}” is held against run_0, which was set otherwise "
        f"({moved}): it is not the idea's doing alone",
    )


def _claims_of_what_is_gone(
    parts: Iterable[tuple[str, str]], study: Study, sources: Mapping[str, Source]
) -> Iterator[Finding]:
    """Find a paper that speaks of what the code of its later runs no longer computes with."""
    gone = losses_of(study, sources)[1]
    for file, text in parts:
        said = {stem(word.lower()): word for word in reversed(re.findall(r"[A-Za-z]{3,}", text))}
        for run in dict.fromkeys(gone.values()):
            words = [said[word] for word, since in gone.items() if since == run and word in said]
            if words:
                shown = ", ".join(f"`{word}`" for word in words[:6])
                yield Finding(
                    kind="mechanism_missing",
                    run=run,
                    where=file,
                    detail=f"the paper tells of {shown}, and no code from {run} on computes with "
                    "it: what these runs reached is not its doing",
                )


def _told(name: str, text: str, study: Study, report: Report) -> bool:
    title = re.sub(r"\(.*?\)", "", study.runs[name].title).strip().lower()
    if _named(name, text) or (len(title) >= 8 and " " in title and title in text.lower()):
        return True
    told = re.compile(rf"\bof {name}\b|between {name}\b")
    return any(n.verdict != "unsupported" and told.search(n.evidence) for n in report.numbers)


def _named(name: str, text: str) -> bool:
    number = _number(name)
    if re.search(rf"\brun(?:\\?[_\s~-]){{0,2}}{number}\b(?!\.\d)", text, re.I):
        return True
    for low, high in re.findall(r"\bruns\s+(\d+)\s*(?:-|–|to|through)\s*(\d+)", text, re.I):
        if int(low) <= number <= int(high):
            return True
    listed = re.findall(r"\bruns\s+((?:\d+\s*(?:,|and|&)?\s*(?:and\s+)?)+)", text, re.I)
    return any(str(number) in re.findall(r"\d+", part) for part in listed)


def _number(name: str) -> int:
    return int(name[4:])


def _inputs(text: str, folder: Path) -> list[tuple[str, str]]:
    found: dict[Path, str] = {}
    todo = [text]
    while todo and len(found) < 60:
        for name in INPUT.findall(COMMENT.sub("", todo.pop())):
            path = inside(folder, name.strip())
            if path is not None and path not in found:
                found[path] = read_text(path)
                todo.append(found[path])
    return [(path.name, COMMENT.sub("", part)) for path, part in found.items()]


def _figures(parts: Iterable[tuple[str, str]], tex: Path, runs: Path) -> Iterator[Finding]:
    for file, text in parts:
        roots = [tex.parent, tex.parent.parent, runs, runs / "latex"]
        for match in re.finditer(r"\\includegraphics\s*(?:\[[^\]]*\])?\s*\{([^{}]+)\}", text):
            name = match[1].strip()
            exists = any(_exists(root, name + ending) for root in roots for ending in PICTURES)
            if not exists:
                yield Finding(
                    kind="missing_figure",
                    where=f"{file}:{_line(text, match.start())}",
                    detail=f"the figure `{name}` does not exist",
                )


def _exists(root: Path, name: str) -> bool:
    try:
        return (root / name).is_file()
    except (OSError, ValueError):
        return False


def _citations(parts: list[tuple[str, str]], folder: Path) -> Iterator[Finding]:
    bib = "\n".join(read_text(path) for path in sorted(folder.glob("*.bib")))
    bib += "\n".join(text for _, text in parts)
    known = {key.strip() for key in re.findall(r"@\w+\s*\{\s*([^,\s{}]+)\s*,", bib)}
    known |= {key.strip() for key in re.findall(r"\\bibitem(?:\[[^\]]*\])?\{([^{}]+)\}", bib)}
    told: set[str] = set()
    for file, text in parts:
        for match in CITE.finditer(text):
            for key in (key.strip() for key in match[1].split(",")):
                if key and key != "*" and key not in known and key not in told:
                    told.add(key)
                    yield Finding(
                        kind="unknown_citation",
                        where=f"{file}:{_line(text, match.start())}",
                        detail=f"`{key}` is cited and stands in no bibliography",
                    )


def _placeholders(parts: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    for file, text in parts:
        for match in PLACEHOLDER.finditer(text):
            yield Finding(
                kind="placeholder_left",
                where=f"{file}:{_line(text, match.start())}",
                detail=f"`{match[0]}` was never filled in",
            )


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
