"""The bundled objects are what the pinned compiler makes of their sources, byte for byte."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.missing import skip_outside_ci

ROOT = Path(__file__).parents[3]
BUILT = ROOT / "structops_cli" / "objects"
PINNED = "19.1.7"
"""Debian's clang-19; the Makefile installs it."""


def pinned_compiler() -> bool:
    """Tell whether the pinned compiler is here."""
    compiler = shutil.which("clang-19")
    if compiler is None:
        return False
    said = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True).stdout
    return PINNED in said


@pytest.fixture
def rebuilt(tmp_path: Path) -> Path:
    if not pinned_compiler():
        skip_outside_ci(f"waits for clang {PINNED}, as in Debian bookworm: the bytes of another may differ")
    sources = shutil.copytree(ROOT / "bpf_objects", tmp_path / "another checkout")
    subprocess.run(
        ["make", "-s", "-C", sources, "all", f"OUT={tmp_path / 'out'}"], check=True, capture_output=True
    )
    return tmp_path / "out"


def built_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.bpf.o"))


def test_every_object_rebuilds_byte_for_byte(rebuilt: Path) -> None:
    names = built_in(BUILT)
    assert built_in(rebuilt) == names
    assert names == [
        f"{name}.bpf.o"
        for name in (
            "aimd",
            "cubic",
            "dummy_ops",
            "fifo_qdisc",
            "hid_filter",
            "iterators/holders",
            "reno",
            "scx_fifo",
            "scx_vtime",
        )
    ]
    for name in names:
        assert (rebuilt / name).read_bytes() == (BUILT / name).read_bytes(), name


def test_no_path_of_a_machine_is_in_an_object() -> None:
    for path in BUILT.rglob("*.bpf.o"):
        assert b"/home" not in path.read_bytes()
        assert str(ROOT).encode() not in path.read_bytes()
