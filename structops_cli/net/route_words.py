"""A route in the words of ``ip route``, read and written: DEST [via GATEWAY] [dev DEVICE] [table T] [metric N] [src ADDRESS] congctl NAME."""

from __future__ import annotations

from collections.abc import Sequence
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

from structops_cli.errors import UsageError
from structops_cli.net.congestion_controls import check_congestion_control_name
from structops_cli.net.routes import Route
from structops_cli.shell_words import shell_words

__all__ = ["GRAMMAR", "RouteWords", "parse_route", "words_of"]

TABLES = {"default": 253, "main": 254, "local": 255}
"""``enum rt_class_t``; a table that somebody named in rt_tables is given by its number here."""
NUMBER_MAX = (1 << 32) - 1
KEYWORDS = ("via", "dev", "table", "metric", "src", "congctl")
GRAMMAR = "DEST [via GATEWAY] [dev DEVICE] [table T] [metric N] [src ADDRESS] congctl NAME"


class RouteWords(NamedTuple):
    """What the words say. Addresses are bytes of the family, b"" where none is given; ``metric`` is None then, ``congctl`` ""."""

    family: int
    address: bytes
    prefix_bits: int
    gateway: bytes
    device: str
    table: int
    metric: int | None
    source: bytes
    congctl: str


def parse_route(words: Sequence[str]) -> RouteWords:
    """Return what the words of a route say; ``UsageError`` says which one makes no sense."""
    if not words or words[0] in KEYWORDS:
        raise UsageError("a route begins with its destination", hint=GRAMMAR)
    given = _given(words[1:])
    family = AF_INET6 if ":" in words[0] or (words[0] == "default" and ":" in given["via"]) else AF_INET
    address, bits = _destination(words[0], family)
    if given["congctl"]:
        check_congestion_control_name(given["congctl"])
    return RouteWords(
        family,
        address,
        bits,
        _address(given["via"], family) if given["via"] else b"",
        given["dev"],
        TABLES.get(given["table"]) or _number("table", given["table"], TABLES["main"]),
        _number("metric", given["metric"], 0) if given["metric"] else None,
        _address(given["src"], family) if given["src"] else b"",
        given["congctl"],
    )


def words_of(route: Route) -> str:
    """Return the words that mean this route and no other, for a shell; its type of service is not among them."""
    destination = "::/0" if route.family == AF_INET6 and not route.prefix_bits else route.destination
    words = [destination]
    words += ["via", route.gateway] if route.gateway else []
    words += ["dev", route.device] if route.device else []
    words += ["table", str(route.table)] if route.table != TABLES["main"] else []
    return shell_words(*words, "metric", route.priority)


def _given(words: Sequence[str]) -> dict[str, str]:
    given = dict.fromkeys(KEYWORDS, "")
    for at in range(0, len(words), 2):
        keyword = words[at]
        if keyword not in given or at + 1 == len(words):
            what = f"{keyword} has no value" if keyword in given else f"a route knows no word {keyword}"
            raise UsageError(what, hint=GRAMMAR)
        if given[keyword]:
            raise UsageError(f"{keyword} is given twice", hint=GRAMMAR)
        given[keyword] = words[at + 1]
    return given


def _destination(word: str, family: int) -> tuple[bytes, int]:
    size = 4 if family == AF_INET else 16
    if word == "default":
        return bytes(size), 0
    text, slash, bits_text = word.partition("/")
    address = _address(text, family)
    bits = _number("the prefix length", bits_text, 0) if slash else 8 * size
    if bits > 8 * size:
        raise UsageError(f"{word} is no destination", why=f"a prefix has 0 to {8 * size} bits")
    if int.from_bytes(address, "big") & ((1 << (8 * size - bits)) - 1):
        raise UsageError(f"{word} is no destination", why=f"bits are set behind the first {bits}")
    return address, bits


def _address(text: str, family: int) -> bytes:
    try:
        return inet_pton(family, text)
    except (OSError, ValueError):
        which = "IPv4" if family == AF_INET else "IPv6"
        raise UsageError(f"{text!r} is no {which} address", hint=GRAMMAR) from None


def _number(what: str, text: str, otherwise: int) -> int:
    if not text:
        return otherwise
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"{what} is a number, not {text!r}", hint=GRAMMAR)
    if len(text) > len(str(NUMBER_MAX)) or int(text) > NUMBER_MAX:
        raise UsageError(f"{what} is at most {NUMBER_MAX}, not {text}", hint=GRAMMAR)
    return int(text)
