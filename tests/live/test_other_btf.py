"""The command where the kernel's or a module's BTF is damaged, empty, or newer than structops."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli_runner import Result, run_process
from tests.compile import OBJECTS, compile_object
from tests.live.other_btf import run_with_btf
from tests.writers import write_btf

VMLINUX = Path("/sys/kernel/btf/vmlinux").read_bytes()
BARE = write_btf()[:24][:20] + bytes(4)
"""A header and no byte more, as a module without types of its own has."""
TCP = "tcp_congestion_ops"
SKIPPED = "2 modules were skipped, their types are not known: t_cut, t_nothing"


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder like /sys/kernel/btf with this kernel's types, two modules that are damaged, and one without types."""
    folder = tmp_path_factory.mktemp("btf")
    (folder / "vmlinux").write_bytes(VMLINUX)
    (folder / "t_cut").write_bytes(VMLINUX[:40])
    (folder / "t_nothing").write_bytes(b"")
    (folder / "t_bare").write_bytes(BARE)
    return folder


def run(how: str, folder: Path, *arguments: str) -> Result:
    """Run the command on the folder as this kernel's own BTF, or as that of a file."""
    if how == "live":
        return run_with_btf(folder, *arguments)
    return run_process(*arguments, "--btf", str(folder))


@pytest.mark.parametrize("how", ["live", "folder"])
@pytest.mark.parametrize("arguments", [("types",), ("types", TCP), ("btf", "header", "t_nowhere", TCP)])
def test_damaged_modules_are_skipped_and_named(damaged: Path, how: str, arguments: tuple[str, ...]) -> None:
    asked = [word for word in arguments if word != "t_nowhere"]
    if arguments[0] == "btf":  # modules are read for a type only that the kernel itself lacks
        missing = run(how, damaged, *arguments)
        assert (missing.exit_code, missing.stderr.startswith(f"warning: {SKIPPED}")) == (3, True)
        return
    quiet = run(how, damaged, *asked, "-q")
    assert quiet.exit_code == 0, quiet.stderr
    assert quiet.stderr.startswith(f"warning: {SKIPPED}\n  why: ")
    assert "t_bare" not in quiet.stderr
    assert TCP in quiet.stdout
    [warning] = run(how, damaged, *asked, "--json").json()["warnings"]
    assert warning["what"] == SKIPPED
    assert "40" in warning["why"]


@pytest.fixture
def asks_modules(tmp_path: Path) -> str:
    """Return an object with weak symbols that no kernel has: they are looked for in every module."""
    path = tmp_path / "t_asks.bpf.o"
    path.write_bytes(compile_object(OBJECTS / "kernel_symbols.bpf.c"))
    return str(path)


def test_check_names_them_for_each_kernel(damaged: Path, asks_modules: str) -> None:
    here = run_with_btf(damaged, "check", asks_modules, "--json").json()
    there = run_process("check", asks_modules, "--btf", str(damaged), "--json").json()
    for data, label in ((here, os.uname().release), (there, damaged.name)):
        assert [item["what"] for item in data["warnings"]] == [f"{label}: {SKIPPED}"]


def test_register_and_update_name_them(damaged: Path, asks_modules: str, pin_dir: str) -> None:
    first = run_with_btf(damaged, "register", asks_modules, "--pin-dir", pin_dir, "--json")
    assert first.exit_code == 0, first.stderr
    data = first.json()
    assert SKIPPED in [item["what"] for item in data["warnings"]]
    name = data["registered"][0]["name"]
    second = run_with_btf(damaged, "update", name, asks_modules, "-q")
    assert f"warning: {SKIPPED}" in second.stderr
    assert run_process("unregister", name).exit_code == 0
