"""What a change of source code consists of: its lines, and whether it only moves randomness."""

from __future__ import annotations

import ast
import difflib
import re

SEED_NAME = re.compile(r"(?i)(^|_)(seed|seeds|random_state|shuffle|generator|rng)($|_|\d)")


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
    """Say that a change consists of nothing but seeds and shuffling, or return an empty text.

    Both trees are compared after every constant that a seed-like name holds, or that is passed
    under one, is set to the same value: when they are equal then, nothing else changed.
    """
    try:
        before, after = ast.parse(old), ast.parse(new)
    except (SyntaxError, ValueError):
        return ""
    if ast.dump(before) == ast.dump(after):
        return ""
    if ast.dump(_BlankSeeds().visit(before)) != ast.dump(_BlankSeeds().visit(after)):
        return ""
    lines = ", ".join(str(line) for line in changed_lines(old, new))
    return (
        f"the only change is to seeds or shuffling (line {lines}); another draw of the same noise "
        "is no result, and seeds are set from outside"
    )


class _BlankSeeds(ast.NodeTransformer):
    """Sets constants that only choose the randomness to one value."""

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        self.generic_visit(node)
        if node.arg and SEED_NAME.search(node.arg):
            node.value = _blank(node.value)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        if all(SEED_NAME.search(_name(target)) for target in node.targets):
            node.value = _blank(node.value)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is not None and SEED_NAME.search(_name(node.target)):
            node.value = _blank(node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if SEED_NAME.search(_name(node.func)) or _name(node.func) in ("default_rng", "RandomState"):
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
