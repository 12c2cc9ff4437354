"""Every relocation kind, on kernels whose type is moved, resized, renamed or missing."""

from __future__ import annotations

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.core.fixup import Relocator
from structops_cli.core.target import Target
from structops_cli.errors import BtfError, RelocationError
from structops_cli.syscall.uapi import CoreReloKind as Kind
from tests.btf_writers import LATER, M, Record, int_, struct_, write_btf
from tests.core_fixups import compute_fixups
from tests.unit.core.worlds import World, at, bits, fix, kernel

FIELD_KINDS = (
    Kind.FIELD_BYTE_OFFSET,
    Kind.FIELD_BYTE_SIZE,
    Kind.FIELD_EXISTS,
    Kind.FIELD_SIGNED,
    Kind.FIELD_LSHIFT_U64,
    Kind.FIELD_RSHIFT_U64,
)


def local_sock(name: str = "sock") -> tuple[World, int]:
    """``struct sock { u32 state; s16 rank; u64 cookie; void *user; struct pos { u32 x, y; } at[4]; u32 a:3, b:7; }``."""
    w = World()
    u32, s16, u64 = w.integer("u32", 4), w.signed("s16", 2), w.integer("u64", 8)
    pos = w.struct("pos", 8, at("x", u32, 0), at("y", u32, 4))
    sock = w.struct(
        name,
        64,
        at("state", u32, 0),
        at("rank", s16, 4),
        at("cookie", u64, 8),
        at("user", w.ptr(), 16),
        at("at", w.array(pos, 4), 24),
        bits("a", u32, 448, 3),
        bits("b", u32, 451, 7),
        at("last", w.array(u32, 0), 60),
    )
    return w, sock


def kernel_sock() -> World:
    """The same, moved and resized: ``rank`` is in an anonymous union, ``at`` is longer, ``cookie`` smaller, ``b`` wider."""
    w = World()
    u32, u16, s32, u64 = w.integer("u32", 4), w.integer("u16", 2), w.signed("s32", 4), w.integer("u64", 8)
    pos = w.struct("pos", 16, at("z", u32, 0), at("y", u32, 4), at("x", u64, 8))
    u = w.union("", 8, at("both", u64, 0), at("", w.struct("", 8, at("pad", u32, 0), at("rank", s32, 4)), 0))
    w.struct(
        "sock",
        160,
        at("cookie", u16, 0),
        at("state", u32, 4),
        at("", u, 8),
        at("at", w.array(pos, 6), 16),
        at("user", w.ptr(u32), 112),
        bits("b", u64, 964, 40),
        bits("a", u32, 1025, 5),
        at("last", w.array(u32, 0), 136),
    )
    return w


def asked(access: str, kind: Kind) -> tuple[int, int]:
    local, sock = local_sock()
    fixup = fix(local, kernel_sock(), sock, access, kind)
    assert fixup.poison is None
    return fixup.local_value, fixup.target_value


@pytest.mark.parametrize(
    ("access", "offset", "size", "signed", "lshift", "rshift"),
    [
        ("0:0", (0, 4), (4, 4), (0, 0), (32, 32), (32, 32)),  # state: moved
        ("0:1", (4, 12), (2, 4), (1, 1), (48, 32), (48, 32)),  # rank: in a struct in a union, and wider
        ("0:2", (8, 0), (8, 2), (0, 0), (0, 48), (0, 48)),  # cookie: narrower
        ("0:3", (16, 112), (8, 8), (0, 0), (0, 0), (0, 0)),  # user: points at something else
        ("0:4:2", (40, 48), (8, 16), (0, 0), (0, -64), (0, -64)),  # at[2]: a larger element
        ("0:4:3:0", (48, 72), (4, 8), (0, 0), (32, 0), (32, 0)),  # at[3].x: moved in it
        ("1:4:3:1", (116, 228), (4, 4), (0, 0), (32, 32), (32, 32)),  # of the second sock
        ("0:5", (56, 128), (4, 4), (0, 0), (61, 58), (61, 59)),  # a: a wider bit-field
        ("0:6", (56, 120), (4, 8), (0, 0), (54, 20), (57, 24)),  # b: in a larger load unit
        ("0:7:5", (80, 156), (4, 4), (0, 0), (32, 32), (32, 32)),  # last[5]: a flexible array
    ],
)
def test_fields(
    access: str,
    offset: tuple[int, int],
    size: tuple[int, int],
    signed: tuple[int, int],
    lshift: tuple[int, int],
    rshift: tuple[int, int],
) -> None:
    expected = [offset, size, (1, 1), signed, lshift, rshift]
    assert [asked(access, kind) for kind in FIELD_KINDS] == expected


