"""The state and the name of a live map, from the kernel's state and from pins."""

from __future__ import annotations

import pytest

from structops_cli.runtime import inventory
from structops_cli.runtime.live_map import LiveLink, MapState
from structops_cli.syscall.uapi import StructOpsState


@pytest.mark.parametrize(
    ("state", "refcnt", "linked", "expected"),
    [
        (StructOpsState.INIT, 0, False, MapState.UNSET),
        (StructOpsState.INUSE, 1, False, MapState.REGISTERED),
        (StructOpsState.TOBEFREE, 2, False, MapState.RETIRED),
        (StructOpsState.READY, 0, False, MapState.READY),
        (StructOpsState.READY, 1, False, MapState.RETIRED),
        (StructOpsState.READY, 1, True, MapState.REGISTERED),
        (9, 0, False, MapState.UNKNOWN),
    ],
)
def test_states(state: int, refcnt: int, linked: bool, expected: MapState) -> None:
    assert inventory._state(state, refcnt, linked=linked) is expected


@pytest.mark.parametrize(
    ("links", "pins", "name"),
    [
        (("/sys/fs/bpf/structops/t_a%2eb",), (), "t_a.b"),
        ((), ("/sys/fs/bpf/structops/kept/t_a/7",), "t_a"),
        ((), ("/sys/fs/bpf/structops/kept/t_a/8",), "id:7"),
        (("/sys/fs/bpf/other/t_a",), (), "id:7"),
        ((), (), "id:7"),
    ],
)
def test_the_name_of_an_unreadable_map_comes_from_this_projects_pins(
    links: tuple[str, ...], pins: tuple[str, ...], name: str
) -> None:
    assert inventory._name_of_unread(7, [LiveLink(1, links)], pins) == name
