"""The programs of a guest: this Python with its bytecode and its packages."""

from __future__ import annotations

import importlib.util
import marshal
import py_compile
from pathlib import Path

import pytest

from structops_cli.vm.userland import bytecode, distributions


@pytest.mark.parametrize("cached", [False, True])
def test_bytecode_is_never_compared_with_its_source(tmp_path: Path, cached: bool) -> None:
    source = tmp_path / "a.py"
    source.write_text("x = 1\n")
    if cached:
        py_compile.compile(str(source))
    data = bytecode(str(source))
    assert data.startswith(importlib.util.MAGIC_NUMBER + b"\1\0\0\0")  # PEP 552: hash-based, not checked
    names: dict[str, object] = {}
    exec(marshal.loads(data[16:]), names)
    assert names["x"] == 1


def test_bytecode_of_another_source_is_not_taken(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text("x = 1\n")
    py_compile.compile(str(source))
    source.write_text("x = 22\n")
    names: dict[str, object] = {}
    exec(marshal.loads(bytecode(str(source))[16:]), names)
    assert names["x"] == 22


def test_packages_come_with_what_they_require() -> None:
    assert {item.name for item in distributions(["cffi", "not-there-at-all"])} >= {"cffi", "pycparser"}