SIZES = "it is {} bytes in the object and {} in vmlinux, and {}"


@pytest.mark.parametrize(
    ("access", "sizes", "fixed"),
    [
        ("0:0", (4, 4), ""),
        ("0:2", (8, 2), ""),
        ("0:3", (8, 8), ""),
        ("0:1", (2, 4), SIZES.format(2, 4, "a signed integer cannot be accessed in another size")),
        (
            "0:4",
            (8, 16),
            SIZES.format(8, 16, "only pointers and unsigned integers can be accessed in another size"),
        ),
        ("0:5", (0, 0), ""),
    ],
)
def test_a_byte_offset_says_how_a_load_may_change(access: str, sizes: tuple[int, int], fixed: str) -> None:
    local, sock = local_sock()
    fixup = fix(local, kernel_sock(), sock, access, Kind.FIELD_BYTE_OFFSET)
    assert (fixup.local_size_bytes, fixup.target_size_bytes) == sizes
    assert (fixup.fixed_size or "") == fixed


def one_field(make_type: str, *, bit: int = 0) -> tuple[World, int]:
    w = World()
    u32 = w.integer("u32", 4)
    kinds = {"u32": u32, "u128": w.integer("u128", 16), "enum": w.enum("e", A=1), "byte": w.enum("e", 1, A=1)}
    member = bits("f", u32, 0, bit) if bit else at("f", kinds[make_type], 0)
    return w, w.struct("s", 16, member)


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (one_field("u32"), one_field("u32", bit=3), "a bit-field only in the object or only in vmlinux"),
        (one_field("u32", bit=3), one_field("u32"), "a bit-field only in the object or only in vmlinux"),
        (one_field("u32"), one_field("u128"), "no instruction accesses that size"),
        (one_field("enum"), one_field("byte"), "only pointers and unsigned integers"),
    ],
)
def test_a_load_that_cannot_change_says_why(
    ours: tuple[World, int], theirs: tuple[World, int], words: str
) -> None:
    assert words in str(fix(ours[0], theirs[0], ours[1], "0:0", Kind.FIELD_BYTE_OFFSET).fixed_size)


@pytest.mark.parametrize("kind", FIELD_KINDS)
def test_a_field_of_a_missing_type_is_poisoned_or_does_not_exist(kind: Kind) -> None:
    local, sock = local_sock("sock___mine")
    fixup = fix(local, World(), sock, "0:0", kind)
    assert fixup.target_value == 0
    exists = kind == Kind.FIELD_EXISTS
    assert fixup.poison == (None if exists else "there is no struct sock in vmlinux, nor in a module")


@pytest.mark.parametrize(
    ("access", "why"),
    [
        ("0:0", "struct sock has no member state in vmlinux"),
        ("0:2", "struct sock.cookie is an anonymous ptr in vmlinux, and u64 in the object"),
        ("0:4:3:0", "the array in vmlinux has no element 3: it has 2"),
        ("0:4:1:0", "struct pos has no member x in vmlinux"),
        ("0:7:0", "the array in vmlinux has no element 0: it has 0"),
    ],
)
def test_what_is_missing_is_said_in_words(access: str, why: str) -> None:
    target = World()
    u32 = target.integer("u32", 4)
    target.struct(
        "sock",
        64,
        at("cookie", target.ptr(), 0),
        at("at", target.array(target.struct("pos", 4, at("q", u32, 0)), 2), 8),
        at("last", target.array(u32, 0), 32),
        at("more", u32, 32),
    )
    local, sock = local_sock()
    assert fix(local, target, sock, access, Kind.FIELD_BYTE_OFFSET).poison == why
    missing = fix(local, target, sock, access, Kind.FIELD_EXISTS)
    assert (missing.local_value, missing.target_value, missing.poison) == (1, 0, None)


def test_an_array_step_needs_an_array() -> None:
    target = World()
    u32 = target.integer("u32", 4)
    union = target.union("all", 32, at("x", u32, 0))
    target.struct("sock", 64, at("at", target.array(union, 4), 0))
    local, sock = local_sock()
    assert fix(local, target, sock, "0:4:2", Kind.FIELD_BYTE_OFFSET).target_value == 64
    assert "has no member y" in str(fix(local, target, sock, "0:4:2:1", Kind.FIELD_BYTE_OFFSET).poison)


