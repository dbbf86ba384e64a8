"""Puts complete top-level definitions into a Python file, each in place of the one it renews.

This is what the coder is asked for when its SEARCH blocks keep missing: nothing of the old text has
to be repeated.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from ai_scientist.errors import ReplyError

_MAIN = 'if __name__ == "__main__"'


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One top-level statement: its name, and its lines counted from 0, the end left out."""

    name: str
    start: int
    """With decorators, without the comment above."""
    body: int
    """The line of the statement itself, after its decorators."""
    end: int
    comment: int
    """The first line of the comment directly above; `start` when there is none."""


def replace_definitions(content: str, code: str, *, file: str) -> str:
    """Return `content` with each top-level definition of `code` in the place of its namesake.

    Functions, classes, assigned names and the main guard are renewed; a new one goes before the
    definition that follows it in `code`, else before the main guard, else to the end. Decorators
    and the comment above stay unless `code` brings its own. Imports that are missing are added.
    Raises ReplyError, worded for the model.
    """
    tree = _parse(content, f"{file} as it is")
    sent = _parse(code, f"your block for {file}")
    lines, new = content.split("\n"), code.split("\n")
    old = _parts(tree, lines, where=file)
    parts = _parts(sent, new, where=f"your block for {file}")
    if not parts and not _imports(sent):
        raise ReplyError(f"Your block for {file} holds no definition.")
    changes: list[tuple[int, int, list[str]]] = []
    guard = [part.comment for part in old if part.name == _MAIN]
    anchor = guard[0] if guard else len(lines)
    for part in reversed(parts):
        text = new[part.comment : part.end]
        places = [one for one in old if one.name == part.name]
        if len(places) > 1:
            numbers = ", ".join(str(one.start + 1) for one in places)
            raise ReplyError(
                f"`{part.name}` is defined more than once in {file} (lines {numbers}), so it is "
                "not clear which one to replace."
            )
        if not places:
            changes.append((anchor, anchor, [*text, "", ""]))
            continue
        place = places[0]
        _refuse_shared_lines(tree, place, file)
        keeps_decorators = part.start == part.body and part.comment == part.start
        start = place.body if keeps_decorators else place.start
        if part.comment < part.start:
            start = place.comment
        changes.append((start, place.end, text))
        anchor = place.comment
    changes += _new_imports(tree, sent, new)
    return _apply(lines, changes, file=file)


def _refuse_shared_lines(tree: ast.Module, place: _Part, file: str) -> None:
    """Raise ReplyError where a definition shares a line with another statement, lost with it."""
    inside = [
        node
        for node in tree.body
        if node.lineno - 1 < place.end and place.start < (node.end_lineno or node.lineno)
    ]
    if len(inside) > 1:
        raise ReplyError(
            f"Line {place.body + 1} of {file} holds more than `{place.name}`, which cannot be "
            "replaced alone. Send a SEARCH/REPLACE block for that line."
        )


def _apply(lines: list[str], changes: list[tuple[int, int, list[str]]], *, file: str) -> str:
    # From the bottom up, so that line numbers stay true. Of those at one place, insertions come
    # last, and the ones found first (they stand later in the code sent) go in first.
    ordered = sorted(changes, key=lambda change: (change[0], change[1]), reverse=True)
    result = list(lines)
    for start, end, put in ordered:
        result[start:end] = put
    text = "\n".join(result).rstrip("\n") + "\n"
    _parse(text, f"{file} with your definitions in place")
    return text


def _parse(code: str, what: str) -> ast.Module:
    if "\r" in code:
        raise ReplyError(f"{what} holds a lone carriage return, which hides where its lines end.")
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError) as error:
        place = f" at line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ReplyError(f"{what} is not valid Python{place}: {error}.") from None


def _parts(tree: ast.Module, lines: list[str], *, where: str) -> list[_Part]:
    parts = []
    own_code = where.startswith("your")
    for node in tree.body:
        name = _name(node)
        if name is None:
            if own_code and not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr):
                raise ReplyError(
                    f"Line {node.lineno} of {where} is neither a definition nor an import; send "
                    "only complete top-level functions, classes and assignments."
                )
            continue
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(d.lineno for d in decorators)]) - 1
        comment = start
        while comment > 0 and lines[comment - 1].startswith("#"):
            comment -= 1
        end = node.end_lineno or node.lineno
        parts.append(_Part(name=name, start=start, body=node.lineno - 1, end=end, comment=comment))
    return parts


def _name(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        return target.id if isinstance(target, ast.Name) else None
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    if isinstance(node, ast.If) and ast.unparse(node.test).startswith("__name__ =="):
        return _MAIN
    return None


def _imports(tree: ast.Module) -> list[ast.stmt]:
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def _new_imports(
    tree: ast.Module, sent: ast.Module, new: list[str]
) -> list[tuple[int, int, list[str]]]:
    there = {ast.unparse(node) for node in _imports(tree)}
    missing = [
        line
        for node in _imports(sent)
        if ast.unparse(node) not in there
        and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        for line in new[node.lineno - 1 : node.end_lineno]
    ]
    if not missing:
        return []
    place = 0
    for node in tree.body:
        doc = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not doc and not isinstance(node, ast.Import | ast.ImportFrom):
            break
        place = node.end_lineno or node.lineno
    return [(place, place, missing)]
