"""Which run and metric a typed number refers to, by the words around it.

A number is bound to the metric and the run named nearest to it, a name right behind it (`0.41 for
run 2`, `run 2 (0.41)`) before others; two lists of equal length are paired in order. What the
sentence does not name comes from its heading, or from the sentence before it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ai_scientist.claims.evidence import Evidence
from ai_scientist.claims.exempt import is_counted
from ai_scientist.claims.numerals import Numeral
from ai_scientist.claims.vocabulary import MetricMention, RunMention, Vocabulary

RUN_BEHIND = re.compile(
    r"\s*\)?\s*(?:nats?\s+)?(?:\(|(?:is\s+)?(?:for|in|at|of|from|with|by|under|on|during)\s+(?:the\s+)?)?\Z",
    re.I,
)
RUN_TIGHT_BEFORE = re.compile(
    r"(?:'s?|’s?)?\s*(?:\(|[:=]|(?:is|was|has|had|reach(?:es|ed)|gives?|gave|at|got|scores?|"
    r"obtain(?:s|ed)|achiev(?:es|ed)|attain(?:s|ed)|yield(?:s|ed)|→)\b)?\s*(?:at|of|a|an)?\s*[~≈]?\s*\Z",
    re.I,
)
METRIC_BEHIND = re.compile(r"\s*(?:%|\))?\s*(?:points?\s+)?(?:of\s+)?(?:the\s+|in\s+)?\Z", re.I)
CHANGE_BEFORE = re.compile(
    r"(?:\bby|\b(?:improvement|increase|decrease|reduction|gain|drop|rise|fall|difference|change|"
    r"delta|gap|advantage|margin)\s+(?:of|is|was)|(?:Δ|delta)\s*[=:]?)\s*"
    r"(?:about|approximately|roughly|around|only|nearly|almost|just|a|an|some|~|≈)?\s*\Z",
    re.I,
)
CHANGE_BEHIND = re.compile(
    r"\s*(?:nats?|points?|absolute|relative|times|-?fold)?\s*(?:absolute|relative)?\s*"
    r"(?:higher|lower|better|worse|larger|smaller|greater|more|less|fewer|improvement|reduction|"
    r"increase|decrease|drop|gain|rise|difference|faster|slower|than\b|over\b|above\b|below\b|of\s+the\b"
    r"|of\s+run|that\s+of|(?:as\s+)?(?:large|high|low)\b)",
    re.I,
)
VERSUS = re.compile(
    r"(?:\bvs\.?|\bversus|\bagainst|\bcompared (?:to|with)|[→⇒⟶➔]|[-=]>)\s*\Z", re.I
)
ARROW = re.compile(r"[\s$]*(?:to|[→⇒⟶➔]|[-=]>)[\s$]*", re.I)
FROM = re.compile(r"\bfrom\s+(?:about\s+|~)?\Z", re.I)
WAS = re.compile(
    r"\d[^\w\s]{0,3}\s*[(,;]?\s*(?:it\s+)?"
    r"(?:was|were|had been|previously|before|formerly|earlier)\b\s*[:=]?\s*\Z"
    r"|\b(?:instead of|rather than)\s+(?:the\s+)?\Z",
    re.I,
)
"""Before a value that was left: `0.5 (was 0.4)`, `0.5 instead of 0.4`."""
COMPARED_WITH = re.compile(
    r"\b(?:than|over|compared (?:to|with)|relative to|versus|vs\.?|against|of)\s+(?:that of\s+)?\Z",
    re.I,
)
GAP_BETWEEN = re.compile(r"\b(?:gap|difference|margin|distance|delta)\s+between\b", re.I)
LIST_GAP = re.compile(
    r"[\s,;/&()%]*(?:and|or|to|versus|vs\.?|against|respectively|[→⇒⟶➔]|[-=]>)?[\s,;/&()%]*\Z",
    re.I,
)


@dataclass(frozen=True, kw_only=True)
class Binding:
    """What one number refers to."""

    paths: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    named: bool = False
    """Its run is named in the sentence or cell itself."""
    tight: bool = False
    """Its run is named right beside it."""
    group: str = ""
    """`method`, `final` or `best`, when words of that kind named the run."""
    exact: bool = True
    """The metric's words are a whole name."""
    metric: MetricMention | None = None
    """Where its own sentence names the metric."""
    mention: RunMention | None = None
    """Where its own sentence names the run."""
    listed: bool = False
    """Paired with its names in two lists of equal length."""
    crowded: bool = False
    """Stands in a list of numbers that no list of names was found for."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A sentence with all it names."""

    text: str
    numerals: tuple[Numeral, ...]
    runs: tuple[RunMention, ...]
    metrics: tuple[MetricMention, ...]
    here: tuple[str, ...] = ()
    """Run of the heading it stands under."""
    before: tuple[str, ...] = ()
    """Paths of the metric named last, when this sentence names none."""
    recent: tuple[str, ...] = ()
    """Paths of every metric that the sentences before it named."""

    @property
    def named_runs(self) -> tuple[str, ...]:
        """Return every run the sentence names."""
        return tuple(dict.fromkeys(run for mention in self.runs for run in mention.runs))


