"""Find devices that use a queueing discipline, with a kind that every kernel has."""

from __future__ import annotations

from collections.abc import Iterator

import pyroute2
import pytest

from structops_cli.net.qdiscs import read_device_qdiscs
from structops_cli.net.throwaway_namespace import ThrowawayNamespace
from tests.qdiscs import TC_H_ROOT, attach_qdisc, detach_qdisc, read_qdiscs

pytestmark = pytest.mark.live


def _lay() -> None:
    with pyroute2.IPRoute() as route:
        route.link("add", ifname="t_0", kind="veth", peer="t_1")


@pytest.fixture
def namespace() -> Iterator[ThrowawayNamespace]:
    with ThrowawayNamespace() as made:
        made.run(_lay)
        yield made


def test_the_kinds_of_all_devices(namespace: ThrowawayNamespace) -> None:
    namespace.run(lambda: attach_qdisc("t_0", "pfifo"))
    [found] = [one for one in namespace.run(read_device_qdiscs) if one.kind == "pfifo"]
    [same] = namespace.run(lambda: read_qdiscs("t_0"))
    assert (found.device, found.handle, found.parent) == ("t_0", same.handle, TC_H_ROOT)
    assert found.handle > 0
    assert not [one for one in read_device_qdiscs() if one.device == "t_0"], "in another namespace"
    namespace.run(lambda: detach_qdisc("t_0"))
    assert not [one for one in namespace.run(read_device_qdiscs) if one.kind == "pfifo"]


def test_disciplines_that_the_kernel_adds_are_listed(namespace: ThrowawayNamespace) -> None:
    assert "noqueue" in {one.kind for one in namespace.run(read_device_qdiscs) if one.device == "lo"}
