r"""Named numbers: the model types names, this code puts the numbers.

    {{run_3: final_loss}}             \result{run_3}{final_loss}             12.31 ± 0.04
    {{run_3 - run_0: final_loss, %}}  \change{run_3}{run_0}{final_loss}      -4.1%
    {{run_3 - run_0: final_loss}}                                            -0.53
    {{run_3 vs run_0: final_loss}}    \compare{run_3}{run_0}{final_loss}     4.1% lower than

`run_3/uniform` names the control arm `uniform` of run 3. A value is followed by its standard error
where seeds gave one. An optional metric of the template that a run left out is "not run", and a
comparison with it reads "not comparable with". TeX only receives definitions (results.tex); checks
use `expand_latex`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ai_scientist.claims.evidence import Evidence
from ai_scientist.errors import ReplyError
from ai_scientist.results.tables import Style, format_number, format_percent, format_with_error

BRACES = re.compile(r"\{\{(?P<inside>[^{}\n]{1,400})\}\}")
VALUE = re.compile(r"\s*(?P<run>[\w./-]+)\s*:\s*(?P<metric>.+?)\s*\Z")
PAIR = re.compile(
    r"\s*(?P<run>[\w./-]+)\s+(?P<how>-|−|vs\.?)\s+(?P<base>[\w./-]+)\s*:\s*(?P<metric>.+?)"
    r"\s*(?P<percent>,\s*\\?%)?\s*\Z"
)
ARGUMENT = r"\s*\{([^{}]{0,300})\}"
MACRO = re.compile(
    rf"\\(?:(result){ARGUMENT}{ARGUMENT}|(change|compare){ARGUMENT}{ARGUMENT}{ARGUMENT})"
)
TYPEABLE = re.compile(r"[A-Za-z0-9_./ ~\\-]*\Z")
UNKNOWN = "[unknown number]"
LEFT_OUT = {"result": "not run", "change": "not run", "compare": "not comparable with"}
"""How a number reads whose evaluation was free not to run and did not, by kind of name."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One named number: what was asked for and what it became."""

    text: str
    kind: str
    """`result`, `change` or `compare`."""
    runs: tuple[str, ...]
    metric: str
    """Path of the metric."""
    expansion: str


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """A text with its named numbers put in."""

    text: str
    references: tuple[Reference, ...]
    problems: tuple[str, ...]
    """One sentence per name that could not be expanded, worded for the model."""


def expand_notes(text: str, evidence: Evidence) -> Expansion:
    """Expand every `{{…}}`; what cannot be expanded becomes `[unknown number]` and a problem."""
    references: list[Reference] = []
    problems: list[str] = []

    def replace(match: re.Match[str]) -> str:
        try:
            reference = _from_braces(match[0], match["inside"], evidence)
        except ReplyError as error:
            problems.append(f"`{match[0]}`: {error.message}")
            return UNKNOWN
        references.append(reference)
        return reference.expansion

    return Expansion(
        text=BRACES.sub(replace, text), references=tuple(references), problems=tuple(problems)
    )


def expand_latex(text: str, evidence: Evidence) -> Expansion:
    r"""Expand every `\result`, `\change` and `\compare` as TeX will print them."""
    references: list[Reference] = []
    problems: list[str] = []

    def replace(match: re.Match[str]) -> str:
        try:
            reference = macro_reference(match, evidence)
        except ReplyError as error:
            problems.append(f"`{match[0]}`: {error.message}")
            return UNKNOWN
        references.append(reference)
        return reference.expansion

    return Expansion(
        text=MACRO.sub(replace, text), references=tuple(references), problems=tuple(problems)
    )


def definitions(texts: Iterable[str], evidence: Evidence) -> str:
    r"""Return latex/results.tex: the macros, and one definition for each name used in `texts`.

    Arguments become control sequences through \detokenize, so that `_` and other odd characters of
    a name need no escape. An unknown name prints a bold question mark.
    """
    lines = [HEADER]
    for text in texts:
        for match in MACRO.finditer(text):
            if not all(TYPEABLE.match(argument) for argument in _arguments(match)):
                continue  # no known name holds other characters, and TeX must not meet them
            try:
                reference = macro_reference(match, evidence)
            except ReplyError:
                continue
            arguments = "|".join(_arguments(match))
            line = (
                rf"\expandafter\def\csname AS@\detokenize{{{reference.kind}|{arguments}}}"
                rf"\endcsname{{{reference.expansion}}}%"
            )
            if line not in lines:
                lines.append(line)
    return "\n".join(lines) + "\n"


