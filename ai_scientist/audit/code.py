"""What the code of each run says, read without running it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ai_scientist.records import Idea, Study
from ai_scientist.run_folder.study import read_text

MAX_SOURCE_BYTES = 2_000_000
GENERAL_WORDS = """
    about across activation activations after algorithm analysis analyze apply based baseline
    batch before between calculate change class code compare compute computation config
    constraint current data dataset each experiment evaluate evaluation feature features first
    from function good have idea implement implementation initial input into large layer
    learning linear loop loss mean method metric model models module more network norm
    normalized number only other output over parameter parameters pattern patterns performance
    plan results same sample sparse standard statistics step steps store stored sum tensor test
    that their them these this through time token tokens tools train trainer training update
    used using value values vector weight weights when which with without autoencoder
    autoencoders dictionary encoder decoder penalty logic combined total score scores target
    targeted rate size term terms small
"""
GENERAL = frozenset(GENERAL_WORDS.split())


@dataclass(frozen=True, kw_only=True)
class Source:
    """The code of one run, and where it was found."""

    text: str
    where: str


def run_sources(study: Study, told: Mapping[str, Source] | None = None) -> dict[str, Source]:
    """Return the code of each run, in numeric order: `run_N.py`, or experiment.py of its commit.

    Where the folder keeps none, it is what the chats told of it (`told`), if anything.
    """
    found: dict[str, Source] = {}
    names = {
        path.stem for path in study.folder.glob("run_*.py") if re.match(r"run_\d+\Z", path.stem)
    }
    for name in sorted(names | set(study.runs), key=lambda n: int(n[4:])):
        where = f"{name}.py"
        text = read_text(study.folder / where, MAX_SOURCE_BYTES)
        commit = study.runs[name].commit if name in study.runs else ""
        if not text and commit:
            text = _from_git(study.folder, commit)
        if text:
            found[name] = Source(text=text, where=where)
    return found or dict(told or {})


def _from_git(folder: Path, commit: str) -> str:
    """Read experiment.py of one commit; of a hostile repository no hook and no filter runs."""
    if not re.fullmatch(r"[0-9a-f]{7,64}", commit) or not (folder / ".git").is_dir():
        return ""
    settings = ["-c", "core.fsmonitor=false", "-c", "safe.directory=*"]
    blob = f"{commit}:experiment.py"
    try:
        done = subprocess.run(
            ["git", f"--git-dir={folder / '.git'}", *settings, "cat-file", "blob", blob],
            capture_output=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout[:MAX_SOURCE_BYTES].decode("utf-8", "replace") if done.returncode == 0 else ""


@lru_cache(maxsize=64)
def tree_of(source: str) -> ast.Module | None:
    """Parse a source; None when it is no Python."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def meaning_of(source: str) -> str:
    """Return what a source means: its syntax tree, or its text when it has none."""
    tree = tree_of(source)
    return ast.dump(tree) if tree is not None else source


def names_used(source: str, dead: Container[str] = ()) -> frozenset[str]:
    """Return the names whose value some expression uses, outside the functions named `dead`."""
    names = set()
    todo: list[ast.AST] = [tree] if (tree := tree_of(source)) is not None else []
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef) and node.name in dead:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            names.add(node.attr)
        todo += ast.iter_child_nodes(node)
    return frozenset(names)


def functions_of(source: str) -> frozenset[str]:
    """Return the names of all functions and methods that are defined."""
    tree = tree_of(source)
    nodes = ast.walk(tree) if tree is not None else ()
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef))


def words_of(names: Iterable[str]) -> frozenset[str]:
    """Return the words of lower-case names."""
    return frozenset(
        stem(word) for name in names if name == name.lower() for word in name.split("_")
    )


def idea_words(idea: Idea) -> frozenset[str]:
    """Return the words by which an idea names its mechanism."""
    text = " ".join((idea.title, idea.technical_details, idea.implementation_plan))
    if not idea.technical_details and not idea.implementation_plan:
        text += " " + idea.experiment
    words = (word.lower() for word in re.findall(r"[A-Za-z]{4,}", text.replace("_", " ")))
    return frozenset(stem(word) for word in words if word not in GENERAL)


def stem(word: str) -> str:
    """Cut the endings by which a name in code and a word in prose differ."""
    for ending in ("ings", "ing", "ed", "es", "s", "al", "ity"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word.removesuffix(ending)
    return word


def constants_of(source: str, passed: Container[str]) -> dict[str, float | int | str]:
    """Return the constants that a name is given, where it is given one and the same everywhere.

    By assignment and as default; what is passed by keyword or in a dictionary counts for the names
    in `passed` only: `dim=0` is no setting.
    """
    tree = tree_of(source)
    found: dict[str, set[float | int | str]] = {}
    for node in ast.walk(tree) if tree is not None else ():
        for name, value in _given(node):
            if isinstance(node, ast.keyword | ast.Dict) and name not in passed:
                continue
            if isinstance(value, ast.Constant) and isinstance(value.value, int | float | str):
                found.setdefault(name, set()).add(value.value)
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}


def _given(node: ast.AST) -> list[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        names = [(_target(target), node.value) for target in node.targets]
        return [(name, value) for name, value in names if name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
        return [(node.target.id, node.value)]
    if isinstance(node, ast.keyword) and node.arg:
        return [(node.arg, node.value)]
    if isinstance(node, ast.Dict):
        return [
            (key.value, value)
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        ]
    if isinstance(node, ast.arguments):
        positional = [*node.posonlyargs, *node.args]
        pairs = list(
            zip(positional[len(positional) - len(node.defaults) :], node.defaults, strict=True)
        )
        pairs += [(a, d) for a, d in zip(node.kwonlyargs, node.kw_defaults, strict=True) if d]
        return [(argument.arg, default) for argument, default in pairs]
    return []


def _target(node: ast.expr) -> str:
    """Return the name that is assigned to: `batch_size`, or that of `self.batch_size`."""
    if isinstance(node, ast.Name):
        return node.id
    own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    return node.attr if own and isinstance(node, ast.Attribute) else ""
