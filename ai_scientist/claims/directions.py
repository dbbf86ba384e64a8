"""Comparisons in words, held against the stored values: `higher than run 1`, `improves over`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ai_scientist.claims.binding import LIST_GAP, Binding, Scene
from ai_scientist.claims.evidence import Evidence
from ai_scientist.claims.exempt import is_counted
from ai_scientist.claims.judging import REFERENCE
from ai_scientist.claims.reading import CLAUSE_END
from ai_scientist.claims.vocabulary import MetricMention, RunMention
from ai_scientist.results.tables import format_number

UP = (
    "higher larger greater bigger more above exceeds exceeded increases increased rises rose raises"
    " raised"
)
DOWN = (
    "lower smaller less fewer below reduces reduced decreases decreased falls fell drops dropped"
    " lowers lowered"
)
GOOD = "better improves improved outperforms outperformed beats surpasses surpassed best"
BAD = "worse underperforms underperformed degrades degraded"
SIGNS = {word: ("value", sign) for words, sign in ((UP, 1), (DOWN, -1)) for word in words.split()}
SIGNS |= {
    word: ("quality", sign) for words, sign in ((GOOD, 1), (BAD, -1)) for word in words.split()
}
WORD = re.compile(r"\b(?:" + "|".join(sorted(SIGNS, key=len, reverse=True)) + r")\b", re.I)
LINK = re.compile(
    r"[^.;:]{0,60}?\b(?:than|over|compared (?:to|with)|relative to|versus|vs\.?|upon|against"
    r"|that of)\s+",
    re.I,
)
DIRECT = re.compile(
    r"\b(?P<word>outperform(?:s|ed)|exceed(?:s|ed)|surpass(?:es|ed)|underperform(?:s|ed)|beats)\s+",
    re.I,
)
NEGATED = re.compile(r"\b(?:not|no|never|neither|nor|n't|without|hardly)\b[^,;]{0,25}\Z", re.I)
FROM_TO = re.compile(
    r"\b(?P<word>increas|decreas|reduc|improv|rais|ris|rose|drop|fall|fell|lower|"
    r"grew|grow|declin|degrad|worsen)\w*"
    r"(?P<what>(?:(?!\bfrom\b)[^.;]){0,60}?)\bfrom\s+[~≈]?\Z",
    re.I,
)
OTHER_VERB = re.compile(
    r"\b(?:chang|mov|tak|bring|shift|lead|giv|send|mak|turn|go)(?:es|e?s|ed)\b"
    r"|\b(?:took|brought|led|gave|sent|made|went)\b",
    re.I,
)
"""Of which the first verb is the subject: `raising k changes the loss from …`."""
SUBJECT = re.compile(r"(?:['’]s)?\s+(?:is|was|has|had|does|did|stands?|lies|sits|ends|comes)\b")
WHICH = re.compile(r"\b(?:which|whose)\b")
JOINED = re.compile(r"\b(?:and|or|to)\b|[&–/-]")


@dataclass(frozen=True, kw_only=True)
class FalseComparison:
    """A comparison that the stored values contradict."""

    start: int
    end: int
    detail: str
    run: str = ""


def false_comparisons(
    scene: Scene, bindings: dict[int, Binding], evidence: Evidence
) -> Iterator[FalseComparison]:
    """Yield each comparison of a sentence that is false."""
    text = scene.text
    for start, end, word in comparisons(text):
        if not NEGATED.search(text[max(0, start - 40) : start]):
            yield from _judge(scene, bindings, evidence, _Comparison(start, end, word))
    yield from _from_to(scene, bindings, evidence)


def comparisons(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, word) of each comparison with a reference behind it."""
    for word in WORD.finditer(text):
        link = LINK.match(text, word.end())
        if link is None or WORD.search(link[0]) or CLAUSE_END.search(link[0]):
            continue
        yield word.start(), link.end(), word[0].lower()
    for match in DIRECT.finditer(text):
        yield match.start(), match.end(), match["word"].lower()


