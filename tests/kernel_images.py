"""Write bootable kernel images: a setup header and a compressed payload."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
from collections.abc import Callable
from struct import pack, pack_into
from typing import Any

from tests.elf_writers import Sec, write_elf

NOBITS = 8
X86_64 = 62
EXECUTABLE = 2


def vmlinux(btf: bytes | None, *, banner: str = "", **changes: Any) -> bytes:
    """Return an ELF file like vmlinux; ``banner`` is the text of ``/proc/version``."""
    sections = [Sec(".text", b"\x90" * 64)]
    if banner:
        sections.append(Sec(".rodata", banner.encode() + b"\n\0"))
    if btf is not None:
        sections.append(Sec(".BTF", btf, 0))
    return write_elf(sections, [], [], machine=X86_64, elf_type=EXECUTABLE, **changes)


def debug_half(btf: bytes) -> bytes:
    """Return the output of ``objcopy --only-keep-debug``: sections without contents."""
    return write_elf(
        [Sec(".BTF", b"", 0, NOBITS, size=len(btf))], [], [], machine=X86_64, elf_type=EXECUTABLE
    )


def appended(data: bytes, original: bytes) -> bytes:
    """Append the size of the original to compressed data, as the kernel's build does."""
    return data + pack("<I", len(original))


def by_command(*words: str, data: bytes) -> bytes:
    return subprocess.run(words, input=data, capture_output=True, check=True).stdout


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lambda data: appended(lzma.compress(data, check=lzma.CHECK_CRC32), data),
    "bzip2": lambda data: appended(bz2.compress(data), data),
    "lzma": lambda data: appended(lzma.compress(data, lzma.FORMAT_ALONE), data),
    "zstd": lambda data: appended(by_command("zstd", "-qc", data=data), data),
    "lz4": lambda data: appended(by_command("lz4", "-lqc", data=data), data),
    "none": lambda data: data,
}
"""Compress a payload as the kernel's build does (scripts/Makefile.lib)."""


def bzimage(
    payload: bytes, *, protocol: int = 0x20F, sectors: int = 2, length: int | None = None, version: str = ""
) -> bytes:
    """Return an image; ``sectors`` is the size of its setup without the first sector."""
    setup = bytearray((sectors + 1) * 512)
    setup[0x1F1] = sectors
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x202:0x206] = b"HdrS"
    pack_into("<H", setup, 0x206, protocol)
    if version:
        pack_into("<H", setup, 0x20E, 0x300 - 0x200)
        setup[0x300 : 0x300 + len(version) + 1] = version.encode() + b"\0"
    before = b"\x90" * 100
    pack_into("<II", setup, 0x248, len(before), len(payload) if length is None else length)
    return bytes(setup) + before + payload
