"""Imports go one way, the pure layers have no effects, and each outside package has its one home."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import structops_cli
from structops_cli.struct_ops.kinds import REGISTRY

ROOT = Path(structops_cli.__file__).parent

LAYERS = (
    (
        "structops_cli",
        "structops_cli.counted",
        "structops_cli.errors",
        "structops_cli.shell_words",
    ),
    (
        "structops_cli.syscall",
        "structops_cli.syscall.uapi",
        "structops_cli.syscall.btf_index",
        "structops_cli.syscall.btf_faults",
        "structops_cli.syscall._native",
    ),
    ("structops_cli.asm", "structops_cli.btf"),
    ("structops_cli.obj",),
    ("structops_cli.core",),
    ("structops_cli.struct_ops",),
    ("structops_cli.syscall.",),
    ("structops_cli.runtime",),
    ("structops_cli.net",),
    ("structops_cli.operations",),
    ("structops_cli.vm",),
    ("structops_cli.cli", "structops_cli.__main__"),
)
"""From the inside out. A module imports from its own layer and from those before it."""

PURE = (
    "structops_cli.errors",
    "structops_cli.asm",
    "structops_cli.btf",
    "structops_cli.obj",
    "structops_cli.core",
    "structops_cli.struct_ops",
)
"""What these import has no effect on the system: no files, no descriptors, no processes."""

EFFECTS = frozenset({
    "ctypes", "fcntl", "glob", "multiprocessing", "os", "pathlib", "select", "shutil", "signal", "socket",
    "subprocess", "sys", "tempfile", "threading", "time",
})  # fmt: skip

CHILD = "structops_cli.operations.recovery"
"""Where a child process lives and ends, which must not run what its parent has to do at its own end."""

HOMES = {
    "click": ("structops_cli.cli",),
    "elftools": ("structops_cli.obj.elf", "structops_cli.obj.elf_symbols"),
    "compression": ("structops_cli.runtime.decompress",),  # Python's own, from 3.14 on
    "zstandard": ("structops_cli.runtime.decompress",),
    "pyroute2": ("structops_cli.net",),
    "cffi": ("structops_cli.syscall",),
    "structops_cli.syscall._native": ("structops_cli.syscall",),
}
"""Package to the modules (or packages) that may import it."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


MODULES = dict(modules())


def imports_of(name: str) -> set[str]:
    """Return every module that a module imports, wherever in it, ``from x import y`` as ``x.y`` when that is a module."""
    found = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            assert node.module is not None
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            known = {item for item in inner if item in MODULES or item == "structops_cli.syscall._native"}
            found |= known or {node.module}
    return found


def calls_of(name: str) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call)}


def layer_of(name: str) -> int:
    """Return the number of a module's layer: of the longest entry that it is or lies in."""
    best, layer = -1, -1
    for number, entries in enumerate(LAYERS):
        for entry in entries:
            inside = name == entry.rstrip(".") if not entry.endswith(".") else name.startswith(entry)
            inside |= entry not in ("structops_cli", "structops_cli.syscall") and name.startswith(
                entry.rstrip(".") + "."
            )
            if inside and len(entry) > best:
                best, layer = len(entry), number
    assert layer >= 0, f"{name} has no layer: give it one in LAYERS"
    return layer


def lies_in(name: str, homes: tuple[str, ...]) -> bool:
    return any(name == home or name.startswith(home + ".") for home in homes)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_inwards_only(name: str) -> None:
    own = {item for item in imports_of(name) if item.partition(".")[0] == "structops_cli"}
    outwards = {item: layer_of(item) for item in own if layer_of(item) > layer_of(name)}
    assert not outwards, f"{name} is of layer {layer_of(name)}"


@pytest.mark.parametrize("name", [name for name in MODULES if lies_in(name, PURE)])
def test_pure_layers_have_no_effects(name: str) -> None:
    found = {item.partition(".")[0] for item in imports_of(name)} & EFFECTS
    assert not found
    # mmap.mmap is the type of a buffer that somebody else has opened
    assert not calls_of(name) & {
        "open",
        "print",
        "input",
        "exit",
        "__import__",
        "mmap",
        "mmap.mmap",
        "io.open",
    }


@pytest.mark.parametrize("name", MODULES)
def test_each_outside_package_has_its_home(name: str) -> None:
    for item in imports_of(name):
        top = item.partition(".")[0]
        package = item if item in HOMES else top
        if package in HOMES:
            assert lies_in(name, HOMES[package]), f"{name} imports {item}"
        else:
            assert top in sys.stdlib_module_names or top == "structops_cli", (
                f"{name} imports {item}, which has no home"
            )


def test_every_home_is_lived_in() -> None:
    for package, homes in HOMES.items():
        users = [
            name
            for name in MODULES
            if any(item == package or item.startswith(package + ".") for item in imports_of(name))
        ]
        assert users, f"nobody imports {package}"
        assert all(lies_in(name, homes) for name in users)


def test_errors_import_nothing_of_the_project() -> None:
    own = {item for item in imports_of("structops_cli.errors") if item.startswith("structops_cli")}
    assert own <= {"structops_cli.records"}, "but for the shape of values"


def test_no_module_prints_or_exits_but_the_commands() -> None:
    for name in MODULES:
        if lies_in(
            name, ("structops_cli.cli", "structops_cli.__main__", "structops_cli.syscall.build_native")
        ):
            continue
        found = calls_of(name) & {"print", "sys.exit", "os._exit", "exit", "quit"}
        assert found <= ({"os._exit"} if name == CHILD else set()), name


def test_operations_name_no_type_of_struct_ops() -> None:
    """What holds for one type is a field of its ``Kind``."""
    for name, tree in MODULES.items():
        if lies_in(name, ("structops_cli.operations",)):
            found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            assert not found & REGISTRY.keys(), name


def opcode_numbers_in(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield each place where a bare number meets an opcode, and each struct format of an instruction."""
    for node in ast.walk(tree):
        operands: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
        elif isinstance(node, ast.BinOp):
            operands = [node.left, node.right]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Insn":
            operands = [ast.Name("opcode"), *node.args[:1]]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "BBhi" in node.value:
            yield node
        words = [ast.unparse(one).split(".")[-1].lower() for one in operands]
        if any("opcode" in word for word in words) and any(
            isinstance(one, ast.Constant) and isinstance(one.value, int) for one in operands
        ):
            yield node


@pytest.mark.parametrize("name", [name for name in MODULES if not lies_in(name, ("structops_cli.asm",))])
def test_opcode_numbers_are_in_asm_only(name: str) -> None:
    found = [ast.unparse(node) for node in opcode_numbers_in(MODULES[name])]
    assert not found


@pytest.mark.parametrize(
    "code",
    ["insn.opcode & 7 == LDX", "opcode == 0x85", "Insn(0x95, 0)", "opcode >> 4", 'Struct("<BBhi")'],
)
def test_a_bare_opcode_number_is_found(code: str) -> None:
    assert list(opcode_numbers_in(ast.parse(code)))


def test_the_walk_sees_what_is_there() -> None:
    assert {
        "structops_cli.cli.main",
        "structops_cli.obj.elf",
        "structops_cli.struct_ops.kinds",
    } <= MODULES.keys()
    assert (
        layer_of("structops_cli.syscall.uapi")
        < layer_of("structops_cli.btf.btf")
        < layer_of("structops_cli.syscall.bpf")
    )
    assert layer_of("structops_cli.struct_ops.kinds.kind") == layer_of("structops_cli.struct_ops.plan")
    assert "structops_cli.syscall.bpf" in imports_of("structops_cli.runtime.programs")
