"""Check the rules for maps besides struct_ops maps."""

from __future__ import annotations

from errno import EINVAL

import pytest

from structops_cli.errors import ENOTSUPP
from structops_cli.obj.spec import MapSpec
from structops_cli.struct_ops.rules.definitions import map_faults
from structops_cli.syscall.uapi import BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_F_STACK_BUILD_ID, BpfMapType

ARRAY = MapSpec("m", BpfMapType.ARRAY, 4, 8, 1, 0, 0, None, 0, 0, False)


def faults(**changes: object) -> list[tuple[int, str, bool]]:
    found = map_faults(ARRAY._replace(**changes))  # type: ignore[arg-type]
    return [(fault.errno, fault.why, fault.certain) for fault in found]


def test_a_sound_array() -> None:
    assert faults() == []


@pytest.mark.parametrize(
    ("changes", "errno", "words"),
    [
        ({"max_entries": 0}, EINVAL, "max_entries is 0"),
        ({"key_size": 8}, EINVAL, "key_size is 8"),
        ({"value_size": 0}, EINVAL, "it has no value"),
        ({"map_flags": BPF_F_NO_PREALLOC}, EINVAL, "always allocated as a whole"),
        ({"map_type": BpfMapType.LRU_HASH, "map_flags": BPF_F_NO_PREALLOC}, ENOTSUPP, "allocated as a whole"),
        ({"map_type": BpfMapType.QUEUE, "key_size": 4}, EINVAL, "has no key"),
        ({"map_type": BpfMapType.PROG_ARRAY, "value_size": 8}, EINVAL, "holds fds"),
        ({"map_type": BpfMapType.LPM_TRIE, "map_flags": BPF_F_NO_PREALLOC, "key_size": 3}, EINVAL, "1 to 256"),
        ({"map_type": BpfMapType.STACK_TRACE, "value_size": 9}, EINVAL, "an array of addresses"),
        ({"map_extra": 1}, EINVAL, "no use for map_extra"),
    ],
)  # fmt: skip
def test_certain_faults(changes: dict[str, int], errno: int, words: str) -> None:
    [(number, why, certain), *_] = faults(**changes)
    assert (number, certain) == (errno, True)
    assert words in why


def test_flags_of_newer_kernels_are_no_certain_fault() -> None:
    [(errno, why, certain)] = faults(map_flags=BPF_F_STACK_BUILD_ID)
    assert (errno, certain) == (EINVAL, False)
    assert "no use for the flags" in why


def test_the_faults_of_an_inner_map_are_named_as_such() -> None:
    inner = ARRAY._replace(max_entries=0)
    [(_, why, _)] = faults(map_type=BpfMapType.ARRAY_OF_MAPS, value_size=4, inner=inner)
    assert why.startswith("of the maps that it holds: max_entries is 0")


def test_an_unknown_type_breaks_no_rule() -> None:
    assert faults(map_type=9999, key_size=0, map_flags=BPF_F_MMAPABLE) == []
