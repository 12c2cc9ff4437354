"""BTF out of whatever holds it, and a plain word for what holds none."""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from structops_cli.errors import BtfError, InputError, NotFoundError, StructopsError, UnsupportedError
from structops_cli.runtime import decompress as decompress_module
from structops_cli.runtime.kernel import kernel_from_file
from structops_cli.runtime.kernel_image import may_be_kernel, read_kernel_btf
from structops_cli.struct_ops.catalogue import find_type
from tests.compile import compiler
from tests.kernel_images import COMPRESS, bzimage, debug_half, vmlinux
from tests.synthetic_kernels import kernel

BTF = kernel().vmlinux.raw()
BIG_BTF = bytes.fromhex("eb9f010000000018") + bytes(64)


@pytest.fixture
def at(tmp_path: Path) -> Any:
    def write(data: bytes, name: str = "vmlinuz") -> str:
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return write


def refusal(path: str, kind: type[StructopsError] = InputError) -> StructopsError:
    with pytest.raises(kind) as caught:
        kernel_from_file(path)
    assert caught.value.fields["object"] == path
    assert caught.value.what
    assert caught.value.why
    return caught.value


def needs(compression: str) -> None:
    if compression in {"zstd", "lz4"}:
        compiler(compression)


@pytest.mark.parametrize("compression", COMPRESS)
def test_an_image_of_every_compression(at: Any, compression: str) -> None:
    needs(compression)
    path = at(bzimage(COMPRESS[compression](vmlinux(BTF))))
    assert may_be_kernel(path)
    assert find_type(kernel_from_file(path), "tcp_congestion_ops").members


@pytest.mark.parametrize("compression", sorted(set(COMPRESS) - {"none"}))
@pytest.mark.parametrize("inner", [BTF, vmlinux(BTF)], ids=["btf", "vmlinux"])
def test_a_compressed_file_of_its_own(at: Any, compression: str, inner: bytes) -> None:
    needs(compression)
    assert read_kernel_btf(at(COMPRESS[compression](inner), "vmlinux.z")) == BTF


def test_raw_btf_and_a_vmlinux(at: Any) -> None:
    assert read_kernel_btf(at(BTF)) == BTF
    assert read_kernel_btf(at(vmlinux(BTF))) == BTF


def test_the_first_sector_count_of_old_loaders(at: Any) -> None:
    image = bytearray(bzimage(COMPRESS["gzip"](vmlinux(BTF)), sectors=4))
    image[0x1F1] = 0
    assert read_kernel_btf(at(bytes(image))) == BTF


# Refusals


