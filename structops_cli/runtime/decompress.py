"""Decompress a kernel image with the standard library, an installed library or a command.

Decompression goes in steps up to a limit, which bounds the cost of a damaged or hostile image.
``is_right`` checks the first step: other content is not decompressed further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from structops_cli.errors import InputError, UnsupportedError

LZ4_WORD = 4
"""Bytes of the magic, and of each size in a legacy frame."""
LARGEST_OUTPUT = 512 << 20
"""Bytes. A distribution's kernel has some 60 MB."""
STEP = 1 << 20
LZMA_MEMORY = 256 << 20
"""Bytes that an xz header may ask for. The kernel's build asks for at most 64 MB."""

Pieces = Iterator[bytes]


class Decoder(Protocol):
    """The common interface of the standard library's decompressors."""

    @property
    def eof(self) -> bool:
        """Tell whether the end of the compressed data was reached."""

    @property
    def needs_input(self) -> bool:
        """Tell whether more output needs more input."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take input and return at most ``max_length`` bytes of output."""


class Compression(NamedTuple):
    """A compression: the first bytes of its output, its decoder, and the hint to install one."""

    name: str
    magic: bytes
    pieces: Callable[[bytes], Pieces]
    install: str = ""


def compression_of(head: bytes) -> Compression | None:
    """Return the compression of data that starts with ``head``, or None."""
    return next((one for one in COMPRESSIONS if head.startswith(one.magic)), None)


def decompress(data: bytes, how: Compression, origin: str, is_right: Callable[[bytes], bool]) -> bytes:
    """Return the decompressed data; bytes after its end are ignored.

    Raises ``InputError`` for data that is damaged, too large or not ``is_right``, and
    ``UnsupportedError`` when no decoder is available.
    """
    found: list[bytes] = []
    size = 0
    try:
        for piece in how.pieces(data):
            if not found and not is_right(piece):
                why = f"the {how.name} data in it holds neither an ELF file nor BTF"
                raise InputError(f"{origin} holds no kernel", why=why)
            found.append(piece)
            size += len(piece)
            if size > LARGEST_OUTPUT:
                why = f"decompressed it has more than {LARGEST_OUTPUT >> 20} MiB"
                raise InputError(f"{origin} is too large", why=why, hint="decompress it, and give the result")
    except _Nothing:
        why = "neither this Python nor a command on this machine can decompress it"
        raise UnsupportedError(f"{origin} is compressed with {how.name}", why=why, hint=how.install) from None
    except _Damaged as error:
        raise InputError(f"{origin} is damaged", why=f"its {how.name} data {error}") from None
    return b"".join(found)


class _Nothing(Exception):  # noqa: N818 -- no error of a user's, and never seen outside
    """No decoder of this compression is available."""


class _Damaged(Exception):  # noqa: N818
    """The compressed data is invalid or ends too early."""


# With the standard library


class _Gzip:
    """Adapts zlib's decompressor to ``Decoder``."""

    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._inner.decompress(data or self._inner.unconsumed_tail, max_length)
        self.needs_input = not self._inner.unconsumed_tail and len(piece) < max_length
        return piece


def _lzma(form: str) -> Callable[[], Decoder]:
    def make() -> Decoder:
        import lzma

        return lzma.LZMADecompressor(format=getattr(lzma, form), memlimit=LZMA_MEMORY)

    return make


def _bzip2() -> Decoder:
    import bz2

    return bz2.BZ2Decompressor()


def _by(make: Callable[[], Decoder]) -> Callable[[bytes], Pieces]:
    """Return a generator function over the output of a standard library decompressor."""

    def pieces(data: bytes) -> Pieces:
        try:
            decoder = make()
        except ImportError:  # a Python that was built without it
            raise _Nothing from None
        piece = _step(decoder.decompress, data, STEP)
        while piece or not (decoder.eof or decoder.needs_input):
            yield piece
            piece = b"" if decoder.eof else _step(decoder.decompress, b"", STEP)
        if not decoder.eof:
            raise _Damaged("ends too early")

    return pieces


