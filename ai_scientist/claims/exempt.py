"""Numbers that are no results: years, references, counts, hyper-parameters, the idea's own."""

from __future__ import annotations

import itertools
import re

from ai_scientist.claims.numerals import Numeral
from ai_scientist.claims.vocabulary import SettingMention, Vocabulary

REFERENCE = re.compile(
    r"(?:\b(?:sections?|sec\.|figures?|figs?\.?|tables?|tab\.|equations?|eqs?\.?|appendi(?:x|ces)|"
    r"algorithms?|chapters?|steps?|phases?|parts?|lines?|items?|notes?|stages?|layers?|pages?|"
    r"versions?|seeds?|epochs?|gpt|theorem|lemma|no\.|experiments?|executions?|attempts?|"
    r"hypothes[ie]s|question|block|head|commit|torch|python|cuda|sae_?lens|ids?|arxiv|level|rank|"
    r"class|fold|task|option|criterion|goal|day|week|january|february|march|april|may|june|july|"
    r"august|september|october|november|december)\s*[#:]?\s*|[§#\[@]\s*)"
    r"(?:\d+(?:\.\d+)*\s*(?:,|and|to|–|-|&|or)\s*)*\(?\Z",
    re.I,
)
COUNTED = re.compile(
    r"\s?[- ]?(?:(?!(?:for|in|of|at|on|and|to|with|after|by|from|while|than|over|but|is|are|"
    r"was|were|as|per|the)\b)[a-z]+[- ]){0,2}(?:runs?(?![\s_~]*\d)|seeds?|epochs?|layers?|"
    r"tokens?|steps?|iterations?|samples?|features?|latents?|documents?|heads?|repeats?|"
    r"repetitions?|questions?|letters?|dimensions?|gpus?|cpus?|cores?|parameters?|examples?|"
    r"images?|batch(?:es)?|networks?|units?|experiments?|models?|saes?|domains?|datasets?|"
    r"classes|metrics?|variants?|hours?|minutes?|seconds?|days|pages?|words?|characters?|"
    r"attempts?|edits?|controls?|arms?|conditions?|hypotheses|points?\s+grid|configurations?|"
    r"settings?|methods?|papers?|entities|facts|evaluations?|benchmarks?|tasks?|times\b|"
    r"pairs?|bits?|k\b|neurons?|observations?|sentences?|sections?|figures?|tables?|values?)\b",
    re.I,
)
DOTTED = re.compile(
    r"(?:sections?|sec\.|figures?|figs?\.?|tables?|tab\.|equations?|eqs?\.?|appendi\w+|version|"
    r"algorithms?|chapters?|torch|python|cuda|lens|theorem|lemma|[§#])\s*(?:[\d.]+\W+(?:and\s)?)*\(?\Z",
    re.I,
)
CONVENTION = re.compile(
    r"\s?%?\s*(?:confidence|ci\b|power\b|(?:significance )?level|quantile|percentile|interval)",
    re.I,
)
P_VALUE = re.compile(
    r"\bp\s*(?:-?values?)?\s*[<≤>]\s*\Z"
    r"|\bp-?\s?values?\b(?:[^.]|\.\d){0,160}(?:[<≤>]|below|under|less than)\s*\Z",
    re.I,
)
OUT_OF = re.compile(r"(?<![\w.,])\d{1,6}\s+(?:out\s+)?of\s+(?:the\s+)?\Z")
ABOUT_CHANGES = re.compile(
    r"\b(?:differences?|changes?|effects?|gaps?|deviations?)\b[^.;,]{0,30}\Z", re.I
)
RESOURCE = re.compile(
    r"[\d.,]+\s?-?(?:(?:gpu|cpu|wall|core|node|tpu|[A-Z]\d+)[- ]?)*"
    r"(?:h|hrs?|hours?|min|minutes?|s|sec|seconds?|days?|[KMGT]i?B|USD|dollars?|cents?|€)\b",
    re.I,
)
RESOURCE_METRIC = re.compile(r"time|second|minute|hour|memory|cost|usd|bytes|_[sh]\b|gb\b", re.I)
SETTING_BEHIND = re.compile(r"\s+(?:of|in)\s+(?:the\s+)?", re.I)
SAMPLE_SIZE = re.compile(r"(?<![A-Za-z_])[nN](?:_\{?\w{1,8}\}?)?\s*(?:=|≈|:)\s*\Z")
RATIO = re.compile(
    r"\b(?:ratio|factor|multiple|quotient)\s+(?:of|is|was|=|:)\s*(?:about\s+|~|≈)?\Z", re.I
)
SYMBOL = re.compile(
    r"(?:(?<![A-Za-z])(?:[kndFKNTBLHRmw]|[λαβγετμση]\S{0,3}|lambda\S{0,3}|alpha|beta\S?|gamma|"
    r"eps(?:ilon)?|tau)(?:_\{?\w{1,8}\}?|\d)?)\s*(?:=|≈|:|∈\s*[{\[(]|of|to|from)\s*"
    r"(?:[\d.,]+(?:e-?\d+)?\s*(?:in place of|instead of|rather than|->|→)\s*)?\Z"
)
GLUE = re.compile(
    r"\s*(?:\([^()]{0,12}\))?\s*(?:[=:≈~∈]|\b(?:of|to|is|was|at|from|set to|reduced to|"
    r"increased to|fixed at|values?|equal to|as)\b|[({\[\"'`]|\s)*\Z",
    re.I,
)
BETWEEN = re.compile(r"[\s,/&{}()→-]*(?:to|and|or|then|vs\.?)?[\s,/&{}()→-]*\Z", re.I)
THRESHOLD = re.compile(
    r"(?:(?<![-=])[<>≤≥]|\b(?:above|below|over|under|at least|at most|less than|more than|within|"
    r"exceeds?|greater than|target|threshold|goal)\b)\s*(?:of|is|a|the)?\s*[<>≤≥]?\s*\Z",
    re.I,
)
GENERAL_SETTING = re.compile(
    r"\b(?:batch siz\w+|learning rate|penalt\w+|threshold|temperature|width|dictionary size|"
    r"weight decay|coefficient|momentum|dropout)\s*(?:of|from|to|=|:|is|was|\(|at|"
    r"(?:reduc|increas|rais|lower|chang|vary|doubl|halv)\w*|from\s+[\d.,]+\s+to|[\s])*\Z",
    re.I,
)
RESULT_WORDS = re.compile(
    r"\b(?:improv|achiev|increas|decreas|reduc|obtain|reach|attain|outperform|lower|higher|better|"
    r"worse|accurac|score|loss|error|correlat|ablat|variance|divergence|gain|drop|gave|yield|"
    r"result|measur|show|rate|from\b.*\bto\b)",
    re.I,
)


