"""A route in words: what is taken, and what is said of the rest."""

from __future__ import annotations

import shlex
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

import pytest

from structops_cli.errors import UsageError
from structops_cli.net.route_words import RouteWords, parse_route, words_of
from structops_cli.net.routes import Route


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "192.0.2.0/24 via 198.51.100.1 dev t_0 congctl t_one",
            RouteWords(
                AF_INET,
                inet_pton(AF_INET, "192.0.2.0"),
                24,
                inet_pton(AF_INET, "198.51.100.1"),
                "t_0",
                254,
                None,
                b"",
                "t_one",
            ),
        ),
        ("192.0.2.7", RouteWords(AF_INET, inet_pton(AF_INET, "192.0.2.7"), 32, b"", "", 254, None, b"", "")),
        (
            "default via 2001:db8::1 table local metric 0",
            RouteWords(AF_INET6, bytes(16), 0, inet_pton(AF_INET6, "2001:db8::1"), "", 255, 0, b"", ""),
        ),
        (
            "2001:db8::/32 table 77 src 2001:db8::2",
            RouteWords(
                AF_INET6,
                inet_pton(AF_INET6, "2001:db8::"),
                32,
                b"",
                "",
                77,
                None,
                inet_pton(AF_INET6, "2001:db8::2"),
                "",
            ),
        ),
        ("default", RouteWords(AF_INET, bytes(4), 0, b"", "", 254, None, b"", "")),
    ],
)
def test_words_that_are_a_route(text: str, wanted: RouteWords) -> None:
    assert parse_route(text.split()) == wanted


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "begins with its destination"),
        ("via 192.0.2.1", "begins with its destination"),
        ("192.0.2.0/24 via", "via has no value"),
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
        ("192.0.2.0/24 congctl sixteen_letters_", "is no name of a congestion control"),
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
def test_what_is_written_means_the_same_route(text: str) -> None:
    meant = parse_route(shlex.split(text))
    gateway = inet_ntop(meant.family, meant.gateway) if meant.gateway else ""
    where = (meant.family, meant.address, meant.prefix_bits, meant.table, meant.metric or 0, 0)
    assert words_of(Route(*where, gateway, meant.device, "", locked=False, message=b"")) == text