@dataclass(frozen=True)
class _Comparison:
    """Where a comparison stands: from its word to what it is compared with."""

    start: int
    end: int
    word: str


def _judge(
    scene: Scene, bindings: dict[int, Binding], evidence: Evidence, match: _Comparison
) -> Iterator[FalseComparison]:
    word = match.word
    kind, sign = _sign(word)
    start = max([0, *(m.end() for m in CLAUSE_END.finditer(scene.text[: match.start]))])
    stop = CLAUSE_END.search(scene.text, match.end)
    end = stop.start() if stop else len(scene.text)
    metric = _metric(scene, match, start, end)
    paths = metric.paths if metric else scene.before
    left = _subjects(scene, match, start, paths, evidence) or _only(scene.here)
    left = left or _runs(scene, 0, match.start, paths, evidence)[:1]
    right = _runs(
        scene, match.end, _reference_end(scene, match.end, end), paths, evidence, groups=False
    )
    if kind == "quality":
        signs = {evidence.better(path) for path in paths}
        if len(signs) != 1 or not (direction := signs.pop()):
            return
        sign *= direction
    where = match.start, match.end
    wrong = list(
        _by_values(
            scene,
            bindings,
            where=where,
            clause=(start, end),
            sign=sign,
            metric=metric is not None,
        )
    )
    if wrong:
        yield from wrong
        return
    for a in left:
        for b in right:
            for path in paths:
                x = evidence.runs[a].metrics.get(path)
                y = evidence.runs[b].metrics.get(path)
                if x is None or y is None or a == b or (x - y) * sign > 0:
                    continue
                name = evidence.names[path]
                words = scene.text[match.start : match.end].strip()
                detail = (
                    f"`{words}` is false: {name} of {a} is {format_number(x)}, of {b} "
                    f"{format_number(y)}"
                )
                if len({p.rsplit("/", 1)[-1] for p in paths}) == 1:
                    yield FalseComparison(start=where[0], end=where[1], detail=detail, run=a)
                    return


def _reference_end(scene: Scene, start: int, end: int) -> int:
    """Return where the list of runs compared with ends: `than run_1 (0.4) and run_2 (0.5)`.

    Behind a comma, with no `and` to come, something new begins: `than run_1, run_2 is …`.
    """
    mentions = [m for m in scene.runs if start <= m.start < end]
    last = 0
    for index, (one, other) in enumerate(itertools.pairwise(mentions), 1):
        between = re.sub(r"\([^()]*\)", "", scene.text[one.end : other.start])
        if not LIST_GAP.match(between) or SUBJECT.match(scene.text, other.end):
            break
        if JOINED.search(between) or not between.strip():  # `baseline run_2` claims both
            last = index
    return mentions[last + 1].start if last + 1 < len(mentions) else end


def _sign(word: str) -> tuple[str, int]:
    if word in SIGNS:
        return SIGNS[word]
    return ("quality", -1) if word.startswith("under") else ("quality", 1)


def _metric(scene: Scene, match: _Comparison, start: int, end: int) -> MetricMention | None:
    """Return the metric compared: named right behind the word, else nearest before it."""
    middle = [m for m in scene.metrics if match.start <= m.start and m.end <= match.end]
    before = [m for m in scene.metrics if start <= m.start and m.end <= match.start]
    behind = [m for m in scene.metrics if match.end <= m.start < end]
    for group in (middle, before[-1:], behind):
        if group:
            return group[0]
    return None


def _runs(
    scene: Scene,
    start: int,
    end: int,
    paths: tuple[str, ...],
    evidence: Evidence,
    *,
    groups: bool = True,
) -> tuple[str, ...]:
    found: list[str] = []
    for mention in scene.runs:
        if not start <= mention.start < end:
            continue
        found += _meant(mention, paths, evidence) if groups or mention.kind != "method" else ()
    return tuple(dict.fromkeys(found))


