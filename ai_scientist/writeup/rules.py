r"""Repairs of a model's LaTeX that need no judgement: fences, Markdown, specials, Unicode.

Everything here is safe to do without asking: `12% of` becomes `12\% of`, `final_loss` outside a
formula becomes `final\_loss`, `→` gets its command. What is ambiguous is left for the check.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ai_scientist.writeup.typeset import Mode, clean, escape, sign

# Arguments that are names, not text: nothing in them is escaped.
NAMES = {
    r"\label": 1,
    r"\ref": 1,
    r"\eqref": 1,
    r"\pageref": 1,
    r"\autoref": 1,
    r"\cref": 1,
    r"\Cref": 1,
    r"\cite": 1,
    r"\citet": 1,
    r"\citep": 1,
    r"\citealt": 1,
    r"\citealp": 1,
    r"\citeauthor": 1,
    r"\citeyear": 1,
    r"\citeyearpar": 1,
    r"\includegraphics": 1,
    r"\placefigure": 1,
    r"\url": 1,
    r"\href": 1,
    r"\hyperref": 0,
    r"\result": 2,
    r"\change": 3,
    r"\compare": 3,
    r"\begin": 1,
    r"\end": 1,
}
FORMULAS = {"equation", "align", "gather", "multline", "eqnarray", "displaymath", "math", "alignat"}
ALIGNED = {
    *("tabular", "tabularx", "array", "longtable", "split", "aligned", "alignedat", "cases"),
    *("matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix"),
    *("align", "alignat", "eqnarray"),
}
WORDS_IN_FORMULA = {r"\text", r"\mbox", r"\textrm", r"\textit", r"\textbf", r"\texttt", r"\hbox"}
TOKEN = re.compile(
    r"\\[A-Za-z]+\*?|\\.|\$\$|\$|[{}&_#^]|[^\x00-\x7f]|[^\\${}&_#^\x80-\U0010ffff]+|.", re.S
)
FENCE = re.compile(r"^[ \t]*```[A-Za-z]*[ \t]*\n(.*?)^[ \t]*```[ \t]*$", re.S | re.M)


def unwrap(reply: str) -> str:
    """Return the LaTeX in a reply: the longest fenced block when there is one, else all of it."""
    blocks = FENCE.findall(reply)
    text = max(blocks, key=len) if blocks else re.sub(r"^[ \t]*```.*$", "", reply, flags=re.M)
    return clean(text).strip()


def strip_comments(text: str) -> str:
    """Return `text` with percent signs escaped and comments, which no reader sees, removed."""
    lines = []
    for line in text.split("\n"):
        kept = _before_comment(line)
        if kept.strip() or not line.strip():
            lines.append(kept.rstrip())
    return "\n".join(lines)


def _before_comment(line: str) -> str:
    out = ""
    rest = line
    while match := re.search(r"(?<!\\)((?:\\\\)*)%", rest):
        before, after = rest[: match.end() - 1], rest[match.end() :]
        if re.search(r"[\d}$)]\\?[ ,]?$", before) and after.strip():
            out, rest = out + before + r"\%", after
        else:
            return out + before
    return out + rest


def from_markdown(text: str, heading: str) -> str:
    """Return `text` with Markdown habits as LaTeX and without its own section heading."""
    text = re.sub(r"(?<![`\\])`([^`'\n]+)`(?!`)", lambda m: rf"\texttt{{{escape(m[1])}}}", text)
    text = re.sub(r"(?<![\\*])\*\*([^*\n]+)\*\*", r"\\textbf{\1}", text)
    text = re.sub(r"^#{2,4} +(.+)$", r"\\subsection{\1}", text, flags=re.M)
    text = re.sub(r"^# +.+$", "", text, flags=re.M)
    text = re.sub(r"\\verb\*?([^A-Za-z\s*])(.*?)\1", lambda m: rf"\texttt{{{escape(m[2])}}}", text)
    text = re.sub(r"^\s*\\section\*?\{[^{}]*\}\s*(\\label\{[^{}]*\})?", "", text)
    text = re.sub(r"\\(begin|end)\{abstract\}", "", text)
    return re.sub(rf"^\s*\\label\{{sec:{re.escape(heading)}\}}", "", text).strip()


@dataclass
class _State:
    modes: list[Mode] = field(default_factory=lambda: ["text"])
    environments: list[str] = field(default_factory=list)
    next_group: Mode | None = None

    @property
    def mode(self) -> Mode:
        return self.modes[-1]

    def aligned(self) -> bool:
        return bool(self.environments) and self.environments[-1].rstrip("*") in ALIGNED

    def open(self, token: str) -> None:
        if token == "{":
            self.modes.append(self.next_group or self.mode)
        elif token == "}" and len(self.modes) > 1:
            self.modes.pop()
        elif token in {"$", "$$"}:
            self.modes[-1] = "text" if self.mode == "math" else "math"
        elif token in {r"\[", r"\("}:
            self.modes[-1] = "math"
        elif token in {r"\]", r"\)"}:
            self.modes[-1] = "text"
        self.next_group = "text" if token in WORDS_IN_FORMULA else None

    def environment(self, token: str, name: str) -> None:
        formula = name.rstrip("*") in FORMULAS
        if token == r"\begin":
            self.environments.append(name)
            if formula:
                self.modes[-1] = "math"
        else:
            if self.environments and self.environments[-1] == name:
                self.environments.pop()
            if formula:
                self.modes[-1] = "text"


def escape_specials(text: str) -> str:
    """Return `text` with `&`, `_`, `#`, `^` and Unicode outside formulas and names made safe."""
    state = _State()
    out: list[str] = []
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        assert match is not None
        token, position = match[0], match.end()
        if token.rstrip("*") in NAMES:
            names = _arguments(text, position, NAMES[token.rstrip("*")])
            if token in {r"\begin", r"\end"}:
                state.environment(token, names.strip().strip("{}"))
            out.append(token + names)
            position += len(names)
            continue
        out.append(_safe(token, state))
        state.open(token)
    return "".join(out)


def _safe(token: str, state: _State) -> str:
    if not token.isascii():
        return sign(token, state.mode)
    if token == "#":
        return r"\#"
    if token == "&" and not state.aligned():
        return r"\&"
    if token == "_" and state.mode == "text":
        return r"\_"
    if token == "^" and state.mode == "text":
        return r"\textasciicircum{}"
    return token


def _arguments(text: str, start: int, count: int) -> str:
    """Return the optional argument and the `count` braced ones that begin at `start`, verbatim."""
    position = start
    for part in _patterns(count):
        match = part.match(text, position)
        if match is None:
            break
        position = match.end()
    return text[start:position]


def _patterns(count: int) -> Iterator[re.Pattern[str]]:
    yield re.compile(r"(?:\s*\[[^\[\]]*\]){0,2}")
    for _ in range(count):
        yield re.compile(r"\s*\{[^{}]*\}")


def typographic(text: str) -> str:
    """Return `text` with the habits of a keyboard as a typesetter writes them."""
    text = re.sub(r"(?<!\S)\$\$([^$]+)\$\$", r"\\[\1\\]", text)
    text = re.sub(r'(?<![\\\w])"([^"\n]+)"(?!\w)', r"``\1''", text)
    text = re.sub(r"(?<!\.)\.\.\.(?!\.)", r"\\ldots{}", text)
    words = "Figure|Figures|Fig\\.|Table|Tables|Section|Sections|Equation|Eq\\.|Appendix"
    text = re.sub(rf"\b({words})[ \n](?=\(?\\(?:eq)?ref\b)", r"\1~", text)
    return re.sub(r"(?<=[\w}])[ ]+(?=\\footnote\b|[,;:.!?](?:\s|$))", "", text)


def repair(reply: str, heading: str) -> str:
    """Return a model's reply as the text of one section, after every safe repair."""
    text = from_markdown(unwrap(reply), heading)
    text = typographic(escape_specials(strip_comments(text)))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