@pytest.mark.parametrize(
    ("data", "what", "why"),
    [
        (b"", "is no kernel and no BTF", "empty"),
        (b"#!/bin/sh\n", "is no kernel and no BTF", "begins with 23 21 2f 62"),
        (BIG_BTF, "cannot be read", "its byte order is big-endian"),
        (BTF[: len(BTF) // 2], "is damaged", "ends at byte"),
        (BTF[:5], "is damaged", "too few"),
        (vmlinux(None), "has no types", "no section .BTF"),
        (debug_half(BTF), "has no types", "debug information only"),
        (vmlinux(BTF, byte_order=2), "is of another machine", "big-endian"),
        (vmlinux(BTF, elf_class=1), "is of another machine", "32-bit"),
        (vmlinux(BTF)[:-100], "truncated", "section"),
        (vmlinux(BTF)[:40], "truncated", "40 bytes"),
        (bzimage(b"")[:600], "is damaged", "within its own header"),
        (bzimage(b""), "is damaged", "no payload"),
        (bzimage(b"x" * 50, length=5000), "is damaged", "payload ends at byte"),
        (bzimage(b"\1\2\3\4" * 9), "holds no kernel", "begins with 01 02 03 04"),
        (bzimage(gzip.compress(vmlinux(BTF)), protocol=0x207), "cannot be read", "2.08"),
        (bzimage(gzip.compress(vmlinux(BTF)))[:-9], "is damaged", "payload ends at byte"),
        (gzip.compress(b"070701 an archive of files"), "holds no kernel", "neither an ELF file nor BTF"),
        (gzip.compress(b""), "holds no kernel", "begins with"),
        (gzip.compress(vmlinux(BTF))[:-40], "is damaged", "ends too early"),
        (gzip.compress(vmlinux(BTF))[:20] + b"\xff" * 900, "is damaged", "cannot be decompressed"),
        (COMPRESS["xz"](vmlinux(BTF))[:200], "is damaged", "ends too early"),
        (COMPRESS["bzip2"](vmlinux(BTF))[:80], "is damaged", "ends too early"),
        (b"\x5d\0\0" + b"\xff" * 60, "is damaged", "lzma"),
    ],
)  # fmt: skip
def test_what_holds_no_types_is_refused_in_plain_words(at: Any, data: bytes, what: str, why: str) -> None:
    error = refusal(at(data))
    assert what in error.what
    assert why in error.why


@pytest.fixture
def commands_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave zstd to the command, whatever this Python has."""
    for name in ("compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("commands_only")
def test_damaged_data_of_a_command(at: Any) -> None:
    needs("zstd")
    whole = COMPRESS["zstd"](vmlinux(BTF * 9))[:-4]
    assert "its zstd data " in refusal(at(whole[:-30])).why


def test_damaged_data_of_zstd_whoever_reads_it(at: Any) -> None:
    needs("zstd")
    whole = COMPRESS["zstd"](vmlinux(BTF * 9))[:-4]
    for damaged in (whole[:-30], whole[:20] + b"\xff" * 900):
        assert "is damaged" in refusal(at(damaged)).what


@pytest.mark.skipif(sys.version_info < (3, 14), reason="waits for Python 3.14, which has compression.zstd")
def test_zstd_of_pythons_own() -> None:
    library = import_module("compression.zstd")
    pieces = decompress_module._zstd(library.compress(BTF) + b"what lies behind it")
    assert b"".join(pieces) == BTF


def test_a_file_that_cannot_be_read(at: Any, tmp_path: Path) -> None:
    assert refusal(str(tmp_path / "nothing"), NotFoundError).why == "No such file or directory"
    assert "directory" in refusal(str(tmp_path), NotFoundError).why
    os.mkfifo(tmp_path / "fifo")
    assert "no regular file" in refusal(str(tmp_path / "fifo"), NotFoundError).why
    assert not may_be_kernel("/dev/zero")


def test_what_of_a_folder_may_be_a_kernel(tmp_path: Path) -> None:
    contents = {
        "6.12.btf": b"<html>",
        "vmlinuz-6.12": b"x",
        "6.1": b"",
        "initrd.img-6.1": b"\x1f\x8b\x08",
        "vmlinux.h": b"int",
        "README": b"a",
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "gone").symlink_to("/nowhere/vmlinux")
    os.mkfifo(tmp_path / "pipe.btf")
    found = {name for name in os.listdir(tmp_path) if may_be_kernel(str(tmp_path / name))}
    assert found == {"6.12.btf", "vmlinuz-6.12", "6.1", "gone"}


def test_output_and_input_are_bounded(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress_module, "LARGEST_OUTPUT", 1 << 20)
    bomb = gzip.compress(BTF + bytes(3 << 20))
    assert "more than 1 MiB" in refusal(at(bomb)).why
    path = at(BTF)
    os.truncate(path, 300 << 20)
    assert "more than 256 MiB" in refusal(path).why


@pytest.mark.usefixtures("commands_only")
def test_what_the_machine_cannot_decompress_says_what_to_install(
    at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    path = at(b"\x02\x21\x4c\x18" + bytes(60))
    error = refusal(path, UnsupportedError)
    assert "lz4" in error.what
    assert error.hint == "install lz4"


def test_zstandard_is_taken_when_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reader:
        def __init__(self, data: bytes) -> None:
            self.left = data[4:]

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.left = b""

        def read(self, size: int) -> bytes:
            piece, self.left = self.left[:size], self.left[size:]
            return piece

    library = SimpleNamespace(ZstdDecompressor=lambda: SimpleNamespace(stream_reader=Reader))

    def read(data: bytes) -> Iterator[bytes]:
        return decompress_module._zstandard_pieces(library, data)

    assert b"".join(read(b"\x28\xb5\x2f\xfd" + BTF)) == BTF


def test_a_btf_error_is_one_of_input(at: Any) -> None:
    assert isinstance(refusal(at(b"nothing of it")), BtfError)


@pytest.mark.parametrize(
    ("blocks", "tail", "cut"),
    [
        ((5, 70), b"", 0),
        ((5, 70), b"size", 4),
        ((5,), b"abc", 0),
        ((), b"size", 4),
        ((5, 0), b"size", 0),  # no block is empty: this is no such frame
        ((5,), b"sizeandmore", 0),
    ],
)
def test_the_size_behind_an_lz4_frame_is_cut_off(blocks: tuple[int, ...], tail: bytes, cut: int) -> None:
    data = b"\x02\x21\x4c\x18" + b"".join(size.to_bytes(4, "little") + size * b"x" for size in blocks) + tail
    assert decompress_module._end_of_blocks(data) == len(data) - cut
