"""A route's message: read as the kernel writes it, and nothing but the project's errors for any other bytes."""

from __future__ import annotations

import random
from socket import AF_INET, AF_INET6

import pytest

from structops_cli.errors import InputError
from structops_cli.net.route_requests import _as_asked, _metrics
from structops_cli.net.routes import NUMBER, RTAX_CC_ALGO, RTAX_LOCK, RTMSG, RouteAttribute, _route


def attribute(kind: int, raw: bytes) -> bytes:
    return (len(raw) + 4).to_bytes(2, "little") + kind.to_bytes(2, "little") + raw + bytes(-len(raw) % 4)


def message(*parts: bytes, family: int = AF_INET, bits: int = 24, flags: int = 0) -> memoryview:
    return memoryview(RTMSG.pack(family, bits, 0, 0, 254, 4, 0, 1, flags) + b"".join(parts))


DESTINATION = attribute(RouteAttribute.DST, bytes([192, 0, 2, 0]))
CHOICE = attribute(RTAX_CC_ALGO, b"t_one\0")
LOCK = attribute(RTAX_LOCK, NUMBER.pack(1 << RTAX_CC_ALGO))


def test_a_choice_and_its_lock() -> None:
    route = _route(message(DESTINATION, attribute(RouteAttribute.METRICS, CHOICE + LOCK)), every=False)
    assert route is not None
    assert (route.destination, route.table, route.congctl, route.locked) == (
        "192.0.2.0/24",
        254,
        "t_one",
        True,
    )


def test_a_dangling_lock_is_all_that_the_kernel_shows() -> None:
    route = _route(message(DESTINATION, attribute(RouteAttribute.METRICS, LOCK)), every=False)
    assert route is not None
    assert (route.congctl, route.locked) == ("", True)


def test_what_has_no_metrics_and_what_is_an_exception() -> None:
    assert _route(message(DESTINATION), every=False) is None
    assert _route(message(DESTINATION), every=True) is not None
    assert _route(message(DESTINATION, flags=0x200), every=True) is None


def test_the_default_route_of_both_families() -> None:
    for family, word in ((AF_INET, "default"), (AF_INET6, "default (IPv6)")):
        route = _route(message(family=family, bits=0), every=True)
        assert route is not None
        assert route.destination == word


def test_what_is_sent_back_lacks_only_what_is_shown_only() -> None:
    kept = attribute(RouteAttribute.PRIORITY, NUMBER.pack(7)) + attribute(99, b"what nobody knows")
    gateway = attribute(RouteAttribute.GATEWAY, bytes(4))
    route = _route(
        message(DESTINATION, kept, gateway, attribute(RouteAttribute.CACHEINFO, bytes(32)), flags=16 | 4),
        every=True,
    )
    assert route is not None
    assert _as_asked(route) == bytes(message(DESTINATION, kept, gateway, flags=4))


def test_the_next_hops_of_an_object_are_left_out() -> None:
    named = attribute(RouteAttribute.NH_ID, NUMBER.pack(3))
    shown = attribute(RouteAttribute.OIF, NUMBER.pack(1)) + attribute(RouteAttribute.GATEWAY, bytes(4))
    route = _route(message(DESTINATION, named, shown), every=True)
    assert route is not None
    assert _as_asked(route) == bytes(message(DESTINATION, named))


def test_other_metrics_and_their_locks_stay() -> None:
    mtu = {2: memoryview(NUMBER.pack(1400)), RTAX_LOCK: memoryview(NUMBER.pack(1 << 2))}
    both = _metrics(mtu, "t_one", locked=True)
    assert both == attribute(
        RouteAttribute.METRICS,
        attribute(RTAX_LOCK, NUMBER.pack(1 << 2 | 1 << 16)) + attribute(2, NUMBER.pack(1400)) + CHOICE,
    )
    assert _metrics({**mtu, RTAX_CC_ALGO: memoryview(b"t_one\0")}, "", locked=False) == attribute(
        RouteAttribute.METRICS, attribute(RTAX_LOCK, NUMBER.pack(1 << 2)) + attribute(2, NUMBER.pack(1400))
    )
    assert _metrics({}, "", locked=False) == b""


def test_any_bytes_are_read_or_refused() -> None:
    chance = random.Random(6)  # the same each time
    whole = bytes(message(DESTINATION, attribute(RouteAttribute.METRICS, CHOICE + LOCK)))
    refused = 0
    for _ in range(3000):
        bytes_ = bytearray(whole[: chance.randrange(len(whole) + 1)])
        for _ in range(chance.randrange(4)):
            if bytes_:
                bytes_[chance.randrange(len(bytes_))] = chance.randrange(256)
        try:
            _route(memoryview(bytes_), every=True)
        except InputError:
            refused += 1
    assert refused > 100


def test_a_destination_that_is_too_long() -> None:
    with pytest.raises(InputError, match="damaged"):
        _route(message(attribute(RouteAttribute.DST, bytes(16))), every=True)