def _step(call: Callable[..., bytes], *arguments: object) -> bytes:
    try:
        return call(*arguments)
    except Exception:  # noqa: BLE001 -- zlib.error, LZMAError, ZstdError, OSError, ...: each has its own, and no base
        raise _Damaged("cannot be decompressed") from None


# With a library or a command


def _zstd(data: bytes) -> Pieces:
    """Use Python's own module (3.14), else the package zstandard, else the command."""
    try:
        from compression.zstd import ZstdDecompressor
    except ImportError:
        return _zstandard(data)
    return _by(ZstdDecompressor)(data)


def _zstandard(data: bytes) -> Pieces:
    try:
        import zstandard
    except ImportError:
        return _command("zstd", "-dcq")(data)
    return _zstandard_pieces(zstandard, data)


def _zstandard_pieces(zstandard: Any, data: bytes) -> Pieces:
    with zstandard.ZstdDecompressor().stream_reader(data) as reader:
        while piece := _step(reader.read, STEP):
            yield piece


def _command(*words: str) -> Callable[[bytes], Pieces]:
    """Return a generator function over the output of a command that decompresses stdin."""

    def pieces(data: bytes) -> Pieces:
        import subprocess
        import tempfile

        with tempfile.TemporaryFile() as given:
            given.write(data)
            given.seek(0)
            try:
                process = subprocess.Popen(  # noqa: S603 -- a fixed command, no shell
                    words, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
            except OSError:
                raise _Nothing from None
            yield from _output(process, data)

    return pieces


def _output(process: Any, data: bytes) -> Pieces:
    """Yield the output of a process, and end the process with the generator.

    The kernel's build appends the size (``size_append`` of scripts/Makefile.lib). A
    command reports it as an error after all its output.
    """
    size, is_at_end = 0, False
    try:
        while piece := process.stdout.read(STEP):
            size += len(piece)
            yield piece
        is_at_end = True
    finally:
        if not is_at_end:
            process.kill()
        process.stdout.close()
        process.wait()
    if process.returncode and size != int.from_bytes(data[-4:], "little"):
        raise _Damaged("cannot be decompressed")


def _lz4_legacy(data: bytes) -> Pieces:
    """Run lz4 without the size that the kernel's build appends: lz4 1.10 fails on it."""
    return _command("lz4", "-dcq")(data[: _end_of_blocks(data)])


def _end_of_blocks(data: bytes) -> int:
    """Return the end of a legacy frame's blocks if only a size follows, else the end of data.

    A legacy frame is a magic and blocks. A block is a four-byte size and as many bytes
    (lz4's doc/lz4_Frame_format.md).
    """
    place = LZ4_WORD
    while place + LZ4_WORD < len(data) and (size := int.from_bytes(data[place : place + LZ4_WORD], "little")):
        place += LZ4_WORD + size
    return place if len(data) - place == LZ4_WORD else len(data)


COMPRESSIONS = (
    Compression("gzip", b"\x1f\x8b\x08", _by(_Gzip)),
    Compression("xz", b"\xfd7zXZ\0", _by(_lzma("FORMAT_XZ"))),
    Compression("bzip2", b"BZh", _by(_bzip2)),
    Compression("lzma", b"\x5d\0\0", _by(_lzma("FORMAT_ALONE"))),
    Compression("zstd", b"\x28\xb5\x2f\xfd", _zstd, "install zstd, or Python's zstandard"),
    Compression("lz4", b"\x02\x21\x4c\x18", _lz4_legacy, "install lz4"),
    Compression("lz4", b"\x04\x22\x4d\x18", _command("lz4", "-dcq"), "install lz4"),
    Compression("lzo", b"\x89LZO\0\r\n\x1a\n", _command("lzop", "-dcq"), "install lzop"),
)
"""The compressions of an x86 kernel's build (arch/x86/boot/compressed/Makefile)."""
