"""Findings that the runs' code shows: what an edit changed, and what it took away."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ai_scientist.audit.code import (
    Source,
    constants_of,
    functions_of,
    idea_words,
    meaning_of,
    names_used,
    words_of,
)
from ai_scientist.audit.tensors import tensor_findings
from ai_scientist.judging.changes import describe_seed_only_change
from ai_scientist.records import Finding, Study
from ai_scientist.results.reading import LABEL_KEYS


def code_findings(study: Study, sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Yield what two codes, or a code and the idea, say against each other."""
    for (before, old), (name, new) in itertools.pairwise(sources.items()):
        if meaning_of(old.text) == meaning_of(new.text):
            yield Finding(
                kind="identical_code",
                run=name,
                where=new.where,
                detail=f"the code of {name} is that of {before} but for format and comments",
            )
        elif said := describe_seed_only_change(old.text, new.text):
            detail = f"against {before}: {said}"
            yield Finding(kind="seed_only_change", run=name, where=new.where, detail=detail)
    for name, loss in losses_of(study, sources)[0].items():
        yield Finding(
            kind="mechanism_missing",
            run=name,
            where=sources[name].where,
            detail=_describe(loss),
        )
    yield from _constants(study, sources)
    yield from tensor_findings(study, sources)


def _describe(loss: Loss) -> str:
    shown = ", ".join(f"`{word}`" for word in loss.words[:6])
    text = f"the idea names {shown}; the code computed with it up to {loss.last} and no longer does"
    functions = ", ".join(f"`{name}`" for name in loss.uncalled[:3])
    return f"{text} ({functions} still stands there, uncalled)" if functions else text


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Words of the idea that the code of one run no longer computes with."""

    words: tuple[str, ...]
    last: str
    """The last run that did."""
    uncalled: tuple[str, ...]
    """Functions about them that still stand there and are called no more."""


def losses_of(
    study: Study, sources: Mapping[str, Source]
) -> tuple[dict[str, Loss], dict[str, str]]:
    """Return the losses of each run, and word -> run where it stayed away to the end.

    A function that earlier code used and this code only defines computes nothing.
    """
    runs = dict(sources)
    first = runs.pop("run_0", None)
    base = words_of(names_used(first.text)) if first else frozenset()
    ideas = idea_words(study.idea)
    called: set[str] = set()
    last_seen: dict[str, str] = {}
    gone: dict[str, str] = {}
    losses: dict[str, Loss] = {}
    for name, source in runs.items():
        names = names_used(source.text)
        dead = (functions_of(source.text) & called) - names
        used = (words_of(names_used(source.text, dead)) & ideas) - base
        words = sorted(last_seen.keys() - used - gone.keys())
        if words:
            about = tuple(one for one in sorted(dead) if words_of([one]) & set(words))
            losses[name] = Loss(words=tuple(words), last=last_seen[words[0]], uncalled=about)
        gone = {word: run for word, run in gone.items() if word not in used}
        gone |= dict.fromkeys(words, name)
        last_seen |= dict.fromkeys(used, name)
        called |= names
    return losses, gone


def _constants(study: Study, sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Find constants of the code that moved against the baseline while no record says so."""
    if "run_0" not in sources:
        return
    first = study.runs.get("run_0")
    keys = {path.rsplit("/", 1)[-1] for path in first.results.config} if first else set()
    base = constants_of(sources["run_0"].text, keys)
    for name, source in sources.items():
        run = study.runs.get(name)
        if run is None or name == "run_0":
            continue
        recorded = {path.rsplit("/", 1)[-1] for path in run.config_diff_baseline}
        now = constants_of(source.text, keys)
        skipped = recorded | LABEL_KEYS | set(study.idea.varies)
        for key in sorted((base.keys() & now.keys()) - skipped):
            if base[key] != now[key]:
                yield Finding(
                    kind="config_drift",
                    run=name,
                    where=source.where,
                    detail=f"`{key}` is {now[key]!r} in the code of {name}, "
                    f"{base[key]!r} in the baseline's; the recorded configuration is silent",
                )
