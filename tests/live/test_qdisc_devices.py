"""Attaching, reading and detaching queueing disciplines, with a kind that every kernel has."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from errno import EEXIST, ENOENT

import pyroute2
import pytest

from structops_cli.errors import KernelError, NotFoundError, NotPermittedError
from structops_cli.net.namespace import ThrowawayNamespace
from structops_cli.net.qdisc import attach_qdisc, detach_qdisc, read_qdiscs
from structops_cli.net.qdisc_kinds import read_qdisc_kinds

pytestmark = pytest.mark.live

ROOT = 0xFFFFFFFF
NOBODY = 65534
SYS_SETRESUID = {"x86_64": 117, "aarch64": 147}.get(os.uname().machine, -1)


def _lay() -> None:
    with pyroute2.IPRoute() as route:
        route.link("add", ifname="t_0", kind="veth", peer="t_1")


@pytest.fixture
def namespace() -> Iterator[ThrowawayNamespace]:
    with ThrowawayNamespace() as made:
        made.run(_lay)
        yield made


def test_a_kind_is_attached_read_and_taken_away(namespace: ThrowawayNamespace) -> None:
    namespace.run(lambda: attach_qdisc("t_0", "pfifo"))
    [found] = namespace.run(lambda: read_qdiscs("t_0"))
    assert (found.kind, found.parent) == ("pfifo", ROOT)
    assert found.handle > 0
    assert found[3:] == (0,) * 7
    namespace.run(lambda: detach_qdisc("t_0"))
    assert [one.kind for one in namespace.run(lambda: read_qdiscs("t_0"))] != ["pfifo"]


def test_the_kinds_of_all_devices(namespace: ThrowawayNamespace) -> None:
    namespace.run(lambda: attach_qdisc("t_0", "pfifo"))
    [found] = [one for one in namespace.run(read_qdisc_kinds) if one.kind == "pfifo"]
    [same] = namespace.run(lambda: read_qdiscs("t_0"))
    assert (found.device, found.handle, found.parent) == ("t_0", same.handle, same.parent)
    assert not [one for one in read_qdisc_kinds() if one.device == "t_0"], "in another namespace"


def test_a_second_one_is_refused_and_another_kind_takes_its_place(namespace: ThrowawayNamespace) -> None:
    namespace.run(lambda: attach_qdisc("t_0", "pfifo"))
    with pytest.raises(KernelError, match="t_0") as caught:
        namespace.run(lambda: attach_qdisc("t_0", "pfifo"))
    assert (caught.value.errno, caught.value.operation) == (EEXIST, "RTM_NEWQDISC")
    assert "detach it first" in caught.value.hint
    namespace.run(lambda: attach_qdisc("t_0", "bfifo"))
    assert [one.kind for one in namespace.run(lambda: read_qdiscs("t_0"))] == ["bfifo"]


def test_a_kind_that_is_not_registered(namespace: ThrowawayNamespace) -> None:
    with pytest.raises(KernelError, match="t_nothing") as caught:
        namespace.run(lambda: attach_qdisc("t_0", "t_nothing"))
    assert caught.value.errno == ENOENT
    assert caught.value.why == "no queueing discipline of that kind is registered"


def test_nothing_to_detach(namespace: ThrowawayNamespace) -> None:
    with pytest.raises(KernelError, match="keeps its queueing discipline") as caught:
        namespace.run(lambda: detach_qdisc("t_0"))
    assert caught.value.errno == ENOENT
    assert caught.value.hint == ""


@pytest.mark.parametrize("asked", [lambda: attach_qdisc("t_2", "pfifo"), lambda: read_qdiscs("t_2")])
def test_a_device_that_is_not_there(namespace: ThrowawayNamespace, asked: object) -> None:
    with pytest.raises(NotFoundError, match="no network device t_2"):
        namespace.run(asked)  # type: ignore[arg-type]


def test_without_the_privilege(namespace: ThrowawayNamespace) -> None:
    with pytest.raises(NotPermittedError, match="could not be attached") as caught:
        namespace.run(_attach_as_nobody)
    assert "CAP_NET_ADMIN" in caught.value.why


def _attach_as_nobody() -> None:
    # the thread's own user; os.setresuid would change those of all threads
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(SYS_SETRESUID, -1, NOBODY, 0) == 0, os.strerror(ctypes.get_errno())
    try:
        attach_qdisc("t_0", "pfifo")
    finally:
        assert libc.syscall(SYS_SETRESUID, -1, 0, 0) == 0
