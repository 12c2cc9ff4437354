"""Unpack the vmlinux of a bzImage, because QEMU boots it seconds faster.

The header is in ``Documentation/arch/x86/boot.rst``. A vmlinux contains the
kernel's BTF, so its types can be read without booting it.
"""

from __future__ import annotations

import gzip
import lzma
import os
import subprocess
from functools import partial
from struct import Struct, error, unpack_from

from structops_cli.errors import UnsupportedError
from structops_cli.vm.kernels import Kernel
from structops_cli.vm.store import atomic_file, made_once
from structops_cli.vm.tools import decompressor

SETUP_SECTORS = 0x1F1
SIGNATURE = (0x202, b"HdrS")
PAYLOAD = 0x248
"""Offset and length of the compressed kernel, from the end of the setup code."""
SECTOR = 512
ELF = b"\x7fELF"
GZIP, XZ, ZSTD, LZ4 = b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18"
SECTIONS = Struct("<40xQ10xHH2x")
"""``e_shoff``, ``e_shentsize`` and ``e_shnum`` of an ELF64 header."""
SIZE_BYTES = 4
"""The kernel's build appends the uncompressed size to a format without one."""


def vmlinux(kernel: Kernel) -> str:
    """Return the path of a kernel's vmlinux, and unpack it if it is missing or incomplete."""
    path = os.path.join(kernel.folder, "vmlinux")
    return made_once(path, _is_complete, partial(_unpack, kernel))


def _unpack(kernel: Kernel, path: str) -> None:
    with open(kernel.image, "rb") as image:
        try:
            found = vmlinux_of(image.read())
        except UnsupportedError as problem:
            problem.hint = f"remove {kernel.folder}: the kernel is fetched again"
            raise
    with atomic_file(path) as file:
        file.write(found)


def _is_complete(path: str) -> bool:
    """Tell whether an ELF file contains its whole section table, which is at its end."""
    try:
        with open(path, "rb") as file:
            head = file.read(SECTIONS.size)
            offset, entry_bytes, count = SECTIONS.unpack(head)
            return head.startswith(ELF) and offset + entry_bytes * count <= os.fstat(file.fileno()).st_size
    except (OSError, error):
        return False


def vmlinux_of(image: bytes) -> bytes:
    """Return the vmlinux of a bzImage. Raises ``UnsupportedError`` if it cannot be unpacked."""
    try:
        packed = _payload(image)
        vmlinux = _unpacked(packed)
    except (error, OSError, EOFError, lzma.LZMAError) as problem:
        raise _unreadable(str(problem)) from None
    except subprocess.CalledProcessError as problem:
        raise _unreadable(problem.stderr.decode(errors="replace").strip()) from None
    if not vmlinux.startswith(ELF):
        raise _unreadable("its payload is no ELF file")
    return vmlinux


def _payload(image: bytes) -> bytes:
    offset, mark = SIGNATURE
    if image[offset : offset + len(mark)] != mark:
        raise _unreadable("it has no setup header")
    (sectors,) = unpack_from("<B", image, SETUP_SECTORS)
    start, length = unpack_from("<II", image, PAYLOAD)
    start += (sectors + 1) * SECTOR
    if start + length > len(image):
        raise _unreadable(f"it was cut short: it has {len(image)} bytes, and more by its header")
    return image[start : start + length]


def _unpacked(packed: bytes) -> bytes:
    if packed.startswith(GZIP):
        return gzip.decompress(packed[:-SIZE_BYTES])
    if packed.startswith(XZ):
        return lzma.LZMADecompressor().decompress(packed)  # stops at the end of the stream
    for magic, name in ((ZSTD, "zstd"), (LZ4, "lz4")):
        if packed.startswith(magic):
            words = [*decompressor(name).command, "-d", "-c", "-q"]
            return subprocess.run(words, input=packed[:-SIZE_BYTES], capture_output=True, check=True).stdout
    raise _unreadable(f"its compression is unknown and begins with {packed[:4].hex(' ')}")


def _unreadable(why: str) -> UnsupportedError:
    return UnsupportedError("the kernel's image cannot be unpacked", why=why)
