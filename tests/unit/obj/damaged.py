"""Refusals of damaged ELF files."""

from __future__ import annotations

import pytest

from structops_cli.errors import ElfError
from structops_cli.obj.elf import read_elf


def refusal(data: bytes) -> tuple[str, str]:
    """Return the message and the hint with which ``data`` is refused."""
    with pytest.raises(ElfError) as caught:
        read_elf(data, "x.o")
    return str(caught.value), caught.value.hint


def section_headers(data: bytes) -> int:
    return int.from_bytes(data[40:48], "little")
