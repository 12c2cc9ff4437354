"""Lay out a kernel's types with another reader: bpftool writes them as C, and clang lays them out.

A table has a line ``struct NAME SIZE`` for each struct, and below it one for each
named field, those of anonymous members too: ``NAME BYTE SIZE``, or for a
bit-field ``NAME BIT:WIDTH``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import unpack
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.types import Composite, Member
from structops_cli.obj.elf import read_elf
from structops_cli.syscall.uapi import BtfKind

__all__ = ["Place", "fields_of", "read_table", "write_table"]

CLANG = (
    "clang-19",
    "-target",
    "bpf",
    "-O0",
    "-Wno-everything",
    "-DBPF_NO_PRESERVE_ACCESS_INDEX",
    "-c",
    "-x",
    "c",
    "-",
    "-o",
)


class Place(NamedTuple):
    """Where a field is, in bits; ``is_bit_field`` where it is one."""

    bit: int
    bits: int
    is_bit_field: bool


def fields_of(btf: Btf, struct: str) -> Iterator[Member]:
    """Yield the named members of a struct and of the anonymous ones in it; where they are is not said here."""
    (type_id,) = btf.ids(struct, BtfKind.STRUCT)
    pending = [type_id]
    while pending:
        found = btf.type(pending.pop())
        if isinstance(found, Composite):
            yield from (member for member in found.members if member.name)
            pending += [member.type for member in reversed(found.members) if not member.name]


def write_table(btf_file: Path, bpftool: str, structs: Iterable[str], folder: Path) -> str:
    """Return the table of these structs, as clang lays out bpftool's C."""
    btf = Btf(btf_file.read_bytes())
    asked = {struct: list(fields_of(btf, struct)) for struct in structs}
    dump = [bpftool, "btf", "dump", "file", str(btf_file), "format", "c"]
    source = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
    for number, (struct, fields) in enumerate(asked.items()):
        source += _questions(number, struct, fields)
    made = folder / "layout.o"
    subprocess.run([*CLANG, str(made)], input=source, text=True, check=True)
    sections = {
        section.name: bytes(section.data) for section in read_elf(made.read_bytes(), "layout.o").sections
    }
    return "".join(
        _answers(number, struct, fields, sections) for number, (struct, fields) in enumerate(asked.items())
    )


def _questions(number: int, struct: str, fields: Iterable[Member]) -> str:
    """Return C whose sections hold offsets and sizes, and for each bit-field a struct with all bits of it set."""
    plain = [
        f"__builtin_offsetof(struct {struct}, {m.name}), sizeof((({struct}_t *)0)->{m.name}),"
        for m in fields
        if not m.bit_size
    ]
    text = f"typedef struct {struct} {struct}_t;\n"
    text += f'__attribute__((section("plain{number}"))) unsigned in_plain{number}[] = {{ sizeof({struct}_t), {" ".join(plain)} }};\n'
    for index, member in enumerate(fields):
        if member.bit_size:
            name = f"bits{number}_{index}"
            text += f'__attribute__((section("{name}"))) {struct}_t in_{name} = {{ .{member.name} = -1 }};\n'
    return text


def _answers(number: int, struct: str, fields: Iterable[Member], sections: dict[str, bytes]) -> str:
    data = sections[f"plain{number}"]
    size, *words = unpack(f"<{len(data) // 4}I", data)
    numbers = iter(words)
    lines = [f"struct {struct} {size}"]
    for index, member in enumerate(fields):
        if member.bit_size:
            bits = int.from_bytes(sections[f"bits{number}_{index}"], "little")
            lines.append(f"{member.name} {(bits & -bits).bit_length() - 1}:{bits.bit_count()}")
        else:
            lines.append(f"{member.name} {next(numbers)} {next(numbers)}")
    return "\n".join(lines) + "\n"


def read_table(text: str) -> dict[str, dict[str, Place]]:
    """Return the fields by struct; that of the name "" is the whole struct."""
    table: dict[str, dict[str, Place]] = {}
    for line in text.splitlines():
        words = line.split()
        if line.startswith("#"):
            continue
        if words[0] == "struct":
            fields = table[words[1]] = {"": Place(0, int(words[2]) * 8, False)}
        elif ":" in words[1]:
            first, width = words[1].split(":")
            fields[words[0]] = Place(int(first), int(width), True)
        else:
            fields[words[0]] = Place(int(words[1]) * 8, int(words[2]) * 8, False)
    return table
