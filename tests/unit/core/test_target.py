"""The kernel's side: candidates by name, members by name."""

from __future__ import annotations

from collections.abc import Sequence

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes, ModuleBtf
from structops_cli.core.compatibility import MAX_NESTING
from structops_cli.core.target import Slot, Target
from structops_cli.syscall.uapi import BtfKind
from tests.unit.core.worlds import World, at, bits, kernel


def test_candidates_have_the_essential_name_and_the_kind() -> None:
    w = World()
    i = w.signed("int", 4)
    first, second = w.struct("s", 4, at("a", i, 0)), w.struct("s___2", 4, at("b", i, 0))
    w.union("s", 4)
    w.struct("sx", 4)
    alias = w.typedef("s", i)
    small, large = w.enum("e", A=1), w.enum64("e___big", A=1)
    target = Target(kernel(w))
    assert [c.id for c in target.candidates("s", BtfKind.STRUCT)] == [first, second]
    assert [c.id for c in target.candidates("s", BtfKind.TYPEDEF)] == [alias]
    assert [c.id for c in target.candidates("e", BtfKind.ENUM)] == [small, large]
    assert [c.id for c in target.candidates("e", BtfKind.ENUM64)] == [small, large]
    assert target.candidates("s___2", BtfKind.STRUCT) == ()


def test_modules_are_read_only_when_vmlinux_has_none() -> None:
    w = World()
    w.struct("here", 4)
    vmlinux = w.btf()
    asked: list[int] = []

    def load() -> Sequence[ModuleBtf]:
        asked.append(1)
        return [ModuleBtf(name, module(vmlinux), 7) for name in ("one", "two")]

    target = Target(KernelTypes(vmlinux, load))
    assert len(target.candidates("here", BtfKind.STRUCT)) == 1
    assert not asked
    assert [(c.btf.origin, c.id) for c in target.candidates("there", BtfKind.STRUCT)] == [("a module", 3)] * 2
    assert target.candidates("nowhere", BtfKind.STRUCT) == ()
    assert asked == [1]


def module(vmlinux: Btf) -> Btf:
    w = World(base=vmlinux)
    w.signed("long", 8)
    w.struct("there", 8)
    return w.btf("a module")


def test_members_are_found_in_anonymous_ones() -> None:
    w = World()
    u32 = w.integer("u32", 4)
    low = w.struct("", 8, at("x", u32, 0), at("y", u32, 4))
    u64 = w.integer("u64", 8)
    union = w.union("", 8, at("whole", u64, 0), at("", w.const(low), 0))
    s = w.struct(
        "s", 24, at("first", u32, 0), at("", union, 8), bits("flag", u32, 130, 1), bits("", u32, 131, 3)
    )
    btf = w.btf()
    target = Target(kernel(btf))
    found = {
        name: target.member(btf, btf.type(s), name) for name in ("first", "whole", "x", "y", "flag", "", "z")
    }
    assert found == {
        "first": Slot(u32, 0, 0, last=False),
        "whole": Slot(u64, 64, 0, last=False),
        "x": Slot(u32, 64, 0, last=False),
        "y": Slot(u32, 96, 0, last=True),
        "flag": Slot(u32, 130, 1, last=False),
        "": None,
        "z": None,
    }
    assert target.member(btf, btf.type(u32), "first") is None


def test_an_anonymous_member_that_holds_itself_ends() -> None:
    w = World()
    s = w.struct("", 8, at("", 1, 0), at("a", 1, 0), at("", 1, 4))
    btf = w.btf()
    slot = Target(kernel(btf)).member(btf, btf.type(s), "a")
    assert slot == Slot(1, 0, 0, last=False)


def test_anonymous_members_are_followed_to_a_limit() -> None:
    w = World()
    u32 = w.integer("u32", 4)
    shallow = inside = w.struct("", 4, at("a", u32, 0))
    for _ in range(MAX_NESTING - 1):
        inside = w.union("", 4, at("", inside, 0))
    deep = inside
    for _ in range(5000):
        deep = w.union("", 4, at("", deep, 0))
    btf = w.btf()
    found = [Target(kernel(btf)).member(btf, btf.type(type_id), "a") for type_id in (shallow, inside, deep)]
    assert found == [Slot(u32, 0, 0, last=True), Slot(u32, 0, 0, last=True), None]
