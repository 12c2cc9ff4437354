"""Hostile objects raise only the project's own errors."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import CoreRelo
from structops_cli.core.apply import apply_fixups
from structops_cli.errors import StructopsError
from tests.core_fixups import compute_fixups
from tests.unit.core.worlds import World, at, bits, kernel

ACCESS = st.one_of(
    st.lists(st.integers(0, 5), min_size=1, max_size=6).map(lambda steps: ":".join(map(str, steps))),
    st.text("0123456789:-x ", max_size=12),
)
RELO = st.builds(CoreRelo, st.integers(-1, 9), st.integers(0, 30), ACCESS, st.integers(-1, 14))


def world() -> World:
    w = World()
    u32, u64 = w.integer("u32", 4), w.integer("u64", 8)
    inner = w.struct("inner", 8, bits("f", u32, 3, 9), at("g", w.array(u32, 1), 4))
    union = w.union("", 8, at("x", u64, 0), at("", inner, 0))
    w.struct(
        "s",
        32,
        at("a", w.typedef("alias", w.const(u32)), 0),
        at("", union, 8),
        at("in", w.array(inner, 2), 16),
    )
    w.enum("e", signed=True, A=-1, B=2)
    w.enum64("e64", A=1 << 40)
    w.typedef("callback", w.ptr(w.proto(u32, u64, w.ptr(inner))))
    w.fwd("declared")
    return w


TARGET = kernel(world())
LOCAL = world().btf("object").raw()


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(RELO, max_size=6), st.binary(min_size=0, max_size=80))
def test_any_relocation_of_any_instruction(relos: list[CoreRelo], insns: bytes) -> None:
    local = Btf(LOCAL, origin="object")
    for relo in relos:
        try:
            fixups = compute_fixups(local, TARGET, [relo])
            patched = apply_fixups(insns, fixups)
        except StructopsError:
            continue
        assert len(patched) == len(insns)
        assert fixups[0].describe(local)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.lists(RELO, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(24, len(LOCAL) - 1), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_types_that_are_damaged(relos: list[CoreRelo], damage: list[tuple[int, int]]) -> None:
    data = bytearray(LOCAL)
    for place, value in damage:
        data[place] = value
    try:
        damaged = Btf(bytes(data), origin="object")
    except StructopsError:
        return
    for relo in relos:
        for local, target in ((damaged, TARGET), (TARGET.vmlinux, kernel(damaged))):
            try:
                compute_fixups(local, target, [relo])[0].describe(local)
            except StructopsError:
                continue
