"""Limit the imports of each command, both outside packages and own layers."""

from __future__ import annotations

import json
import time

import pytest

from tests.cli_runner import run_python
from tests.time_scale import scaled

MODULES = """
import contextlib, io, json, sys
before = set(sys.modules)
from structops_cli.__main__ import _import_command
run = _import_command()
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    run(sys.argv[1:])
print(json.dumps(sorted(set(sys.modules) - before)))
"""
HEAVY = {
    "asyncio",
    "ctypes",
    "logging",
    "multiprocessing",
    "pycparser",
    "subprocess",
    "tempfile",
    "unittest",
}


def imported(*arguments: str) -> set[str]:
    result = run_python("-c", MODULES, *arguments)
    assert result.exit_code == 0, result.stderr
    return set(json.loads(result.stdout))


def outside(modules: set[str]) -> set[str]:
    """Return the packages that are neither Python's nor this project's."""
    return _top(modules) - _python() - {"structops_cli"}


def _top(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def _python() -> set[str]:
    import sys

    return set(sys.stdlib_module_names)


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("--version",), ("nothing",), ()])
def test_help_imports_nothing_but_click(words: tuple[str, ...]) -> None:
    modules = imported(*words)
    assert outside(modules) == {"click"}
    own = {name for name in modules if name.startswith("structops_cli.")}
    assert own == {
        "structops_cli.__main__",
        "structops_cli.cli",
        "structops_cli.cli.main",
        "structops_cli.cli.output",
        "structops_cli.errors",
    }


@pytest.mark.parametrize(
    ("words", "packages"),
    [
        (("list",), {"click", "_cffi_backend"}),
        (("show", "t_nobody"), {"click", "_cffi_backend"}),
        (("unregister", "t_nobody"), {"click", "_cffi_backend"}),
        (("types",), {"click", "_cffi_backend"}),
        (("map", "lookup", "t_nobody"), {"click", "_cffi_backend"}),
        (("inspect", "reno"), {"click", "_cffi_backend", "elftools"}),
        (("check", "reno"), {"click", "_cffi_backend", "elftools"}),
        (("register", "reno", "--pin-dir", "/nowhere"), {"click", "_cffi_backend", "elftools"}),
        (("run", "dummy_ops", "nothing"), {"click", "_cffi_backend", "elftools"}),
    ],
)
def test_outside_packages_by_command(words: tuple[str, ...], packages: set[str]) -> None:
    modules = imported(*words)
    assert outside(modules) == packages
    assert not {name for name in modules if name.startswith("structops_cli.net")}


@pytest.mark.parametrize("words", [("default",), ("route", "list")])
def test_commands_that_only_read_the_network_do_not_import_pyroute2(words: tuple[str, ...]) -> None:
    """Wait for the end of other runs: ``default`` loads an iterator if a map is registered."""
    deadline = time.monotonic() + scaled(60)
    while "elftools" in (modules := imported(*words)) and time.monotonic() < deadline:
        time.sleep(1)
    assert outside(modules) == {"click", "_cffi_backend"}
    assert not _top(modules) & HEAVY


def test_hot_paths_import_nothing_heavy_of_pythons() -> None:
    assert not _top(imported("list")) & HEAVY
    assert not _top(imported("register", "reno", "--pin-dir", "/nowhere")) & HEAVY


def test_sockets_imports_nothing_heavy() -> None:
    """Some imports take longer than the listing of ten thousand sockets."""
    modules = imported("sockets")
    assert outside(modules) == {"click", "_cffi_backend"}
    assert not _top(modules) & (HEAVY | {"socket", "json", "selectors"})
    assert not {name for name in modules if name.startswith("structops_cli.btf")}


def test_the_heavy_part_of_pyelftools_is_left_out() -> None:
    modules = imported("inspect", "reno")
    assert "elftools.elf.structs" in modules
    assert not {name for name in modules if name.startswith(("elftools.elf.elffile", "elftools.dwarf"))}


def test_an_object_without_externs_pays_nothing_for_them() -> None:
    """The command reads neither symbols nor the configuration of the kernel."""
    modules = imported("register", "reno", "--pin-dir", "/nowhere")
    assert "structops_cli.runtime.programs" in modules
    names = {
        name.rpartition(".")[2]
        for name in modules
        if name.startswith(("structops_cli.core", "structops_cli.runtime"))
    }
    assert not names & {
        "apply_externs",
        "externs",
        "resolve_externs",
        "kconfig",
        "kernel_config",
        "kernel_symbols",
    }
