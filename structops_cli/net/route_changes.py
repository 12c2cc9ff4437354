"""Make a route, give one a congestion control, take it off again, delete one: each a single request of rtnetlink.

What is changed is sent back as the kernel showed it, but for the one metric: no attribute
that this project does not know is lost. All act in the calling thread's namespace.
"""

from __future__ import annotations

import socket
from errno import EEXIST, EINVAL, ENETUNREACH, ESRCH
from struct import Struct
from typing import NamedTuple

from structops_cli.errors import KernelError, NotFoundError, NotPermittedError
from structops_cli.net.netlink import ATTRIBUTE, NETLINK_ROUTE, NetlinkSocket, attributes
from structops_cli.net.routes import NUMBER, RTAX_CC_ALGO, RTAX_LOCK, RTMSG, Route, RouteAttribute

__all__ = ["WantedRoute", "add_route", "change_route", "delete_route"]

RTM_NEWROUTE, RTM_DELROUTE = 24, 25
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
RTPROT_STATIC = 4
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RTN_UNICAST = 1
RT_TABLE_UNSPEC = 0
RTNH_F_ONLINK = 4
"""Of a next hop's flags the one that may be asked for; the others tell its state."""
CACHEINFO = Struct("=IIi")
"""``struct rta_cacheinfo`` up to ``rta_expires``, in hundredths of a second."""
NEXT_HOP = Struct("=HBBi")
"""``struct rtnexthop``: length, flags, weight, device."""
SHOWN_ONLY = frozenset({RouteAttribute.METRICS, RouteAttribute.CACHEINFO})
OF_NEXT_HOP_OBJECT = frozenset(
    {
        RouteAttribute.OIF,
        RouteAttribute.GATEWAY,
        RouteAttribute.MULTIPATH,
        RouteAttribute.VIA,
        RouteAttribute.ENCAP,
        21,
    }
)
"""What a route shows of the next hop object (``ip nexthop``) that it names: RTA_ENCAP_TYPE (21) with the others."""
HINTS = {
    EEXIST: "structops route change ROUTE gives it a congestion control",
    ENETUNREACH: "the gateway has to be reached through a device of this namespace, which is up",
    ESRCH: "structops route list shows those that choose a congestion control; ip route all of them",
}


class WantedRoute(NamedTuple):
    """A route that somebody asks for. ``address``, ``gateway`` and ``source`` are bytes of its family, b"" for none."""

    family: int
    address: bytes
    prefix_bits: int
    gateway: bytes
    device: str
    table: int
    priority: int
    source: bytes


def add_route(wanted: WantedRoute, name: str, *, locked: bool) -> None:
    """Make a route with a congestion control; refuses one that is there (EEXIST)."""
    scope = RT_SCOPE_UNIVERSE if wanted.gateway or wanted.family == socket.AF_INET6 else RT_SCOPE_LINK
    header = RTMSG.pack(
        wanted.family, wanted.prefix_bits, 0, 0, RT_TABLE_UNSPEC, RTPROT_STATIC, scope, RTN_UNICAST, 0
    )
    parts = [_attribute(RouteAttribute.TABLE, NUMBER.pack(wanted.table)), _metrics({}, name, locked=locked)]
    for kind, raw in (
        (RouteAttribute.DST, wanted.address if wanted.prefix_bits else b""),
        (RouteAttribute.GATEWAY, wanted.gateway),
        (RouteAttribute.PREFSRC, wanted.source),
        (RouteAttribute.PRIORITY, NUMBER.pack(wanted.priority) if wanted.priority else b""),
        (RouteAttribute.OIF, NUMBER.pack(_index(wanted.device)) if wanted.device else b""),
    ):
        parts += [_attribute(kind, raw)] if raw else []
    _send(RTM_NEWROUTE, header + b"".join(parts), NLM_F_CREATE | NLM_F_EXCL, "the route could not be made")


def change_route(route: Route, name: str, *, locked: bool) -> None:
    """Give a route that is there a congestion control, or take it off (``name`` is ""); all else stays as it is."""
    metrics = attributes(memoryview(route.message), RTMSG.size).get(RouteAttribute.METRICS)
    body = _as_asked(route) + _metrics(attributes(metrics) if metrics else {}, name, locked=locked)
    _send(RTM_NEWROUTE, body, NLM_F_REPLACE, f"the route to {route.destination} could not be changed")


