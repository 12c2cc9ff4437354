"""Look up strings of a BTF by offset, and strip flavours from names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structops_cli.errors import BtfError
from structops_cli.syscall.btf_index import MAX_NAME

if TYPE_CHECKING:
    from mmap import mmap


def essential_name(name: str) -> str:
    """Return a name without its flavour: ``tcp_sock`` for ``tcp_sock___old``.

    A flavour begins at the last run of exactly three underscores with text on
    both sides, as in libbpf (``bpf_core_essential_name_len``).
    """
    at = len(name) - 1
    while (at := name.rfind("___", 1, at)) > 0:
        if name[at - 1] != "_" and name[at + 3] != "_":
            return name[:at]
        at += 2
    return name


MAX_TAG_BYTES = 64 << 20
"""The limit for all names beyond ``MAX_NAME``, in bytes. Overlapping strings could be huge."""


class Strings:
    """The ``length`` bytes of strings in ``data`` from ``offset`` on. ``data`` is borrowed.

    Offsets continue those of ``base``. The last byte is a NUL.
    """

    __slots__ = ("_base", "_data", "_origin", "_shift", "end", "start")

    def __init__(
        self, data: bytes | mmap, offset: int, length: int, base: Strings | None, origin: str
    ) -> None:
        self._data = data
        self._base = base
        self._origin = origin
        self.start: int = 0 if base is None else base.end
        """The first own offset."""
        self.end: int = self.start + length
        """One past the last offset."""
        self._shift = offset - self.start

    def text(self, offset: int) -> str:
        r"""Return the string at an offset.

        Invalid UTF-8 becomes ``\xNN``. Raises BtfError beyond the end.
        """
        if self.start <= offset < self.end:
            at = offset + self._shift
            data = self._data
            return data[at : data.find(b"\0", at)].decode("utf-8", "backslashreplace")
        if self._base is not None and 0 <= offset < self.start:
            return self._base.text(offset)
        why = f"a string is at offset {offset}, beyond the strings"
        raise BtfError(f"{self._origin} is damaged", why=why)


class NameCache(dict[int, str]):
    """Names by string offset. ``cache[offset]`` decodes a name once.

    Only tags may have names beyond ``MAX_NAME``; the kernel sets no limit
    for them. Raises BtfError beyond ``MAX_TAG_BYTES`` of such names.
    """

    __slots__ = ("_left", "_origin", "_text")

    def __init__(self, strings: Strings, origin: str) -> None:
        super().__init__()
        self._text = strings.text
        self._origin = origin
        self._left = MAX_TAG_BYTES

    def __missing__(self, offset: int) -> str:
        name = self._text(offset)
        if len(name) > MAX_NAME:
            self._left -= len(name)
            if self._left < 0:
                why = f"its names longer than {MAX_NAME} characters have more than {MAX_TAG_BYTES >> 20} MiB in all"
                raise BtfError(f"{self._origin} is damaged", why=why)
        self[offset] = name
        return name
