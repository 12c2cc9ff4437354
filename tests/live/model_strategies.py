"""Draw operations for the differential test: mostly right ones, and each possible error.

A drawn sequence is plain data (words and numbers), and can become a regression test. It
names members, and programs by their member, so it means the same on another kernel.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed
from hypothesis import strategies as st

from structops_cli.syscall.uapi import BPF_F_LINK
from tests.live.model_operations import DUMMY, LINKS, MAPS, TCP, Words

# Strategies: hypothesis shrinks towards the first choice


def weighted(*choices: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Draw from strategies by weight. ``one_of`` would drop repeated strategies."""
    table = [index for index, (weight, _) in enumerate(choices) for _ in range(weight)]
    return st.sampled_from(range(len(table))).flatmap(lambda at: choices[table[at]][1])


def mostly(usual: object, rare: st.SearchStrategy[Any], times: int = 12) -> st.SearchStrategy[Any]:
    """Draw the usual value ``times`` times as often as a rare one."""
    return weighted((times, st.just(usual)), (1, rare))


handle = st.sampled_from(MAPS)
some_map = weighted((20, handle), (1, st.just("closed")))
ready_map = weighted((5, st.sampled_from(["ready 0", "ready 1", "ready 2"])), (1, some_map))
link = st.sampled_from(LINKS)
some_link = weighted((8, st.sampled_from(["open 0", "open 1"])), (1, link))
number = weighted((1, st.integers(0, 3)), (1, st.integers(0, 255)), (1, st.integers(0, (1 << 32) - 1)))
key = mostly(0, number)
flags = mostly(0, number, times=20)
odd_name = st.sampled_from([
    "!taken", "!empty", "!full", "!blank", "!slash", "!latin", "!divide", "!tail", "!dot", "!del", "!nbsp",
])  # fmt: skip
name = weighted((6, st.just("a")), (2, st.just("b")), (1, odd_name))
member = st.sampled_from([
    "ssthresh", "cong_avoid", "set_state", "cwnd_event", "in_ack_event", "pkts_acked", "min_tso_segs", "cong_control",
    "undo_cwnd", "sndbuf_expand", "get_info", "init", "release", "test_1", "test_2", "test_sleepable",
])  # fmt: skip
odd_program = st.sampled_from([
    ("none",), ("right",), ("high",), ("filter",), ("array",), ("btf",), ("closed",), ("minus",),
])  # fmt: skip
program = weighted(
    (1, odd_program), (1, st.tuples(st.just("of"), st.sampled_from([TCP, DUMMY]), st.integers(0, 17)))
)
mutation = weighted(
    (3, st.tuples(st.just("program"), member, program)),
    (2, st.tuples(st.just("data"), st.sampled_from(["flags", "owner", "list", "key"]), number)),
    (1, st.tuples(st.just("hole"), st.sampled_from(["value", "struct"]), st.integers(0, 200), st.integers(1, 255))),
    (1, st.tuples(st.just("own"), st.sampled_from(["state", "refcnt"]), number)),
)  # fmt: skip
mutations = weighted((5, st.just(())), (3, st.tuples(mutation)), (1, st.tuples(mutation, mutation)))
unset_map = weighted((4, st.sampled_from(["unset 0", "unset 1", "unset 2"])), (1, some_map))
update = st.tuples(
    st.just("update"), unset_map, mostly("least", st.just("all"), times=3), name, mutations, key, flags
)
attribute = st.one_of(
    st.tuples(st.just("key_size"), st.sampled_from([0, 1, 8])),
    st.tuples(st.just("max_entries"), st.sampled_from([0, 2])),
    st.tuples(st.just("value_size"), st.sampled_from([0, 1, 255, 257, 4096])),
    st.tuples(st.just("map_flags"), st.sampled_from([1, 1 << 3, 3 << 3, 1 << 10, BPF_F_LINK | 1, 1 << 16, 1 << 31])),
    st.tuples(st.just("module"), st.sampled_from(["btf", "vmlinux", "array", "closed"])),
    st.tuples(st.just("btf_vmlinux_value_type_id"), st.sampled_from([0, 1, 0x7FFFFFFF, -1])),
    st.tuples(st.just("btf"), st.sampled_from(["vmlinux", "array", "closed", "filter"])),
    st.tuples(st.just("btf_key_type_id"), st.just(1)),
    st.tuples(st.just("btf_value_type_id"), st.just(1)),
    st.tuples(st.just("map_extra"), st.just(1)),
)  # fmt: skip
attributes = weighted((6, st.just(())), (6, st.tuples(attribute)), (1, st.tuples(attribute, attribute)))
types = mostly(TCP, st.just(DUMMY), times=9)
new_map = st.sampled_from(["m3", "m4", "m5"])
create = st.tuples(st.just("create"), new_map, types, st.booleans(), attributes)
relink_flags = mostly(None, st.sampled_from([0, 1, 4, 5]), times=6)
old_map = weighted((2, st.none()), (2, st.just("behind")), (1, some_map))
load = st.tuples(
    st.just("load"),
    st.sampled_from([TCP, DUMMY]),
    mostly("own", st.sampled_from([0, 1, "other"]), times=8),
    st.integers(0, 20),
    mostly(True, st.just(False), times=8),
    st.booleans(),
)
operation = weighted(
    (12, update),
    (2, create),
    (8, st.tuples(st.just("link"), link, ready_map, flags)),
    (8, st.tuples(st.just("relink"), some_link, ready_map, old_map, relink_flags)),
    (2, st.tuples(st.just("detach"), some_link)),
    (2, st.tuples(st.just("close"), some_link)),
    (4, st.tuples(st.just("delete"), some_map, key)),
    (2, st.tuples(st.just("lookup"), some_map, key)),
    (1, st.tuples(st.just("next"), some_map, st.one_of(st.none(), key))),
    (1, st.tuples(st.just("freeze"), some_map)),
    (2, load),
    (1, st.tuples(st.just("run"), types, st.integers(0, 2), st.integers(1, 6))),
)
link_maps = st.sampled_from(
    [(True, True, True), (True, True, False), (False, True, True), (False, False, True)]
)
first = st.tuples(link_maps, types).map(lambda drawn: tuple(
    ("create", item, drawn[1] if item == "m2" else TCP, is_link, ()) for item, is_link in zip(MAPS, drawn[0], strict=True)
))  # fmt: skip
set_first = st.sampled_from([(), ("m0",), ("m0", "m1")]).map(
    lambda handles: tuple(("update", item, "least", "a", (), 0, 0) for item in handles)
)
sequences = st.tuples(first, set_first, st.lists(operation, min_size=15, max_size=40)).map(
    lambda parts: (*parts[0], *parts[1], *parts[2])
)


LEAST = 18
"""The least number of items in a sequence."""


def drawn(seed: int, operations: int) -> list[tuple[Words, ...]]:
    """Return sequences of three times as many items as ``operations``, fixed by the seed.

    Items without a meaning on a kernel are no operation: on 5.10, which has no links, every second one.
    """
    found: list[tuple[Words, ...]] = []

    @with_seed(seed)
    @settings(
        max_examples=max(1, operations * 3 // LEAST), deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(sequences)
    def keep(sequence: tuple[Words, ...]) -> None:
        if sum(map(len, found)) < operations * 3:
            found.append(sequence)

    keep()
    return found


__all__ = ["drawn", "sequences"]
