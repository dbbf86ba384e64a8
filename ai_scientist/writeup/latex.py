"""Compile a folder of LaTeX sources, confined, and read what TeX and the checkers say of it.

One try is one execution in a throw-away copy: latexmk with reading and writing outside the folder
refused (openin_any, openout_any), no shell escape, a time limit; then chktex, pdftotext, pdfinfo
and pdffonts. Only the PDF and the logs are taken out.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ai_scientist.protocols import Executor
from ai_scientist.records import Execution, ExitCause, RunLimits, RunRequest
from ai_scientist.writeup.parts import Compilation, LatexMessage

MAIN = "paper"
OUT = "build"
TOOLS = ("latexmk", "pdflatex", "bibtex")
TEX_FOLDERS = ("/etc/texmf", "/var/lib/texmf", "/etc/paperspecs", "/usr/share/texlive")
CHKTEX_PASSED_OVER = " ".join(
    f"-n{number}" for number in (1, 2, 3, 6, 8, 9, 12, 13, 17, 22, 24, 36, 37, 38, 39, 40, 44)
)
"""Its warnings on spaces that TeX ignores, on dashes, and on half-open intervals."""
SCRIPT = f"""
latexmk -pdf -interaction=nonstopmode -halt-on-error -file-line-error -norc \
  -outdir={OUT} {MAIN}.tex > {OUT}/latexmk.txt 2>&1
