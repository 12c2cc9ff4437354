"""Damaged BTF and .BTF.ext raise only BtfError, soon and with little memory.

``FUZZ_EXAMPLES`` sets the number of examples of each test. The quick run is the same
every time, a longer one is random.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import declare, definition
from structops_cli.btf.c_header import header
from structops_cli.btf.encode import encode
from structops_cli.btf.ext import parse_ext
from structops_cli.btf.layout import align_of, innermost, pointee_proto, resolve, size_of
from structops_cli.btf.types import Struct, Union, UnknownKind
from structops_cli.errors import BtfError, NotFoundError
from tests.btf_writers import every_kind, write_btf
from tests.compile import OBJECTS, compile_object
from tests.fuzz.targets import later_btf
from tests.unit.btf.sources import section

QUICK = 150
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", str(QUICK)))
SECONDS = 2.0

fuzz = settings(
    derandomize=EXAMPLES <= QUICK,
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

WORDS = st.one_of(
    st.sampled_from([0, 1, 2, 3, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]),
    st.integers(0, 80),
    st.builds(
        lambda kind, vlen, flag: kind << 24 | vlen | flag << 31,
        st.integers(0, 22),
        st.integers(0, 8),
        st.booleans(),
    ),
    st.integers(0, (1 << 32) - 1),
)
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 16), WORDS), max_size=8)
"""Words to write, at places taken modulo the number of words."""
CUTS = st.one_of(st.just(0), st.just(0), st.integers(0, 200))


def changed(data: bytes, changes: Sequence[tuple[int, int]], cut: int) -> bytes:
    damaged = bytearray(data)
    for place, word in changes:
        at = place % (len(data) // 4) * 4
        damaged[at : at + 4] = word.to_bytes(4, "little")
    return bytes(damaged[: len(damaged) - cut])


@pytest.fixture(scope="module")
def seeds() -> dict[str, bytes]:
    """Return valid BTF, by hand and from clang, and clang's .BTF.ext."""
    built = compile_object(OBJECTS / "btf_kinds.bpf.c")
    found = {name: section(built, name) for name in (".BTF", ".BTF.ext")}
    return {"hand": write_btf(every_kind(), more_strings=["a___b", "x" * 600]), "later": later_btf(), **found}


def answer(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a call, None if it raises one of the project's errors."""
    with suppress(BtfError, NotFoundError):
        return call(*arguments)
    return None


def use(btf: Btf) -> None:
    """Call every query of a BTF."""
    names = []
    for type_id in (*range(min(btf.end_id, 120)), btf.end_id, -1, 1 << 32):
        for call in (btf.kind, btf.name, btf.offset, btf.type):
            answer(call, type_id)
        for function in (resolve, size_of, align_of, pointee_proto, declare, definition):
            answer(function, btf, type_id)
        answer(btf.type, type_id)
        name = answer(btf.name, type_id)
        if name:
            names.append(name)
            btf.ids(name)
            btf.candidates(name)
            btf.with_prefix(name)
    answer(header, btf, names[:10])
    for name in names[:10]:
        answer(header, btf, [name])


def check_and_use(data: bytes, base: Btf | None = None) -> None:
    started = time.monotonic()
    btf = answer(lambda: Btf(data, base=base))
    if btf is not None:
        accepted = answer(lambda: btf.check() or True)
        use(btf)
        if accepted:
            assert_sound(btf)
    assert time.monotonic() - started < SECONDS


def assert_sound(btf: Btf) -> None:
    """Check that accepted BTF decodes, fits its sizes, and encodes again."""
    types = list(btf.types())
    for item in types:
        if isinstance(item, Struct | Union):
            for member in item.members:
                if isinstance(innermost(btf, member.type), UnknownKind):
                    continue
                assert (
                    member.bit_offset + size_of(btf, member.type) * 8 * (not member.bit_size)
                    <= item.size_bytes * 8
                )
                align_of(btf, member.type)
    if not btf.unknown_kinds():
        again = Btf(encode(types, base=btf.base), base=btf.base)
        assert list(again.types()) == types
        again.check()


def test_the_seeds_themselves_are_accepted(seeds: dict[str, bytes]) -> None:
    for name in ("hand", "later", ".BTF"):
        btf = Btf(seeds[name])
        btf.check()
        use(btf)
        assert_sound(btf)
    assert parse_ext(seeds[".BTF.ext"], btf).core_relos


@fuzz
@given(changes=CHANGES, cut=CUTS)
@pytest.mark.parametrize("seed", ["hand", "later", ".BTF"])
def test_damaged_btf(seeds: dict[str, bytes], seed: str, changes: list[tuple[int, int]], cut: int) -> None:
    check_and_use(changed(seeds[seed], changes, cut))


@fuzz
@given(changes=CHANGES, cut=CUTS)
def test_damaged_split_btf(seeds: dict[str, bytes], changes: list[tuple[int, int]], cut: int) -> None:
    base = Btf(seeds[".BTF"])
    check_and_use(changed(write_btf(every_kind(), strings_start=base.strings.end), changes, cut), base)


@fuzz
@given(changes=st.lists(st.tuples(st.integers(6, 1 << 16), WORDS), min_size=1, max_size=3))
def test_damage_that_leaves_the_header_alone(seeds: dict[str, bytes], changes: list[tuple[int, int]]) -> None:
    data = seeds["hand"]
    check_and_use(data[:24] + changed(data[24:], changes, 0))


@fuzz
@given(data=st.binary(max_size=400))
def test_random_bytes(data: bytes) -> None:
    check_and_use(data)
    check_and_use(
        write_btf(header={"type_len": len(data) // 4 * 4, "str_off": 400, "str_len": 8})[:24]
        + data.ljust(400, b"\0")
        + b"\0ab\0cd\0\0"
    )


@fuzz
@given(changes=CHANGES, cut=CUTS)
def test_damaged_ext(seeds: dict[str, bytes], changes: list[tuple[int, int]], cut: int) -> None:
    btf = Btf(seeds[".BTF"])
    answer(parse_ext, changed(seeds[".BTF.ext"], changes, cut), btf)


@fuzz
@given(data=st.binary(max_size=200))
def test_random_bytes_as_ext(data: bytes, seeds: dict[str, bytes]) -> None:
    btf = Btf(seeds[".BTF"])
    answer(parse_ext, data, btf)
    answer(parse_ext, seeds[".BTF.ext"][:32] + data, btf)
