"""Read the table of slabs, and tell growth from noise."""

from __future__ import annotations

from tests.slab_leaks import Slab, find_leaks, parse_slabinfo

TABLE = """\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor>
kmalloc-512         120    160    512   16    2 : tunables    0    0    0 : slabdata     10     10      0
TCP                   3     13   2432   13    8 : tunables    0    0    0 : slabdata      1      1      0
"""


def test_the_table() -> None:
    assert parse_slabinfo(TABLE) == {"kmalloc-512": Slab(120, 16), "TCP": Slab(3, 13)}


def test_one_object_each_time_is_a_leak() -> None:
    before = {"kmalloc-512": Slab(120, 16), "TCP": Slab(3, 13)}
    assert find_leaks(before, {"kmalloc-512": Slab(220, 16), "TCP": Slab(4, 13)}, 100) == {"kmalloc-512": 100}
    assert find_leaks(before, {"kmalloc-512": Slab(219, 16), "TCP": Slab(0, 13)}, 100) == {}


def test_what_tells_nothing_is_left_out() -> None:
    before = {"kmalloc-8": Slab(1000, 512), "buffer_head": Slab(10, 39)}
    after = {"kmalloc-8": Slab(1613, 512), "buffer_head": Slab(900, 39), "new": Slab(500, 10)}
    assert find_leaks(before, after, 100) == {}
