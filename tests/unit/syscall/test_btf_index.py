"""Records that the index refuses when a BTF is opened, and lookups by name."""

from __future__ import annotations

import gc
import mmap
import threading

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.types import Enum, UnknownKind
from structops_cli.errors import BtfError
from structops_cli.syscall.btf_index import MAX_NAME, BtfIndex
from structops_cli.syscall.uapi import BtfKind
from tests.btf_writers import (
    LATER,
    LAYOUT,
    M,
    Record,
    array,
    const,
    decl_tag,
    enum,
    float_,
    func,
    fwd,
    int_,
    proto,
    ptr,
    struct_,
    typedef,
    union,
    write_btf,
)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        pytest.param(Record(0), "it is of kind 0, which no type has", id="kind 0"),
        pytest.param(ptr(1).but(cut=1), "its record ends 1 bytes beyond the type section", id="head cut"),
        pytest.param(int_().but(cut=4), "its record ends 4 bytes beyond the type section", id="int cut"),
        pytest.param(
            struct_("s", 4, M("a", 1)).but(vlen=3),
            "its record ends 24 bytes beyond the type section",
            id="vlen larger than the members",
        ),
        pytest.param(
            struct_("s", 4).but(vlen=0xFFFF),
            "its record ends 786420 bytes beyond the type section",
            id="largest vlen",
        ),
        pytest.param(
            ptr(1).but(name=0x7FFFFFFF), "its name is at offset 2147483647, beyond the strings", id="name"
        ),
        pytest.param(
            struct_("s", 4).but(vlen=0xFFFFFF),
            "its record ends 201326580 bytes beyond the type section",
            id="largest vlen since 7.2",
        ),
        pytest.param(
            ptr(1).but(reserved=1 << 16),
            "info 0x02010000 has bits that mean nothing for its kind",
            id="vlen of a pointer, beyond 16 bits",
        ),
        pytest.param(
            ptr(1).but(vlen=1),
            "info 0x02000001 has bits that mean nothing for its kind",
            id="vlen of a pointer",
        ),
        pytest.param(
            const(1).but(kind_flag=True),
            "info 0x8a000000 has bits that mean nothing for its kind",
            id="kind_flag of a const",
        ),
    ],
)
def test_a_damaged_record_is_refused(record: Record, message: str) -> None:
    with pytest.raises(BtfError) as caught:
        Btf(write_btf([int_(), int_("long", 8), record]), origin="x")
    assert str(caught.value) == f"x is damaged at type 3, byte 56: {message}"
    assert caught.value.fields == {"type_id": 3, "offset": 56}


@pytest.mark.parametrize("kind", [20, 31, 32, 68, 127])
@pytest.mark.parametrize("layout", [None, LAYOUT])
def test_a_later_kind_of_unknown_size_is_refused(
    kind: int, layout: tuple[tuple[int, int], ...] | None
) -> None:
    with pytest.raises(BtfError) as caught:
        Btf(write_btf([int_(), Record(kind, "later"), int_("long", 8)], layout=layout), origin="x")
    at = 40 if layout is None else 48
    assert str(caught.value) == (
        f"x cannot be read at type 2, byte {at}: "
        f"it is of kind {kind}, and nothing says how many bytes such a type has"
    )
    assert caught.value.hint.startswith("use a newer structops, or BTF with a layout section")


LATER_TYPES = [
    int_(),  # 1
    Record(20, "sites", 7, vlen=2, rest=(0xDEAD, 1, 2, 3, 4)),  # 2
    struct_("sock", 4, M("state", 1)),  # 3
    Record(21, "", 3, kind_flag=True),  # 4
    Record(20, "sock", 0, rest=(0,)),  # 5
    struct_("s", 16, M("a", 1), M("odd", 2, 32), M("b", 1, 96)),  # 6
    array(2, 1, 4),  # 7
    ptr(2),  # 8
    decl_tag("t", 2),  # 9
]


def test_later_kinds_are_skipped_by_the_layout() -> None:
    btf = Btf(write_btf(LATER_TYPES, layout=LATER))
    btf.check()
    assert btf.end_id == len(LATER_TYPES) + 1
    assert btf.unknown_kinds() == {20: 2, 21: 1}
    assert btf.unknown_parts() == ("2 types of kind 20", "1 type of kind 21")
    assert btf.kind(2) is None
    target = btf.type(2)
    assert isinstance(target, UnknownKind)
    assert (target.name, target.kind, len(target.raw)) == ("sites", 20, 12 + 4 + 2 * 8)
    assert target.describe() == "sites of BTF kind 20, which structops does not know"
    # known types are found behind them, and of a name only those of the kinds that are asked for
    assert btf.ids("sock") == (3, 5)
    assert btf.ids("sock", BtfKind.STRUCT) == (3,)
    assert btf.candidates("sock") == (3, 5)
    assert list(btf.of_kinds(BtfKind.STRUCT)) == [3, 6]
    assert btf.type(6).members[2].bit_offset == 96  # type: ignore[union-attr]  # a Struct


