"""Compile our headers with clang, and read clang's BTF. CI must have clang."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import definition
from structops_cli.btf.c_header import header
from structops_cli.btf.encode import encode
from structops_cli.btf.ext import parse_ext
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import Array, Composite, Enum, Enum64, Int, Member, Struct, Union, Var
from structops_cli.syscall.uapi import BtfKind
from tests.btf_writers import (
    M,
    array,
    enum,
    enum64,
    every_kind,
    int_,
    ptr,
    struct_,
    typedef,
    union,
    write_btf,
)
from tests.compile import OBJECTS, compile_object
from tests.unit.btf.sources import section, vmlinux

WARNINGS = ("-O2", "-g", "-Wall", "-Wextra", "-Werror")
TAGS = (BtfKind.STRUCT, BtfKind.UNION, BtfKind.ENUM, BtfKind.ENUM64)


def compiled(text: str, keywords: Sequence[tuple[str, str]], folder: Path) -> Btf:
    """Compile a header with one variable ``v_NAME`` of each type, and return the BTF that clang makes of it."""
    (folder / "types.h").write_text(text)
    source = folder / "types.bpf.c"
    variables = "".join(f"{keyword} {name} v_{name};\n" for keyword, name in keywords)
    source.write_text(f'#include "types.h"\n{variables}')
    btf = Btf(section(compile_object(source, flags=WARNINGS), ".BTF"), origin="clang")
    btf.check()
    return btf


class Comparison:
    """Compares types of one BTF with those of another, and all that they contain."""

    def __init__(self, original: Btf, made: Btf) -> None:
        self.original = original
        self.made = made
        self.seen: set[tuple[int, int]] = set()

    def same(self, original_id: int, made_id: int, path: str) -> None:
        if (original_id, made_id) in self.seen:
            return
        self.seen.add((original_id, made_id))
        one, other = resolve(self.original, original_id), resolve(self.made, made_id)
        if isinstance(one, Enum | Enum64):
            assert isinstance(other, Enum | Enum64), path
            assert one.size_bytes == other.size_bytes, path
            assert [value for _, value in one.values] == [value for _, value in other.values], path
            return
        assert type(one) is type(other), path
        if isinstance(one, Struct | Union) and isinstance(other, Struct | Union):
            self.same_members(one, other, path)
        elif isinstance(one, Array) and isinstance(other, Array):
            assert one.count == other.count, path
            self.same(one.element_type, other.element_type, f"{path}[]")
        elif isinstance(one, Int) and isinstance(other, Int):
            assert one.size_bytes == other.size_bytes, path
            # a plain char is signed in BPF and not in the kernel, whose old BTF does not even say it of a signed one
            assert one.encoding == other.encoding or one.name in {"char", "signed char"}, path

    def same_members(self, one: Composite, other: Composite, path: str) -> None:
        assert one.size_bytes == other.size_bytes, path
        places = [(m.name, m.bit_offset, m.bit_size) for m in one.members]
        made = [m for m in other.members if not is_padding(m)]
        assert [(m.name, m.bit_offset, m.bit_size) for m in made] == places, path
        for mine, theirs in zip(one.members, made, strict=True):
            self.same(mine.type, theirs.type, f"{path}.{mine.name}")


def is_padding(member: Member) -> bool:
    return member.name.startswith("__btf_pad")


def assert_compiles_to_the_same(btf: Btf, ids: Sequence[int], folder: Path) -> int:
    """Make a header of some named types, compile it, compare; return how many types were compared."""
    keywords: dict[BtfKind | None, str] = {BtfKind.STRUCT: "struct", BtfKind.UNION: "union"}
    names = [btf.name(type_id) for type_id in ids]
    pairs = [(keywords.get(btf.kind(type_id), "enum"), btf.name(type_id)) for type_id in ids]
    made = compiled(header(btf, names), pairs, folder)
    comparison = Comparison(btf, made)
    for type_id, name in zip(ids, names, strict=True):
        variable = made.find(f"v_{name}", BtfKind.VAR)
        assert variable is not None, name
        comparison.same(type_id, _type_of(made, variable), name)
    return len(comparison.seen)


def _type_of(btf: Btf, variable: int) -> int:
    target = btf.type(variable)
    assert isinstance(target, Var)
    return target.type


ODD = Btf(
    write_btf(
        [
            int_("char", 1, encoding=1),  # 1
            int_("short", 2, encoding=1),  # 2
            int_("int", 4, encoding=1),  # 3
            int_("long", 8, encoding=1),  # 4
            int_("unsigned __int128", 16),  # 5
            ptr(0),  # 6
            array(1, 3, 0),  # 7
            enum("tiny", {"TINY": 1}, size=1),  # 8
            enum("half", {"HALF": -1}, size=2, signed=True),  # 9
            enum64("wide", {"WIDE": 1}, signed=True),  # 10
            enum64("huge", {"HUGE": (1 << 64) - 1, "ZERO": 0}),  # 11
            enum64("deep", {"DEEP": -(1 << 63)}, signed=True),  # 12
            struct_("holes", 40, M("c", 1), M("i", 3, 64), M("d", 1, 128), M("l", 4, 192)),
            struct_("front", 24, M("i", 3, 128)),
            struct_("empty", 0),
            struct_("only_size", 7),
            struct_("far", 5000, M("c", 1), M("l", 4, 8 * 4096)),
            struct_("packed", 14, M("c", 1), M("l", 4, 8), M("i", 3, 80)),
            struct_("short_size", 12, M("l", 4), M("i", 3, 64)),
            struct_(
                "bits",
                24,
                M("a", 3, 0, 3),
                M("b", 3, 8, 5),
                M("c", 3, 13, 19),
                M("d", 4, 64, 33),
                M("e", 1, 97, 1),
            ),
            struct_("bit_gap", 8, M("a", 3, 31, 1), M("b", 3, 33, 2)),
            struct_("bits_then_char", 4, M("a", 3, 0, 3), M("c", 1, 16)),
            struct_("packed_bits", 9, M("a", 3, 0, 30), M("b", 3, 30, 4), M("l", 3, 40)),
            struct_("enum_bits", 2, M("t", 8, 0, 4), M("u", 8, 4, 4), M("v", 8, 8, 1)),
            struct_("flexible", 4, M("n", 3), M("data", 7, 32)),
            struct_("wide_int", 32, M("c", 1), M("q", 5, 128)),
            union("large", 64, M("i", 3), M("l", 4)),
            union("packed_union", 5, M("i", 3), M("c", 1)),
            union("bit_union", 4, M("a", 3, 0, 3), M("b", 3, 0, 17)),
            struct_("", 16, M("x", 3), M("y", 3, 96)),  # 30
            union("", 16, M("z", 3)),  # 31
            union("", 24, M("w", 3)),  # 32
            array(30, 3, 3),  # 33
            typedef("point_t", 30),  # 34
            struct_(
                "nested",
                136,
                M("", 31, 64),
                M("", 32, 192),
                M("points", 33, 448),
                M("at", 34, 896),
                M("e", 9, 1072),
            ),
            struct_("packed_wide_bits", 5, M("a", 3, 0, 7), M("b", 3, 7, 31)),
        ]
    ),
    origin="odd",
)


def named(btf: Btf) -> list[int]:
    return [
        item.id
        for item in btf.types()
        if isinstance(item, Struct | Union | Enum | Enum64)
        and item.name
        and (isinstance(item, Struct | Union) or item.values)
    ]


def test_odd_layouts_compile_to_what_they_were(tmp_path: Path) -> None:
    ODD.check()
    ids = named(ODD)
    assert len(ids) == 24
    assert assert_compiles_to_the_same(ODD, ids, tmp_path) >= len(ids)


def test_every_kind_compiles(tmp_path: Path) -> None:
    btf = Btf(write_btf(every_kind()))
    assert_compiles_to_the_same(btf, named(btf), tmp_path)


def test_one_definition_compiles_with_what_it_names(tmp_path: Path) -> None:
    btf = Btf(write_btf(every_kind()))
    texts = [definition(btf, type_id) for type_id in (9, 10, 11, 6, 27, 7, 8, 25)]
    made = compiled(
        "\n".join(texts), [("struct", "sock"), ("struct", "cursor"), ("enum", "offset")], tmp_path
    )
    assert [size_of(made, made.ids(name, *TAGS)[0]) for name in ("sock", "cursor", "offset")] == [96, 16, 8]


@pytest.mark.parametrize(
    "name",
    [
        "tcp_sock",
        "tcp_congestion_ops",
        "sk_buff",
        "task_struct",
        "inet_connection_sock",
        "rate_sample",
        "bpf_dummy_ops",
        "bpf_struct_ops_tcp_congestion_ops",
    ],
)
def test_the_kernels_types_compile_to_what_they_are(name: str, tmp_path: Path) -> None:
    kernel = vmlinux()
    type_id = kernel.find(name, BtfKind.STRUCT)
    if type_id is None:
        assert name == "bpf_dummy_ops", f"this kernel has no struct {name}"
        pytest.skip("waits for Linux 5.17, which has bpf_dummy_ops")
    assert assert_compiles_to_the_same(kernel, [type_id], tmp_path) > 0


def test_a_sample_of_all_the_kernels_types_in_one_header(tmp_path: Path) -> None:
    kernel = vmlinux()
    ids: dict[str, int] = {}
    for type_id in range(kernel.start_id, kernel.end_id):
        if type_id % 41 == 0 and kernel.kind(type_id) in TAGS and kernel.name(type_id):
            name = kernel.name(type_id)
            first = kernel.find(name, *TAGS)
            if first is not None and (kernel.kind(first) in TAGS[:2] or kernel.type(first).values):  # type: ignore[union-attr]  # an enum
                ids[name] = first
    chosen = list(ids.values())[:250]
    assert len(chosen) > 100
    assert assert_compiles_to_the_same(kernel, chosen, tmp_path) > len(chosen)


def test_clangs_own_btf_is_accepted_and_comes_out_as_it_was() -> None:
    data = compile_object(OBJECTS / "btf_kinds.bpf.c")
    btf = Btf(section(data, ".BTF"))
    btf.check()
    assert btf.find("tcp_sock___local", BtfKind.STRUCT) == btf.candidates("tcp_sock")[0]
    types = list(btf.types())
    again = list(Btf(encode(types)).types())
    assert again == types
    assert [type(item) for item in again] == [type(item) for item in types]


def test_clangs_btf_ext() -> None:
    data = compile_object(OBJECTS / "btf_kinds.bpf.c")
    btf = Btf(section(data, ".BTF"))
    ext = parse_ext(section(data, ".BTF.ext"), btf)
    functions = {name: [btf.name(info.type_id) for info in infos] for name, infos in ext.func_info.items()}
    assert functions == {
        ".text": ["half"],
        "struct_ops/ssthresh": ["ssthresh"],
        "struct_ops/event": ["event"],
    }
    assert {btf.name(relo.type_id) for relo in ext.core_relos["struct_ops/event"]} == {"tcp_sock___local"}
    assert [relo.access for relo in ext.core_relos["struct_ops/event"]] == ["0:4"]
    line = next(info for info in ext.line_info[".text"] if "snd_cwnd" in btf.string(info.line_off))
    assert btf.string(line.line_off).strip() == "return tp->snd_cwnd >> 1;"
    assert btf.string(line.file_name_off).endswith("btf_kinds.bpf.c")
