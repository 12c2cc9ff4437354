"""The rules of an update: the first one that a value breaks is the cause."""

from __future__ import annotations

import struct

import pytest

from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.rules.diagnose import refused_update
from tests.synthetic_kernels import kernel

TYPE = find_type(kernel(), "tcp_congestion_ops")


def value(
    *,
    state: int = 0,
    programs: tuple[int, int, int] = (3, 4, 5),
    name: bytes = b"t_one",
    flags: int = 0,
    owner: int = 0,
) -> bytes:
    """Return a value that the kernel takes, but for what is said otherwise."""
    raw = bytearray(TYPE.value.size_bytes)
    struct.pack_into("<II", raw, 0, 0, state)
    struct.pack_into("<QQQ16sIxxxxQ", raw, 64, *programs, name, flags, owner)
    return bytes(raw)


def test_a_value_that_the_kernel_takes_breaks_no_rule() -> None:
    assert refused_update(TYPE, value()) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"state": 1}, "state and refcnt are the kernel's own: an update has to leave them 0"),
        ({"owner": 1}, "owner is not zero, and the kernel fills it itself"),
        ({"name": b""}, "name is empty"),
        ({"name": b"sixteen_bytes_xx"}, "name has no room for its NUL"),
        ({"name": b"a b"}, "name 'a b' has a character that the kernel refuses"),
        ({"flags": 6}, "flags has bits that this kernel may not know: 0x4"),
        ({"programs": (0, 4, 5)}, "the required member ssthresh has no program"),
        ({"programs": (3, 4, 0)}, "the required member undo_cwnd has no program"),
        ({"programs": (3, 0, 5)}, "one of cong_avoid or cong_control must have a program"),
    ],
)
def test_each_rule_has_its_words(changes: dict[str, int], why: str) -> None:
    cause = refused_update(TYPE, value(**changes))  # type: ignore[arg-type]  # one field each
    assert cause is not None
    assert cause.why == why
    assert cause.hint


def test_flags_of_the_call_come_first() -> None:
    cause = refused_update(TYPE, value(name=b""), flags=1)
    assert cause is not None
    assert cause.why == "the call's flags are 1, and a struct_ops map takes none"
