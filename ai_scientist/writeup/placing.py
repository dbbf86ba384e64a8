r"""Turn checked section texts into the files under latex/: figures, skeleton, foreign templates.

`\placefigure{FILE}{CAPTION}` becomes a float here, so that its size and label are not the model's.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from ai_scientist.writeup.bibliography import FILECONTENTS
from ai_scientist.writeup.figures import safe_name
from ai_scientist.writeup.parts import PARTS, Figure, PaperFolder
from ai_scientist.writeup.typeset import LONG_NAME

STYLE = Path(__file__).parent / "style"
KEPT_FROM_TEMPLATE = {".sty", ".cls", ".bst", ".clo", ".def", ".cfg"}
LARGEST_STYLE_FILE = 2_000_000
HEADING = re.compile(r"(\\(?:sub)*section\*?)\s*\{([^{}]*)\}")


def braced(text: str, start: int) -> int:
    """Return the position after the group whose `{` is at or after `start`; -1 when it is open."""
    depth = 0
    position = text.find("{", start)
    while 0 <= position < len(text):
        character = text[position]
        if character == "\\":
            position += 2
            continue
        depth += {"{": 1, "}": -1}.get(character, 0)
        position += 1
        if depth == 0:
            return position
    return -1


def placed_figures(text: str) -> list[tuple[int, int, str, str]]:
    r"""Return (start, end, file, caption) of every \placefigure of `text`."""
    found = []
    for match in re.finditer(r"\\placefigure\s*(?=\{)", text):
        middle = braced(text, match.end())
        gap = re.match(r"\s*(?=\{)", text[middle:]) if middle > 0 else None
        end = braced(text, middle) if gap else -1
        if end > 0:
            name = text[match.end() : middle].strip()[1:-1].strip()
            caption = text[middle:end].strip()[1:-1].strip()
            found.append((match.start(), end, name, caption))
    return found


def own_figures(text: str) -> str:
    r"""Return `text` with figure environments that hold one picture as \placefigure."""

    def convert(match: re.Match[str]) -> str:
        body = match[0]
        pictures = re.findall(r"\\includegraphics\s*(?:\[[^\]]*\])?\s*\{([^{}]*)\}", body)
        at = re.search(r"\\caption\s*(?=\{)", body)
        end = braced(body, at.end()) if at else -1
        if len(pictures) != 1 or at is None or end < 0:
            return body
        caption = re.sub(r"\\label\s*\{[^{}]*\}", "", body[at.end() : end].strip()[1:-1])
        stem = Path(pictures[0]).stem
        renamed.update(dict.fromkeys(re.findall(r"\\label\{([^{}]*)\}", body), f"fig:{stem}"))
        return rf"\placefigure{{{pictures[0].strip()}}}{{{caption.strip()}}}"

    renamed: dict[str, str] = {}
    text = re.sub(r"\\begin\{(figure\*?)\}.*?\\end\{\1\}", convert, text, flags=re.DOTALL)
    for old, new in renamed.items():
        text = text.replace(rf"ref{{{old}}}", rf"ref{{{new}}}")
    return text


def drop_figures(text: str, names: Iterable[str]) -> str:
    r"""Return `text` without the \placefigure of each of `names`, and of a second one of any."""
    names, seen = set(names), set()
    out, position = "", 0
    for start, end, name, _ in placed_figures(text):
        out += text[position:start]
        if name not in names and name not in seen:
            out += text[start:end]
        seen.add(name)
        position = end
    return out + text[position:]


def tell_headings_apart(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the texts, by section, with no heading twice.

    One that only repeats its section's own goes; one that another section has gets its section's
    name: `Data (Method)`.
    """
    seen = {part.heading.lower() for part in PARTS}

    def tell_apart(match: re.Match[str], own: str) -> str:
        title = known = " ".join(match[2].split())
        if title.lower() == own.lower():
            return ""
        count = 1
        while title.lower() in seen:
            title = f"{known} ({own}, {count})" if count > 1 else f"{known} ({own})"
            count += 1
        seen.add(title.lower())
        return f"{match[1]}{{{title}}}"

    return dict(texts) | {
        part.name: HEADING.sub(partial(tell_apart, own=part.heading), texts[part.name])
        for part in PARTS
    }


def expand_figures(text: str, figures: Mapping[str, Figure]) -> str:
    r"""Return `text` with each \placefigure as a float."""
    out, position = "", 0
    for start, end, name, caption in placed_figures(text):
        out += text[position:start] + float_of(figures[name], caption)
        position = end
    return out + text[position:]