def test_split_btf_without_a_layout_has_that_of_its_base() -> None:
    base = Btf(write_btf([int_()], layout=LATER))
    records = [Record(20, "sites", 7, vlen=1, rest=(0, 1, 2)), struct_("of_module", 4, M("a", 1))]
    split = Btf(write_btf(records, strings_start=base.strings.end), base=base)
    assert (split.unknown_kinds(), split.find("of_module")) == ({20: 1}, 3)


def test_a_record_of_a_later_kind_that_is_not_whole_is_refused() -> None:
    records = [int_(), Record(20, "sites", 7, vlen=3, rest=(0xDEAD, 1, 2, 3, 4))]
    with pytest.raises(BtfError, match="its record ends 8 bytes beyond the type section"):
        Btf(write_btf(records, layout=LATER))


def test_more_members_than_16_bits_count() -> None:
    """The info word of Linux 7.2 has 24 bits of vlen."""
    values = {f"V{number}": number for number in range(0x10003)}
    btf = Btf(write_btf([enum("large", values), int_("after")]))
    btf.check()
    large = btf.type(1)
    assert isinstance(large, Enum)
    assert (len(large.values), large.values[-1].value, btf.name(2)) == (0x10003, 0x10002, "after")
    assert list(Btf(encode(btf.types())).types()) == list(btf.types())


def test_types_in_front_of_a_fault_can_be_read() -> None:
    data = write_btf([int_(), struct_("sock", 4), Record(99, "later"), struct_("behind", 4)])
    btf = Btf(data, origin="x", partial=True)
    assert (btf.end_id, btf.find("sock"), btf.find("behind")) == (3, 2, None)
    assert str(btf.damage).startswith("x cannot be read at type 3, byte 52: it is of kind 99")
    assert Btf(write_btf([int_()]), partial=True).damage is None


def test_a_name_at_the_very_end_of_the_strings_is_none() -> None:
    data = write_btf([ptr(1).but(name=5)], more_strings=["abc"])
    with pytest.raises(BtfError, match="its name is at offset 5, beyond the strings"):
        Btf(data)


def test_more_types_than_a_kernel_takes_are_refused() -> None:
    types = bytes(4) + (2 << 24).to_bytes(4, "little") + bytes(4)
    data = (
        write_btf(header={"type_len": 12 << 20, "str_off": 12 << 20, "str_len": 1})[:24]
        + types * (1 << 20)
        + b"\0"
    )
    with pytest.raises(BtfError) as caught:
        Btf(data, origin="x")
    assert str(caught.value) == (
        "x is damaged at type 1048576, byte 12582924: a kernel takes 1048575 types at most"
    )


def test_the_index_does_not_trust_its_caller() -> None:
    data = write_btf([int_()])
    with pytest.raises(BtfError, match="a section lies beyond its 45 bytes"):
        BtfIndex(data, (24, 16), (40, 6))
    with pytest.raises(BtfError, match="the string section does not end with a NUL"):
        BtfIndex(data, (24, 16), (40, 4))


NAMES = Btf(
    write_btf(
        [
            struct_("tcp_sock", 0),  # 1
            int_("int"),  # 2
            struct_("tcp_sock___old", 0),  # 3
            ptr(1),  # 4
            typedef("tcp_sock", 1),  # 5
            proto(0),  # 6
            func("tcp_sock", 6),  # 7
            struct_("tcp_sock_ops", 0),  # 8
            union("tcp_sock___", 0),  # 9
            enum("tcp_sock____odd", {"A": 1}),  # 10
            fwd("tcp_sock___a___b"),  # 11
            float_("_", 8),  # 12
        ]
    )
)


def test_ids_are_of_exactly_that_name_in_order() -> None:
    assert NAMES.ids("tcp_sock") == (1, 5, 7)
    assert NAMES.ids("tcp_sock___old") == (3,)
    assert NAMES.ids("tcp_sock___") == (9,)
    assert NAMES.ids("_") == (12,)
    assert NAMES.ids("tcp_soc") == ()


def test_ids_can_be_of_some_kinds_only() -> None:
    assert NAMES.ids("tcp_sock", BtfKind.TYPEDEF) == (5,)
    assert NAMES.ids("tcp_sock", BtfKind.FUNC, BtfKind.STRUCT) == (1, 7)
    assert NAMES.ids("tcp_sock", BtfKind.INT) == ()