def read_scene(
    text: str,
    numerals: Sequence[Numeral],
    vocabulary: Vocabulary,
    *,
    here: tuple[str, ...] = (),
    before: tuple[str, ...] = (),
    recent: tuple[str, ...] = (),
) -> Scene:
    """Find the names in a sentence; numbers inside a name are taken out."""
    runs = tuple(vocabulary.runs(text))
    metrics = tuple(
        m
        for m in vocabulary.metrics(text)
        if all(m.end <= r.start or m.start >= r.end for r in runs if r.kind == "run")
    )
    taken = [(m.start, m.end) for m in runs] + [(m.start, m.end) for m in metrics]
    free = tuple(
        n for n in numerals if all(n.end <= start or n.start >= end for start, end in taken)
    )
    return Scene(
        text=text,
        numerals=free,
        runs=runs,
        metrics=metrics,
        here=here,
        before=before,
        recent=recent,
    )


def bind(scene: Scene, evidence: Evidence) -> Mapping[int, Binding]:
    """Bind each number, by its index in `scene.numerals`."""
    bindings = {}
    run_lists, metric_lists, unpaired = _lists(scene)
    for index, numeral in enumerate(scene.numerals):
        metric = metric_lists.get(index) or _metric_of(scene, index, numeral)
        paths = metric.paths if metric else scene.before
        mention, tight = run_lists.get(index), index in run_lists
        if mention is None:
            mention, tight = _run_of(scene, index, numeral)
        runs = scene.here
        group = ""
        if mention is not None:
            runs = mention.runs
            if mention.kind == "best":
                best = [evidence.best_run(path) for path in paths]
                runs = tuple(dict.fromkeys(run for run in best if run))
            group = mention.kind if mention.kind in ("method", "final", "best") else ""
        bindings[index] = Binding(
            paths=paths,
            runs=runs,
            named=mention is not None,
            tight=tight,
            group=group,
            exact=metric.exact if metric else True,
            metric=metric,
            mention=mention,
            listed=index in run_lists or index in metric_lists,
        )
        if not tight and _starts_a_change(scene, index) and "run_0" in evidence.runs:
            known = (*runs, *scene.named_runs, *scene.here, "run_0")
            bindings[index] = Binding(
                paths=paths,
                runs=tuple(dict.fromkeys(known)),
                named=True,
                exact=False,
                metric=metric,
                mention=mention,
            )
    for series in unpaired:
        loose = [i for i in series if not bindings[i].tight]
        if len(loose) > 1:
            bindings |= {i: replace(bindings[i], crowded=True) for i in loose}
    return bindings


def _starts_a_change(scene: Scene, index: int) -> bool:
    """Say whether a number is where a change starts: `from 0.4`, `0.4 to 0.5`, `0.4 → 0.5`."""
    numeral = scene.numerals[index]
    before = scene.text[: numeral.start]
    if FROM.search(before) or WAS.search(before):
        return True
    if index + 1 == len(scene.numerals):
        return False
    return bool(ARROW.fullmatch(scene.text[numeral.end : scene.numerals[index + 1].start]))


