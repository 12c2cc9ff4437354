"""Sections by name and by their flags."""

from __future__ import annotations

import pytest

from structops_cli.obj.elf_values import ElfObject, Section


def section(name: str, flags: int = 0, position: int = 0) -> Section:
    return Section(position, name, "SHT_PROGBITS", flags, 0, memoryview(b""), 0, 0, 0)


def test_the_first_section_of_a_name_is_found() -> None:
    elf = ElfObject("x.o", (section(".data"), section(".text"), section(".text", position=2)), (), {})
    assert elf.section(".text") is elf.sections[1]
    assert elf.section(".bss") is None


@pytest.mark.parametrize(
    ("flags", "loaded", "executable"), [(0, False, False), (3, True, False), (6, True, True)]
)
def test_flags_of_a_section(flags: int, loaded: bool, executable: bool) -> None:
    assert (section("x", flags).is_loaded, section("x", flags).is_executable) == (loaded, executable)