def test_find_gives_the_first() -> None:
    assert NAMES.find("tcp_sock") == 1
    assert NAMES.find("tcp_sock", BtfKind.FUNC) == 7
    assert NAMES.find("tcp_sock", BtfKind.UNION) is None
    assert NAMES.find("sock") is None


@pytest.mark.parametrize("name", ["", "\0", "tcp_sock\0", "é", "\ud800", "a" * (MAX_NAME + 1), "a" * 100_000])
def test_what_is_no_name_is_not_found(name: str) -> None:
    assert NAMES.find(name) is None
    assert NAMES.ids(name) == ()
    assert NAMES.candidates(name) == ()


def test_candidates_are_all_flavours() -> None:
    assert NAMES.candidates("tcp_sock") == (1, 3, 5, 7)
    assert NAMES.candidates("tcp_sock___old") == ()
    assert NAMES.candidates("tcp_sock___") == (9,)
    assert NAMES.candidates("tcp_sock____odd") == (10,)
    assert NAMES.candidates("tcp_sock___a") == (11,)


def test_with_prefix() -> None:
    assert NAMES.with_prefix("tcp_sock") == (1, 3, 5, 7, 8, 9, 10, 11)
    assert NAMES.with_prefix("tcp_sock_", BtfKind.STRUCT) == (3, 8)
    assert NAMES.with_prefix("tcp_sock_ops_") == ()


def test_anonymous_types_have_no_name_to_be_found_by() -> None:
    assert NAMES.with_prefix("") == ()
    assert NAMES.name(4) == ""


@pytest.mark.parametrize(
    "length", [1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25, 255, 256, 257, MAX_NAME - 4, MAX_NAME]
)
def test_names_of_every_length_are_found(length: int) -> None:
    """The hash takes a name in words, and notes flavours by blocks."""
    name = ("sock" * 200)[:length]
    flavoured = f"{name}___x"[:MAX_NAME]
    for before in ("a", "abcd", "p" * 250):
        btf = Btf(write_btf([struct_(before, 0), struct_(name, 0), struct_(flavoured, 0)]))
        if length == MAX_NAME:
            assert btf.ids(name) == (2, 3)
        else:
            assert (btf.ids(name), btf.ids(flavoured)) == ((2,), (3,))
        assert btf.candidates(name) == (2, 3)


def test_a_flavour_is_seen_wherever_it_lies_in_the_strings() -> None:
    """`___` across the blocks of 256 bytes, and at the end of the section."""
    for before in range(230, 270):
        btf = Btf(write_btf([struct_("x" * before, 0), struct_("sock___v", 0)]))
        assert btf.candidates("sock") == (2,), before


def test_a_name_too_long_for_the_index_is_not_found_and_does_no_harm() -> None:
    long_name = "a" * (MAX_NAME + 1)
    btf = Btf(write_btf([struct_(long_name, 0), struct_("b", 0)]))
    assert btf.ids("b") == (2,)
    assert btf.ids(long_name[:MAX_NAME]) == ()


def test_many_types_of_one_name() -> None:
    btf = Btf(write_btf([struct_("same", 0)] * 3000))
    assert btf.ids("same") == tuple(range(1, 3001))
    assert btf.candidates("same") == btf.ids("same")


def test_an_index_may_be_asked_by_several_threads_at_once() -> None:
    """The name index is built at the first lookup, with other threads running."""
    records = [struct_(f"name_{number}", 0) for number in range(20_000)]
    data = write_btf(records)
    for _ in range(3):
        btf = Btf(data)
        found: list[int | None] = []
        start = threading.Barrier(4)

        def look(btf: Btf = btf, found: list[int | None] = found, start: threading.Barrier = start) -> None:
            start.wait()
            found.append(btf.find("name_777"))

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [778] * 4


@pytest.mark.parametrize("sort", ["bytes", "mmap", "memoryview"])
def test_data_may_come_in_several_sorts_and_lives_as_long_as_the_index(sort: str) -> None:
    data = write_btf([int_("int"), struct_("sock", 4, M("a", 1))])
    with mmap.mmap(-1, len(data)) as area:
        area[:] = data
        sorts: dict[str, bytes | mmap.mmap | memoryview] = {
            "bytes": data,
            "mmap": area,
            "memoryview": memoryview(area),
        }
        btf = Btf(sorts.pop(sort))
        sorts.clear()
        gc.collect()
        if sort == "mmap":  # borrowed; a view is copied
            with pytest.raises(BufferError):
                area.close()
        assert btf.find("sock") == 2
        assert btf.type(2).members[0].name == "a"  # type: ignore[union-attr]  # a Struct
        assert btf.raw() == data
        del btf
        gc.collect()
