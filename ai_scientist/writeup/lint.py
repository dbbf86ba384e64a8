r"""What a section's LaTeX may hold, judged before TeX sees it.

Covered: commands that define, load, read or write, also spelled with ^^; braces, environments and
formulas that do not balance; headings of the skeleton; placeholders; citations, figures and labels
that do not exist. Not covered: a command that TeX does not know; the compiler finds it.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.writeup.parts import Problem
from ai_scientist.writeup.typeset import clip

STYLE = Path(__file__).parent / "style"
PRIMITIVE_FAMILY = re.compile(
    r"^(?:if\w*|pdf\w+|lua\w+|every\w+|input\w+|openout\w*|openin\w*"
    r"|\w*def|(?:re)?new(?!line$|page$)\w+|(?:Re)?New\w+|[Pp]rovide\w+|Declare\w+|set(?!minus$)\w+)$"
)
"""Commands that define, set, load or run, whatever package brings them."""
FORBIDDEN_ENVIRONMENTS = {
    *("document", "filecontents", "verbatim", "lstlisting", "comment", "abstract"),
    *("thebibliography", "titlepage", "longtable", "minipage"),
}
KEEP_FOR_FORMULAS = {"iff"}
PLACEHOLDER = re.compile(
    r"\b(?:TODO|TBD|FIXME|XXX+|PLACEHOLDER|[A-Z][A-Z ]+ HERE)\b|\?\?"
    r"|\[(?i:citation needed|insert)\b[^\]]*\]|(?i:lorem ipsum)"
)
CITATION = re.compile(r"\\(?:[Cc]ite[a-zA-Z]*)\*?\s*(?:\[[^\]]*\]\s*){0,2}\{([^{}]*)\}")
REFERENCE = re.compile(r"\\(?:ref|eqref|pageref|autoref|cref|Cref|hyperref)\*?\s*\{([^{}]*)\}")
LABEL = re.compile(r"\\label\s*\{([^{}]*)\}")
PLACED = re.compile(r"\\placefigure\s*\{([^{}]*)\}")
GRAPHIC = re.compile(r"\\includegraphics\*?\s*(?:\[[^\]]*\])?\s*\{([^{}]*)\}")
LINK = re.compile(
    r"(\\(?:href|url)(?![A-Za-z])|\\hyperref(?!\s*\[|[A-Za-z]))\s*(?:\[[^\]]*\])?(?:\s*\{([^{}]*)\})?"
)
WEB_ADDRESS = re.compile(r"https?://(?:[^\s\\{}]|\\[%#&_~])+")
"""Anything else in a PDF may name a program or a file, or run JavaScript."""
LEAST_WORDS = {"title": 3, "abstract": 40}


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a section may refer to."""

    citations: Collection[str] = ()
    figures: Collection[str] = ()
    """File names."""


