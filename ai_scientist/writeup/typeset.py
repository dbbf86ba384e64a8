"""Plain text and plain values as LaTeX that cannot break: whatever a model or a log wrote."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
# Signs that exist as mathematics and read the same in both modes; the library's text commands
# for them fail inside a formula.
MATHEMATICAL = {
    "→": r"\rightarrow",
    "←": r"\leftarrow",
    "↔": r"\leftrightarrow",
    "↑": r"\uparrow",
    "↓": r"\downarrow",
    "⇒": r"\Rightarrow",
    "×": r"\times",
    "÷": r"\div",
    "·": r"\cdot",
    "•": r"\bullet",
    "…": r"\ldots",
    "¹": r"^1",
    "²": r"^2",
    "³": r"^3",
    "✓": r"\surd",
    "✗": r"\times",
    "µ": r"\mu",
    "°": r"^\circ",
    "½": r"\frac{1}{2}",
    "ɛ": r"\varepsilon",
    "ϒ": r"\Upsilon",
}
LONG_NAME = 14
SPACES = {"\u00a0": "~", "\u2009": r"\,", "\u202f": r"\,", "\u2007": " ", "\u3000": " "}
Mode = Literal["text", "math"]
STYLE = Path(__file__).parent / "style"


@functools.cache
def _encoder() -> Any:
    from pylatexenc.latexencode import UnicodeToLatexEncoder

    return UnicodeToLatexEncoder(
        non_ascii_only=True,
        unknown_char_policy=lambda sign: f"[U+{ord(sign):04X}]",
        unknown_char_warning=False,
    )


@functools.cache
def _known_commands() -> frozenset[str]:
    lines = (STYLE / "signs.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(name for line in lines if not line.startswith("#") for name in line.split())


def sign(character: str, mode: Mode = "text") -> str:
    """Return one character outside ASCII as LaTeX; one that has no glyph as its code point."""
    if character in SPACES:
        return SPACES[character]
    if character in MATHEMATICAL:
        return rf"\ensuremath{{{MATHEMATICAL[character]}}}"
    script = re.match(r"(?:MATHEMATICAL )?SCRIPT CAPITAL ([A-Z])$", unicodedata.name(character, ""))
    if script:
        return rf"\ensuremath{{\mathcal{{{script[1]}}}}}"
    if unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Cc"}:
        return ""  # an accent without a letter, a mark that can turn a line around
    written = str(_encoder().unicode_to_latex(character))
    if not _typesets(written):
        plain = unicodedata.normalize("NFKD", character)
        return escape(plain) if plain.isascii() else f"[U+{ord(character):04X}]"
    if mode == "math" and r"\ensuremath" not in written and "\\" in written:
        return rf"\text{{{written}}}"
    return written


def _typesets(written: str) -> bool:
    commands = re.findall(r"\\([A-Za-z]+|.)", written)
    odd = re.search(r"\{\}\\ensuremath|\\mathbb\{[a-z]", written)
    return written.isascii() and not odd and set(commands) <= _known_commands()


def clean(text: str) -> str:
    """Return `text` composed (NFC), with newlines as LF and without control characters."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(
        c for c in text if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co"}
    )


def escape(text: object) -> str:
    """Return `text` as LaTeX that prints it, letter by letter."""
    out = "".join(
        SPECIAL.get(c, c) if c.isascii() else sign(c) for c in clean(str(text)).replace("\t", " ")
    )
    return out.replace("--", "-{}-")


def breakable(text: object) -> str:
    """Return `text` escaped, with places to break a long name, path or hash."""
    parts = re.split(r"([/_:=\-]|[.,](?!\d)|(?<=[a-z])(?=[A-Z]))", clean(str(text)))
    out = []
    for part in parts:
        if part in {"/", "_", ".", ",", ":", "=", "-"}:
            out.append(escape(part) + r"\allowbreak{}")
        elif part == "":
            out.append(r"\allowbreak{}" if out else "")
        else:
            pieces = re.findall(r"\S{1,14}|\s+", part)
            out.append(_join_pieces(pieces))
    return "".join(out)


def _join_pieces(pieces: Sequence[str]) -> str:
    out = ""
    for before, piece in zip(["", *pieces], pieces, strict=False):
        if before and not before.isspace() and not piece.isspace():
            out += r"\allowbreak{}"
        out += escape(piece)
    return out


def clip(text: str, limit: int) -> str:
    """Return `text` on one line, at most `limit` characters, cut visibly."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def code(name: str) -> str:
    """Return a name as code; only a long one may be broken over lines."""
    if len(name) < LONG_NAME:
        return rf"\texttt{{\mbox{{{escape(name)}}}}}"
    return rf"\texttt{{{breakable(name)}}}"


def said(text: str) -> str:
    """Return a sentence that code wrote: run names as code, a minus where a number has one."""
    pieces = re.split(r"(run_\d+(?:/[\w.-]*\w)?|\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b)", clean(text))
    pieces[1::2] = [code(name) for name in pieces[1::2]]
    pieces[::2] = [re.sub(r"(?<!\S)-(?=\d)", "$-$", escape(words)) for words in pieces[::2]]
    return "".join(pieces)


def table(
    columns: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    label: str,
    note: str = "",
) -> str:
    """Return a float table of LaTeX cells, scaled down when it is wider than the text."""
    body = "\n".join("  " + " & ".join(row) + r" \\" for row in rows)
    under = f"\n\\par\\smallskip{{\\footnotesize {note}\\par}}" if note else ""
    return rf"""\begin{{widetable}}[!htbp]
\centering\small\setlength{{\tabcolsep}}{{4pt}}
\caption{{{caption}}}\label{{{label}}}
\begin{{adjustbox}}{{max width=\linewidth}}
\begin{{tabular}}{{{columns}}}
\toprule
{" & ".join(head)} \\
\midrule
{body}
\bottomrule
\end{{tabular}}
\end{{adjustbox}}{under}
\end{{widetable}}
"""


def long_table(
    columns: Sequence[str],
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    label: str,
    gap_pt: float = 0,
) -> str:
    """Return a table of LaTeX cells that may run over pages; its column widths are given.

    `gap_pt` parts the rows, for cells of several lines.
    """
    gap = f"\\addlinespace[{gap_pt:g}pt]\n" if gap_pt else ""
    body = f"\n{gap}".join("  " + " & ".join(row) + r" \\" for row in rows)
    line = " & ".join(rf"\textbf{{{cell}}}" for cell in head)
    return rf"""\par{{\footnotesize
\begin{{longtable}}{{{"".join(columns)}}}
\caption{{{caption}}}\label{{{label}}}\\
\toprule
{line} \\
\midrule
\endfirsthead
\toprule
{line} \\
\midrule
\endhead
{body}
\bottomrule
\end{{longtable}}\par}}
"""


def column(width: float) -> str:
    """Return a ragged paragraph column that takes `width` of the text width, its gaps included."""
    return rf">{{\raggedright\arraybackslash}}p{{\dimexpr{width:.3f}\linewidth-2\tabcolsep}}"
