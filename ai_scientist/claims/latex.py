r"""LaTeX read as a reader sees it: text, captions and tables with places, macros of ours expanded.

`\input` and `\include` are followed inside the paper's folder only. Equations on lines of
their own, code listings, bibliographies and references hold no claims and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ai_scientist.claims.units import (
    RESULT_HEADING,
    Cell,
    Context,
    Sentence,
    Source,
    Table,
    Unit,
    sentences,
)

MAX_FILES = 60
MAX_TEX_BYTES = 4_000_000
SKIP_ENVIRONMENTS = frozenset(
    [
        "equation",
        "align",
        "alignat",
        "gather",
        "multline",
        "eqnarray",
        "displaymath",
        "lstlisting",
        "verbatim",
        "minted",
        "filecontents",
        "algorithm",
        "algorithmic",
        "algorithm2e",
        "tikzpicture",
        "comment",
        "thebibliography",
        "Verbatim",
        "picture",
    ]
)
TABULARS = frozenset(
    ["tabular", "tabularx", "tabulary", "longtable", "array", "tabular*", "tblr", "supertabular"]
)
SKIP_MACROS = frozenset(
    [
        "ref",
        "eqref",
        "autoref",
        "cref",
        "Cref",
        "pageref",
        "cite",
        "citep",
        "citet",
        "citealp",
        "citeauthor",
        "citeyear",
        "nocite",
        "label",
        "includegraphics",
        "graphicspath",
        "bibliography",
        "bibliographystyle",
        "usepackage",
        "documentclass",
        "vspace",
        "hspace",
        "setlength",
        "addtolength",
        "setcounter",
        "addtocounter",
        "input",
        "include",
        "newcommand",
        "renewcommand",
        "providecommand",
        "def",
        "url",
        "href",
        "color",
        "rule",
        "cmidrule",
        "cline",
        "hypersetup",
        "geometry",
        "pagestyle",
        "thispagestyle",
        "fontsize",
        "definecolor",
        "bibitem",
        "RequirePackage",
        "newtheorem",
        "DeclareMathOperator",
        "arraystretch",
        "linewidth",
        "date",
    ]
)
SYMBOLS = {
    "%": "%", "_": "_", "&": " and ", "#": "#", "$": "$", ",": "\u2009", ";": " ", ":": " ",
    "!": "", " ": " ", "pm": "±", "times": "×", "cdot": "·", "approx": "≈", "sim": "~",
    "leq": "≤", "le": "≤", "geq": "≥", "ge": "≥", "lt": "<", "gt": ">", "rightarrow": "→",
    "to": "→", "ell": "l", "Delta": "Δ", "lambda": "λ", "alpha": "α", "beta": "β", "gamma": "γ",
    "epsilon": "ε", "tau": "τ", "mu": "μ", "sigma": "σ", "eta": "η", "uparrow": " ",
    "downarrow": " ", "quad": " ", "qquad": " ", "textpm": "±", "texttimes": "×", "textminus": "-",
    "ldots": "…", "dots": "…", "item": "\n\n", "par": "\n\n", "newline": "\n", "percent": "%",
    "toprule": "", "midrule": "", "bottomrule": "", "hline": "", "mid": "|", "bullet": "",
}  # fmt: skip
LAST_ARGUMENT = frozenset(["multirow", "textcolor", "resizebox", "scalebox"])
"""Macros whose other arguments print nothing."""
HEADINGS = frozenset(["section", "subsection", "subsubsection", "paragraph", "chapter", "title"])
ROW, CELL = "\ue000", "\ue001"
EXPANDED = re.compile("\ue002([^\ue003]*)\ue003")


@dataclass
class _Flat:
    """A flat text under construction: characters and where each came from."""

    characters: list[str] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)

    def add(self, text: str, origin: int, *, spread: bool = False) -> None:
        self.characters.extend(text)
        self.origins.extend(origin + (i if spread else 0) for i in range(len(text)))

    @property
    def text(self) -> str:
        return "".join(self.characters)


@dataclass
class _Reader:
    """Walks one file's nodes and cuts them into units."""

    source: str
    file: str
    folder: Path | None
    macros: dict[str, str]
    seen: list[Path]
    context: Context = "text"
    heading: str = ""
    results: bool = False
    listed: bool = False
    """Inside a list, whose entries are items."""
    number: int = 0
    flat: _Flat = field(default_factory=_Flat)
    units: list[Unit] = field(default_factory=list)
    caption: str = ""

    def flush(self) -> None:
        """End the paragraph."""
        flat, self.flat = self.flat, _Flat()
        self.number += 1
        source = Source(flat.text, flat.origins, self.source, self.file)
        start = 0
        for block in re.split(r"(\n\s*\n)", flat.text):
            if block.strip():
                for offset, text in sentences(block):
                    self.units.append(
                        Sentence(
                            text=text,
                            start=start + offset,
                            source=source,
                            context=self.context,
                            heading=self.heading,
                            results=self.results or self.context in ("abstract", "caption"),
                            item=self.listed,
                            paragraph=self.number,
                        )
                    )
            start += len(block)

    def walk(self, nodes: Any) -> None:
        """Read a list of nodes."""
        for node in nodes or ():
            kind = type(node).__name__
            if kind == "LatexCharsNode":
                self.flat.add(node.chars, node.pos, spread=True)
            elif kind == "LatexGroupNode":
                self.walk(node.nodelist)
            elif kind == "LatexSpecialsNode":
                specials = {"~": " ", "&": CELL, "``": '"', "''": '"', "--": "–", "---": "—"}
                self.flat.add(specials.get(node.specials_chars, node.specials_chars), node.pos)
            elif kind == "LatexMathNode":
                self._math(node)
            elif kind == "LatexEnvironmentNode":
                self._environment(node)
            elif kind == "LatexMacroNode":
                self._macro(node)

    def _math(self, node: Any) -> None:
        if node.displaytype == "display":
            self.flat.add(" ", node.pos)
            return
        self.walk(node.nodelist)

    def _environment(self, node: Any) -> None:
        name = node.environmentname
        if name.rstrip("*") in SKIP_ENVIRONMENTS:
            return
        if name in TABULARS:
            self._table(node)
            return
        floating = name.rstrip("*") in ("table", "figure", "wraptable", "wrapfigure")
        if floating or name in ("abstract", "itemize", "enumerate", "document"):
            self.flush()
        outer = (self.context, self.caption, self.listed)
        if name == "abstract":
            self.context = "abstract"
        self.listed = self.listed or name in ("itemize", "enumerate")
        if floating:
            self.caption = self._caption_of(node)
        self.walk(node.nodelist)
        if floating or name in ("abstract", "itemize", "enumerate", "document"):
            self.flush()
        self.context, self.caption, self.listed = outer

    def _caption_of(self, node: Any) -> str:
        inner = _Reader(self.source, self.file, None, self.macros, [])
        for child in node.nodelist or ():
            if type(child).__name__ == "LatexMacroNode" and child.macroname == "caption":
                inner.walk(_arguments(child)[-1:])
        return inner.flat.text

    def _table(self, node: Any) -> None:
        self.flush()
        inner = _Reader(self.source, self.file, self.folder, self.macros, self.seen)
        body = list(node.nodelist or ())
        inner.walk(body)
        text, origins = inner.flat.text, inner.flat.origins
        source = Source(text, origins, self.source, self.file)
        rows: list[tuple[Cell, ...]] = []
        position = 0
        for line in text.split(ROW):
            cells, start = [], position
            for part in line.split(CELL):
                cells.append(Cell(text=part.replace("\n", " "), start=start))
                start += len(part) + 1
            if any(cell.text.strip() for cell in cells):
                rows.append(tuple(cells))
            position += len(line) + 1
        self.units.append(
            Table(rows=tuple(rows), source=source, caption=self.caption, heading=self.heading)
        )

    def _macro(self, node: Any) -> None:
        name, at = node.macroname, node.pos
        if name == "\\":
            self.flat.add(ROW, at)
        elif name in ("input", "include", "subfile"):
            self._input(node)
        elif name in ("result", "change", "compare"):
            text = self.source[at : node.pos + node.len]
            self.flat.add(f"\ue002{text}\ue003", at)
        elif name.rstrip("*") in HEADINGS:
            self._heading(node)
        elif name == "caption":
            self._aside(_arguments(node)[-1:], "caption")
        elif name == "footnote":
            self._aside(_arguments(node)[-1:], self.context)
        elif name == "multicolumn":
            self._multicolumn(node)
        elif name in self.macros:
            self.flat.add(self.macros[name], at)
        elif name in SYMBOLS:
            self.flat.add(SYMBOLS[name], at)
        elif name not in SKIP_MACROS:
            arguments = _arguments(node)
            self.walk(arguments[-1:] if name in LAST_ARGUMENT else arguments)
            self.flat.add(" " if name in ("SI", "qty", "num") else "", at)

    def _multicolumn(self, node: Any) -> None:
        arguments = _arguments(node)
        self.walk(arguments[-1:])
        columns = re.sub(r"\D", "", self._source_of(arguments[0])) if arguments else ""
        self.flat.add(CELL * (min(40, int(columns[:3] or 1)) - 1), node.pos)

    def _source_of(self, node: Any) -> str:
        return self.source[node.pos : node.pos + node.len] if node is not None else ""

    def _heading(self, node: Any) -> None:
        self.flush()
        arguments = _arguments(node)
        inner = _Reader(self.source, self.file, None, self.macros, [])
        inner.walk(arguments[-1:])
        if node.macroname != "title":
            self.heading = inner.flat.text
            self.results = bool(RESULT_HEADING.search(self.heading))
        self._aside(arguments[-1:], self.context)

    def _aside(self, nodes: Any, context: Context) -> None:
        """Read nodes as a paragraph of their own, and go on with the one they interrupt."""
        outer, self.flat = (self.flat, self.context), _Flat()
        self.context = context
        self.walk(nodes)
        self.flush()
        self.flat, self.context = outer

    def _input(self, node: Any) -> None:
        arguments = _arguments(node)
        name = self._source_of(arguments[-1]).strip("{} \n") if arguments else ""
        path = inside(self.folder, name) if self.folder is not None else None
        if path is None or path in self.seen or len(self.seen) > MAX_FILES:
            return
        self.flush()
        text = _read(path)
        inner = _Reader(
            text, path.name, self.folder, self.macros, self.seen, self.context, self.heading,
            self.results,
        )  # fmt: skip
        self.seen.append(path)
        if path.name != "results.tex":
            inner.walk(_nodes(text))
            inner.flush()
        self.units += inner.units
        self.heading, self.results = inner.heading, inner.results