@pytest.mark.parametrize(
    ("first", "width", "unit", "shifts"),
    [
        (0, 1, (0, 4), (63, 63)),
        (31, 1, (0, 4), (32, 63)),
        (30, 4, (0, 8), (30, 60)),  # across the end of its own unit: the next size
        (37, 20, (4, 4), (39, 44)),
        (60, 6, (0, 16), (0, 0)),  # across 8 bytes
    ],
)
def test_the_load_unit_of_a_bit_field(
    first: int, width: int, unit: tuple[int, int], shifts: tuple[int, int]
) -> None:
    w = World()
    s = w.struct("s", 16, bits("f", w.integer("u32", 4), first, width))
    kinds = (Kind.FIELD_BYTE_OFFSET, Kind.FIELD_BYTE_SIZE, Kind.FIELD_LSHIFT_U64, Kind.FIELD_RSHIFT_U64)
    relos = [CoreRelo(n, s, "0:0", kind) for n, kind in enumerate(kinds)]
    if unit[1] > 8:
        with pytest.raises(RelocationError, match="a bit-field of 6 bits at bit 60") as error:
            compute_fixups(w.btf("object"), kernel(w), relos)
        assert error.value.fields["insn"] == 0
    else:
        fixups = compute_fixups(w.btf("object"), kernel(w), relos)
        assert tuple(fixup.target_value for fixup in fixups) == (*unit, *shifts)
        assert [fixup.checked for fixup in fixups] == [False, False, False, True]


def test_what_the_compiler_wrote_is_checked_where_it_must_agree() -> None:
    local, sock = local_sock()
    plain = [fix(local, kernel_sock(), sock, "0:0", kind).checked for kind in FIELD_KINDS]
    bit_field = [fix(local, kernel_sock(), sock, "0:5", kind).checked for kind in FIELD_KINDS]
    assert plain == [True] * 6
    assert bit_field == [False, False, True, True, False, True]
    of_type = {
        kind: fix(local, kernel_sock(), sock, "0", kind).checked
        for kind in Kind
        if kind.name.startswith("TYPE")
    }
    assert {kind for kind, checked in of_type.items() if not checked} == {
        Kind.TYPE_ID_LOCAL,
        Kind.TYPE_ID_TARGET,
    }


def test_the_sign_of_an_enum_is_not_checked_for_old_compilers_did_not_record_it() -> None:
    ours, theirs = World(), World()
    s = ours.struct("s", 4, at("e", ours.enum("e", A=1), 0))
    theirs.struct("s", 4, at("e", theirs.enum("e", signed=True, A=-1), 0))
    fixup = fix(ours, theirs, s, "0:0", Kind.FIELD_SIGNED)
    assert (fixup.local_value, fixup.target_value, fixup.checked) == (0, 1, False)


def test_a_flavour_asks_for_the_type_without_it() -> None:
    local, sock = local_sock("sock___before_6_0")
    assert fix(local, kernel_sock(), sock, "0:0", Kind.FIELD_BYTE_OFFSET).target_value == 4


def test_a_struct_that_has_become_a_union_is_another_type() -> None:
    local, sock = local_sock()
    target = World()
    target.union("sock", 64, at("state", target.integer("u32", 4), 0))
    assert fix(local, target, sock, "0:0", Kind.FIELD_EXISTS).target_value == 0


def test_a_typedef_is_its_own_kind() -> None:
    local, target = World(), World()
    body = local.struct("", 4, at("counter", local.signed("int", 4), 0))
    alias = local.typedef("atomic_t", body)
    i = target.signed("int", 4)
    target.struct("atomic_t", 8, at("counter", i, 0))
    target.typedef("atomic_t", target.struct("", 8, at("pad", i, 0), at("counter", i, 4)))
    assert fix(local, target, alias, "0:0", Kind.FIELD_BYTE_OFFSET).target_value == 4
    with pytest.raises(RelocationError, match="an anonymous struct cannot be looked up"):
        fix(local, target, body, "0:0", Kind.FIELD_BYTE_OFFSET)


def test_an_anonymous_member_taken_as_a_whole_has_no_answer_unless_it_comes_first() -> None:
    local, target = World(), World()
    u32 = local.integer("u32", 4)
    s = local.struct("s", 8, at("a", u32, 0), at("", local.union("", 4, bits("f", u32, 0, 3)), 4))
    first = local.struct("t", 4, at("", local.union("", 4, bits("f", u32, 0, 3)), 0))
    target.struct("s", 8, at("a", target.integer("u32", 4), 0))
    target.struct("t", 4)
    assert "has no name to search for" in str(fix(local, target, s, "0:1", Kind.FIELD_BYTE_OFFSET).poison)
    assert fix(local, target, first, "0:0", Kind.FIELD_BYTE_OFFSET).poison is None


TYPE_KINDS = (Kind.TYPE_EXISTS, Kind.TYPE_SIZE, Kind.TYPE_MATCHES, Kind.TYPE_ID_TARGET, Kind.TYPE_ID_LOCAL)


