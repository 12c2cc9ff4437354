"""A word selects for ``drain`` all versions of a name, built-in ones included, or one map."""

from __future__ import annotations

from typing import cast

import pytest

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import NotFoundError, UsageError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.operations import drain_source
from structops_cli.operations.drain_source import BUILT_IN, Source, choose_source
from structops_cli.runtime.live_map import LiveMap
from tests.unit.operations.live_maps import live

KERNEL = cast("KernelTypes", None)
"""Not read: ``stocked`` sets the maps."""


def stocked(monkeypatch: pytest.MonkeyPatch, *maps: LiveMap, available: str = "reno t_a") -> None:
    names = tuple(available.split())
    monkeypatch.setattr(
        drain_source, "read_congestion_controls", lambda: CongestionControls(names, names, "reno")
    )
    monkeypatch.setattr(drain_source, "list_maps", lambda _: maps)


def ids(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def test_an_algorithm_of_the_kernels_whose_name_a_retired_map_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module was loaded after a struct_ops of its name went: it is the version that is registered."""
    stocked(monkeypatch, live(7, "retired", 1))
    assert choose_source(KERNEL, "t_a", "reno") == Source("t_a", ids(7, BUILT_IN), ids(), "reno")
    assert choose_source(KERNEL, "t_a", "reno").of_maps == (7,)
    assert choose_source(KERNEL, "t_a", None) == Source("t_a", ids(7), ids(BUILT_IN), "t_a")
    assert choose_source(KERNEL, "id:7", "reno") == Source("t_a", ids(7), ids(BUILT_IN), "reno")
    assert choose_source(KERNEL, "id:7", "t_a") == Source("t_a", ids(7), ids(BUILT_IN), "t_a")


def test_a_map_that_waits_under_the_name_of_the_kernels_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stocked(monkeypatch, live(7, "ready", 0, name="reno"))
    assert BUILT_IN in choose_source(KERNEL, "reno", "t_a").map_ids


def test_versions_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    stocked(monkeypatch, live(7, "retired", 1), live(8, "registered", 1, link=3))
    assert choose_source(KERNEL, "t_a", "reno") == Source("t_a", ids(7, 8), ids(), "reno")
    assert (
        choose_source(KERNEL, "t_a", "t_a")
        == choose_source(KERNEL, "t_a", None)
        == Source("t_a", ids(7), ids(8), "t_a")
    )
    with pytest.raises(UsageError):
        choose_source(KERNEL, "id:8", "t_a")


def test_a_map_name_is_no_selector(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = (live(7, "registered", 1), live(8, "registered", 1, name="t_b"))
    stocked(monkeypatch, *maps, available="reno t_a t_b")
    with pytest.raises(NotFoundError) as caught:
        choose_source(KERNEL, maps[0].info.name, "reno")
    assert caught.value.hint == "name t_a, or select by id: id:7"


def test_nowhere_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    stocked(monkeypatch, live(7, "retired", 1), available="reno")
    with pytest.raises(NotFoundError):
        choose_source(KERNEL, "t_a", "t_a")
    with pytest.raises(UsageError):
        choose_source(KERNEL, "reno", "reno")
