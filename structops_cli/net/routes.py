"""Routes that choose a congestion control: read them, in the calling thread's network namespace.

A route holds a hash of the name (``fib_metrics``, ``ip_fib_metrics_init`` in net/ipv4/metrics.c). While none of
that name is registered the kernel shows nothing in its place, and connections get the
namespace's default; whoever registers the name next gets the route. A lock stays to be seen.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
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

__all__ = [
    "GRAMMAR",
    "NUMBER",
    "RTAX_CC_ALGO",
    "RTAX_LOCK",
    "RTMSG",
    "Route",
    "RouteAttribute",
    "RouteSpec",
    "parse_route",
    "read_routes",
    "routes_in",
    "routes_naming",
    "words_of",
]

RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_F_CLONED = 0x200
"""An exception of a route, such as a path MTU: not one that anybody made."""
RTMSG = Struct("=8BI")
"""``struct rtmsg``: family, bits of destination and source, tos, table, protocol, scope, type; flags."""
RTAX_LOCK = 1
RTAX_CC_ALGO = 16
"""``include/uapi/linux/rtnetlink.h``, as all of these."""
NUMBER = Struct("=I")
TABLES = {"default": 253, "main": 254, "local": 255}
"""``enum rt_class_t``; a table that somebody named in rt_tables is given by its number here."""
NUMBER_MAX = (1 << 32) - 1
KEYWORDS = ("via", "dev", "table", "metric", "src", "congctl")
GRAMMAR = "DEST [via GATEWAY] [dev DEVICE] [table T] [metric N] [src ADDRESS] congctl NAME"
FAMILIES = (socket.AF_INET, socket.AF_INET6)


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
    ENCAP = 22
    EXPIRES = 23
    NH_ID = 30


class Route(NamedTuple):
    """One route as the kernel shows it. ``message`` is the whole of it, ``struct rtmsg`` and attributes.

    ``congctl`` is "" without one, and while its algorithm is not registered;
    ``locked`` says that there is one all the same. ``address`` has the family's 4 or 16 bytes.
    """

    family: int
    address: bytes
    prefix_bits: int
    table: int
    priority: int
    tos: int
    gateway: str
    device: str
    congctl: str
    locked: bool
    message: bytes

    @property
    def destination(self) -> str:
        """The destination as ``ip route`` writes it."""
        if not self.prefix_bits:
            return "default" if self.family == socket.AF_INET else "default (IPv6)"
        text = socket.inet_ntop(self.family, self.address)
        return text if self.prefix_bits == 8 * len(self.address) else f"{text}/{self.prefix_bits}"


def read_routes(families: Iterable[int] = FAMILIES, *, every: bool = False) -> list[Route]:
    """Return the routes of the calling thread's namespace that have metrics, or ``every`` one; exceptions are left out.

    Raises ``KernelError`` for what the kernel refuses, ``InputError`` for a damaged answer.
    """
    found = []
    with NetlinkSocket(NETLINK_ROUTE, strict=True) as netlink:
        for family in families:
            answer = netlink.dump(RTM_GETROUTE, RTMSG.pack(family, *[0] * 8), "RTM_GETROUTE")
            for kind, body in messages(answer):
                route = _route(body, every=every) if kind == RTM_NEWROUTE else None
                if route is not None and route.family == family:
                    found.append(route)
    return found


def routes_in(namespace: NetNamespace, *, every: bool = False) -> list[Route]:
    """Return the routes of a namespace, as ``read_routes`` does; errors as of ``inside`` besides."""
    return inside(namespace, lambda: read_routes(every=every))


def routes_naming(name: str, found: Iterable[NetNamespace]) -> list[tuple[NetNamespace, Route]]:
    """Return the routes of these namespaces that choose an algorithm; a namespace that is gone has none."""
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


def _choice(metrics: memoryview | None) -> tuple[str, bool]:
    """Return the congestion control of a route's metrics, and whether it is locked."""
    if metrics is None:
        return "", False
    parts = attributes(metrics)
    name = bytes(parts.get(RTAX_CC_ALGO, b"")).split(b"\0", 1)[0].decode("ascii", "replace")
    return name, bool(_number(parts, RTAX_LOCK, 0) >> RTAX_CC_ALGO & 1)


def _number(parts: dict[int, memoryview], kind: int, otherwise: int) -> int:
    raw = parts.get(kind)
    if raw is None:
        return otherwise
    if len(raw) != NUMBER.size:
        raise damaged(f"attribute {kind} of a route has {len(raw)} bytes")
    number: int = NUMBER.unpack(raw)[0]
    return number


def _gateway(parts: dict[int, memoryview], family: int, size: int) -> str:
    raw = parts.get(RouteAttribute.GATEWAY, b"")
    return socket.inet_ntop(family, raw) if len(raw) == size else ""


def _device(index: int) -> str:
    """Return a device's name, which is of the calling thread's namespace; its number when it is gone meanwhile."""
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:
        return f"if{index}"


# The words of ip route


class RouteSpec(NamedTuple):
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


def parse_route(words: Sequence[str]) -> RouteSpec:
    """Return what the words of a route say; ``UsageError`` says which one makes no sense."""
    if not words or words[0] in KEYWORDS:
        raise UsageError("a route begins with its destination", hint=GRAMMAR)
    given = _given(words[1:])
    family = (
        socket.AF_INET6
        if ":" in words[0] or (words[0] == "default" and ":" in given["via"])
        else socket.AF_INET
    )
    address, bits = _destination(words[0], family)
    if given["congctl"]:
        check_congestion_control_name(given["congctl"])
    return RouteSpec(
        family,
        address,
        bits,
        _address(given["via"], family) if given["via"] else b"",
        given["dev"],
        TABLES.get(given["table"]) or _decimal("table", given["table"], TABLES["main"]),
        _decimal("metric", given["metric"], 0) if given["metric"] else None,
        _address(given["src"], family) if given["src"] else b"",
        given["congctl"],
    )


def words_of(route: Route) -> str:
    """Return the words that mean this route and no other, for a shell; its type of service is not among them."""
    destination = "::/0" if route.family == socket.AF_INET6 and not route.prefix_bits else route.destination
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
    size = 4 if family == socket.AF_INET else 16
    if word == "default":
        return bytes(size), 0
    text, slash, bits_text = word.partition("/")
    address = _address(text, family)
    bits = _decimal("the prefix length", bits_text, 0) if slash else 8 * size
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


def _decimal(what: str, text: str, otherwise: int) -> int:
    if not text:
        return otherwise
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"{what} is a number, not {text!r}", hint=GRAMMAR)
    if len(text) > len(str(NUMBER_MAX)) or int(text) > NUMBER_MAX:
        raise UsageError(f"{what} is at most {NUMBER_MAX}, not {text}", hint=GRAMMAR)
    return int(text)
