"""The excerpts that are kept, as a kernel's types."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from tests.kernels.layout_table import Place, read_table

__all__ = ["KERNELS", "OF_OTHERS", "fields_of_kernel", "kernel_types"]

_FOLDER = Path(__file__).parent
KERNELS = ("5.10", "6.1", "6.12", "7.3")
"""Debian's, by the version that begins their release."""
OF_OTHERS = "7.3-amd64"
"""The one that is cut for the types of other subsystems than TCP; it has no table."""


@cache
def kernel_types(version: str) -> KernelTypes:
    """Return the types of one."""
    data = (_FOLDER / f"debian-{version}.btf").read_bytes()
    return KernelTypes(Btf(data, origin=f"Debian's {version}"))


@cache
def fields_of_kernel(version: str) -> dict[str, dict[str, Place]]:
    """Return what another reader says of its structs."""
    return read_table((_FOLDER / f"debian-{version}.txt").read_text(encoding="ascii"))
