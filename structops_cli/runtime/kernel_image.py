"""Read the BTF in a file: raw BTF, a vmlinux (also compressed) or a bootable kernel image.

The first bytes show the format. Of an ELF file, which can have a gigabyte of debug
information, only the section ``.BTF`` is read.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
from struct import Struct

from structops_cli.errors import BtfError, InputError, NotFoundError, UnsupportedError
from structops_cli.runtime.decompress import compression_of, decompress
from structops_cli.syscall.uapi import BTF_MAGIC

ELF_MAGIC = b"\x7fELF"
BTF_MAGICS = (BTF_MAGIC.to_bytes(2, "little"), BTF_MAGIC.to_bytes(2, "big"))
HEAD_BYTES = 1024
LARGEST_FILE = 256 << 20
"""Bytes of raw BTF or of a compressed image. The largest in use have 15 MB."""
ACCEPTED = "give raw BTF (such as /sys/kernel/btf/vmlinux), a vmlinux, or a kernel image (vmlinuz, bzImage)"

# struct setup_header of arch/x86/include/uapi/asm/bootparam.h: Documentation/arch/x86/boot.rst
_SETUP_SECTS = 0x1F1
_BOOT_FLAG = (0x1FE, b"\x55\xaa")
_HEADER = (0x202, b"HdrS")
_VERSION = (Struct("<H"), 0x206)
_KERNEL_VERSION = (Struct("<H"), 0x20E)
"""Offset of the kernel's version text, counted from the header."""
_PAYLOAD = (Struct("<II"), 0x248)
_PAYLOAD_SINCE = 0x0208
_SECTOR = 512
_BANNER = re.compile(rb"Linux version (\d[!-~]{0,100} [ -~]{0,500})")
"""``linux_banner`` (init/version-timestamp.c): release, builder, compiler, ``uname -v``."""

NO_KERNEL = (".", "System.map", "config", "initramfs", "initrd", "memtest86", "symvers", "xen")
"""Prefixes of other file names in /boot. Some of those files are compressed, or ELF."""
BOOT_FOLDERS = frozenset({"EFI", "efi", "extlinux", "grub", "grub2", "loader", "lost+found", "syslinux"})
"""Folders of boot loaders and of the file system in a /boot."""
_CONFIGURATION = re.compile(r".*\.config(\.gz)?$")
"""``NAME.config`` beside a kernel, which ``kernel_config`` reads."""
_NAMED_KERNEL = re.compile(r"vmlinu(?!.*\.h$)|bzImage|.*\.btf(\.|$)")


def read_kernel_btf(path: str) -> bytes:
    """Return the BTF of a kernel from any supported file.

    Raises ``NotFoundError`` for an unreadable file, ``InputError`` for a damaged file or
    one without BTF, and ``UnsupportedError`` for a compression without a decoder here.
    """
    try:
        fd = _open(path)
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read", why=error.strerror or "", object=path) from None
    try:
        return _of_file(fd, path)
    except (InputError, UnsupportedError) as error:
        error.add(object=path)
        raise
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read", why=error.strerror or "", object=path) from None
    finally:
        os.close(fd)


def kernel_banner(path: str) -> str | None:
    """Return the release of a kernel's file with its builder and date; None for raw BTF.

    Errors as ``read_kernel_btf``.
    """
    try:
        fd = _open(path)
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read", why=error.strerror or "", object=path) from None
    try:
        return _banner(fd, path)
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read", why=error.strerror or "", object=path) from None
    finally:
        os.close(fd)


def _banner(fd: int, path: str) -> str | None:
    head = os.pread(fd, HEAD_BYTES, 0)
    if head.startswith(BTF_MAGICS) or not head:
        return None
    if _is_image(head):
        shape, at = _KERNEL_VERSION
        start = (
            shape.unpack_from(head, at)[0] + _BOOT_FLAG[0] + len(_BOOT_FLAG[1]) if len(head) > at + 1 else 0
        )
        text = os.pread(fd, HEAD_BYTES, start) if start else b""
        return text.partition(b"\0")[0].decode("ascii", "replace") or None
    how = compression_of(head)
    if how is None and not head.startswith(ELF_MAGIC):
        return None
    if how:
        return _named_in(decompress(_whole(fd, path), how, path, _is_plain))
    with mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as data:
        return _named_in(data)


def _named_in(kernel: bytes | mmap.mmap) -> str | None:
    found = _BANNER.search(kernel)
    return found[1].decode("ascii") if found else None


