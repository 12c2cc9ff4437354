"""Read the ELF container of a BPF object: the only home of pyelftools.

``ELFStructs`` decodes the headers. ``ELFFile`` is not used: importing it takes
twice as long, a fifth of a whole command. It also reads names without a limit,
parses hash tables when it lists sections, and inflates without a bound.

BTF sections may be compressed (``SHF_COMPRESSED``, ``Elf64_Chdr``). Nothing
reads debug sections, so they stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from io import BytesIO
from struct import Struct
from typing import TYPE_CHECKING, Any

from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.elf.structs import ELFStructs

from structops_cli.errors import ElfError
from structops_cli.obj.elf_symbols import damaged, name_at, read_relocations, read_symbols, symbol_table
from structops_cli.obj.elf_values import ElfObject, Section

if TYPE_CHECKING:
    from mmap import mmap

MAX_BYTES = 64 << 20
"""The most bytes of one decompressed section."""

_SHF_COMPRESSED = 0x800
_HEADER = Struct("<IIQQ")
"""Algorithm, reserved, size, alignment."""
_ZLIB = 1
_ALGORITHMS = {2: "zstd"}
_READ = (".BTF", ".BTF.ext")


def decompressed(section: Section) -> Section:
    """Return the section with its bytes decompressed.

    Raises ElfError for other algorithms than zlib, and for a compressed section
    of the program.
    """
    if not section.flags & _SHF_COMPRESSED or not (section.name in _READ or section.is_loaded):
        return section
    if section.is_loaded:
        raise damaged(f"section {section.name} is compressed", "sections of a program may not be")
    if len(section.data) < _HEADER.size:
        raise damaged(
            f"section {section.name} is compressed", f"its {len(section.data)} bytes are too few for a header"
        )
    algorithm, _, size_bytes, _ = _HEADER.unpack_from(section.data)
    if algorithm != _ZLIB:
        raise _unknown(section.name, algorithm)
    data = _inflate(section, size_bytes)
    return section._replace(
        data=memoryview(data), size_bytes=size_bytes, flags=section.flags & ~_SHF_COMPRESSED
    )


def _unknown(name: str, algorithm: int) -> ElfError:
    return ElfError(
        f"section {name} is compressed with {_ALGORITHMS.get(algorithm, f'algorithm {algorithm}')}",
        why="only zlib is supported",
        hint="decompress it: "
        f"llvm-objcopy {' '.join(f'--compress-sections={one}=none' for one in _READ)} FILE, of LLVM 19 or later",
    )


def _inflate(section: Section, size_bytes: int) -> bytes:
    from zlib import decompressobj, error  # few objects are compressed

    if size_bytes > MAX_BYTES:
        why = f"it would have {size_bytes} bytes; the limit is {MAX_BYTES}"
        raise damaged(f"section {section.name} is too large", why)
    stream = decompressobj()
    try:
        data = stream.decompress(section.data[_HEADER.size :], size_bytes + 1)
    except error as refusal:
        raise damaged(f"section {section.name} cannot be decompressed", str(refusal)) from refusal
    if len(data) != size_bytes or not stream.eof:
        why = f"it does not hold the {size_bytes} bytes that its header gives"
        raise damaged(f"section {section.name} cannot be decompressed", why)
    return data


MAX_SECTIONS = 0xFF00
"""SHN_LORESERVE: larger section numbers have other meanings."""

_HEADER_BYTES = 64
_BITCODE = (b"BC\xc0\xde", b"\xde\xc0\x17\x0b")
"""The first bytes of LLVM bitcode, without and with its wrapper."""
_FOR_BPF = "compile it with clang -target bpf"
_MACHINES = {"EM_X86_64": "x86-64", "EM_AARCH64": "arm64", "EM_386": "x86", "EM_RISCV": "RISC-V"}
_TYPES = {"ET_EXEC": "an executable", "ET_DYN": "a shared object", "ET_CORE": "a core dump"}


def read_elf(data: bytes | mmap, name: str) -> ElfObject:
    """Read a relocatable little-endian 64-bit BPF object. The result shares memory with ``data``.

    ``name`` is kept in the result. Raises ElfError for all other bytes.
    """
    sections = _read_sections(data, _check_target)
    table = symbol_table(sections)
    symbols = tuple(read_symbols(sections, table))
    return ElfObject(name, sections, symbols, read_relocations(sections, symbols, table))


def btf_section(data: bytes | mmap, name: str) -> bytes:
    """Return section ``.BTF`` of any little-endian 64-bit ELF file, such as a vmlinux.

    ``name`` is for messages. Raises ElfError without such a section.
    """
    try:
        return bytes(_section_named(_read_sections(data, _check_layout), ".BTF").data)
    except ElfError as error:
        error.what = f"{name}: {error.what}"
        error.add(object=name)
        raise


def _section_named(sections: tuple[Section, ...], name: str) -> Section:
    for section in sections:
        if section.name == name:
            return section
    hint = "give a vmlinux of a kernel built with CONFIG_DEBUG_INFO_BTF=y, or raw BTF"
    raise ElfError("this file has no types", why=f"there is no section {name}", hint=hint)


def _read_sections(data: bytes | mmap, check: Callable[[Any, int, bool], None]) -> tuple[Section, ...]:
    try:
        structs, header = _file_header(data, check)
        headers = _section_headers(data, structs, header)
    except ELFError as error:
        raise damaged("its ELF headers cannot be decoded", str(error)) from error
    return _sections(data, headers, header["e_shstrndx"])


@cache
def _structs(little_endian: bool, bits: int) -> ELFStructs:
    structs = ELFStructs(little_endian, bits)
    structs.create_basic_structs()
    if little_endian and bits == 64:
        structs.create_advanced_structs("ET_REL", "EM_BPF")
    return structs


def _file_header(data: bytes | mmap, check: Callable[[Any, int, bool], None]) -> tuple[ELFStructs, Any]:
    """Decode the file header and ``check`` it. ``check`` gets the header, bits and byte order."""
    if data[:4] != b"\x7fELF":
        raise _no_elf(data[:4])
    if len(data) < _HEADER_BYTES:
        raise damaged("the file is truncated", f"its {len(data)} bytes hold no ELF header")
    bits, little_endian = {1: 32, 2: 64}.get(data[4]), {1: True, 2: False}.get(data[5])
    if bits is None or little_endian is None:
        why = f"its class is {data[4]} and its byte order {data[5]}; each can be 1 or 2 only"
        raise damaged("the ELF header is damaged", why)
    structs = _structs(little_endian, bits)
    header = struct_parse(structs.Elf_Ehdr, BytesIO(data[:_HEADER_BYTES]), 0)
    check(header, bits, little_endian)
    return structs, header


def _no_elf(start: bytes) -> ElfError:
    if start in _BITCODE:
        return ElfError(
            "this is LLVM bitcode, not an object",
            why=f"it begins with {start.hex(' ')}: clang writes that with -emit-llvm and with -flto",
            hint="compile it with clang -target bpf -O2 -g -c and without those options, "
            "or compile the bitcode: llc -march=bpf -filetype=obj -o OBJ.bpf.o FILE",
        )
    why = f"it begins with {start.hex(' ')}, not with 7f 45 4c 46" if start else "it is empty"
    return ElfError("this is not an ELF file", why=why, hint="give an object that clang -target bpf made")


def _check_target(header: Any, bits: int, little_endian: bool) -> None:
    machine, kind = header["e_machine"], header["e_type"]
    if machine != "EM_BPF":
        why = f"its machine is {_MACHINES.get(machine, str(machine).removeprefix('EM_'))}, not BPF"
        raise ElfError("this object is compiled for another machine", why=why, hint=_FOR_BPF)
    if bits != 64:
        raise ElfError("this is a 32-bit ELF file", why="BPF objects are 64-bit", hint=_FOR_BPF)
    if not little_endian:
        why = "it is big-endian (bpfeb); this machine is little-endian"
        raise ElfError(
            "this object has the other byte order", why=why, hint="compile it with clang -target bpfel"
        )
    if kind != "ET_REL":
        why = f"it is {_TYPES.get(kind, f'of ELF type {kind}')}"
        raise ElfError(
            "this is not a relocatable object", why=why, hint="compile it with -c, and do not link it"
        )


def _check_layout(_header: Any, bits: int, little_endian: bool) -> None:
    if bits != 64 or not little_endian:
        why = f"it is a {bits}-bit {'little' if little_endian else 'big'}-endian file"
        raise ElfError("this file is of another machine", why=why, hint="give a 64-bit little-endian one")


def _section_headers(data: bytes | mmap, structs: ELFStructs, header: Any) -> list[Any]:
    offset, count, entry = header["e_shoff"], header["e_shnum"], header["e_shentsize"]
    if not 0 < count <= MAX_SECTIONS:
        raise damaged("the section headers are unusable", f"there are {count} of at most {MAX_SECTIONS}")
    if entry != structs.Elf_Shdr.sizeof():
        raise damaged("the section headers are unusable", f"each has {entry} bytes; 64-bit ELF has 64")
    if offset + count * entry > len(data):
        why = f"{count} section headers at byte {offset} reach beyond its {len(data)} bytes"
        raise damaged("the file is truncated", why, offset=offset)
    stream = BytesIO(data[offset : offset + count * entry])
    return [struct_parse(structs.Elf_Shdr, stream, position * entry) for position in range(count)]


def _sections(data: bytes | mmap, headers: list[Any], names_at: int) -> tuple[Section, ...]:
    if names_at >= len(headers):
        why = f"section {names_at} should hold them; there are {len(headers)} sections"
        raise damaged("the section names are missing", why)
    extents = [_extent(data, position, header) for position, header in enumerate(headers)]
    if sum(map(len, extents)) > len(data):
        # Compilers never share bytes between sections. Shared bytes could cost unbounded memory.
        raise damaged("sections overlap", "together they are larger than the file")
    names = bytes(extents[names_at])
    return tuple(
        decompressed(
            Section(
                position=position,
                name=name_at(names, header["sh_name"], f"section {position}"),
                type=str(header["sh_type"]),
                flags=header["sh_flags"],
                size_bytes=header["sh_size"],
                data=extent,
                link=header["sh_link"],
                info=header["sh_info"],
                entry_bytes=header["sh_entsize"],
            )
        )
        for position, (header, extent) in enumerate(zip(headers, extents, strict=True))
    )


def _extent(data: bytes | mmap, position: int, header: Any) -> memoryview:
    if header["sh_type"] in {"SHT_NOBITS", "SHT_NULL"}:
        return memoryview(b"")
    start, end = header["sh_offset"], header["sh_offset"] + header["sh_size"]
    if end > len(data):
        why = f"section {position} ends at byte {end}; the file has {len(data)}"
        raise damaged("the file is truncated", why, offset=start)
    return memoryview(data)[start:end]
