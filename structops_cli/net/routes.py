"""Read the routes that choose a congestion control, and parse the words that name a route.

A route keeps a hash of the algorithm's name (``ip_fib_metrics_init`` in net/ipv4/metrics.c). While no
algorithm has that name, the kernel shows no name and connections get the namespace's default. The next
algorithm that is registered under the name gets the route. A lock stays visible.

This uses raw netlink, because ``status``, ``unregister`` and ``route list`` read the routes of every
namespace: importing pyroute2 adds 250 ms to such a command.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from structops_cli.errors import NotFoundError, UsageError
from structops_cli.net.congestion_controls import check_congestion_control_name
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.netlink import NETLINK_ROUTE, NetlinkSocket, attributes, damaged, messages
from structops_cli.shell_words import shell_words

RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_F_CLONED = 0x200
"""Marks an exception that the kernel made, such as a path MTU."""
RTMSG = Struct("=8BI")
"""``struct rtmsg``: family, dst_len, src_len, tos, table, protocol, scope, type, flags."""
RTAX_LOCK = 1
RTAX_CC_ALGO = 16
"""These are from ``include/uapi/linux/rtnetlink.h``."""
NUMBER = Struct("=I")
FAMILIES = (socket.AF_INET, socket.AF_INET6)
TABLES = {"default": 253, "main": 254, "local": 255}
"""``enum rt_class_t``. Tables with a name in rt_tables are given by number here."""
NUMBER_MAX = (1 << 32) - 1
KEYWORDS = ("via", "dev", "table", "metric", "src", "congctl")
GRAMMAR = "DEST [via GATEWAY] [dev DEVICE] [table T] [metric N] [src ADDRESS] congctl NAME"


class RouteAttribute(IntEnum):
    """``RTA_*``."""

    DST = 1
    OIF = 4
    GATEWAY = 5
    PRIORITY = 6
    PREFSRC = 7
    METRICS = 8
    MULTIPATH = 9
    CACHEINFO = 12
    TABLE = 15
    VIA = 18
    ENCAP_TYPE = 21
    ENCAP = 22
    EXPIRES = 23
    NH_ID = 30


class Route(NamedTuple):
    """One route as the kernel shows it.

    ``congctl`` is None if the route has none or its algorithm is not registered. ``locked`` then shows that
    the route has one. ``address`` has the family's 4 or 16 bytes. ``message`` is ``struct rtmsg`` and attributes.
    """

    family: int
    address: bytes
    prefix_bits: int
    table: int
    priority: int
    tos: int
    gateway: str | None
    device: str | None
    congctl: str | None
    locked: bool
    message: bytes

    @property
    def destination(self) -> str:
        """The destination as ``ip route`` writes it."""
        return _destination_text(self.family, self.address, self.prefix_bits)


class RouteSpec(NamedTuple):
    """A route as a user gives it. Addresses have the family's 4 or 16 bytes."""

    family: int
    address: bytes
    prefix_bits: int
    gateway: bytes | None
    device: str | None
    table: int
    metric: int | None
    source: bytes | None
    congctl: str | None

    @property
    def destination(self) -> str:
        """The destination as ``ip route`` writes it."""
        return _destination_text(self.family, self.address, self.prefix_bits)


def _destination_text(family: int, address: bytes, prefix_bits: int) -> str:
    """Return a destination as ``ip route`` writes it."""
    if not prefix_bits:
        return "default" if family == socket.AF_INET else "default (IPv6)"
    text = socket.inet_ntop(family, address)
    return text if prefix_bits == 8 * len(address) else f"{text}/{prefix_bits}"


def read_routes(families: Iterable[int] = FAMILIES, *, every: bool = False) -> list[Route]:
    """Return the routes of the calling thread's namespace that have metrics, or ``every`` one.

    Raises ``KernelError`` if the kernel refuses, ``InputError`` for a damaged answer.
    """
    found = []
    with NetlinkSocket(NETLINK_ROUTE, strict=True) as netlink:
        for family in families:
            answer = netlink.dump(RTM_GETROUTE, RTMSG.pack(family, *[0] * 8), "RTM_GETROUTE")
            for message_type, body in messages(answer):
                route = _route(body, every=every) if message_type == RTM_NEWROUTE else None
                if route is not None and route.family == family:
                    found.append(route)
    return found


def routes_in(namespace: NetNamespace, *, every: bool = False) -> list[Route]:
    """Return the routes of a namespace. Raises as ``read_routes`` and ``inside``."""
    return inside(namespace, lambda: read_routes(every=every))


def routes_naming(name: str, found: Iterable[NetNamespace]) -> list[tuple[NetNamespace, Route]]:
    """Return the routes that choose an algorithm; skip a namespace that is gone."""
    naming = []
    for namespace in found:
        with suppress(NotFoundError):
            naming += [(namespace, route) for route in routes_in(namespace) if route.congctl == name]
    return naming


