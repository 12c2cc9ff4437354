"""Real BTF for tests: the running kernel's, readable without privilege, and clang's."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path

from elftools.elf.elffile import ELFFile

from structops_cli.btf.btf import Btf
from tests.missing import skip_outside_ci

VMLINUX = Path("/sys/kernel/btf/vmlinux")


def section(data: bytes, name: str) -> bytes:
    """Return the contents of a section of an ELF object."""
    found = ELFFile(BytesIO(data)).get_section_by_name(name)
    assert found is not None
    return bytes(found.data())


@cache
def _read() -> Btf:
    return Btf(VMLINUX.read_bytes(), origin="this kernel")


def vmlinux() -> Btf:
    """Return this kernel's types; without them: a failure in CI, a skip elsewhere."""
    if not VMLINUX.exists():
        skip_outside_ci(f"there is no {VMLINUX}: a kernel with CONFIG_DEBUG_INFO_BTF=y is needed")
    return _read()