def delete_route(route: Route) -> None:
    """Delete a route."""
    _send(RTM_DELROUTE, _as_asked(route), 0, f"the route to {route.destination} could not be deleted")


def _send(message_type: int, body: bytes, flags: int, what: str) -> None:
    operation = "RTM_DELROUTE" if message_type == RTM_DELROUTE else "RTM_NEWROUTE"
    try:
        with NetlinkSocket(NETLINK_ROUTE) as netlink:
            netlink.request(message_type, body, operation, flags)
    except NotPermittedError as error:
        raise NotPermittedError(
            what, why="CAP_NET_ADMIN is missing", hint=error.hint, errno=error.errno or 0, operation=operation
        ) from None
    except KernelError as error:
        number = error.errno or 0
        why = "it is there already" if number == EEXIST else error.why
        hint = HINTS.get(number, "") or ("ip route says the same" if number == EINVAL else "")
        raise KernelError(what, why=why, hint=hint, errno=number, operation=operation) from None


def _as_asked(route: Route) -> bytes:
    """Return a route's message as a request: without what the kernel only shows, and the metrics."""
    *fields, flags = RTMSG.unpack_from(route.message)
    parts = attributes(memoryview(route.message), RTMSG.size)
    left_out = SHOWN_ONLY | (OF_NEXT_HOP_OBJECT if RouteAttribute.NH_ID in parts else frozenset())
    body = RTMSG.pack(*fields, flags & RTNH_F_ONLINK)
    for kind, raw in parts.items():
        if kind == RouteAttribute.MULTIPATH and kind not in left_out:
            body += _attribute(kind, _next_hops(bytes(raw)))
        elif kind not in left_out:
            body += _attribute(kind, bytes(raw))
    return body + _expiry(parts)


def _expiry(parts: dict[int, memoryview]) -> bytes:
    """Return when a route ends, which the kernel shows in one attribute and takes in another."""
    shown = parts.get(RouteAttribute.CACHEINFO, b"")
    if RouteAttribute.EXPIRES in parts or len(shown) < CACHEINFO.size:
        return b""
    expires = CACHEINFO.unpack_from(shown)[2]
    return _attribute(RouteAttribute.EXPIRES, NUMBER.pack(max(expires // 100, 1))) if expires > 0 else b""


def _next_hops(raw: bytes) -> bytes:
    """Return the next hops of a route without the flags that tell their state."""
    taken, offset = bytearray(raw), 0
    while offset + NEXT_HOP.size <= len(raw):
        length, flags, weight, device = NEXT_HOP.unpack_from(raw, offset)
        NEXT_HOP.pack_into(taken, offset, length, flags & RTNH_F_ONLINK, weight, device)
        offset += max((length + 3) & ~3, NEXT_HOP.size)
    return bytes(taken)


def _metrics(before: dict[int, memoryview], name: str, *, locked: bool) -> bytes:
    """Return RTA_METRICS with one congestion control in place of what was there, or with none."""
    parts = {kind: bytes(raw) for kind, raw in before.items() if kind not in (RTAX_LOCK, RTAX_CC_ALGO)}
    lock = NUMBER.unpack(before[RTAX_LOCK])[0] if RTAX_LOCK in before else 0
    lock = lock & ~(1 << RTAX_CC_ALGO) | (1 << RTAX_CC_ALGO if locked and name else 0)
    if lock:
        parts[RTAX_LOCK] = NUMBER.pack(lock)
    if name:
        parts[RTAX_CC_ALGO] = name.encode() + b"\0"
    body = b"".join(_attribute(kind, raw) for kind, raw in sorted(parts.items()))
    return _attribute(RouteAttribute.METRICS, body) if body else b""


def _attribute(kind: int, raw: bytes) -> bytes:
    head = ATTRIBUTE.pack(ATTRIBUTE.size + len(raw), kind)
    return head + raw + b"\0" * (-len(raw) % 4)


def _index(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        raise NotFoundError(
            f"there is no network device {device}", hint="ip link shows those of a namespace"
        ) from None
