"""Damaged objects raise only the project's errors, soon and with little memory.

``FUZZ_EXAMPLES`` sets the number of examples of each test. The quick run is the same
every time, a longer one is random.
"""

from __future__ import annotations

import os
import time
from struct import pack_into, unpack_from

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from structops_cli.errors import InputError
from structops_cli.obj.link import link_programs
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import ObjectSpec
from tests.compile import OBJECTS, compile_object
from tests.elf_writers import small_object

SECONDS = 1.0
SOURCES = ("everything", "maps", "variables", "externs")
QUICK = 100
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", str(QUICK)))

fuzz = settings(
    derandomize=EXAMPLES <= QUICK,
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

WHICH = st.integers(0, len(SOURCES))
PLACES = st.integers(0, (1 << 20) - 1)
"""An offset, taken modulo the size."""
WORDS = st.one_of(
    st.sampled_from(
        [0, 1, 2, 7, 8, 15, 16, 24, 63, 64, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 32, 1 << 63, (1 << 64) - 1]
    ),
    st.integers(0, 5000),
    st.integers(0, (1 << 64) - 1),
)
HEADER_FIELDS = ((0, 4), (4, 4), (8, 8), (24, 8), (32, 8), (40, 4), (44, 4), (56, 8))
"""Offset and size of the fields of a section header, without address and alignment."""


@pytest.fixture(scope="module")
def objects() -> list[bytes]:
    return [*(compile_object(OBJECTS / f"{name}.bpf.c") for name in SOURCES), small_object()]


def read(data: bytes) -> ObjectSpec | None:
    """Read and link any bytes; return None if the reader refuses them."""
    start = time.perf_counter()
    try:
        spec = read_object(data, "x.o")
        for _ in link_programs(spec, [function.name for function in spec.functions if function.is_program]):
            pass
    except InputError:
        return None
    finally:
        assert time.perf_counter() - start < SECONDS
    return spec


def section_header(data: bytes, place: int) -> int:
    """Return the offset of a section's header."""
    start, count = unpack_from("<Q", data, 40)[0], unpack_from("<H", data, 60)[0]
    return int(start + 64 * (place % count))


@given(which=WHICH, edits=st.lists(st.tuples(PLACES, st.integers(0, 255)), min_size=1, max_size=8))
@fuzz
def test_flipped_bytes(objects: list[bytes], which: int, edits: list[tuple[int, int]]) -> None:
    data = bytearray(objects[which])
    for place, value in edits:
        data[place % len(data)] = value
    read(bytes(data))


@given(which=WHICH, place=PLACES)
@fuzz
def test_truncated_and_extended(objects: list[bytes], which: int, place: int) -> None:
    whole = objects[which]
    assert read(whole[: place % len(whole)]) is None
    assert read(whole + bytes(place % 64)) is not None


@given(
    which=WHICH,
    edits=st.lists(st.tuples(PLACES, st.sampled_from(HEADER_FIELDS), WORDS), min_size=1, max_size=3),
)
@fuzz
def test_section_headers(
    objects: list[bytes], which: int, edits: list[tuple[int, tuple[int, int], int]]
) -> None:
    data = bytearray(objects[which])
    for place, (offset, width), value in edits:
        at = section_header(objects[which], place) + offset
        pack_into("<Q" if width == 8 else "<I", data, at, value & (1 << width * 8) - 1)
    read(bytes(data))


@given(which=WHICH, edits=st.lists(st.tuples(PLACES, PLACES, WORDS), min_size=1, max_size=4))
@fuzz
def test_contents_of_sections(objects: list[bytes], which: int, edits: list[tuple[int, int, int]]) -> None:
    """Small sections, such as BTF or symbols, are changed as often as .debug_info."""
    data = bytearray(objects[which])
    for section, place, value in edits:
        offset, size = unpack_from("<QQ", objects[which], section_header(objects[which], section) + 24)
        words = size // 4 if offset + size <= len(data) else 0
        if words:
            pack_into("<I", data, offset + place % words * 4, value & 0xFFFFFFFF)
    read(bytes(data))


@given(st.binary(max_size=512))
@fuzz
def test_noise(noise: bytes) -> None:
    assert read(noise) is None
    assert read(b"\x7fELF\2\1\1" + noise) is None


def test_nothing_is_refused_that_is_sound(objects: list[bytes]) -> None:
    assert all(read(data) is not None for data in objects)