def fit(text: str) -> str:
    r"""Return `text` so that its tables shrink to the width of a line and long names break."""
    text = re.sub(r"\\texttt\{((?:[^{}\\]|\\[_&%#$])*)\}", _breakable, text)
    if "adjustbox" in text:
        return text
    parts = re.split(r"(\\(?:begin|end)\{tabular\})", text)
    depth = 0
    for place, part in enumerate(parts):
        if part == r"\begin{tabular}":
            parts[place] = r"\begin{adjustbox}{max width=\linewidth}" * (depth == 0) + part
            depth += 1
        elif part == r"\end{tabular}":
            depth -= 1
            parts[place] = part + r"\end{adjustbox}" * (depth == 0)
    return "".join(parts)


def _breakable(match: re.Match[str]) -> str:
    if len(match[1].replace("\\", "")) < LONG_NAME:
        return match[0]
    broken = re.sub(r"(\\_|[/.:,=-](?=\S))", r"\1\\allowbreak{}", match[1])
    return rf"\texttt{{{broken}}}"


def float_of(figure: Figure, caption: str) -> str:
    """Return the float that shows `figure`, at most half a page high."""
    return f"\n\\begin{{widefigure}}[!htb]\n{_shown(figure, caption, 0.5)}\\end{{widefigure}}\n"


def fixed(figure: Figure, caption: str) -> str:
    """Return `figure` in the place where it is called for, so low that a page has room for two."""
    return f"\n\\begin{{fixedfigure}}\n{_shown(figure, caption, 0.33)}\\end{{fixedfigure}}\n"


def _shown(figure: Figure, caption: str, height: float) -> str:
    return rf"""\centering
\includegraphics[width=\linewidth,height={height:g}\textheight,keepaspectratio]{{figures/{safe_name(figure)}}}
\caption{{{caption}{figure.note}}}\label{{{figure.label}}}
"""


def write_sources(
    paper: PaperFolder,
    *,
    sections: Mapping[str, str],
    generated: Mapping[str, str],
    figures: Sequence[Figure],
) -> None:
    """Write every source file of the paper into its latex/, which is emptied first.

    `generated`: path under latex/ -> content, written by code.
    """
    latex = paper.latex
    shutil.rmtree(latex, ignore_errors=True)
    for folder in ("sections", "tables", "figures"):
        (latex / folder).mkdir(parents=True)
    by_name = {figure.name: figure for figure in figures}
    for name, text in sections.items():
        placed = fit(expand_figures(text, by_name))
        ending = "\n" if name == "title" else "\n\n"  # its last paragraph ends in its own file
        (latex / "sections" / f"{name}.tex").write_text(placed.strip() + ending, encoding="utf-8")
    for figure in figures:
        shutil.copy(figure.path, latex / "figures" / safe_name(figure))
    for file in ("style.tex", "needs.tex"):
        shutil.copy(STYLE / file, latex / file)
    foreign = _take_style(paper.template, latex) if paper.template else None
    skeleton = (STYLE / "paper.tex").read_text(encoding="utf-8")
    generated = {"paper.tex": fill_template(foreign) if foreign else skeleton, **generated}
    for file, content in generated.items():
        (latex / file).write_text(content, encoding="utf-8")


def _take_style(template: Path, latex: Path) -> str | None:
    """Copy a template's style files; return its own template.tex when it has one."""
    for path in sorted(template.glob("*")):
        wanted = path.suffix in KEPT_FROM_TEMPLATE or path.name == "style.tex"
        if wanted and path.is_file() and path.stat().st_size <= LARGEST_STYLE_FILE:
            shutil.copy(path, latex / path.name)
    foreign = template / "template.tex"
    return foreign.read_text(encoding="utf-8", errors="replace") if foreign.is_file() else None


def fill_template(text: str) -> str:
    """Return a foreign template.tex with its placeholders as inputs and our parts added.

    The bibliography it holds is read elsewhere; its example figures are removed.
    """
    text = FILECONTENTS.sub("", text)
    text = re.sub(r"\\begin\{(figure\*?)\}.*?\\end\{\1\}", "", text, flags=re.DOTALL)
    for part in PARTS:
        text = text.replace(part.placeholder, _inserted(part.name))
    text = re.sub(r"\\bibliography\s*\{[^{}]*\}", r"\\input{references}", text)
    begin, end = r"\begin{document}", r"\end{document}"
    after = r"\maketitle" if r"\maketitle" in text else begin
    text = text.replace(after, after + "\n\\input{disclosure}", 1)
    text = text.replace(begin, "\\input{needs}\n\\input{results}\n" + begin, 1)
    return text.replace(end, "\\beginrecord\n\\input{appendix}\n" + end, 1)


def _inserted(name: str) -> str:
    section = rf"\input{{sections/{name}}}"
    if name == "title":
        return section + r"\unskip"
    if name == "abstract":
        return section
    label = rf"\label{{sec:{name}}}" + "\n"
    if name == "results":
        return label + "\\input{verdicts}\n\\input{tables/results}\n\\input{figures}\n" + section
    return label + section
