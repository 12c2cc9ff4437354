"""Change routes: a request keeps every attribute of the route, a refusal has a cause."""

from __future__ import annotations

import errno
from collections.abc import Callable
from socket import AF_INET
from typing import ClassVar, Self

import pytest

from structops_cli.errors import KernelError, NotFoundError, NotPermittedError
from structops_cli.net import route_changes
from structops_cli.net.netlink import attributes
from structops_cli.net.route_changes import _as_request, _metrics, add_route, change_route, delete_route
from structops_cli.net.routes import (
    NUMBER,
    RTAX_CC_ALGO,
    RTAX_LOCK,
    RTMSG,
    Route,
    RouteAttribute,
    _route,
    parse_route,
)
from tests.unit.net.route_messages import CHOICE, DESTINATION, attribute, message


def shown(*parts: bytes, flags: int = 0) -> Route:
    route = _route(message(DESTINATION, *parts, flags=flags), every=True)
    assert route is not None
    return route


def test_a_request_lacks_only_what_the_kernel_only_shows() -> None:
    kept = attribute(RouteAttribute.PRIORITY, NUMBER.pack(7)) + attribute(99, b"an unknown one")
    gateway = attribute(RouteAttribute.GATEWAY, bytes(4))
    route = shown(kept, gateway, attribute(RouteAttribute.CACHEINFO, bytes(32)), flags=16 | 4)
    header, parts = _as_request(route)
    assert header == (AF_INET, 24, 0, 0, 254, 4, 0, 1, 4)
    assert parts == {
        RouteAttribute.DST: bytes([192, 0, 2, 0]),
        RouteAttribute.PRIORITY: NUMBER.pack(7),
        99: b"an unknown one",
        RouteAttribute.GATEWAY: bytes(4),
    }


def test_a_next_hop_object_stands_for_its_next_hops() -> None:
    named = attribute(RouteAttribute.NH_ID, NUMBER.pack(3))
    hop = attribute(RouteAttribute.OIF, NUMBER.pack(1)) + attribute(RouteAttribute.GATEWAY, bytes(4))
    _, parts = _as_request(shown(named, hop))
    assert parts == {RouteAttribute.DST: bytes([192, 0, 2, 0]), RouteAttribute.NH_ID: NUMBER.pack(3)}


def test_a_lifetime_is_shown_in_one_attribute_and_sent_in_another() -> None:
    info = bytes(8) + (2_500).to_bytes(4, "little") + bytes(20)
    _, parts = _as_request(shown(attribute(RouteAttribute.CACHEINFO, info)))
    assert parts[RouteAttribute.EXPIRES] == NUMBER.pack(25)
    assert RouteAttribute.CACHEINFO not in parts


def test_the_state_of_next_hops_is_not_sent() -> None:
    hop = b"\x08\0\x14\x02\x03\0\0\0"  # flags: linkdown and onlink
    _, parts = _as_request(shown(attribute(RouteAttribute.MULTIPATH, hop * 2)))
    assert parts[RouteAttribute.MULTIPATH] == b"\x08\0\x04\x02\x03\0\0\0" * 2


def test_other_metrics_and_their_locks_stay() -> None:
    mtu = {2: memoryview(NUMBER.pack(1400)), RTAX_LOCK: memoryview(NUMBER.pack(1 << 2))}
    both = attribute(RTAX_LOCK, NUMBER.pack(1 << 2 | 1 << 16)) + attribute(2, NUMBER.pack(1400)) + CHOICE
    assert _metrics(mtu, "t_one", locked=True) == both
    chosen = {**mtu, RTAX_CC_ALGO: memoryview(b"t_one\0")}
    assert _metrics(chosen, None, locked=False) == attribute(RTAX_LOCK, NUMBER.pack(1 << 2)) + attribute(
        2, NUMBER.pack(1400)
    )
    assert _metrics({}, None, locked=False) == b""


class Netlink:
    """Answer every request with an error, or keep it."""

    error: KernelError | None = None
    sent: ClassVar[list[bytes]] = []

    def __init__(self, _: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def request(self, _kind: int, payload: bytes, _operation: str, _flags: int) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(payload)


@pytest.mark.parametrize(
    ("number", "error_class", "why", "hint"),
    [
        (errno.EPERM, NotPermittedError, "CAP_NET_ADMIN is missing", "run as root"),
        (errno.EEXIST, KernelError, "it exists already", "structops route change ROUTE"),
        (errno.EINVAL, KernelError, "the kernel's text", "ip route says the same"),
        (errno.ENOMEM, KernelError, "the kernel's text", ""),
    ],
)
@pytest.mark.parametrize("request_of", [delete_route, lambda route: change_route(route, None, locked=False)])
def test_a_refusal_names_route_cause_and_fix(
    number: int,
    error_class: type[KernelError],
    why: str,
    hint: str,
    request_of: Callable[[Route], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = KernelError("refused", why="the kernel's text", errno=number, operation="x")
    monkeypatch.setattr(Netlink, "error", answer)
    monkeypatch.setattr(route_changes, "NetlinkSocket", Netlink)
    with pytest.raises(KernelError, match=r"the route to 192\.0\.2\.0/24") as caught:
        request_of(shown())
    assert type(caught.value) is error_class
    assert (caught.value.errno, caught.value.why) == (number, why)
    assert hint in caught.value.hint
    assert caught.value.operation in ("RTM_DELROUTE", "RTM_NEWROUTE")


def test_a_next_hop_object_needs_metrics_even_empty_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Netlink, "sent", [])
    monkeypatch.setattr(route_changes, "NetlinkSocket", Netlink)
    change_route(shown(attribute(RouteAttribute.NH_ID, NUMBER.pack(3))), None, locked=False)
    change_route(shown(), None, locked=False)
    found = [attributes(memoryview(sent), RTMSG.size).get(RouteAttribute.METRICS) for sent in Netlink.sent]
    assert found == [b"", None]


def test_a_new_route_has_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Netlink, "sent", [])
    monkeypatch.setattr(route_changes, "NetlinkSocket", Netlink)
    words = "192.0.2.0/24 via 198.51.100.1 table 77 metric 5 src 198.51.100.2 congctl t_one"
    spec = parse_route(words.split())
    add_route(spec, "t_one", locked=True)
    [sent] = Netlink.sent
    route = _route(memoryview(sent), every=False)
    assert route is not None
    assert route[:9] == (AF_INET, spec.address, 24, 77, 5, 0, "198.51.100.1", None, "t_one")
    assert route.locked
    assert bytes(attributes(memoryview(sent), RTMSG.size)[RouteAttribute.PREFSRC]) == spec.source


def test_a_device_that_does_not_exist() -> None:
    spec = parse_route(["192.0.2.0/24", "dev", "t_none", "congctl", "reno"])
    with pytest.raises(NotFoundError, match="there is no network device t_none"):
        add_route(spec, "reno", locked=False)