@functools.cache
def forbidden_commands() -> frozenset[str]:
    """Return the names in style/forbidden.txt."""
    lines = (STYLE / "forbidden.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(name for line in lines if not line.startswith("#") for name in line.split())


def check_section(name: str, text: str, known: Known) -> list[Problem]:
    """Return what is wrong with one section's text, worst first."""
    problems = [
        *forbidden(text),
        *unbalanced(text),
        *_length(name, text),
        *_placeholders(text),
        *_figures(name, text, known),
        *_labels(text),
    ]
    if name == "title" and ("\n\n" in text.strip() or len(text) > 300):
        problems.append(Problem(kind="form", detail="The title must be one line without markup."))
    return problems


def forbidden(text: str) -> list[Problem]:
    """Return one problem for each command or environment that a section may not hold."""
    refused = forbidden_commands()
    found: list[Problem] = []
    if "^^" in text:
        found.append(_refused("^^", "characters spelled with ^^ hide what TeX will read"))
    if re.search(r"\\[A-Za-z]*@", text):
        found.append(_refused(r"\…@", "commands with @ belong to TeX's inside"))
    for name in dict.fromkeys(re.findall(r"\\([A-Za-z]+)", text)):
        if name in KEEP_FOR_FORMULAS:
            continue
        if name in refused or PRIMITIVE_FAMILY.match(name):
            found.append(_refused("\\" + name, _why(name)))
    for command, address in LINK.findall(text):
        if not WEB_ADDRESS.fullmatch(address):
            found.append(_refused(command, "a link leads to an http(s) address, in braces"))
    for name in dict.fromkeys(re.findall(r"\\(?:begin|end)\s*\{([^{}]*)\}", text)):
        if name.rstrip("*") in FORBIDDEN_ENVIRONMENTS:
            found.append(_refused(rf"\begin{{{name}}}", "use plain paragraphs instead"))
        elif re.search(r"[^A-Za-z*]", name) or name in refused:
            found.append(_refused(rf"\begin{{{clip(name, 30)}}}", "no such environment"))
    return found


def _why(name: str) -> str:
    if name in {"section", "title", "author", "date", "maketitle", "appendix"}:
        return "code writes it; begin with the text, and use \\subsection inside"
    if name in {"color", "textcolor", "phantom", "tiny", "vspace", "setlength"}:
        return "the style decides how the page looks"
    return "a section holds text, formulas, citations and references only"


def _refused(command: str, why: str) -> Problem:
    return Problem(
        kind="forbidden_latex", detail=f"`{command}` is refused: {why}.", excerpt=command
    )


def unbalanced(text: str) -> list[Problem]:
    """Return the first place where braces, environments or formulas do not balance."""
    from pylatexenc.latexwalker import LatexWalker, LatexWalkerParseError

    try:
        LatexWalker(text, tolerant_parsing=False).get_latex_nodes()
    except LatexWalkerParseError as error:
        line = int(getattr(error, "lineno", 0) or 0)
        place = text.split("\n")[line - 1] if 0 < line <= text.count("\n") + 1 else ""
        detail = f"Line {line}: {error.msg}"
        return [Problem(kind="unbalanced", detail=detail, excerpt=clip(place, 160))]
    except RecursionError:
        return [Problem(kind="unbalanced", detail="Groups are nested too deeply.")]
    if any("\n\n" in formula for formula in re.findall(r"(?<!\\)\$([^$]*)\$", text)):
        detail = "A formula in `$…$` runs over a blank line: a dollar sign is missing or is text."
        return [Problem(kind="unbalanced", detail=detail)]
    return []


def _length(name: str, text: str) -> list[Problem]:
    words = len(re.findall(r"[A-Za-z]{2,}", text))
    least = LEAST_WORDS.get(name, 40)
    if words < least:
        return [
            Problem(kind="empty_section", detail=f"Only {words} words; write at least {least}.")
        ]
    return []


def _placeholders(text: str) -> list[Problem]:
    return [
        Problem(
            kind="placeholder_left",
            detail=f"`{match}` is a placeholder; write the text or leave the sentence out.",
            excerpt=match,
        )
        for match in dict.fromkeys(PLACEHOLDER.findall(text))
    ]


def figures_in(text: str) -> list[str]:
    """Return the file names of the pictures a section shows, in its order."""
    return [name.strip() for name in PLACED.findall(text) + GRAPHIC.findall(text)]


def _figures(name: str, text: str, known: Known) -> list[Problem]:
    problems = []
    shown = figures_in(text)
    for figure in dict.fromkeys(shown):
        if figure not in known.figures:
            there = ", ".join(sorted(known.figures)) or "none"
            problems.append(
                Problem(
                    kind="missing_figure",
                    detail=f"There is no figure `{clip(figure, 80)}`. There are: {there}.",
                    excerpt=figure,
                )
            )
    if GRAPHIC.search(text) or re.search(r"\\begin\s*\{figure", text):
        problems.append(
            Problem(
                kind="form",
                detail="Show a figure with \\placefigure{FILE}{CAPTION}, which writes its "
                "environment, size and label; without \\begin{figure} and \\includegraphics.",
            )
        )
    if shown and name in {"title", "abstract"}:
        problems.append(Problem(kind="form", detail=f"No figure in the {name}."))
    return problems


def _labels(text: str) -> list[Problem]:
    counts = Counter(LABEL.findall(text))
    return [
        Problem(kind="duplicate_label", detail=f"`\\label{{{label}}}` is there {count} times.")
        for label, count in counts.items()
        if count > 1
    ]


def unknown_references(text: str, labels: Collection[str]) -> list[str]:
    """Return the labels that `text` refers to and nothing defines."""
    return [key for key in _keys(REFERENCE.findall(text)) if key not in labels]


def unknown_citations(text: str, keys: Collection[str]) -> list[str]:
    """Return the cited keys that the bibliography does not hold."""
    return [key for key in _keys(CITATION.findall(text)) if key not in keys]


def _keys(lists: Iterable[str]) -> list[str]:
    return list(
        dict.fromkeys(key.strip() for keys in lists for key in keys.split(",") if key.strip())
    )


def drop_citations(text: str, keys: Collection[str]) -> str:
    """Return `text` citing only `keys`; a command left without any is removed."""

    def keep(match: re.Match[str]) -> str:
        good = [key.strip() for key in match[1].split(",") if key.strip() in keys]
        if not good:
            return ""
        start, end = match.start(1) - match.start(), match.end(1) - match.start()
        return match[0][:start] + ",".join(good) + match[0][end:]

    text = re.sub(r"[ \t~]*" + CITATION.pattern, lambda m: _spaced(m, keep), text)
    return re.sub(r"\(\s*\)", "", text)


def _spaced(match: re.Match[str], keep: object) -> str:
    assert callable(keep)
    inner = CITATION.search(match[0])
    assert inner is not None
    kept = str(keep(inner))
    return match[0][: inner.start()] + kept if kept else ""


def drop_references(text: str, labels: Collection[str]) -> str:
    """Return `text` with each reference to an unknown label removed, its word as well."""
    for key in unknown_references(text, labels):
        pattern = r"(?:\b(?:Figure|Fig\.|Table|Section|Sec\.|Equation|Eq\.|Appendix)[ ~]*)?"
        pattern += r"\(?\\[A-Za-z]*ref\*?\s*\{" + re.escape(key) + r"\}\)?"
        text = re.sub(pattern, "(reference removed)", text)
    return text