def latex_units(text: str, *, folder: Path | None = None, file: str = "") -> Iterator[Unit]:
    """Cut LaTeX into units; our macros stay in them between private marks (see EXPANDED)."""
    start = text.find(r"\begin{document}")
    macros = simple_macros(text)
    if start >= 0:
        text = re.sub(r"[^\n]", " ", text[:start]) + text[start:]
    reader = _Reader(text, file, folder, macros, [])
    reader.walk(_nodes(text))
    reader.flush()
    yield from reader.units


def simple_macros(text: str) -> dict[str, str]:
    r"""Return the texts of `\newcommand{\name}{text}` and `\def\name{text}` without arguments."""
    pattern = r"\\(?:re)?(?:new|provide)command\*?\s*\{?\\(\w+)\}?\s*\{([^{}\\]*)\}"
    found = [*re.findall(pattern, text), *re.findall(r"\\def\\(\w+)\{([^{}\\#]*)\}", text)]
    return {name: body for name, body in found if name not in ("result", "change", "compare")}


def inside(folder: Path, name: str) -> Path | None:
    """Return the file that `name` means below `folder`; None when it is absent or leads outside."""
    if not name or "\x00" in name:
        return None
    for candidate in (folder / name, folder / f"{name}.tex"):
        try:
            path = candidate.resolve()
            if path.is_file() and path.is_relative_to(folder.resolve()):
                return path
        except (OSError, ValueError, RuntimeError):
            continue
    return None


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEX_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _arguments(node: Any) -> list[Any]:
    parsed = getattr(node, "nodeargd", None)
    return [argument for argument in (parsed.argnlist if parsed else ()) if argument is not None]


