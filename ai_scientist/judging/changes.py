"""What a change of source code consists of: its lines, and whether it only moves randomness."""

from __future__ import annotations

import ast
import difflib
import re

SEED_NAME = re.compile(r"(?i)(^|_)(seed|seeds|random_state|shuffle|generator|rng)($|_|\d)")
EVALUATED_NAME = re.compile(
    r"(?i)(^|_)(eval|evaluation|test|val|validation)_(?:\w+_)?(batch|batches|samples|tokens|size)$"
    r"|(^|_)(batches|samples|tokens)_(?:for_|to_)?(eval|evaluation|test|val|validation)$"
)
ANOTHER_DRAW = (
    (SEED_NAME, "seeds or shuffling", "another draw of the same noise is no result, and seeds are "
     "set from outside"),
    (EVALUATED_NAME, "what is evaluated", "another sample of the evaluation is no result"),
    (re.compile(f"{SEED_NAME.pattern[4:]}|{EVALUATED_NAME.pattern[4:]}", re.I),
     "seeds and what is evaluated", "another draw of the same noise is no result"),
)  # fmt: skip


def changed_lines(old: str, new: str) -> list[int]:
    """Return the line numbers of `new` that are not in `old`, blank lines and comments left out."""
    before, after = old.splitlines(), new.splitlines()
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    lines: list[int] = []
    for tag, _, _, start, end in matcher.get_opcodes():
        if tag in ("replace", "insert"):
            lines += range(start + 1, end + 1)
    return [line for line in lines if (text := after[line - 1].strip()) and text[0] != "#"]


def unified_diff(old: str, new: str, name: str) -> str:
    """Return the unified diff of one file's two contents."""
    return "".join(
        difflib.unified_diff(
            old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
    )


def describe_seed_only_change(old: str, new: str) -> str:
    """Say that a change only draws anew, by seeds, shuffling or evaluation batches; or say nothing.

    Both trees are compared after every constant that a name of that kind holds, or that is passed
    under one, is set to the same value: when they are equal then, nothing else changed.
    """
    try:
        if ast.dump(ast.parse(old)) == ast.dump(ast.parse(new)):
            return ""
        for names, what, why in ANOTHER_DRAW:
            before, after = (_Blank(names).visit(ast.parse(text)) for text in (old, new))
            if ast.dump(before) == ast.dump(after):
                lines = ", ".join(str(line) for line in changed_lines(old, new))
                return f"the only change is to {what} (line {lines}); {why}"
    except (SyntaxError, ValueError):
        pass
    return ""


class _Blank(ast.NodeTransformer):
    """Sets constants that names of one kind hold to one value."""

    def __init__(self, names: re.Pattern[str]) -> None:
        self._names = names

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        self.generic_visit(node)
        if node.arg and self._names.search(node.arg):
            node.value = _blank(node.value)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        if all(self._names.search(_name(target)) for target in node.targets):
            node.value = _blank(node.value)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is not None and self._names.search(_name(node.target)):
            node.value = _blank(node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = _name(node.func)
        draws = self._names.search("seed") and called in ("default_rng", "RandomState")
        if draws or self._names.search(called):
            node.args = [_blank(argument) for argument in node.args]
        return node


def _name(node: ast.AST) -> str:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case _:
            return ""


def _blank(node: ast.expr) -> ast.expr:
    """Replace the numbers of an expression, so that `seed + 1` and `seed + 2` become equal."""

    class Numbers(ast.NodeTransformer):
        def visit_Constant(self, constant: ast.Constant) -> ast.AST:
            return ast.Constant(value=0)

        def visit_BinOp(self, operation: ast.BinOp) -> ast.AST:
            self.generic_visit(operation)
            sides = (operation.left, operation.right)
            variables = [side for side in sides if not isinstance(side, ast.Constant)]
            return variables[0] if len(variables) == 1 else operation

    blanked = Numbers().visit(node)
    return blanked if isinstance(blanked, ast.expr) else node
