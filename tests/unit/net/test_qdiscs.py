"""Read the messages of queueing disciplines, damaged ones included."""

from __future__ import annotations

from struct import pack

import pytest

from structops_cli.errors import InputError
from structops_cli.net.qdiscs import _qdisc


def message(*, index: int, handle: int = 0x10000, parent: int = 0xFFFFFFFF, kind: bytes = b"fq\0") -> bytes:
    padded = kind.ljust((len(kind) + 3) & ~3, b"\0")
    return pack("=BBHiIII", 0, 0, 0, index, handle, parent, 2) + pack("=HH", 4 + len(kind), 1) + padded


def test_a_message_has_device_kind_handle_and_parent() -> None:
    found = _qdisc(memoryview(message(index=1, handle=0x20003, parent=5)))
    assert (found.device, found.kind, found.handle, found.parent) == ("lo", "fq", 0x20003, 5)


def test_a_device_that_is_gone_has_its_number() -> None:
    assert _qdisc(memoryview(message(index=0x7FFFFFF0))).device == f"device {0x7FFFFFF0}"


def test_one_without_a_kind() -> None:
    assert _qdisc(memoryview(message(index=1)[:20])).kind == ""


def test_one_that_is_cut() -> None:
    with pytest.raises(InputError, match="a queueing discipline of 19 bytes"):
        _qdisc(memoryview(message(index=1)[:19]))