def is_no_number(text: str, numeral: Numeral, *, item: bool) -> bool:
    """Say whether a number is none that anybody measured: a year, a reference, a list's number."""
    before, behind = text[: numeral.start], text[numeral.end :]
    whole = numeral.integer or DOTTED.search(before[-80:])
    if whole and not numeral.percent and REFERENCE.search(before[-80:]):
        return True
    if _is_year(before, behind, numeral) or P_VALUE.search(before):
        return True
    if CONVENTION.match(behind) or re.match(r"(?:st|nd|rd|th)\b", behind):
        return True
    if numeral.integer and OUT_OF.search(before[-30:]):
        return True
    if re.search(r"\[[\d,\s–-]*\Z", before) and re.match(r"[\d,\s–-]*\]", behind):
        return True
    if re.search(r"(?:https?:|www\.|doi:)\S*\Z", before):
        return True
    return (not before.strip() and numeral.integer and bool(re.match(r"[.)]\s", behind))) or (
        item and not before.strip(" (") and bool(re.match(r"\)\s", behind))
    )


def _is_year(before: str, behind: str, numeral: Numeral) -> bool:
    if numeral.percent or not re.fullmatch(r"\d{4}", numeral.text):
        return False
    if not 1900 <= numeral.value <= 2100:
        return False
    cited = re.search(
        r"(?:\(|,|\bin|\bsince|\bfrom|\bby|\buntil|\bof early|\bet al\.?,?|\d{4}[;,–-])\s*\(?\Z",
        before,
    )
    return bool(cited) or bool(re.match(r"\s*[);]", behind)) or bool(re.match(r"[a-z]\b", behind))