def is_change(text: str, numeral: Numeral) -> bool:
    """Say whether the words around a number make it a difference, not a value."""
    if numeral.factor or numeral.signed:
        return True
    before, behind = text[max(0, numeral.start - 40) : numeral.start], text[numeral.end :]
    if GAP_BETWEEN.search(text[: numeral.start]) and re.search(r"\b(?:is|was|of)\s*\Z", before):
        return True
    return bool(CHANGE_BEFORE.search(before) or CHANGE_BEHIND.match(behind))


def _lists(
    scene: Scene,
) -> tuple[dict[int, RunMention], dict[int, MetricMention], list[list[int]]]:
    """Pair lists: `runs 1 and 2 reach 0.4 and 0.5`, `loss and accuracy are 0.4 and 0.9`.

    The third value are the lists of numbers that no names were found for.
    """
    plain = [i for i, n in enumerate(scene.numerals) if not n.spread]
    changes = {i for i in plain if is_change(scene.text, scene.numerals[i])}
    values = plain if changes == set(plain) else [i for i in plain if i not in changes]
    paired_runs: dict[int, RunMention] = {}
    paired_metrics: dict[int, MetricMention] = {}
    unpaired: list[list[int]] = []
    done = 0
    for series in _series(scene, values):
        if len(series) > 1:
            runs, metrics = _pair(scene, series, done)
            paired_runs |= runs
            paired_metrics |= metrics
            if not runs and not metrics:
                unpaired.append(
                    [i for i in series if not is_counted(scene.text, scene.numerals[i])]
                )
        done = scene.numerals[series[-1]].end
    return paired_runs, paired_metrics, unpaired


def _pair(
    scene: Scene, series: list[int], done: int
) -> tuple[dict[int, RunMention], dict[int, MetricMention]]:
    """Pair one series of numbers with the runs and metrics listed for it.

    `done` is where the series before it ends: runs named before that have their numbers.
    """
    first, last = scene.numerals[series[0]], scene.numerals[series[-1]]
    start = first.start
    runs = [m for m in scene.runs if done <= m.start and m.end <= start]
    metrics = [m for m in scene.metrics if m.end <= start]
    behind = [m for m in scene.runs if m.start >= last.end]
    paired_runs: dict[int, RunMention] = {}
    arrow = re.search(r"[→⇒⟶➔]|[-=]>", scene.text[start : last.end])
    opened = (
        bool(runs) and not arrow and re.fullmatch(r"\s*\(\s*", scene.text[runs[-1].end : start])
    )
    if len(runs) == len(series) and (_listed(scene.text, runs) or opened):
        paired_runs = dict(zip(series, runs, strict=True))
    elif (
        not runs
        and len(behind) == len(series)
        and _listed(scene.text, behind, versus=not _starts_a_change(scene, series[0]))
    ):
        paired_runs = dict(zip(series, behind, strict=True))
    paired_metrics: dict[int, MetricMention] = {}
    apart = metrics and any(metrics[0].end <= n.start < metrics[-1].start for n in scene.numerals)
    distinct = len({m.paths for m in metrics}) == len(metrics)
    if len(metrics) == len(series) and distinct and not apart:
        paired_metrics = dict(zip(series, metrics, strict=True))
    return paired_runs, paired_metrics


def _listed(text: str, mentions: Sequence[RunMention], *, versus: bool = True) -> bool:
    """Say whether mentions stand in one list, with `and` before the last.

    `versus` admits `run 1 vs run 0`, which names in the order of `from 0.4 to 0.5` only by chance.
    """
    gaps = [text[a.end : b.start] for a, b in itertools.pairwise(mentions)]
    words = r"\b(?:and|or|to|vs|versus|against)\b" if versus else r"\b(?:and|or|to)\b"
    joined = any(re.search(rf"{words}|&|[-–]", gap) for gap in gaps)
    return joined and all(LIST_GAP.match(gap) or gap.strip() in "-–" for gap in gaps)


def _series(scene: Scene, values: list[int]) -> list[list[int]]:
    """Return the series of numbers with nothing but commas and `and` between them."""
    found: list[list[int]] = []
    current: list[int] = []
    for index in values:
        if current:
            previous = scene.numerals[current[-1]]
            gap = scene.text[previous.end : scene.numerals[index].start]
            gap = re.sub(r"±\s*[\d.,]+\s?%?", "", gap)
            if not LIST_GAP.match(gap):
                found.append(current)
                current = []
        current.append(index)
    return [*found, current] if current else found


