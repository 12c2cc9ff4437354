"""A pinned map is shared only if it has the definition of the object."""

from __future__ import annotations

import pytest

from structops_cli.errors import FitError
from structops_cli.obj.spec import MapSpec
from structops_cli.runtime import shared_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo, ObjectType
from structops_cli.syscall.uapi import BPF_F_RDONLY_PROG, BpfMapType
from tests.unit.syscall.fake_lib import real_fd

SPEC = MapSpec("t_map", BpfMapType.HASH, 4, 8, 16, 0, 0, None, 0, 0, True)
SAME = MapInfo(1, BpfMapType.HASH, "t_map", 4, 8, 16, 0, 0, 0, 0, 0, 0, 0)


def check(monkeypatch: pytest.MonkeyPatch, spec: MapSpec, there: MapInfo) -> None:
    monkeypatch.setattr(shared_maps, "object_type", lambda _: ObjectType.MAP)
    monkeypatch.setattr(shared_maps, "map_info", lambda _: there)
    with Fd(real_fd()) as fd:
        shared_maps._check(spec, "/sys/fs/bpf/t_map", fd)


def test_the_same_definition_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, SPEC, SAME)


@pytest.mark.parametrize(
    ("changed", "why", "hint"),
    [
        ({"max_entries": 32}, "max_entries is 32 there and 16 in the object", "--map t_map.max_entries=32"),
        ({"value_size": 4}, "value_size is 4 there and 8 in the object", "unpin that one"),
    ],
)
def test_another_definition_is_refused(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, int], why: str, hint: str
) -> None:
    with pytest.raises(FitError) as caught:
        check(monkeypatch, SPEC, SAME._replace(**changed))  # type: ignore[arg-type]
    assert caught.value.why == why
    assert hint in caught.value.hint


def test_the_flag_that_the_kernel_adds_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, there = SPEC._replace(map_type=BpfMapType.DEVMAP), SAME._replace(map_type=BpfMapType.DEVMAP)
    check(monkeypatch, spec, there._replace(map_flags=BPF_F_RDONLY_PROG))


def test_another_object_is_no_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_maps, "object_type", lambda _: ObjectType.PROG)
    with Fd(real_fd()) as fd, pytest.raises(FitError) as caught:
        shared_maps._check(SPEC, "/sys/fs/bpf/t_map", fd)
    assert caught.value.why == "it is no map but a bpf-prog"
