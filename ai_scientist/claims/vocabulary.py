"""Which runs, metrics and settings a sentence, a heading or a table header speaks of."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

from ai_scientist.claims.evidence import Evidence
from ai_scientist.claims.numerals import find_numerals
from ai_scientist.records import Scalar

WORD = re.compile(r"[A-Za-z]+|\d+")
SAME = {
    "divergence": "div", "acc": "accuracy", "err": "error", "val": "validation", "eval": "test",
    "accuracies": "accuracy", "losses": "loss", "correlations": "correlation", "avg": "mean",
    "average": "mean", "cosine": "cos", "similarity": "sim", "evaluation": "test",
}  # fmt: skip
FILLERS = frozenset([
    "sae", "llm", "mean", "test", "final", "score", "total", "value", "metric", "result", "rate",
    "fraction", "share", "of", "the",
])  # fmt: skip
CUT = frozenset({"with", "without", "at", "per", "threshold"})
TOO_GENERAL = frozenset([
    "a", "an", "in", "out", "on", "by", "to", "of", "is", "run", "runs", "k", "n", "d", "x", "y",
    "layer", "size", "step", "steps", "time", "seconds", "number", "count", "norm", "no", "all",
    "best", "train", "training", "test", "value", "dir", "ratio", "total", "data", "input",
    "output", "max", "min",
])  # fmt: skip
LAST_WORDS = frozenset({"penalty", "threshold", "coefficient", "rate", "weight", "lambda"})
SETTING_WORDS = {
    "lr": ("learning", "rate"), "dict_size": ("dictionary", "size"), "d_sae": ("width",),
    "n_epochs": ("epochs",), "bs": ("batch", "size"), "wd": ("weight", "decay"),
}  # fmt: skip
RUN = re.compile(
    r"\bruns?[\s_~-]{0,2}(?P<first>\d{1,3})(?!\.\d)(?P<arm>/[A-Za-z][\w-]*)?\b"
    r"(?P<more>(?:\s?(?:,|,?\s?and|&|to|through|–|-|/)\s?(?:runs?[\s_]?)?\d{1,3}\b(?!%|\.\d)"
    r"|\s?vs\.?\s\d{1,3}\b(?!%|\.\d))*)",
    re.I,
)
BASELINE = re.compile(
    r"\b(?:the\s+)?baselines?\b|\b(?:unmodified|original)\s+(?:model|code|template)\b"
    r"|\b(?:the\s+)?(?:untouched\s+|unmodified\s+)?template(?:['’]s(?:\s+own)?)?(?![\w.])",
    re.I,
)
METHOD = re.compile(
    r"\b(?:our|proposed|this)\s+(?:\w+[- ]){0,2}?(?:methods?|approach|models?|variants?|technique|"
    r"saes?|algorithm|system|modification|implementation|architecture|mechanism|design)\b|\bours\b|\bwe\s+(?:achieve|obtain|reach|attain|get)d?\b"
    r"|\bthe\s+(?:method|proposed\s+\w+)\b",
    re.I,
)
THINGS = (
    r"(?:runs?|configurations?|variants?|versions?|models?|methods?|experiments?|settings?|"
    r"implementations?)"
)
FINAL = re.compile(
    rf"\b(?:final|last|latest)\s+(?:(?!(?:for|of|in|at|by|across|over|from)\b)\w+\s+){{0,2}}{THINGS}\b",
    re.I,
)
NICKNAME = re.compile(
    r"\b(?:(?:the|our|an?)\s+)?(?:(?:control|reference|vanilla|stock|comparator|starting[- ]point)"
    r"(?![- ]arm)"
    r"|(?:unmodified|unaltered|untouched|unchanged|original|default|standard|off-the-shelf)(?=\s+"
    r"(?:top-?k\s+)?(?:run|models?|network|saes?|autoencoder|code|implementation|condition|"
    r"configuration|setup|version|system|one)\b))(?:\s+(?:top-?k\s+)?(?:run|model|network|saes?|"
    r"autoencoder|code|implementation|condition|configuration|setup|version|system|group|one)\b)?",
    re.I,
)
"""What authors call the baseline, and sometimes another thing."""
NUMBERED = re.compile(
    r"\b(?:variants?|experiments?|configurations?|settings?|conditions?|treatments?|models?|"
    r"versions?)\s+(?:(?:no\.?|nr\.?|number)\s*|#)?(?P<number>\d|one|two|three|four|five)\b(?!\.?\d|%)",
    re.I,
)
"""What authors call `run_N`, if they count the baseline as none."""
WORDS_OF_NUMBERS = ("zero", "one", "two", "three", "four", "five")
BEST = re.compile(rf"\b(?:best|strongest)(?:[- ]performing)?\s+(?:\w+\s+)?{THINGS}\b", re.I)

RunKind = Literal["run", "baseline", "method", "final", "best"]


@dataclass(frozen=True, kw_only=True)
class RunMention:
    """Words that name one run, or a group of runs."""

    start: int
    end: int
    kind: RunKind
    runs: tuple[str, ...]
    """Empty for `best`, which depends on the metric, and for a run that does not exist."""
    text: str
    sure: bool = True
    """False for a nickname, which can mean another run: a value that it fits not is open."""


@dataclass(frozen=True, kw_only=True)
class MetricMention:
    """Words that name a metric; several paths when the words fit more than one."""

    start: int
    end: int
    paths: tuple[str, ...]
    exact: bool
    """The words are a whole name, not a part of one."""


@dataclass(frozen=True, kw_only=True)
class SettingMention:
    """Words that name a configuration key."""

    start: int
    end: int
    values: tuple[Scalar, ...]


class Vocabulary:
    """Finds the names of one study's runs, metrics and settings in text."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._last_settings: tuple[str, list[SettingMention]] = ("", [])

    @cached_property
    def _metrics(self) -> dict[tuple[str, ...], tuple[dict[str, None], dict[str, None]]]:
        """Token sequence -> paths it names whole, paths it names in part."""
        table: dict[tuple[str, ...], tuple[dict[str, None], dict[str, None]]] = defaultdict(
            lambda: ({}, {})
        )
        for path in self.evidence.paths:
            parts = path.split("/")
            last = tokens(parts[-1])
            whole = {last, tokens(self.evidence.names[path]), tokens(path)}
            if len(parts) > 1:
                whole.add(tokens(" ".join(parts[-2:])))
            for alias in whole:
                table[alias][0][path] = None
            bare = tuple(word for word in last if word not in FILLERS)
            stem = tuple(_until_cut(bare))
            for alias in {bare, stem} - whole:
                table[alias][1][path] = None
        return {
            alias: paths
            for alias, paths in table.items()
            if alias
            and not (
                len(alias) == 1
                and (alias[0] in TOO_GENERAL or len(alias[0]) < 2 or alias[0].isdigit())
            )
        }

    @cached_property
    def _settings(self) -> dict[tuple[str, ...], tuple[Scalar, ...]]:
        table: dict[tuple[str, ...], dict[Scalar, None]] = defaultdict(dict)
        for config in self.evidence.configs.values():
            for path, value in config.items():
                if isinstance(value, bool) or not isinstance(value, int | float):
                    continue
                key = path.rsplit("/", 1)[-1]
                words = tokens(key)
                for alias in {words, SETTING_WORDS.get(key, words), words[-1:]}:
                    if alias == words or len(alias) > 1 or alias[0] in LAST_WORDS:
                        table[alias][value] = None
        return {alias: tuple(values) for alias, values in table.items() if alias}

    @cached_property
    def settings_values(self) -> tuple[float, ...]:
        """Every number in any run's configuration."""
        values = {v for found in self._settings.values() for v in found}
        return tuple(float(v) for v in values if isinstance(v, int | float))

    @cached_property
    def idea_values(self) -> tuple[float, ...]:
        """Every number that the idea states."""
        idea = self.evidence.idea
        if idea is None:
            return tuple(
                {float(n.value) for t in self.evidence.titles.values() for n in find_numerals(t)}
            )
        texts = [idea.title, idea.experiment, idea.technical_details, idea.implementation_plan]
        texts += list(self.evidence.titles.values())
        texts += [idea.abstract, *(str(value) for value in idea.given.values())]
        return tuple({float(n.value) for text in texts for n in find_numerals(text)})

    def metrics(self, text: str) -> list[MetricMention]:
        """Return the metrics named in `text`, the longest name at each place."""
        found: list[MetricMention] = []
        words = list(WORD.finditer(text))
        canonical = [_canonical(word[0]) for word in words]
        index = 0
        while index < len(words):
            length, mention = self._longest(text, words, canonical, index)
            if mention is not None:
                found.append(mention)
            index += max(1, length)
        return found

    def _longest(
        self, text: str, words: list[re.Match[str]], canonical: list[str], index: int
    ) -> tuple[int, MetricMention | None]:
        for length in range(min(12, len(words) - index), 0, -1):
            entry = self._metrics.get(tuple(canonical[index : index + length]))
            if entry is None:
                continue
            start, end = words[index].start(), words[index + length - 1].end()
            if re.search(r"[.;!?]\s|[,(]", text[start:end]):
                continue
            whole, partial = entry
            paths = tuple(whole or partial)
            return length, MetricMention(start=start, end=end, paths=paths, exact=bool(whole))
        return 1, None

    def settings(self, text: str) -> list[SettingMention]:
        """Return the configuration keys named in `text`; the last text's are kept."""
        if self._last_settings[0] == text:
            return self._last_settings[1]
        found: list[SettingMention] = []
        words = list(WORD.finditer(text))
        canonical = [_canonical(word[0]) for word in words]
        for index in range(len(words)):
            for length in range(min(6, len(words) - index), 0, -1):
                values = self._settings.get(tuple(canonical[index : index + length]))
                if values is not None:
                    start, end = words[index].start(), words[index + length - 1].end()
                    found.append(SettingMention(start=start, end=end, values=values))
                    break
        self._last_settings = (text, found)
        return found

    def runs(self, text: str) -> list[RunMention]:
        """Return the runs named in `text`, in order, without overlaps."""
        found = [*self._numbered(text), *self._titled(text), *self._armed(text)]
        known = self.evidence.runs
        if "run_0" in known:
            found += _each(BASELINE, text, "baseline", ("run_0",))
        others = tuple(name for name in self.evidence.numbered if name != "run_0")
        final = self.evidence.final_run()
        found += _each(FINAL, text, "final", (final,) if final else ())
        found += _each(BEST, text, "best", ())
        explicit = [m.start for m in found if m.kind in ("run", "baseline")]
        found += [
            mention
            for mention in _each(METHOD, text, "method", others)
            if not (mention.text.lower().startswith("we") and explicit)
        ]
        found += self._nicknamed(text)
        order = {"run": 0, "baseline": 1, "final": 2, "best": 2, "method": 3}
        chosen: list[RunMention] = []
        for mention in sorted(found, key=lambda m: (not m.sure, order[m.kind], m.start)):
            if all(mention.end <= other.start or mention.start >= other.end for other in chosen):
                chosen.append(mention)
        return sorted(chosen, key=lambda mention: mention.start)

    def _numbered(self, text: str) -> Iterable[RunMention]:
        position = 0
        while match := RUN.search(text, position):
            name = f"run_{int(match['first'])}"
            arm = f"{name}{match['arm'] or ''}"
            name = arm if arm in self.evidence.runs else name
            plural = match[0].lower().startswith("runs") or re.match(r"\s?(?:/|vs)", match["more"])
            more = match["more"] if plural else ""
            end = position = match.end() if plural else match.start("more")
            names = [name, *(f"run_{int(n)}" for n in re.findall(r"\d+", more))]
            if plural and re.search(r"to|through|–|-", more) and len(names) == 2:
                low, high = int(names[0][4:]), int(names[1][4:])
                names = [f"run_{n}" for n in range(low, min(high, low + 50) + 1)]
            if len(names) > 1:
                # Each is a mention of its own, so that lists of values can be paired with them.
                places = [m.span() for m in re.finditer(r"\d+", text[match.start() : end])]
                if len(places) == len(names):
                    for one, (a, b) in zip(names, places, strict=True):
                        offset = match.start()
                        yield self._one(one, offset + a, offset + b, text)
                    continue
            yield RunMention(
                start=match.start(),
                end=end,
                kind="baseline" if names == ["run_0"] else "run",
                runs=tuple(n for n in names if n in self.evidence.runs),
                text=text[match.start() : end],
            )

    def _one(self, name: str, start: int, end: int, text: str) -> RunMention:
        known = (name,) if name in self.evidence.runs else ()
        return RunMention(start=start, end=end, kind="run", runs=known, text=name)

    def _titled(self, text: str) -> Iterable[RunMention]:
        lower = text.lower()
        for name, title in self.evidence.titles.items():
            short = re.sub(r"\(.*?\)", "", title).strip().lower()
            if len(short) < 8 or short.startswith("run_") or " " not in short:
                continue
            start = lower.find(short)
            if start >= 0:
                end = start + len(short)
                yield RunMention(
                    start=start, end=end, kind="run", runs=(name,), text=text[start:end]
                )

    def _nicknamed(self, text: str) -> Iterable[RunMention]:
        arms = any("/" in name for name in self.evidence.runs)
        if "run_0" in self.evidence.runs and not arms:
            for one in _each(NICKNAME, text, "baseline", ("run_0",)):
                yield replace(one, sure=False)
        for match in NUMBERED.finditer(text):
            number = match["number"].lower()
            number = number if number.isdigit() else str(WORDS_OF_NUMBERS.index(number))
            if f"run_{number}" in self.evidence.runs:
                yield RunMention(
                    start=match.start(), end=match.end(), kind="run", runs=(f"run_{number}",),
                    text=match[0], sure=False,
                )  # fmt: skip

    def _armed(self, text: str) -> Iterable[RunMention]:
        arms: dict[str, list[str]] = defaultdict(list)
        for name in self.evidence.runs:
            if "/" in name:
                arms[name.split("/", 1)[1]].append(name)
        for arm, names in arms.items():
            words = re.escape(arm).replace("_", "[ _-]")
            pattern = re.compile(
                rf"\b{words}\s+(?:control|arm|placebo|weights?)\b|\b(?:control|arm)\s+{words}\b",
                re.I,
            )
            yield from _each(pattern, text, "run", tuple(names))


def _each(
    pattern: re.Pattern[str], text: str, kind: RunKind, runs: tuple[str, ...]
) -> list[RunMention]:
    return [
        RunMention(start=m.start(), end=m.end(), kind=kind, runs=runs, text=m[0])
        for m in pattern.finditer(text)
    ]


def tokens(name: str) -> tuple[str, ...]:
    """Return a name's words as they are compared: lower case, singular, synonyms made one."""
    return tuple(_canonical(word) for word in WORD.findall(name))


@lru_cache(maxsize=8192)
def _canonical(word: str) -> str:
    word = word.lower()
    word = SAME.get(word, word)
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    return SAME.get(word, word)


def _until_cut(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        if word in CUT:
            return
        yield word
