from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "ai_scientist"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((PROJECT / "tests").rglob("*.py"))
PAGES = sorted(page for page in (*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")))

# A module may import from its own group and from those above it. A folder is one place.
GROUPS = (
    "errors records redaction",
    "protocols results machine",
    "inputs",
    "run_folder",
    "model coder sandbox trackers testing",
    "execution",
    "judging",
    "claims",
    "audit notes",
    "progress loop steps",
    "writeup",
    "scientist queue template_tools preflight assembly",
    "launch",
    "commands review cli __main__",
)
LEVEL = {name: level for level, group in enumerate(GROUPS) for name in group.split()}

# The launch layer; and the probe, which looks inside a sandbox for what should not be there.
READS_THE_ENVIRONMENT = {"launch.py", "cli.py", "commands/actions.py", "sandbox/probe.py"}
HEAVY = ("aider", "anthropic", "fastapi", "litellm", "numpy", "openai", "rich", "scipy")
MAX_FUNCTION_LINES = 50
MAX_MODULE_LINES = 400


def _name(module: Path) -> str:
    """The part of a module's path that has a place in GROUPS: a subpackage counts as one."""
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(module: Path) -> Iterator[tuple[str, int]]:
    """Every absolute name a module imports, at its top or inside a function, with its line."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively"
            if node.module == "ai_scientist":
                yield from ((f"ai_scientist.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield str(node.module), node.lineno


def _own_imports(module: Path) -> Iterator[tuple[str, int]]:
    for name, line in _imports(module):
        if name.startswith("ai_scientist.") and name != "ai_scientist.__version__":
            yield name.split(".")[1], line


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(module: Path) -> None:
    """A module has a place in GROUPS and imports nothing from a group below it."""
    name = _name(module)
    if name == "__init__":
        assert not list(_own_imports(module))
        return
    assert name in LEVEL, f"{name} has no place in GROUPS"
    for imported, line in _own_imports(module):
        assert imported in LEVEL, f"{name}:{line} imports {imported}, which has no place in GROUPS"
        assert LEVEL[imported] <= LEVEL[name], f"{name}:{line} imports {imported} from below"


def test_no_cycles() -> None:
    """No module imports itself through others."""
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        imported = {name for name, _ in _own_imports(module)} - {_name(module)}
        graph.setdefault(_name(module), set()).update(imported)
    tuple(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sizes(module: Path) -> None:
    """A function reads in one glance, a module in one sitting."""
    text = module.read_text()
    length = len(text.splitlines())
    assert length <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


def test_module_names() -> None:
    """A module's name says what it holds; some names say nothing."""
    empty = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "core"}
    assert not [module for module in MODULES if module.stem in empty]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_settings_are_passed_down(module: Path) -> None:
    """Only the launch layer reads environment variables to learn what to do."""
    if module.relative_to(PACKAGE).as_posix() in READS_THE_ENVIRONMENT:
        return
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"environ", "environb", "getenv"}, f"line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            assert not {"environ", "getenv"} & {alias.name for alias in node.names}


def test_import_is_light() -> None:
    """Importing any module but the review server's loads no heavy package and prints nothing."""
    names = sorted(
        ".".join(module.relative_to(PROJECT).with_suffix("").parts)
        for module in MODULES
        if module.stem not in {"__main__", "__init__"} and _name(module) != "review"
    )
    script = f"import sys, {', '.join(names)}\n" + (
        f"assert not (loaded := sys.modules.keys() & {set(HEAVY)!r}), loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_imported_is_declared() -> None:
    """Every third-party import is a direct dependency, with its reason, and locked."""
    declared = _distributions(PROJECT / "requirements.in")
    locked = _distributions(PROJECT / "requirements.lock")
    assert declared <= locked
    distributions = packages_distributions()
    for module in MODULES:
        for name, line in _imports(module):
            top = name.partition(".")[0]
            if top in sys.stdlib_module_names or top in {"__future__", "ai_scientist"}:
                continue
            found = {_normal(distribution) for distribution in distributions.get(top, ())}
            assert found & declared, f"{module.name}:{line} imports {top}, not in requirements.in"


def _distributions(file: Path) -> set[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    return {_normal(line.partition("==")[0]) for line in lines if line}


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.parametrize("module", TESTS, ids=lambda path: path.name)
def test_tests_use_the_real_thing(module: Path) -> None:
    """No test patches code, is skipped or may fail, and each says the rule it proves."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Attribute):
            where = f"line {node.lineno}: {ast.unparse(node)}"
            assert node.attr not in {"skip", "skipif", "xfail", "importorskip"}, where
            assert ast.unparse(node) != "monkeypatch.setattr", where
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert ast.get_docstring(node), f"{node.name} does not say the rule it proves"
    assert "unittest.mock" not in {name for name, _ in _imports(module)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link in the documentation names a file that exists."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