HEADER = r"""% Written by code from the stored results; every change is lost.
\makeatletter
\def\AS@show#1{\expandafter\ifx\csname AS@#1\endcsname\relax\textbf{??}%
  \else\csname AS@#1\endcsname\fi}%
\makeatother
\expandafter\let\expandafter\ASshow\csname AS@show\endcsname
\protected\def\result#1#2{\ASshow{\detokenize{result|#1|#2}}}%
\protected\def\change#1#2#3{\ASshow{\detokenize{change|#1|#2|#3}}}%
\protected\def\compare#1#2#3{\ASshow{\detokenize{compare|#1|#2|#3}}}%"""


def macro_reference(match: re.Match[str], evidence: Evidence) -> Reference:
    """Return what one match of MACRO stands for. Raises ReplyError, worded for the model."""
    kind, *_ = [group for group in match.groups() if group is not None]
    arguments = [_plain(argument) for argument in _arguments(match)]
    *runs, metric = arguments
    return reference(kind, runs, metric, evidence, style="latex", text=match[0])


def reference(
    kind: str,
    runs: Sequence[str],
    metric: str,
    evidence: Evidence,
    *,
    style: Style = "text",
    percent: bool = True,
    text: str = "",
) -> Reference:
    """Expand one name. Raises ReplyError, worded for the model."""
    names = tuple(runs)
    for name in names:
        evidence.run(name)
    if evidence.left_out(metric, *names):
        return Reference(
            text=text, kind=kind, runs=names, metric=metric.strip(), expansion=LEFT_OUT[kind]
        )
    path = evidence.path(metric, *names)
    if kind == "result":
        results = evidence.runs[names[0]]
        shown = format_with_error(results.metrics[path], results.stderr.get(path), style=style)
    elif kind == "compare":
        shown = evidence.compare(names[0], names[1], path).describe(style=style)
    else:
        shown = _change(names, path, evidence, style=style, percent=percent)
    return Reference(text=text, kind=kind, runs=names, metric=path, expansion=shown)


def _change(
    runs: tuple[str, ...], path: str, evidence: Evidence, *, style: Style, percent: bool
) -> str:
    seen = evidence.compare(runs[0], runs[1], path)
    if percent and seen.relative is None:
        raise ReplyError(
            f"{runs[1]} is 0 in {evidence.names[path]}: no percentage exists; name both values."
        )
    if percent and seen.relative is not None:
        shown = format_percent(abs(seen.relative), style=style)
    else:
        shown = format_number(abs(seen.delta), seen.standard_error, style=style)
    # In text TeX would print a hyphen for a bare minus sign.
    minus = r"\ensuremath{-}" if style == "latex" else "-"
    sign = "+" if seen.delta > 0 else minus if seen.delta < 0 else ""
    remark = "" if seen.noise == "measured" else f" ({seen.noise})"
    return f"{sign}{shown}{remark}"


def _from_braces(text: str, inside: str, evidence: Evidence) -> Reference:
    pair = PAIR.match(inside)
    if pair:
        kind = "compare" if pair["how"].startswith("vs") else "change"
        runs = [pair["run"], pair["base"]]
        return reference(
            kind, runs, pair["metric"], evidence, percent=bool(pair["percent"]), text=text
        )
    value = VALUE.match(inside)
    if value:
        return reference("result", [value["run"]], value["metric"], evidence, text=text)
    raise ReplyError(
        "a named number reads {{run_3: final_loss}}, {{run_3 - run_0: final_loss, %}} or "
        "{{run_3 vs run_0: final_loss}}."
    )


def _arguments(match: re.Match[str]) -> list[str]:
    return [group for group in match.groups() if group is not None][1:]


def _plain(argument: str) -> str:
    return " ".join(argument.replace(r"\_", "_").replace("~", " ").split())