def _metric_of(scene: Scene, index: int, numeral: Numeral) -> MetricMention | None:
    behind = [m for m in scene.metrics if m.start >= numeral.end]
    before = [m for m in scene.metrics if m.end <= numeral.start]
    if behind and METRIC_BEHIND.match(scene.text[numeral.end : behind[0].start]):
        used = any(before and other.start >= before[-1].end for other in scene.numerals[:index])
        linked = before and re.match(
            r"\W*(?:of|is|was|=|:|at|in|for)\b", scene.text[before[-1].end : numeral.start]
        )
        if not before or used or not linked:
            return behind[0]
    if before:
        return before[-1]
    # A small whole number in front of a metric's name counts something else.
    small = numeral.integer and numeral.digits < 3
    return behind[0] if behind and not small else None


def _run_of(scene: Scene, index: int, numeral: Numeral) -> tuple[RunMention | None, bool]:
    behind = [m for m in scene.runs if m.start >= numeral.end]
    before = [m for m in scene.runs if m.end <= numeral.start]
    if before and RUN_TIGHT_BEFORE.match(scene.text[before[-1].end : numeral.start]):
        return before[-1], not (_shares_parenthesis(scene, index) or _is_crowded(scene, numeral))
    close = _tight_behind(scene, numeral)
    if close is not None:
        return close, True
    compared = [m for m in before if COMPARED_WITH.search(scene.text[: m.start])]
    if compared and VERSUS.search(scene.text[: numeral.start]):
        return compared[-1], False
    subjects = [m for m in before if m not in compared]
    if subjects or (before and not scene.here):
        return (subjects or before)[-1], False
    if before:
        return None, False
    claimed = {
        m.start
        for other in scene.numerals
        if other is not numeral and (m := _tight_behind(scene, other)) is not None
    }
    behind = [m for m in behind if m.start not in claimed] or behind
    behind = [m for m in behind if not _owns_next(scene, m)]
    if not behind or scene.here or COMPARED_WITH.search(scene.text[: behind[0].start]):
        return None, False
    return behind[0], False


def _tight_behind(scene: Scene, numeral: Numeral) -> RunMention | None:
    """Return the run named right behind a number: `0.41 for run 2`, `0.41 (run 2)`."""
    behind = next((m for m in scene.runs if m.start >= numeral.end), None)
    if behind is None:
        return None
    gap = scene.text[numeral.end : behind.start]
    inside = scene.text[behind.end :].partition(")")[0] if gap.endswith("(") else ""
    if any(behind.end <= m.start < behind.end + len(inside) for m in scene.runs):
        return None
    gap = re.sub(r"^\s*(?:±|\+/-)\s*[\d.,]+", "", gap)
    tight = RUN_BEHIND.match(gap) and gap.strip() and not _owns_next(scene, behind)
    return behind if tight else None


def _shares_parenthesis(scene: Scene, index: int) -> bool:
    """Say whether a number stands with others in one parenthesis: `(0.41 against 0.52)`."""
    numeral = scene.numerals[index]
    if not scene.text[: numeral.start].rstrip().endswith("("):
        return False
    inside = scene.text[numeral.end :].partition(")")[0]
    rest = [n for n in scene.numerals[index + 1 :] if n.end <= numeral.end + len(inside)]
    return any(not n.spread and not n.percent for n in rest)


def _is_crowded(scene: Scene, numeral: Numeral) -> bool:
    """Say whether two runs are named since the last number: `run_1 against run_2: 0.41`."""
    if scene.text[: numeral.start].rstrip().endswith("("):
        return False
    last = max((n.end for n in scene.numerals if n.end <= numeral.start), default=0)
    return sum(last <= m.start < numeral.start for m in scene.runs) > 1


def _owns_next(scene: Scene, mention: RunMention) -> bool:
    """Say whether the number behind a run's name is its own: `baseline 0.41`, `run_1 = 0.41`."""
    return bool(re.match(r"\s*(?:[:=]|\d|of\s+\d)", scene.text[mention.end :]))