def _nodes(text: str) -> Any:
    from pylatexenc.latexwalker import LatexWalker, LatexWalkerError, get_default_latex_context_db
    from pylatexenc.macrospec import MacroSpec

    text = re.sub(r"\\(?:cmidrule|cline)(?:\([^)]*\))?\{[^{}]*\}", lambda m: " " * len(m[0]), text)
    context = get_default_latex_context_db()
    specs = [
        MacroSpec("result", "{{"), MacroSpec("change", "{{{"), MacroSpec("compare", "{{{"),
        MacroSpec("multicolumn", "{{{"), MacroSpec("multirow", "[{[{{"), MacroSpec("subfile", "{"),
        MacroSpec("resizebox", "{{{"), MacroSpec("scalebox", "{{"), MacroSpec("paragraph", "*[{"),
        MacroSpec("textcolor", "[{{"),
        MacroSpec("caption", "*[{"), MacroSpec("num", "[{"), MacroSpec("SI", "[{[{"),
        MacroSpec("citep", "*[[{"), MacroSpec("citet", "*[[{"),
        MacroSpec("Cref", "*{"), MacroSpec("cref", "*{"), MacroSpec("autoref", "*{"),
    ]  # fmt: skip
    context.add_context_category("ai_scientist", macros=specs, prepend=True)
    try:
        walker = LatexWalker(text, latex_context=context, tolerant_parsing=True)
        return walker.get_latex_nodes()[0]
    except (LatexWalkerError, RecursionError, IndexError):
        # Broken beyond parsing: its raw text is still judged, nothing passes unread.
        return LatexWalker(re.sub(r"[\\{}$%&]", " ", text)).get_latex_nodes()[0]
