"""Is the reading of a number certain? Only then can a number that is not stored be a finding.

A sentence has one reading when all words around the number are understood: names of runs and
metrics, settings that the configuration knows, and light words, which say that a run has a value
and change nothing about which. Any other word may make it another quantity (`the 0.31 of the
warm-up phase`), so its number is reported as ambiguous. The list of light words is closed; words
that nobody thought of cost a finding, never a false one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ai_scientist.claims.binding import ARROW, Binding, Scene
from ai_scientist.claims.evidence import Evidence
from ai_scientist.claims.exempt import COUNTED, is_counted, known_setting, setting_of
from ai_scientist.claims.judging import REFERENCE
from ai_scientist.claims.numerals import Numeral, find_numerals
from ai_scientist.claims.vocabulary import MetricMention, RunMention, Vocabulary
from ai_scientist.claims.words import (
    AVERAGE_NAMED,
    CHANGE_WORDS,
    LIGHT_WORDS,
    OTHER_QUANTITY,
    SEED_MEAN,
    STATISTIC,
    TRANSFORMED,
)

Mention = MetricMention | RunMention


@dataclass(frozen=True, kw_only=True)
class Label:
    """What a table's header, a row's label or a caption names."""

    text: str
    runs: tuple[RunMention, ...] = ()
    metrics: tuple[MetricMention, ...] = ()
    inherited: bool = False
    """Its metrics are those of the row above."""


WORD = re.compile(r"[A-Za-z][A-Za-z'’]*")
TOGETHER = re.compile(r"\s*,?\s*(?:and|&)\s+(?:of\s+|in\s+)?(?:the\s+)?")
IN_BRACKETS = re.compile(r"\[[^\[\]]*\Z")
OWN_NUMBER = re.compile(r"\s+(?:[a-z]+\s+){0,2}[-−+~≈]?\d+\.\d")
CONDITION = re.compile(r"\b(?:with|at|for|under|using)\s+[~≈]?\Z", re.I)
LINK = re.compile(r"\b(?:relative to|compared (?:to|with)|with respect to)\s+", re.I)
BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
CLAUSE_END = re.compile(
    r"[;]|,\s+(?:but|while|whereas|although|and\s+(?:is|has|the))\b|\bwhile\b|\bbut\b|\bwhereas\b"
)
BOUNDARY = re.compile(r"[;:,()\[\]—]|\s[–-]\s|\s--\s")


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """Why the words of a number leave open what it is."""

    reason: str
    slight: bool = False
    """Only by words that are not known to make another quantity of it."""


def doubt(
    numeral: Numeral, binding: Binding, scene: Scene, vocabulary: Vocabulary, *, change: bool
) -> Doubt | None:
    """Return what leaves open which quantity a number is; None when its reading is certain."""
    text = _understood(scene.text, (*scene.runs, *scene.metrics), vocabulary)
    start, end = text.rfind(";", 0, numeral.start) + 1, text.find(";", numeral.end)
    end = end if end >= 0 else len(text)
    names = [one for one in (binding.metric, binding.mention) if one is not None]
    reason = _unnamed(numeral, binding, scene, vocabulary, change=change)
    if not reason and names and not any(start <= one.start < end for one in names):
        reason = "its part of the sentence names nothing"
    if not reason and not change and _is_told(numeral, binding, scene, vocabulary.evidence):
        reason = "another number of its sentence is this value"
    if not reason:
        near = _near(text, (start, end), numeral, binding, scene)
        beyond = f"{text[start : near[0]]} {text[near[1] : end]}"
        word = _strange(text[slice(*near)], change=change) or OTHER_QUANTITY.search(beyond)
        word = word or TRANSFORMED.search(text)
        if word is None:
            return None
        reason = f"its words leave open what it is (`{word[0]}`)"
    slight = (
        len(names) + bool(scene.here) >= 2
        and all(start <= one.start < end for one in names)
        and not OTHER_QUANTITY.search(text, start, end)
        and not TRANSFORMED.search(text)
        and is_fine(numeral)
        and not (binding.mention is not None and _is_shared(binding.mention, scene))
    )
    return Doubt(reason=reason, slight=slight or is_foreign(numeral, scene))


def _near(
    text: str, clause: tuple[int, int], numeral: Numeral, binding: Binding, scene: Scene
) -> tuple[int, int]:
    """Return the part of a clause that must be understood word by word.

    It reaches from the number over its names to the next boundaries; a run's name shields what
    stands beyond it.
    """
    if binding.metric is None or (binding.mention is None and not scene.here):
        return clause
    own: list[Mention | Numeral] = [binding.metric, numeral]
    if binding.mention is not None:
        own.append(binding.mention)
    first, last = min(own, key=lambda one: one.start), max(own, key=lambda one: one.end)
    left = [m.end() for m in BOUNDARY.finditer(text, clause[0], max(clause[0], first.start))]
    if left and text[left[-1] - 1] == "(":
        del left[-1]  # what stands in parentheses belongs to what stands before them
    right = BOUNDARY.search(text, last.end, max(clause[1], last.end))
    shielded = first is binding.mention and not re.search(r"\bof\s+\Z", text[: first.start])
    return (
        first.start if shielded else left[-1] if left else clause[0],
        last.end if last is binding.mention else right.start() if right else clause[1],
    )


def _strange(text: str, *, change: bool) -> re.Match[str] | None:
    """Return the first word of a text that is not light."""
    return next((word for word in WORD.finditer(text) if not _is_light(word[0], change)), None)


def comparison_doubt(start: int, end: int, scene: Scene, vocabulary: Vocabulary) -> str:
    """Return what leaves open what is compared by the words from `start` to `end`."""
    text = _understood(scene.text, (*scene.runs, *scene.metrics), vocabulary)
    first, last = text.rfind(";", 0, start) + 1, text.find(";", end)
    last = last if last >= 0 else len(text)
    opens = max([first, *(m.end() for m in CLAUSE_END.finditer(text, first, start))])
    closed = CLAUSE_END.search(text, end, last)
    closes = closed.start() if closed else last
    every: list[Mention | Numeral] = [*scene.runs, *scene.metrics, *scene.numerals]
    named = [place for one in every for place in (one.start, one.end) if opens <= place <= closes]
    near = min([start, *named]), max([end, *named])
    beyond = f"{text[first : near[0]]} {text[near[1] : last]}"
    word = _strange(text[slice(*near)], change=True) or OTHER_QUANTITY.search(beyond)
    unsure = [m.text for m in scene.runs if first <= m.start < last and not m.sure]
    return word[0] if word else "".join(unsure[:1])


def is_foreign(numeral: Numeral, scene: Scene) -> bool:
    """Say whether a number is told of a run as the value of something that no run measured.

    `Correlation falls to 0.091 (0.204 for run 1)`: its sentence names a run and no metric there is.
    """
    return (
        not scene.metrics
        and is_fine(numeral)
        and any(mention.runs and mention.sure for mention in scene.runs) | bool(scene.here)
        and not OTHER_QUANTITY.search(AVERAGE_NAMED.sub("", scene.text))
    )


def unmeasured(numeral: Numeral, scene: Scene, evidence: Evidence) -> str:
    """Return the statistic that a number is told of and no run measured; empty when there is none.

    What equals such a number is another quantity's value, and supports nothing.
    """
    told = STATISTIC.search(scene.text) if is_foreign(numeral, scene) else None
    if told is None:
        return ""
    start = told[0][:4].lower()
    return "" if any(start in path.lower() for path in evidence.paths) else told[0]


def is_fine(numeral: Numeral) -> bool:
    """Say whether a number is typed as a measured value is: 0.204 or 21.1, not 512 or 5%."""
    decimals = -int(numeral.quantum.adjusted())
    if numeral.percent or numeral.factor:
        return False
    return decimals > 0 and numeral.digits > 1 and max(decimals, numeral.digits) >= 3


def label_doubt(column: Label, row: Label, vocabulary: Vocabulary, *, change: bool) -> str:
    """Return what leaves open which quantity a table's cell shows."""
    unsure = [m.text for m in (*column.runs, *row.runs) if not m.sure]
    header, label = (
        _understood(one.text, (*one.runs, *(() if one.inherited else one.metrics)), vocabulary)
        for one in (column, row)
    )
    if len({run for mention in row.runs for run in mention.runs}) > len(row.runs[:1]):
        return "its row names several runs" if not any(m.kind == "method" for m in row.runs) else ""
    word = _strange(header, change=change) or OTHER_QUANTITY.search(label)
    if row.inherited:
        word = word or _strange(label, change=change)
    if word is None and unsure:
        return f"its label leaves open which run it is (`{unsure[0].strip()}`)"
    return f"its header leaves open what it is (`{word[0]}`)" if word else ""


