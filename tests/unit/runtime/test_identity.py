"""Identities of struct_ops maps, and the parts of values that count."""

from __future__ import annotations

import pytest

from structops_cli.runtime import identity
from structops_cli.runtime.identity import Identity

REFERENCE = Identity("tcp_congestion_ops", b"\1", (("init", "0123456789abcdef"),), ())


def test_the_digest_is_of_the_content() -> None:
    assert REFERENCE.digest == REFERENCE._replace().digest
    assert len(REFERENCE.digest) == 12
    others = (
        REFERENCE._replace(type_name="t_ops"),
        REFERENCE._replace(data=b"\2"),
        REFERENCE._replace(tags=(("init", "f" * 16),)),
        REFERENCE._replace(maps=(("t.data",),)),
    )
    assert len({REFERENCE.digest, *(item.digest for item in others)}) == 5


@pytest.mark.parametrize(
    ("offset", "size", "number"), [(0, 8, 0xEF), (8, 16, 0xABCD), (4, 8, 0xDE), (1, 1, 1), (4, 1, 0)]
)
def test_bits_of_a_value(offset: int, size: int, number: int) -> None:
    value = bytes.fromhex("efcdab89")
    assert identity._number(value, offset, size) == number  # type: ignore[arg-type]


def test_a_large_part_is_hashed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "BLOCK_BYTES", 4)
    one, other = bytes(16), bytes(15) + b"\1"
    assert identity._number(one, 0, 128) == identity._hash(bytes(16), 0, 16)  # type: ignore[arg-type]
    assert identity._number(one, 0, 128) != identity._number(other, 0, 128)  # type: ignore[arg-type]