def _subjects(
    scene: Scene, match: _Comparison, start: int, paths: tuple[str, ...], evidence: Evidence
) -> tuple[str, ...]:
    """Return the runs that a comparison is about, those left out that another one compares with.

    A clause with `which` speaks of the run named right before it.
    """
    end = match.start
    if middle := _runs(scene, end, match.end, paths, evidence):
        return middle
    relative = max((m.start() for m in WHICH.finditer(scene.text, start, end)), default=-1)
    nearest = [m for m in scene.runs if m.end <= relative][-1:]
    if nearest:
        return _meant(nearest[0], paths, evidence)
    compared = [m.end for m in scene.runs if REFERENCE.search(scene.text[: m.start])]
    own = [m for m in scene.runs if m.end not in compared]
    behind = max((place for place in compared if place <= end), default=start)
    own = [m for m in own if behind <= m.start < end] or own
    return _runs(replace(scene, runs=tuple(own)), start, end, paths, evidence) or _runs(
        scene, start, end, paths, evidence
    )


def _meant(mention: RunMention, paths: tuple[str, ...], evidence: Evidence) -> tuple[str, ...]:
    if mention.kind == "best":
        best = {evidence.best_run(path) for path in paths}
        return tuple(run for run in best if run) if len(best) == 1 else ()
    if mention.kind == "method":
        return _only(mention.runs)
    return mention.runs


def _only(runs: tuple[str, ...]) -> tuple[str, ...]:
    return runs if len(runs) == 1 else ()


def _by_values(
    scene: Scene,
    bindings: dict[int, Binding],
    *,
    where: tuple[int, int],
    clause: tuple[int, int],
    sign: int,
    metric: bool,
) -> Iterator[FalseComparison]:
    """Hold typed values against each other: `214.41 is higher than run 1 (232.12)`."""
    from ai_scientist.claims.binding import is_change

    values = [
        (i, n)
        for i, n in enumerate(scene.numerals)
        if not n.spread
        and not n.percent
        and not is_change(scene.text, n)
        and not is_counted(scene.text, n)
    ]
    left = [(i, n) for i, n in values if clause[0] <= n.start < where[0]]
    right = [(i, n) for i, n in values if where[1] <= n.start < clause[1]]
    if len(left) != 1 or not right:
        return
    (index, first) = left[0]
    every = re.search(r"\b(?:both|all|each|any|either)\b", scene.text[where[0] : right[0][1].start])
    for other, second in right if every else right[:1]:
        same = set(bindings[index].paths) == set(bindings[other].paths) if metric else True
        word = "higher" if sign > 0 else "lower"
        if same and float(first.value - second.value) * sign <= 0:
            yield FalseComparison(
                start=where[0],
                end=where[1],
                detail=f"{first.text} is not {word} than {second.text}",
            )
            return


def _from_to(
    scene: Scene, bindings: dict[int, Binding], evidence: Evidence
) -> Iterator[FalseComparison]:
    for first, second in zip(
        range(len(scene.numerals)), range(1, len(scene.numerals)), strict=False
    ):
        a, b = scene.numerals[first], scene.numerals[second]
        match = FROM_TO.search(scene.text[: a.start])
        gap = scene.text[a.end : b.start]
        if not match or not re.fullmatch(r"[^.;]{0,40}?\s+to\s+[~≈]?", gap):
            continue
        if OTHER_VERB.search(match["what"]):
            continue
        word = match["word"].lower()
        sign = 1 if word.startswith(("incr", "rai", "ris", "ros", "gr")) else -1
        if word.startswith(("impro", "degr", "wors")):
            directions = {evidence.better(path) for path in bindings[first].paths}
            direction = directions.pop() if len(directions) == 1 else 0
            sign = direction * (1 if word.startswith("impro") else -1)
        if sign and float(b.value - a.value) * sign <= 0:
            detail = f"`{match['word']}… from {a.text} to {b.text}` goes the other way"
            yield FalseComparison(start=a.start, end=b.end, detail=detail)