def _unnamed(
    numeral: Numeral, binding: Binding, scene: Scene, vocabulary: Vocabulary, *, change: bool
) -> str:
    """Return which part of the claim is not named: the metric, the run, what is compared."""
    if not binding.paths:
        return "its words name no metric"
    if numeral.integer and numeral.digits < 2 and not (numeral.percent or numeral.factor):
        return "one digit, which may count anything"
    if IN_BRACKETS.search(scene.text[: numeral.start]):
        return "it stands in brackets, as the ends of an interval do"
    if reason := _loosely_bound(numeral, binding, scene, vocabulary):
        return reason
    negative = numeral.value < 0 and not numeral.percent
    if change and not negative and not _compares(scene):
        return "its words leave open what is compared"
    before = [m for m in scene.metrics if m.end <= numeral.start]
    for one, other in itertools.pairwise(before):
        apart = any(one.end <= n.start < other.start for n in scene.numerals)
        if not apart and not binding.listed and one.paths != other.paths:
            return "two metrics are named before it"
    return ""


def _loosely_bound(numeral: Numeral, binding: Binding, scene: Scene, vocabulary: Vocabulary) -> str:
    """Return why a number may be of another run or metric than it is bound to."""
    mention = binding.mention
    if not binding.runs:
        return "its words name no run"
    if mention is not None and not mention.sure:
        return f"its words leave open which run it is (`{mention.text.strip()}`)"
    if mention is None and scene.here and _has_condition(scene.text, vocabulary):
        return "its sentence sets a condition, which another run may have"
    if binding.crowded:
        return "it stands in a list of numbers whose names stand elsewhere"
    if binding.metric is None and (len(set(scene.recent)) > 1 or not (mention or scene.here)):
        return "its sentence names no metric"
    if mention is not None and not binding.listed and _is_shared(mention, scene):
        return "its words name several runs"
    if mention is not None and not binding.listed and _is_taken(numeral, binding, scene):
        return "another number stands between it and its run"
    return ""