def may_be_kernel(path: str) -> bool:
    """Tell by name or first bytes whether a file may be a kernel or BTF.

    An empty or unreadable file may be one. A usual other file of a /boot and a special file
    are none.
    """
    name = os.path.basename(path)
    if lies_beside_kernels(path) or (os.path.exists(path) and not os.path.isfile(path)):
        return False
    if _NAMED_KERNEL.match(name):
        return True
    try:
        fd = _open(path)
    except OSError:
        return True
    try:
        head = os.pread(fd, HEAD_BYTES, 0)
    except OSError:
        return True
    finally:
        os.close(fd)
    return not head or _is_plain(head) or _is_image(head) or compression_of(head) is not None


def lies_beside_kernels(path: str) -> bool:
    """Tell by name whether an entry of a /boot usually lies beside kernels."""
    name = os.path.basename(path)
    is_boot_folder = name in BOOT_FOLDERS and os.path.isdir(path)
    return is_boot_folder or name.startswith(NO_KERNEL) or _CONFIGURATION.match(name) is not None


def _open(path: str) -> int:
    """Open a regular file. Refuse devices and pipes, which may have no end."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise OSError(0, "it is a directory" if stat.S_ISDIR(mode) else "it is no regular file")
    return fd


def _of_file(fd: int, path: str) -> bytes:
    head = os.pread(fd, HEAD_BYTES, 0)
    if head.startswith(ELF_MAGIC):
        # not closed: a view of the mapping may live on, for example in an exception
        return _of_elf(mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ), path)
    if head.startswith(BTF_MAGICS):
        return _whole(fd, path)
    if _is_image(head):
        return _of_payload(_payload(_whole(fd, path), path), path)
    if compression_of(head):
        return _of_payload(_whole(fd, path), path)
    why = f"it begins with {head[:4].hex(' ')}" if head else "it is empty"
    raise BtfError(f"{path} is no kernel and no BTF", why=why, hint=ACCEPTED)


def _whole(fd: int, path: str) -> bytes:
    """Read a file whole. sysfs returns BTF in pages, which ``readall`` joins without copies."""
    with open(fd, "rb", buffering=0, closefd=False) as file:
        if os.fstat(fd).st_size > LARGEST_FILE:
            raise InputError(f"{path} is too large", why=f"it has more than {LARGEST_FILE >> 20} MiB")
        return file.readall()


def _is_plain(head: bytes) -> bool:
    return head.startswith((ELF_MAGIC, *BTF_MAGICS))


def _of_payload(data: bytes, path: str) -> bytes:
    """Return the BTF of a payload, which CONFIG_KERNEL_UNCOMPRESSED leaves uncompressed."""
    how = compression_of(data[:HEAD_BYTES])
    if how:
        data = decompress(data, how, path, _is_plain)
    if data.startswith(BTF_MAGICS):
        return data
    if data.startswith(ELF_MAGIC):
        return _of_elf(data, path)
    why = f"its payload begins with {data[:4].hex(' ')}, which is neither ELF nor a known compression"
    raise InputError(f"{path} holds no kernel", why=why, hint=ACCEPTED)


def _of_elf(data: bytes | mmap.mmap, path: str) -> bytes:
    from structops_cli.obj.elf import btf_section  # imports pyelftools, which is slow

    found = btf_section(data, path)
    if not found:
        why = "its section .BTF is empty: this file has the debug information only"
        raise BtfError(f"{path} has no types", why=why, hint="give the vmlinux, or the kernel image, itself")
    return found


# The image


def _is_image(head: bytes) -> bool:
    """Tell whether a file starts as a bootable x86 image (bzImage)."""
    return all(head[at : at + len(text)] == text for at, text in (_BOOT_FLAG, _HEADER))


def _payload(data: bytes, path: str) -> bytes:
    """Return the kernel in an image, which the setup header locates."""
    if len(data) < HEAD_BYTES:
        raise InputError(f"{path} is damaged", why=f"it ends after {len(data)} bytes, within its own header")
    shape, at = _VERSION
    if shape.unpack_from(data, at)[0] < _PAYLOAD_SINCE:
        why = "its header is older than boot protocol 2.08, and does not locate the kernel"
        raise InputError(f"{path} cannot be read", why=why)
    shape, at = _PAYLOAD
    offset, length = shape.unpack_from(data, at)
    start = ((data[_SETUP_SECTS] or 4) + 1) * _SECTOR + offset
    if not length or start + length > len(data):
        why = (
            f"its payload ends at byte {start + length}, and it has {len(data)}"
            if length
            else "it has no payload"
        )
        raise InputError(f"{path} is damaged", why=why)
    return data[start : start + length]
