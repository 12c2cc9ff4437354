"""The string section of a BTF: texts by offset, the base's first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structops_cli.errors import BtfError
from structops_cli.syscall.btf_index import MAX_NAME

if TYPE_CHECKING:
    from mmap import mmap

__all__ = ["Names", "Strings"]


class Strings:
    """The strings in ``data`` from ``offset`` on, ``length`` bytes that end with a NUL.

    Offsets continue those of ``base``. ``data`` is borrowed.
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
        r"""Return the string at an offset; BtfError beyond the end.

        What is no UTF-8 comes out as ``\xNN``.
        """
        if self.start <= offset < self.end:
            at = offset + self._shift
            data = self._data
            return data[at : data.find(b"\0", at)].decode("utf-8", "backslashreplace")
        if self._base is not None and 0 <= offset < self.start:
            return self._base.text(offset)
        why = f"a string is at offset {offset}, beyond the strings"
        raise BtfError(f"{self._origin} is damaged", why=why)


class Names(dict[int, str]):
    """Names by string offset, ``names[offset]``: made when first asked for, then kept.

    BtfError beyond the end, and for a name longer than the kernel allows:
    what is kept is bounded.
    """

    __slots__ = ("_origin", "_text")

    def __init__(self, strings: Strings, origin: str) -> None:
        super().__init__()
        self._text = strings.text
        self._origin = origin

    def __missing__(self, offset: int) -> str:
        name = self._text(offset)
        if len(name) > MAX_NAME:
            why = f"a name has {len(name)} characters, at most {MAX_NAME} are allowed"
            raise BtfError(f"{self._origin} is damaged", why=why)
        self[offset] = name
        return name
