"""Compressions by their first bytes, and the limits of decompressing."""

from __future__ import annotations

import gzip
import lzma

import pytest

from structops_cli.errors import InputError, UnsupportedError
from structops_cli.runtime import decompress as module
from structops_cli.runtime.decompress import Compression, compression_of, decompress


def undo(data: bytes, *, right: bool = True) -> bytes:
    how = compression_of(data)
    assert how is not None
    return decompress(data, how, "image", lambda _: right)


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_data_comes_back(compress: object) -> None:
    assert callable(compress)
    assert undo(compress(b"kernel" * 1000) + b"behind the end") == b"kernel" * 1000


def test_other_data_has_no_compression() -> None:
    assert compression_of(b"\x7fELF") is None


def test_other_content_is_refused_at_the_first_step() -> None:
    with pytest.raises(InputError, match="image holds no kernel"):
        undo(gzip.compress(b"text"), right=False)


def test_data_that_ends_early_is_damaged() -> None:
    with pytest.raises(InputError, match="image is damaged") as caught:
        undo(gzip.compress(bytes(range(256)) * 100)[:-20])
    assert "gzip" in caught.value.why


def test_output_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_OUTPUT", 1 << 20)
    with pytest.raises(InputError, match="image is too large"):
        undo(gzip.compress(bytes(3 << 20)))


def test_a_missing_command_is_named() -> None:
    how = Compression("zip7", b"7z", module._command("t-no-such-command"), "install zip7")
    with pytest.raises(UnsupportedError) as caught:
        decompress(b"7z", how, "image", lambda _: True)
    assert (caught.value.what, caught.value.hint) == ("image is compressed with zip7", "install zip7")


@pytest.mark.parametrize(
    ("behind", "kept"), [(b"", 10), (b"\x10\0\0\0", 10), (b"\2\0\0\0", 10), (b"\2\0\0\0xy", 16)]
)
def test_the_size_behind_the_blocks_of_lz4_is_cut_off(behind: bytes, kept: int) -> None:
    frame = b"\x02\x21\x4c\x18" + b"\2\0\0\0ab" + behind
    assert module._end_of_blocks(frame) == kept
