"""The kernel inside a bzImage, whichever way it is packed."""

from __future__ import annotations

import gzip
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path
from struct import pack

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.vm import image
from structops_cli.vm.image import vmlinux, vmlinux_of
from structops_cli.vm.kernels import Kernel
from structops_cli.vm.tools import Tool
from tests.compile import compiler

KERNEL = b"\x7fELF".ljust(40, b"\1") + pack("<Q10xHH2x", 2000, 64, 5) + bytes(range(256)) * 9
"""With five section headers at its end, that reach almost as far as it does."""
SIZE = pack("<I", len(KERNEL))


def bzimage(packed: bytes, *, signature: bytes = b"HdrS", sectors: int = 3, offset: int = 64) -> bytes:
    """Write the parts of a bzImage that a boot loader looks at, by Documentation/arch/x86/boot.rst."""
    head = bytearray((sectors + 1) * 512)
    head[0x1F1] = sectors
    head[0x202:0x206] = signature
    head[0x248:0x250] = pack("<II", offset, len(packed))
    return bytes(head) + bytes(offset) + packed + b"what comes behind"


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("pack_it", [gzip.compress, lzma.compress, zstd])
def test_it_is_unpacked(pack_it: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    if pack_it is zstd:
        compiler("zstd")
    monkeypatch.setattr(image, "decompressor", lambda name: Tool((name,)))
    assert vmlinux_of(bzimage(pack_it(KERNEL) + SIZE)) == KERNEL


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no setup header"),
        (bzimage(gzip.compress(KERNEL) + SIZE, signature=b"Hdr?"), "no setup header"),
        (bzimage(gzip.compress(KERNEL) + SIZE)[:1000], "cut short: it has 1000 bytes"),
        (bzimage(gzip.compress(b"no kernel") + SIZE), "no ELF file"),
        (bzimage(gzip.compress(KERNEL)[:-100]), "ended before the end"),
        (bzimage(lzma.compress(KERNEL)[:20]), "no ELF file"),
        (bzimage(b"BZh91AY"), "42 5a 68 39"),
    ],
)
def test_what_cannot_be_unpacked_is_said(data: bytes, why: str) -> None:
    with pytest.raises(UnsupportedError, match=why):
        vmlinux_of(data)


def test_it_is_unpacked_once(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(bzimage(gzip.compress(KERNEL) + SIZE))
    kernel = Kernel("6.99", str(tmp_path))
    assert Path(vmlinux(kernel)).read_bytes() == KERNEL
    (tmp_path / "vmlinuz").unlink()
    assert Path(vmlinux(kernel)).read_bytes() == KERNEL
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "vmlinux"]


@pytest.mark.parametrize("length", [0, 3, 100, 2319])
def test_one_that_was_cut_short_is_unpacked_again(tmp_path: Path, length: int) -> None:
    (tmp_path / "vmlinuz").write_bytes(bzimage(gzip.compress(KERNEL) + SIZE))
    (tmp_path / "vmlinux").write_bytes(KERNEL[:length])
    assert Path(vmlinux(Kernel("6.99", str(tmp_path)))).read_bytes() == KERNEL


def test_an_image_that_is_damaged_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(bzimage(gzip.compress(KERNEL) + SIZE)[:1500])
    with pytest.raises(UnsupportedError) as caught:
        vmlinux(Kernel("6.99", str(tmp_path)))
    assert caught.value.hint == f"remove {tmp_path}: the kernel is fetched again"
