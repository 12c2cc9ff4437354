"""Read route messages, damaged ones included, and parse the words of a route."""

from __future__ import annotations

import random
import shlex
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

import pytest

from structops_cli.errors import InputError, UsageError
from structops_cli.net.routes import (
    Route,
    RouteAttribute,
    RouteSpec,
    _route,
    parse_route,
    words_of,
)
from tests.unit.net.route_messages import CHOICE, DESTINATION, LOCK, attribute, message


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
    assert (route.congctl, route.locked) == (None, True)


def test_routes_without_metrics_and_exceptions_of_routes() -> None:
    assert _route(message(DESTINATION), every=False) is None
    assert _route(message(DESTINATION), every=True) is not None
    assert _route(message(DESTINATION, flags=0x200), every=True) is None


def test_the_default_route_of_both_families() -> None:
    for family, word in ((AF_INET, "default"), (AF_INET6, "default (IPv6)")):
        route = _route(message(family=family, bits=0), every=True)
        assert route is not None
        assert route.destination == word


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


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "192.0.2.0/24 via 198.51.100.1 dev t_0 congctl t_one",
            RouteSpec(
                AF_INET,
                inet_pton(AF_INET, "192.0.2.0"),
                24,
                inet_pton(AF_INET, "198.51.100.1"),
                "t_0",
                254,
                None,
                None,
                "t_one",
            ),
        ),
        (
            "192.0.2.7",
            RouteSpec(AF_INET, inet_pton(AF_INET, "192.0.2.7"), 32, None, None, 254, None, None, None),
        ),
        (
            "default via 2001:db8::1 table local metric 0",
            RouteSpec(AF_INET6, bytes(16), 0, inet_pton(AF_INET6, "2001:db8::1"), None, 255, 0, None, None),
        ),
        (
            "2001:db8::/32 table 77 src 2001:db8::2",
            RouteSpec(
                AF_INET6,
                inet_pton(AF_INET6, "2001:db8::"),
                32,
                None,
                None,
                77,
                None,
                inet_pton(AF_INET6, "2001:db8::2"),
                None,
            ),
        ),
        ("default", RouteSpec(AF_INET, bytes(4), 0, None, None, 254, None, None, None)),
    ],
)
def test_words_that_are_a_route(text: str, wanted: RouteSpec) -> None:
    assert parse_route(text.split()) == wanted


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "begins with its destination"),
        ("via 192.0.2.1", "begins with its destination"),
        ("192.0.2.0/24 via", "via has no value"),
        ("192.0.2.0/24 congctl", "congctl has no value"),
        ("192.0.2.0/24 onlink yes", "knows no word onlink"),
        ("192.0.2.0/24 dev a dev b", "dev is given twice"),
        ("192.0.2.1/24", "is no destination"),
        ("192.0.2.0/33", "is no destination"),
        ("192.0.2.0/x", "the prefix length is a number"),
        ("192.0.2", "is no IPv4 address"),
        ("192.0.2.0/24 via 2001:db8::1", "is no IPv4 address"),
        ("2001:db8::/32 via 192.0.2.1", "is no IPv6 address"),
        ("192.0.2.0/24 table blue", "table is a number"),
        ("192.0.2.0/24 metric -1", "metric is a number"),
        ("192.0.2.0/24 metric 4294967296", "metric is at most 4294967295, not 4294967296"),
        (f"192.0.2.0/24 metric {'9' * 5000}", "metric is at most 4294967295"),
        ("192.0.2.0/24 congctl sixteen_letters_", "cannot be the name of a congestion control"),
    ],
)
def test_words_that_are_none(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        parse_route(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "default metric 0",
        "::/0 dev t_0 metric 1024",
        "192.0.2.0/24 via 198.51.100.1 dev t_0 table 77 metric 5",
        "2001:db8::1 via fe80::1 dev 't$0' metric 4294967295",
    ],
)
def test_printed_words_parse_to_the_same_route(text: str) -> None:
    meant = parse_route(shlex.split(text))
    gateway = inet_ntop(meant.family, meant.gateway) if meant.gateway else None
    where = (meant.family, meant.address, meant.prefix_bits, meant.table, meant.metric or 0, 0)
    assert words_of(Route(*where, gateway, meant.device, None, locked=False, message=b"")) == text
