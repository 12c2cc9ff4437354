"""Register a large ``switch`` that the newest clang compiles to jump tables for -mcpu=v4."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.net.traffic import send_traffic
from structops_cli.runtime.map_values import read_contents
from structops_cli.runtime.objects import open_object
from structops_cli.syscall import bpf
from structops_cli.syscall.info import prog_info
from tests.cli_runner import done_json, refused, run_cli
from tests.compile import NEWEST, OBJECTS, compile_object
from tests.kernel_features import INSN_ARRAY, needs

SOURCE = OBJECTS / "jump_tables.bpf.c"


@pytest.fixture
def path(tmp_path: Path) -> str:
    made = tmp_path / "jump_tables.bpf.o"
    made.write_bytes(compile_object(SOURCE, clang=NEWEST, flags=("-O2", "-g", "-mcpu=v4")))
    return str(made)


def register(path: str, name: str, pin_dir: str) -> dict[str, object]:
    """Register an object, send traffic, and return its global variables."""
    [one] = done_json("register", path, "--set", f"name={name}", "--pin-dir", pin_dir)["registered"]
    send_traffic(name, 300_000)
    infos = []
    for item in one["programs"]:
        with bpf.prog_get_fd_by_id(item["id"]) as fd:
            infos.append(prog_info(fd))
    found = {item.name: item.entries for item in read_contents(open_object(path), infos)}
    return {str(key): value for section in (".bss", ".data") for key, value in found[section]}


@needs(INSN_ARRAY)
def test_every_table_leads_where_its_switch_does(path: str, name: str, pin_dir: str) -> None:
    assert register(path, name, pin_dir)["answer"] == 178


def test_without_them_the_same_source_registers_for_v3(tmp_path: Path, name: str, pin_dir: str) -> None:
    made = tmp_path / "jump_tables.bpf.o"
    made.write_bytes(compile_object(SOURCE, clang=NEWEST))
    assert register(str(made), name, pin_dir)["answer"] == 178


def test_a_kernel_without_them_is_named_with_the_release(path: str) -> None:
    if INSN_ARRAY.present():
        pytest.skip("this kernel has instruction arrays")
    result = run_cli("check", path)
    assert result.exit_code == 1
    error = refused("register", path, "--dry-run")
    assert "kernels have from Linux 6.19 on" in error["why"]
    assert error["hint"] == "compile with -mcpu=v3, which makes no jump tables"
    assert "kernels have from Linux 6.19 on" in result.stdout