def test_whole_types() -> None:
    local, sock = local_sock()
    target = kernel_sock()
    found = len(target.types)
    values = [fix(local, target, sock, "0", kind)[4:6] for kind in TYPE_KINDS]
    assert values == [(1, 1), (64, 160), (1, 0), (sock, found), (sock, sock)]


def test_a_missing_type_is_zero_and_never_poison() -> None:
    local, sock = local_sock()
    for kind in TYPE_KINDS[:-1]:
        fixup = fix(local, World(), sock, "0", kind)
        assert (fixup.target_value, fixup.poison) == (0, None)
    assert fix(local, World(), sock, "0", Kind.TYPE_ID_LOCAL).target_value == sock


def test_a_type_of_another_sort_does_not_exist() -> None:
    local, target = World(), World()
    alias = local.typedef("handle", local.integer("u32", 4))
    target.typedef("handle", target.ptr())
    assert [fix(local, target, alias, "0", kind).target_value for kind in TYPE_KINDS[:4]] == [0, 0, 0, 0]
    same = World()
    same.typedef("handle", same.integer("u32", 4))
    assert [fix(local, same, alias, "0", kind).target_value for kind in TYPE_KINDS[:4]] == [1, 4, 1, 2]


def test_a_type_of_a_module_gives_its_id_there() -> None:
    local, sock = local_sock()
    vmlinux = World()
    vmlinux.integer("u32", 4)
    base = vmlinux.btf()
    module = World(base=base)
    module.struct("sock", 24, at("state", 1, 20))
    target = kernel(base, tcp_extra=module)
    assert fix(local, target, sock, "0", Kind.TYPE_ID_TARGET).target_value == 2
    assert fix(local, target, sock, "0:0", Kind.FIELD_BYTE_OFFSET).target_value == 20
    assert (
        fix(local, target, sock, "0:1", Kind.FIELD_BYTE_OFFSET).poison
        == "struct sock has no member rank in tcp_extra"
    )


def test_enumerators() -> None:
    local, target = World(), World()
    state = local.enum("state___mine", signed=True, OPEN=1, CLOSED___old=-5, GONE=7)
    target.enum("state", signed=True, FIRST=0, CLOSED=-6, OPEN=9)
    exists = [fix(local, target, state, str(n), Kind.ENUMVAL_EXISTS)[4:6] for n in range(3)]
    assert exists == [(1, 1), (1, 1), (1, 0)]
    values = [fix(local, target, state, str(n), Kind.ENUMVAL_VALUE) for n in range(3)]
    assert [v[4:6] for v in values] == [(1, 9), (-5, -6), (7, 0)]
    assert [v.poison for v in values] == [None, None, "enum state has no value GONE in vmlinux"]
    assert fix(local, World(), state, "0", Kind.ENUMVAL_EXISTS).target_value == 0
    assert (
        fix(local, World(), state, "0", Kind.ENUMVAL_VALUE).poison
        == "there is no enum state in vmlinux, nor in a module"
    )


def test_an_enum_may_have_become_wider() -> None:
    local, target = World(), World()
    flags = local.enum("flags", LOW=1, HIGH=2)
    target.enum64("flags", LOW=1, HIGH=1 << 40)
    assert fix(local, target, flags, "1", Kind.ENUMVAL_VALUE).target_value == 1 << 40
    assert fix(target, local, 1, "1", Kind.ENUMVAL_VALUE).target_value == 2


def test_a_value_that_may_be_cut_to_32_bits_is_not_used() -> None:
    """pahole --skip_encoding_btf_enum64 writes 64-bit enumerators so."""
    local, target = World(), World()
    flags = local.enum64("flags", LOW=1, HIGH=1 << 40)
    target.enum("flags", 8, LOW=1, HIGH=0)
    assert fix(local, target, flags, "1", Kind.ENUMVAL_EXISTS).target_value == 1
    assert fix(local, target, flags, "1", Kind.ENUMVAL_VALUE).poison == (
        "enum flags of vmlinux has 8 bytes in a BTF_KIND_ENUM: its values may be cut to 32 bits"
    )
    # the compiler's own value is not in its BTF either: nothing to compare the instruction with
    old_compiler = fix(target, local, 1, "1", Kind.ENUMVAL_VALUE)
    assert (old_compiler.target_value, old_compiler.checked) == (1 << 40, False)