def is_counted(text: str, numeral: Numeral) -> bool:
    """Say whether a whole number counts things, as in `5 seeds` or `4,882 steps`."""
    return numeral.integer and not numeral.percent and bool(COUNTED.match(text[numeral.end :]))


def setting_of(
    text: str, numeral: Numeral, settings: list[SettingMention], numerals: tuple[Numeral, ...]
) -> SettingMention | None:
    """Return the configuration key that a number is the value of: `lr = 0.0003`, `k of 20, 40`."""
    for mention in settings:
        if mention.start > numeral.end and SETTING_BEHIND.fullmatch(
            text[numeral.end : mention.start]
        ):
            return mention
    for mention in reversed(settings):
        if mention.end > numeral.start:
            continue
        between = text[mention.end : numeral.start]
        inner = [n for n in numerals if mention.end <= n.start < numeral.start]
        if not inner and GLUE.match(between):
            return mention
        if inner and GLUE.match(text[mention.end : inner[0].start]):
            ends = [*inner, numeral]
            gaps = [text[a.end : b.start] for a, b in itertools.pairwise(ends)]
            if all(BETWEEN.match(re.sub(r"\([^()]*\)", "", gap)) for gap in gaps):
                return mention
    return None


def is_resource(text: str, numeral: Numeral, paths: tuple[str, ...]) -> bool:
    """Say whether a number is time, memory or money spent, which no metric of `paths` measures."""
    spent = RESOURCE.match(text[numeral.start :]) or text[: numeral.start].endswith("$")
    return bool(spent) and not any(RESOURCE_METRIC.search(path) for path in paths)


def is_sample_size(text: str, numeral: Numeral) -> bool:
    """Say whether a whole number is how many were counted: `n = 5`."""
    return numeral.integer and bool(
        SAMPLE_SIZE.search(text[max(0, numeral.start - 20) : numeral.start])
    )


def is_ratio(text: str, numeral: Numeral) -> bool:
    """Say whether the words before a number make it a ratio: `by a factor of 1.5`."""
    return bool(RATIO.search(text[max(0, numeral.start - 40) : numeral.start]))


def is_symbol(text: str, numeral: Numeral, taken: list[tuple[int, int]]) -> bool:
    """Say whether a number is the value of a one-letter symbol: `k = 20`, `λ_2 = 0.01`.

    `taken` are the places of names that are no symbols: the metric `L0`.
    """
    start = max(0, numeral.start - 45)
    match = SYMBOL.search(text[start : numeral.start])
    if match is None:
        return False
    return all(end <= start + match.start() or first >= numeral.start for first, end in taken)


def known_setting(numeral: Numeral, vocabulary: Vocabulary) -> str:
    """Return where a number stands in the configuration or the idea; empty when nowhere."""
    if any(numeral.shows(value) for value in vocabulary.settings_values):
        return "a value of the configuration"
    if any(numeral.shows(value) for value in vocabulary.idea_values):
        return "stated by the idea"
    if numeral.percent and any(
        numeral.shows(value, 100)
        for value in (*vocabulary.settings_values, *vocabulary.idea_values)
    ):
        return "a value of the configuration or the idea, as a percentage"
    return ""


def is_general_setting(text: str, numeral: Numeral) -> bool:
    """Say whether a number is the value of what every experiment sets, such as a batch size."""
    return bool(GENERAL_SETTING.search(text[max(0, numeral.start - 60) : numeral.start]))


def inequality(text: str, numeral: Numeral) -> int:
    """Return +1 for `above 0.9`, -1 for `below 0.9`, 0 otherwise."""
    match = THRESHOLD.search(text[max(0, numeral.start - 30) : numeral.start])
    if match is None or ABOUT_CHANGES.search(text[: match.start() + max(0, numeral.start - 30)]):
        return 0
    word = match[0].lower()
    if re.search(r"[>≥]|above|over|at least|more|greater|exceed", word):
        return 1
    return -1 if re.search(r"[<≤]|below|under|at most|less", word) else 0