status=$?
command -v chktex > /dev/null && for file in sections/*.tex; do
  chktex -q {CHKTEX_PASSED_OVER} -f '%f:%l:%n:%m
' "$file"
done > {OUT}/chktex.txt 2>/dev/null
if [ $status -eq 0 ]; then
  command -v pdftotext > /dev/null && pdftotext -layout {OUT}/{MAIN}.pdf {OUT}/{MAIN}.txt
  command -v pdffonts > /dev/null && pdffonts {OUT}/{MAIN}.pdf > {OUT}/fonts.txt
  command -v pdfinfo > /dev/null && pdfinfo {OUT}/{MAIN}.pdf > {OUT}/info.txt
fi
exit $status
"""
SETTINGS: Mapping[str, str] = {
    "openin_any": "p",
    "openout_any": "p",
    "shell_escape": "f",
    "max_print_line": "1000",
    "error_line": "254",
    "half_error_line": "238",
    "SOURCE_DATE_EPOCH": "0",
    "FORCE_SOURCE_DATE": "0",
    "LC_ALL": "C.UTF-8",
}
LARGEST_LOG = 4_000_000


def missing_tools() -> list[str]:
    """Return the programs a paper needs that this machine lacks."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


@dataclass(frozen=True, kw_only=True)
class LatexCompiler:
    """Compiles through an executor, so in the sandbox that the experiments use."""

    executor: Executor
    staging: Path
    """Folder for the throw-away copies."""
    timeout_s: float = 120.0
    search_path: str = "/usr/local/bin:/usr/bin:/bin"

    def __call__(self, sources: Path, *, key: str) -> Compilation:
        """Compile paper.tex of `sources`; a failure is a value, never an exception."""
        staging = self.staging / key.replace("/", "_")
        shutil.rmtree(staging, ignore_errors=True)
        source = staging / "source"
        shutil.copytree(sources, source)
        build = source / OUT
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir()
        try:
            return read_build(build, self.executor.run(self._request(key, staging)))
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _request(self, key: str, staging: Path) -> RunRequest:
        environment = {
            **SETTINGS,
            "PATH": self.search_path,
        }
        return RunRequest(
            key=key,
            staging=staging,
            out_name=OUT,
            command=("/bin/sh", "-c", SCRIPT),
            environment=environment,
            readable=tuple(Path(folder) for folder in TEX_FOLDERS if Path(folder).exists()),
            limits=RunLimits(timeout_s=self.timeout_s, memory_gb=4.0, disk_gb=1.0, processes=64),
        )


def read_build(build: Path, execution: Execution) -> Compilation:
    """Return what a build folder holds after the execution that filled it."""
    log = _read(build / f"{MAIN}.log")
    messages = (*read_log(log), *read_bibtex(_read(build / f"{MAIN}.blg")))
    pdf = build / f"{MAIN}.pdf"
    if execution.cause is not ExitCause.EXIT or not pdf.is_file():
        return Compilation(
            pdf=None,
            messages=messages,
            log=log or _read(build / "latexmk.txt"),
            outcome=_failure(execution, messages),
        )
    pages = re.search(r"^Pages:\s+(\d+)", _read(build / "info.txt"), re.MULTILINE)
    return Compilation(
        pdf=pdf.read_bytes(),
        messages=(*messages, *read_chktex(_read(build / "chktex.txt"))),
        log=log,
        text=_read(build / f"{MAIN}.txt"),
        pages=int(pages[1]) if pages else 0,
        fonts_missing=read_fonts(_read(build / "fonts.txt")),
    )


def _failure(execution: Execution, messages: Sequence[LatexMessage]) -> str:
    if execution.cause is ExitCause.TIMEOUT:
        return f"LaTeX did not end within its time limit ({execution.seconds:.0f} s)."
    if execution.cause is not ExitCause.CRASH:
        return f"LaTeX was stopped: {execution.cause.value}."
    error = next((m for m in messages if m.kind == "error"), None)
    if error is None:
        return "LaTeX failed without naming an error; see the log."
    place = f"{error.file}, line {error.line}: " if error.file else ""
    return f"LaTeX failed: {place}{error.text}"


def _read(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        return stream.read(LARGEST_LOG).decode("utf-8", errors="replace")


# --- the log -------------------------------------------------------------------------------------

ERROR = re.compile(r"^(?:\./)?([^\s:]+\.(?:tex|sty|cls|bbl|bib|aux|ltx)):(\d+): (.*)$")
FATAL = re.compile(r"^! (.*)$")
OVERFULL = re.compile(r"^Overfull \\([hv])box \(([\d.]+)pt too (?:wide|high)\).*?(?:lines? (\d+))?")
WARNING = re.compile(r"^(?:LaTeX|Package natbib) Warning: (.*)$")
GLYPH = re.compile(r"^Missing character: (.*)$")


def read_log(log: str) -> list[LatexMessage]:
    """Return the errors and warnings of a pdflatex log, each with its source file."""
    messages: list[LatexMessage] = []
    stack: list[str] = []
    lines = log.splitlines()
    for number, line in enumerate(lines):
        if match := ERROR.match(line):
            text = f"{match[3]} {_context(lines, number)}".strip()
            messages.append(_message("error", match[1], int(match[2]), text))
        elif match := FATAL.match(line):
            messages.append(_message("error", _current(stack), 0, match[1]))
        elif match := OVERFULL.match(line):
            at = re.search(r"lines? (\d+)", line)
            messages.append(
                LatexMessage(
                    kind="overfull",
                    file=_current(stack),
                    line=int(at[1]) if at else 0,
                    text=line,
                    points=float(match[2]),
                )
            )
        elif match := WARNING.match(line):
            messages.extend(_warning(match[1], _current(stack)))
        elif match := GLYPH.match(line):
            messages.append(_message("missing_glyph", _current(stack), 0, match[1]))
        else:
            _follow(line, stack)
    return list(dict.fromkeys(messages))


def _message(kind: str, file: str, line: int, text: str) -> LatexMessage:
    assert kind in ("error", "missing_glyph", "style", "undefined_reference", "unknown_citation")
    return LatexMessage(kind=kind, file=file.removeprefix("./"), line=line, text=text)  # type: ignore[arg-type]


def _context(lines: Sequence[str], number: int) -> str:
    """Return TeX's `l.12 …` line that follows an error: the text read so far."""
    for line in lines[number + 1 : number + 12]:
        if re.match(r"l\.\d+ ", line):
            return f"(after: {line.split(' ', 1)[1].strip()[-120:]})"
    return ""


def _warning(text: str, file: str) -> list[LatexMessage]:
    if match := re.match(r"Reference `([^']*)'.*undefined", text):
        return [_message("undefined_reference", file, 0, match[1])]
    if match := re.match(r"Citation [`']([^']*)'.*undefined", text):
        return [_message("unknown_citation", file, 0, match[1])]
    if match := re.match(r"Label `([^']*)' multiply defined", text):
        return [LatexMessage(kind="duplicate_label", file=file, line=0, text=match[1])]
    return []


def _current(stack: Sequence[str]) -> str:
    return next((f.removeprefix("./") for f in reversed(stack) if f.endswith(".tex")), "")


def _follow(line: str, stack: list[str]) -> None:
    """Keep `stack`, the files TeX has open, after one more line of its log."""
    for match in re.finditer(r"\(((?:\./|/)?[\w./+\- ]*?\.\w{2,4})(?=[\s)(]|$)|([()])", line):
        if match[1]:
            stack.append(match[1])
        elif match[2] == "(":
            stack.append("")
        elif stack:
            stack.pop()


def read_bibtex(log: str) -> list[LatexMessage]:
    """Return what BibTeX could not read or find."""
    found = [
        _message("unknown_citation", "references.bib", 0, match)
        for match in re.findall(r'I didn\'t find a database entry for "([^"]+)"', log)
    ]
    errors = re.findall(r"^(.*)---line (\d+) of file (\S+)$", log, re.MULTILINE)
    return [*found, *(_message("style", file, int(line), text) for text, line, file in errors)]


def read_chktex(output: str) -> list[LatexMessage]:
    """Return chktex's warnings, one for each of its lines FILE:LINE:NUMBER:TEXT."""
    found = []
    for line in output.splitlines():
        if match := re.match(r"([^:]+):(\d+):(\d+):(.*)$", line):
            text = f"{match[4]} (chktex {match[3]})"
            found.append(_message("style", match[1], int(match[2]), text))
    return found


def read_fonts(output: str) -> tuple[str, ...]:
    """Return the fonts that pdffonts lists as not embedded."""
    lines = output.splitlines()
    if len(lines) < 3:
        return ()
    column = lines[0].index("emb")
    return tuple(
        line.split()[0] for line in lines[2:] if line[column : column + 3].strip() != "yes"
    )