def test_a_member_of_a_kind_that_is_not_known_is_named() -> None:
    local = World()
    sock = local.struct("sock", 8, at("a", local.integer("u32", 4), 0), at("odd", 1, 4))
    records = [int_("u32"), Record(20, "sites", 0, rest=(0,)), struct_("sock", 8, M("a", 1), M("odd", 2, 32))]
    vmlinux = Btf(write_btf(records, layout=LATER), origin="vmlinux")
    target = KernelTypes(vmlinux)
    assert fix(local, target, sock, "0:0", Kind.FIELD_BYTE_OFFSET).target_value == 0
    assert fix(local, target, sock, "0:1", Kind.FIELD_BYTE_OFFSET).poison == (
        "struct sock.odd is sites of BTF kind 20, which structops does not know in vmlinux, and u32 in the object"
    )


def test_a_typedef_of_an_enum_is_followed() -> None:
    local, target = World(), World()
    alias = local.typedef("state_t", local.enum("", A=1, B=2))
    target.typedef("state_t", target.enum("", B=3))
    assert fix(local, target, alias, "1", Kind.ENUMVAL_VALUE).target_value == 3
    other = World()
    other.typedef("state_t", other.integer("u32", 4))
    assert fix(local, other, alias, "1", Kind.ENUMVAL_VALUE).poison == "state_t is not an enum in vmlinux"


@pytest.mark.parametrize(
    ("local_signed", "target_signed", "value", "expected"),
    [
        (True, True, -2, -2),
        (True, False, 0xFFFFFFFE, -2),  # a kernel whose BTF does not say that its enum is signed
        (False, True, -2, -2),
        (False, False, 0xFFFFFFFE, 0xFFFFFFFE),
    ],
)
def test_the_sign_of_an_enumerator(
    local_signed: bool, target_signed: bool, value: int, expected: int
) -> None:
    local, target = World(), World()
    enum = local.enum("e", signed=local_signed, A=1)
    target.enum("e", signed=target_signed, A=value)
    assert fix(local, target, enum, "0", Kind.ENUMVAL_VALUE).target_value == expected


def test_fixups_are_described_in_words() -> None:
    local, sock = local_sock()
    btf = local.btf("object")
    asked = [
        ("0:0", Kind.FIELD_BYTE_OFFSET, "struct sock.state: byte offset 0 -> 4"),
        ("0:2", Kind.FIELD_BYTE_OFFSET, "struct sock.cookie: byte offset 8 -> 0, 8 -> 2 bytes"),
        ("1:4:3:0", Kind.FIELD_BYTE_SIZE, "struct sock[1].at[3].x: byte size 4 -> 8"),
        ("0:1", Kind.FIELD_EXISTS, "struct sock.rank: exists 1 -> 1"),
        ("0", Kind.TYPE_SIZE, "struct sock: byte size 64 -> 160"),
    ]
    for access, kind, text in asked:
        assert fix(local, kernel_sock(), sock, access, kind).describe(btf) == text
    missing = fix(local, World(), sock, "0:0", Kind.FIELD_BYTE_OFFSET).describe(btf)
    assert (
        missing
        == "struct sock.state: byte offset 0 -> no answer: there is no struct sock in vmlinux, nor in a module"
    )
    enum = World()
    assert (
        fix(enum, enum, enum.enum("e", B=3), "0", Kind.ENUMVAL_VALUE).describe(enum.btf())
        == "B of enum e: value 3 -> 3"
    )


@pytest.mark.parametrize("kind", [13, 255, 1 << 31, -1])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    local, sock = local_sock()
    with pytest.raises(RelocationError, match=f"kind {kind} is not known") as error:
        compute_fixups(local.btf("object"), kernel(kernel_sock()), [CoreRelo(5, sock, "0:0", kind)])
    assert error.value.fields["insn"] == 5


@pytest.mark.parametrize("kind", list(Kind))
def test_an_access_that_does_not_fit_names_the_instruction(kind: Kind) -> None:
    local, sock = local_sock()
    with pytest.raises(BtfError, match="does not fit struct sock") as error:
        compute_fixups(local.btf("object"), kernel(kernel_sock()), [CoreRelo(3, sock, "0:99", kind)])
    assert error.value.fields["insn"] == 3


def test_each_different_relocation_is_computed_once() -> None:
    local, sock = local_sock()
    relocator = Relocator(local.btf("object"), Target(kernel(kernel_sock())))
    one, two = relocator.fixups([CoreRelo(n, sock, "0:0", Kind.FIELD_BYTE_OFFSET) for n in (3, 8)])
    assert (one.insn_index, two.insn_index) == (3, 8)
    assert one[1:] == two[1:]
    assert relocator.fixups([CoreRelo(3, sock, "0:0", Kind.FIELD_BYTE_OFFSET)]) == (one,)
