"""Decompress the BTF sections of an ELF file (``SHF_COMPRESSED``, the ELF header ``Elf64_Chdr``). Pure.

Debug sections are left as they are: nothing here reads them.
"""

from __future__ import annotations

from struct import Struct

from structops_cli.errors import ElfError
from structops_cli.obj.elf_symbols import damaged
from structops_cli.obj.elf_values import Section

__all__ = ["MAX_BYTES", "decompressed"]

MAX_BYTES = 64 << 20
"""The most bytes that one section may have."""

_SHF_COMPRESSED = 0x800
_HEADER = Struct("<IIQQ")
"""Algorithm, reserved, size, alignment."""
_ZLIB = 1
_ALGORITHMS = {2: "zstd"}
_READ = (".BTF", ".BTF.ext")


def decompressed(section: Section) -> Section:
    """Return the section as it was before it was compressed.

    Raises ``ElfError`` for another algorithm than zlib, and for a section that may not be compressed.
    """
    if not section.flags & _SHF_COMPRESSED or not (section.name in _READ or section.is_loaded):
        return section
    if section.is_loaded:
        raise damaged(f"section {section.name} is compressed", "no section of a program may be")
    if len(section.data) < _HEADER.size:
        raise damaged(
            f"section {section.name} is compressed", f"its {len(section.data)} bytes hold no header"
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
        why="only zlib is read here",
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
        why = f"it holds other than the {size_bytes} bytes that its header names"
        raise damaged(f"section {section.name} cannot be decompressed", why)
    return data
