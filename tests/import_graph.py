"""Read the imports of the package from its sources, those inside functions included."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import structops_cli

__all__ = ["MODULES", "ROOT", "imports_of", "in_circles", "run_time_imports_of"]

ROOT = Path(structops_cli.__file__).parent
NATIVE = "structops_cli.syscall._native"


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


MODULES = dict(_modules())
"""The syntax tree of each module, by the module's name."""


def imports_of(name: str) -> set[str]:
    """Return every imported module; ``from x import y`` counts as ``x.y`` if that is a module."""
    return _imported(name, ast.walk(MODULES[name]))


def run_time_imports_of(name: str) -> set[str]:
    """Return the imports of a module without those for type checkers."""
    return _imported(name, _run_time_nodes(MODULES[name]))


def _imported(name: str, nodes: Iterable[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            assert node.module is not None
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {item for item in inner if item in MODULES or item == NATIVE} or {node.module}
    return found


def _run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree without the bodies of ``if TYPE_CHECKING``."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for other in child.orelse:
                yield from _run_time_nodes(other)
        else:
            yield from _run_time_nodes(child)


def in_circles(graph: Mapping[str, set[str]]) -> set[str]:
    """Return the modules that import themselves through others."""
    return {name for name in graph if name in _reachable(graph, name)}


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    left = [start]
    while left:
        new = (graph[left.pop()] & graph.keys()) - found
        found |= new
        left += new
    return found
