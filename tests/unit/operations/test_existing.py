"""Errors of a scheduler that the kernel refuses because the same call has registered one before it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from structops_cli.errors import KernelError
from structops_cli.operations import existing as module
from structops_cli.runtime.loaded import Loaded
from structops_cli.struct_ops.plan import MapPlan
from structops_cli.syscall.info import MapInfo
from structops_cli.syscall.uapi import BPF_F_LINK, BpfMapType
from tests.unit.operations.live_maps import TYPE, live

PLAN = MapPlan("two", TYPE._replace(name="sched_ext_ops"), True, True, (), "t_two")


def refusal(monkeypatch: pytest.MonkeyPatch, *ids: int) -> KernelError:
    """Return the error of t_two where map 7, t_one, came first; ``ids`` are the maps of the object of t_two."""
    first = live(7, "registered", 1, type_name="sched_ext_ops", link=3, name="t_one")
    monkeypatch.setattr("structops_cli.runtime.inventory.list_maps", lambda _: (first,))
    monkeypatch.setattr("structops_cli.runtime.kernel.live_kernel", lambda: None)
    monkeypatch.setattr(
        module, "map_info", lambda fd: MapInfo(fd, BpfMapType.STRUCT_OPS, "", 4, 1, 1, BPF_F_LINK, *[0] * 6)
    )
    loaded = SimpleNamespace(spec=SimpleNamespace(name="t.bpf.o"), struct_ops=dict(enumerate(ids)))
    with pytest.raises(KernelError) as caught:
        module.find_existing(cast("Loaded", loaded), PLAN, mine={7, 8}, refused=True)
    return caught.value


def test_two_schedulers_of_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refusal(monkeypatch, 7, 8)
    assert error.why == "the kernel takes one sched_ext_ops at a time, and t_one of the same call came first"
    assert error.hint == "choose one: --only two"


def test_schedulers_of_two_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, 8).hint == "give one of the objects only"
