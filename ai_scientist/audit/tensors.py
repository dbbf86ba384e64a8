"""Two mistakes with tensors that run without an error: groups without labels, axes of one size.

Both are told only where code and record together show them; which axis is meant, and what a tensor
holds, is decided by nobody who only reads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from ai_scientist.audit.code import Source, stem, tree_of
from ai_scientist.records import Finding, Idea, Study

THINGS = r"(?:examples?|tokens?|documents?|texts?|prompts?|inputs?|samples?|data|domains?)"
GROUPS = (
    re.compile(rf"\b([a-z]{{3,}})\s*/\s*([a-z]{{3,}}) {THINGS}\b", re.I),
    re.compile(rf"\b([a-z]{{3,}}) (?:and|versus|vs\.?|from) ([a-z]{{3,}}) {THINGS}\b", re.I),
    re.compile(r"\b([a-z]{3,})-([a-z]{3,}) (?:activation |activity )?ratios?\b", re.I),
)
SIZES = (("activation_dim", "dict_size"), ("d_in", "d_sae"))


def tensor_findings(study: Study, sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Yield each mistake once, at the first run whose code has it."""
    groups = groups_of(study.idea)
    told: set[str] = set()
    for name, source in sources.items():
        tree = tree_of(source.text)
        if tree is None or name == "run_0":
            continue
        for kind, detail in (
            ("mechanism_missing", _unlabelled(tree, groups)),
            ("equal_axes", _equal_axes(tree, study, name)),
        ):
            if detail and kind not in told:
                told.add(kind)
                said = f"from {name} on: {detail}"
                yield Finding(kind=kind, run=name, where=source.where, detail=said)


def groups_of(idea: Idea) -> frozenset[tuple[str, str]]:
    """Return the pairs of groups that an idea sets against each other: dangerous and safe."""
    text = " ".join((idea.technical_details, idea.experiment, idea.abstract))
    pairs = {match.groups() for pattern in GROUPS for match in pattern.finditer(text)}
    return frozenset((a.lower(), b.lower()) for a, b in pairs)


def _unlabelled(tree: ast.Module, groups: frozenset[tuple[str, str]]) -> str:
    """Say that code tells the idea's groups apart by halves of one batch, and names neither."""
    halves = next(_halves(tree), "")
    known = _all_words(tree)
    nameless = [pair for pair in sorted(groups) if not {stem(word) for word in pair} & known]
    if not halves or not nameless:
        return ""
    one, other = nameless[0]
    return (
        f"the idea sets {one} against {other}; the code takes two parts of one tensor by position "
        f"({halves}), and no name or text in it says which rows are {one} and which {other}"
    )


def _halves(tree: ast.Module) -> Iterator[str]:
    """Yield `x[:n]` with `x[n:]` where x is handed to the function that cuts it."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        given = {argument.arg for argument in function.args.args}
        cuts: dict[tuple[str, str], set[str]] = {}
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Subscript)
                and isinstance(node.value, ast.Name)
                and node.value.id in given
                and isinstance(node.slice, ast.Slice)
            ):
                lower, upper = node.slice.lower, node.slice.upper
                if (lower is None) != (upper is None):
                    side = "upper" if lower is None else "lower"
                    bound = ast.unparse(upper or lower or node)
                    cuts.setdefault((node.value.id, bound), set()).add(side)
        for (tensor, bound), sides in cuts.items():
            if len(sides) == 2:
                yield f"`{tensor}[:{bound}]` and `{tensor}[{bound}:]` in `{function.name}`"


def _all_words(tree: ast.Module) -> frozenset[str]:
    """Return the words of every name and every text but docstrings."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.arg | ast.keyword):
            names.add(str(node.arg))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value if len(node.value) < 60 else "")
    return frozenset(stem(w.lower()) for name in names for w in re.findall(r"[A-Za-z]+", name))


def _equal_axes(tree: ast.Module, study: Study, name: str) -> str:
    """Say that a product over pairs has the same shape along the wrong axis."""
    run = study.runs.get(name)
    product = next(_grams(tree), "")
    config = run.results.config if run is not None else {}
    sizes = {path.rsplit("/", 1)[-1]: value for path, value in config.items()}
    for one, other in SIZES:
        size = sizes.get(one)
        if product and size is not None and size == sizes.get(other):
            return (
                f"{one} and {other} are both {size}, so `{product}` has the same shape along "
                "either axis, and a mistaken one fails nowhere; take sizes that differ"
            )
    return ""


def _grams(tree: ast.Module) -> Iterator[str]:
    """Yield `X.T @ X` and `X @ X.T`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            for flat, turned in ((node.left, node.right), (node.right, node.left)):
                if (
                    isinstance(turned, ast.Attribute)
                    and turned.attr in ("T", "mT")
                    and ast.dump(turned.value) == ast.dump(flat)
                ):
                    yield ast.unparse(node)