def _is_shared(mention: RunMention, scene: Scene) -> bool:
    """Say whether one number is told of a run together with another: `run 1 and run 2: 0.4`."""
    if len(scene.numerals) > 1:
        return False
    ends = [
        (one.end, other.start)
        for one, other in itertools.pairwise(scene.runs)
        if mention in (one, other)
    ]
    return any(TOGETHER.fullmatch(scene.text[start:end]) for start, end in ends)


def _has_condition(text: str, vocabulary: Vocabulary) -> bool:
    """Say whether a sentence names a setting by its value alone: `with 0.01 it was …`."""
    return any(
        CONDITION.search(text[: numeral.start]) and known_setting(numeral, vocabulary)
        for numeral in find_numerals(text)
    )


def _is_told(numeral: Numeral, binding: Binding, scene: Scene, evidence: Evidence) -> bool:
    """Say whether another number of the sentence is the value that this one is bound to."""
    stored = [
        value
        for run in binding.runs[:1]
        for path in binding.paths[:1]
        if (value := evidence.runs[run].metrics.get(path)) is not None
    ]
    others = [n for n in scene.numerals if n.start != numeral.start and n.digits > 2]
    single = not binding.tight and len(binding.runs) == len(binding.paths) == 1
    return single and any(other.shows(value) for value in stored for other in others)


def _is_taken(numeral: Numeral, binding: Binding, scene: Scene) -> bool:
    """Say whether the run's name has a number of its own, between it and this one or behind it."""
    mention = binding.mention
    assert mention is not None
    if (
        mention.start >= numeral.end
        and not binding.tight
        and OWN_NUMBER.match(scene.text, mention.end)
    ):
        return True
    start, end = min(numeral.end, mention.end), max(numeral.start, mention.start)
    if binding.metric is not None and binding.metric.end <= numeral.start:
        start = max(start, binding.metric.end)
    taken = [
        n
        for n in scene.numerals
        if start <= n.start < end and not n.spread and not is_counted(scene.text, n)
    ]
    arrow = taken and ARROW.fullmatch(scene.text[taken[-1].end : numeral.start])
    return bool(taken) and not arrow


def _compares(scene: Scene) -> bool:
    """Say whether a sentence names two runs and which of them is compared with."""
    for link in LINK.finditer(scene.text):
        if not any(0 <= mention.start - link.end() < 25 for mention in scene.runs):
            return False
    if len({*scene.named_runs, *scene.here}) < 2:
        return False
    return len(scene.named_runs) == 2 or any(
        REFERENCE.search(scene.text[: mention.start]) for mention in scene.runs
    )


def _understood(text: str, names: Sequence[Mention], vocabulary: Vocabulary) -> str:
    """Return a text with blanks for the names, numbers and settings that are understood."""
    characters = list(text)

    def blank(start: int, end: int) -> None:
        characters[start:end] = " " * (end - start)

    for mention in names:
        blank(mention.start, mention.end)
    for match in SEED_MEAN.finditer(text):
        blank(*match.span())
    settings = vocabulary.settings(text)
    for numeral in find_numerals(text):
        blank(numeral.start, numeral.end)
        known = bool(known_setting(numeral, vocabulary))
        counted = COUNTED.match(text, numeral.end)
        if counted and (known or "seed" in counted[0]):
            before = re.search(r"\b(?:after|over|across|all)\s+\Z", text[: numeral.start])
            blank(before.start() if before else numeral.end, counted.end())
        setting = setting_of(text, numeral, settings, ()) if known else None
        if setting is not None:
            blank(min(setting.start, numeral.start), max(setting.end, numeral.end))
    # A semicolon parts a sentence only outside parentheses.
    return BRACKETS.sub(lambda match: match[0].replace(";", ","), "".join(characters))


@lru_cache(maxsize=4096)
def _is_light(word: str, change: bool) -> bool:
    if len(word) == 1 and word.isupper() and word not in "AI":
        return False  # somebody's name for something
    word = re.sub(r"['’](?:s|re|ve|t|d|ll|m)?\Z", "", word.lower())
    forms = {word}
    for ending in ("s", "es", "ed", "d", "ing", "er", "r"):
        stem = word.removesuffix(ending)
        if stem != word:
            forms |= {stem, f"{stem}e", stem[:-1] if stem[-1:] == stem[-2:-1] else stem}
    return len(word) < 2 or any(
        form in LIGHT_WORDS or (change and form in CHANGE_WORDS) for form in forms
    )
