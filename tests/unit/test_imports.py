"""Check imports: they go one way, in no circle, and pure layers have no effects.

Only one module or package imports an outside package. Imports inside functions count. Each
module with logic has its own test file.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from structops_cli.struct_ops.kinds import REGISTRY
from tests.import_graph import MODULES, ROOT, imports_of, in_circles, run_time_imports_of

UNIT_TESTS = Path(__file__).parent
IN_CIRCLES = UNIT_TESTS / "modules_in_circles.txt"
UNTESTED = UNIT_TESTS / "modules_without_test.txt"

LAYERS = (
    (
        "structops_cli.counted",
        "structops_cli.errors",
        "structops_cli.shell_words",
    ),
    (
        "structops_cli.syscall",
        "structops_cli.syscall.uapi",
        "structops_cli.syscall.btf_index",
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
    ("structops_cli", "structops_cli.library"),
    ("structops_cli.cli", "structops_cli.__main__"),
)
"""From the inside out. A module imports from its own layer and from earlier layers."""

PURE = (
    "structops_cli.errors",
    "structops_cli.asm",
    "structops_cli.btf",
    "structops_cli.obj",
    "structops_cli.core",
    "structops_cli.struct_ops",
)
"""Modules without effects on the system: no files, no descriptors, no processes."""

EFFECTS = frozenset({
    "ctypes", "fcntl", "glob", "multiprocessing", "os", "pathlib", "select", "shutil", "signal", "socket",
    "subprocess", "sys", "tempfile", "threading", "time",
})  # fmt: skip

CHILDREN = frozenset({"structops_cli.operations.recovery", "structops_cli.vm.side_by_side"})
"""Modules that fork. A child must not run its parent's exit handlers."""

HOMES = {
    "click": ("structops_cli.cli",),
    "elftools": ("structops_cli.obj.elf", "structops_cli.obj.elf_symbols"),
    "compression": ("structops_cli.runtime.decompress",),  # in Python since 3.14
    "zstandard": ("structops_cli.runtime.decompress",),
    "pyroute2": ("structops_cli.net",),
    "cffi": ("structops_cli.syscall",),
    "structops_cli.syscall._native": ("structops_cli.syscall",),
}
"""For each package, the modules or packages that may import it."""


def calls_of(name: str) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(MODULES[name]) if isinstance(node, ast.Call)}


def layer_of(name: str) -> int:
    """Return the layer of a module, by the longest entry that contains it."""
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
    # mmap.mmap is allowed: it is the type of an open buffer
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
        assert found <= ({"os._exit"} if name in CHILDREN else set()), name


def test_operations_name_no_type_of_struct_ops() -> None:
    """A property of one type is a field of its ``Kind``."""
    for name, tree in MODULES.items():
        if lies_in(name, ("structops_cli.operations",)):
            found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            assert not found & REGISTRY.keys(), name


def opcode_numbers_in(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield each bare number next to an opcode, and each struct format of an instruction."""
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


def listed(path: Path) -> set[str]:
    """Return the names in a file of exceptions, which is sorted and has one name a line."""
    names = path.read_text(encoding="ascii").splitlines()
    assert names == sorted(set(names)), f"{path.name} is not sorted, or has a name twice"
    return set(names)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """No exception may be added."""
    found = in_circles({name: run_time_imports_of(name) for name in MODULES})
    new, gone = found - listed(IN_CIRCLES), listed(IN_CIRCLES) - found
    assert not new, "import each other: merge them, or move the common part below both"
    assert not gone, f"are in no circle any more: take them off {IN_CIRCLES.name}"


def test_a_circle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c", "json"}, "c": {"a"}, "d": {"a", "e"}, "e": set(), "f": {"f"}}
    assert in_circles(graph) == {"a", "b", "c", "f"}


def test_imports_in_functions_are_seen_and_those_of_type_checkers_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = (
        "from typing import TYPE_CHECKING",
        "if TYPE_CHECKING:",
        "    import struct",
        "else:",
        "    import json",
        "def function():",
        "    import csv",
    )
    monkeypatch.setitem(MODULES, "written", ast.parse("\n".join(lines)))
    assert run_time_imports_of("written") == {"typing", "json", "csv"}
    assert imports_of("written") == {"typing", "json", "csv", "struct"}


LOGIC = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.Match, ast.BoolOp, ast.comprehension)


def has_logic(name: str) -> bool:
    """Tell whether a function of a module has a branch, a loop or a try."""
    functions = [node for node in ast.walk(MODULES[name]) if isinstance(node, ast.FunctionDef)]
    return any(isinstance(node, LOGIC) for function in functions for node in ast.walk(function))


def mirror_of(name: str) -> Path:
    """Return ``tests/unit/PACKAGE/test_MODULE.py``, for a package ``PACKAGE/test_PACKAGE.py``."""
    *packages, module = name.split(".")[1:] or ["structops_cli"]
    if (ROOT / Path(*packages, module)).is_dir():
        packages.append(module)
    return UNIT_TESTS.joinpath(*packages, f"test_{module.strip('_')}.py")


def test_each_module_with_logic_has_a_test_file() -> None:
    """No exception may be added."""
    found = {name for name in MODULES if has_logic(name) and not mirror_of(name).exists()}
    new, gone = found - listed(UNTESTED), listed(UNTESTED) - found
    assert not new, f"lack a test file: {', '.join(str(mirror_of(name)) for name in sorted(new))}"
    assert not gone, f"have a test file, no logic, or are gone: take them off {UNTESTED.name}"


def test_a_module_and_its_test_file_are_found() -> None:
    assert mirror_of("structops_cli.vm.cpio") == UNIT_TESTS / "vm" / "test_cpio.py"
    assert mirror_of("structops_cli.struct_ops.kinds") == UNIT_TESTS / "struct_ops/kinds/test_kinds.py"
    assert mirror_of("structops_cli.__main__") == UNIT_TESTS / "test_main.py"
    assert has_logic("structops_cli.vm.cpio")
    assert not has_logic("structops_cli.syscall.uapi")