def _route(body: memoryview, *, every: bool) -> Route | None:
    if len(body) < RTMSG.size:
        raise damaged(f"a route of {len(body)} bytes")
    family, bits, _, tos, table, _, _, _, flags = RTMSG.unpack_from(body)
    parts = attributes(body, RTMSG.size)
    if flags & RTM_F_CLONED or (not every and RouteAttribute.METRICS not in parts):
        return None
    size = 4 if family == socket.AF_INET else 16
    address = bytes(parts.get(RouteAttribute.DST, b"")).ljust(size, b"\0")
    if len(address) != size or bits > 8 * size:
        raise damaged(f"a destination of {len(address)} bytes and {bits} bits")
    congctl, locked = _choice(parts.get(RouteAttribute.METRICS))
    return Route(
        family,
        address,
        bits,
        _number(parts, RouteAttribute.TABLE, table),
        _number(parts, RouteAttribute.PRIORITY, 0),
        tos,
        _gateway(parts, family, size),
        _device(_number(parts, RouteAttribute.OIF, 0)),
        congctl,
        locked,
        bytes(body),
    )


def _choice(metrics: memoryview | None) -> tuple[str | None, bool]:
    """Return the congestion control in RTA_METRICS, and whether it is locked."""
    if metrics is None:
        return None, False
    parts = attributes(metrics)
    name = bytes(parts.get(RTAX_CC_ALGO, b"")).split(b"\0", 1)[0].decode("ascii", "replace")
    return name or None, bool(_number(parts, RTAX_LOCK, 0) >> RTAX_CC_ALGO & 1)


def _number(parts: Mapping[int, memoryview], attribute: int, default: int) -> int:
    raw = parts.get(attribute)
    if raw is None:
        return default
    if len(raw) != NUMBER.size:
        raise damaged(f"attribute {attribute} of a route has {len(raw)} bytes")
    number: int = NUMBER.unpack(raw)[0]
    return number


def _gateway(parts: Mapping[int, memoryview], family: int, size: int) -> str | None:
    raw = parts.get(RouteAttribute.GATEWAY, b"")
    return socket.inet_ntop(family, raw) if len(raw) == size else None


def _device(index: int) -> str | None:
    """Return a device's name, ``ifN`` if the device is gone."""
    try:
        return socket.if_indextoname(index) if index else None
    except OSError:
        return f"if{index}"


# The words of ip route


def parse_route(words: Sequence[str]) -> RouteSpec:
    """Parse a route in words (``GRAMMAR``). Raises ``UsageError`` that names the wrong word."""
    if not words or words[0] in KEYWORDS:
        raise UsageError("a route begins with its destination", hint=GRAMMAR)
    given = _keyword_values(words[1:])
    gateway, table, metric, source = (given.get(word) for word in ("via", "table", "metric", "src"))
    is_ipv6 = ":" in words[0] or (words[0] == "default" and ":" in (gateway or ""))
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    address, bits = _destination(words[0], family)
    if congctl := given.get("congctl"):
        check_congestion_control_name(congctl)
    return RouteSpec(
        family,
        address,
        bits,
        _address(gateway, family) if gateway else None,
        given.get("dev"),
        TABLES.get(table) or _decimal("table", table) if table else TABLES["main"],
        _decimal("metric", metric) if metric else None,
        _address(source, family) if source else None,
        congctl,
    )


def words_of(route: Route) -> str:
    """Return the words that name only this route, quoted for a shell, without its tos."""
    destination = "::/0" if route.family == socket.AF_INET6 and not route.prefix_bits else route.destination
    words = [destination]
    words += ["via", route.gateway] if route.gateway else []
    words += ["dev", route.device] if route.device else []
    words += ["table", str(route.table)] if route.table != TABLES["main"] else []
    return shell_words(*words, "metric", route.priority)


def _keyword_values(words: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for at in range(0, len(words), 2):
        keyword = words[at]
        if keyword not in KEYWORDS:
            raise UsageError(f"a route knows no word {keyword}", hint=GRAMMAR)
        if at + 1 == len(words) or not words[at + 1]:
            raise UsageError(f"{keyword} has no value", hint=GRAMMAR)
        if keyword in given:
            raise UsageError(f"{keyword} is given twice", hint=GRAMMAR)
        given[keyword] = words[at + 1]
    return given


def _destination(word: str, family: int) -> tuple[bytes, int]:
    size = 4 if family == socket.AF_INET else 16
    if word == "default":
        return bytes(size), 0
    text, slash, bits_text = word.partition("/")
    address = _address(text, family)
    bits = _decimal("the prefix length", bits_text or "0") if slash else 8 * size
    if bits > 8 * size:
        raise UsageError(f"{word} is no destination", why=f"a prefix has 0 to {8 * size} bits")
    if int.from_bytes(address, "big") & ((1 << (8 * size - bits)) - 1):
        raise UsageError(f"{word} is no destination", why=f"bits are set behind the first {bits}")
    return address, bits


def _address(text: str, family: int) -> bytes:
    try:
        return socket.inet_pton(family, text)
    except (OSError, ValueError):
        which = "IPv4" if family == socket.AF_INET else "IPv6"
        raise UsageError(f"{text!r} is no {which} address", hint=GRAMMAR) from None


def _decimal(what: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"{what} is a number, not {text!r}", hint=GRAMMAR)
    if len(text) > len(str(NUMBER_MAX)) or int(text) > NUMBER_MAX:
        raise UsageError(f"{what} is at most {NUMBER_MAX}, not {text}", hint=GRAMMAR)
    return int(text)
