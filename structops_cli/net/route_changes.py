"""Make, change and delete routes of the calling thread's namespace.

A changed route is sent back as the kernel showed it, except for its congestion control. It keeps
attributes that this project does not know. pyroute2 0.9.7 cannot do that: its route message drops
RTA_NH_ID, and damages RTA_ENCAP of ip and seg6local tunnels.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from errno import EEXIST, EINVAL, ENETUNREACH, ESRCH
from struct import Struct

from structops_cli.errors import KernelError, NotFoundError
from structops_cli.net.netlink import ATTRIBUTE, NETLINK_ROUTE, NetlinkSocket, attributes
from structops_cli.net.routes import NUMBER, RTAX_CC_ALGO, RTAX_LOCK, RTMSG, Route, RouteAttribute, RouteSpec

RTM_NEWROUTE, RTM_DELROUTE = 24, 25
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
RTPROT_STATIC = 4
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RTN_UNICAST = 1
RT_TABLE_UNSPEC = 0
RTNH_F_ONLINK = 4
"""The only next hop flag that a request may set; others show the next hop's state."""
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
        RouteAttribute.ENCAP_TYPE,
    }
)
"""Attributes that the kernel shows for a next hop object, and rejects beside RTA_NH_ID."""
HINTS = {
    EEXIST: "structops route change ROUTE gives it a congestion control",
    EINVAL: "ip route says the same",
    ENETUNREACH: "the gateway has to be reached through a device of this namespace, which is up",
    ESRCH: "structops route list shows the routes with a congestion control; ip route shows all",
}


def add_route(spec: RouteSpec, name: str, *, locked: bool) -> None:
    """Make a route with a congestion control. Raises ``KernelError`` (EEXIST) if it exists."""
    on_link = spec.gateway is None and spec.family == socket.AF_INET
    scope = RT_SCOPE_LINK if on_link else RT_SCOPE_UNIVERSE
    header = (spec.family, spec.prefix_bits, 0, 0, RT_TABLE_UNSPEC, RTPROT_STATIC, scope, RTN_UNICAST, 0)
    wanted: dict[int, bytes | None] = {
        RouteAttribute.TABLE: NUMBER.pack(spec.table),
        RouteAttribute.METRICS: _metrics({}, name, locked=locked),
        RouteAttribute.DST: spec.address if spec.prefix_bits else None,
        RouteAttribute.GATEWAY: spec.gateway,
        RouteAttribute.PREFSRC: spec.source,
        RouteAttribute.PRIORITY: NUMBER.pack(spec.metric) if spec.metric else None,
        RouteAttribute.OIF: NUMBER.pack(_index(spec.device)) if spec.device else None,
    }
    parts = {attribute: raw for attribute, raw in wanted.items() if raw}
    _send(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, header, parts, "cannot make the route")


def change_route(route: Route, name: str | None, *, locked: bool) -> None:
    """Set or remove (None) the congestion control of a route; keep all else."""
    header, parts = _as_request(route)
    metrics = attributes(memoryview(route.message), RTMSG.size).get(RouteAttribute.METRICS)
    changed = _metrics(attributes(metrics) if metrics else {}, name, locked=locked)
    if changed or RouteAttribute.NH_ID in parts:
        # Without RTA_METRICS fib_create_info reuses the old metrics of a route with a next hop object.
        parts[RouteAttribute.METRICS] = changed
    _send(RTM_NEWROUTE, NLM_F_REPLACE, header, parts, f"cannot change the route to {route.destination}")


def delete_route(route: Route) -> None:
    """Delete a route."""
    _send(RTM_DELROUTE, 0, *_as_request(route), f"cannot delete the route to {route.destination}")


def _send(
    message_type: int, flags: int, header: tuple[int, ...], parts: Mapping[int, bytes], what: str
) -> None:
    body = RTMSG.pack(*header) + b"".join(_attribute(attribute, raw) for attribute, raw in parts.items())
    operation = "RTM_DELROUTE" if message_type == RTM_DELROUTE else "RTM_NEWROUTE"
    try:
        with NetlinkSocket(NETLINK_ROUTE) as netlink:
            netlink.request(message_type, body, operation, flags)
    except KernelError as error:
        number = error.errno or 0
        raise KernelError.from_errno(
            what,
            why="it exists already" if number == EEXIST else error.why,
            hint=HINTS.get(number, ""),
            errno=number,
            operation=operation,
            capability="CAP_NET_ADMIN",
        ) from None


def _as_request(route: Route) -> tuple[tuple[int, ...], dict[int, bytes]]:
    """Return a shown route as a request, without its metrics and its state."""
    *fields, flags = RTMSG.unpack_from(route.message)
    shown = attributes(memoryview(route.message), RTMSG.size)
    left_out = SHOWN_ONLY | (OF_NEXT_HOP_OBJECT if RouteAttribute.NH_ID in shown else frozenset())
    parts = {attribute: bytes(raw) for attribute, raw in shown.items() if attribute not in left_out}
    if RouteAttribute.MULTIPATH in parts:
        parts[RouteAttribute.MULTIPATH] = _next_hops(parts[RouteAttribute.MULTIPATH])
    return (*fields, flags & RTNH_F_ONLINK), _expiry(shown) | parts


def _expiry(shown: Mapping[int, memoryview]) -> dict[int, bytes]:
    """Return a route's lifetime as RTA_EXPIRES; the kernel shows it in RTA_CACHEINFO."""
    info = shown.get(RouteAttribute.CACHEINFO, b"")
    expires = CACHEINFO.unpack_from(info)[2] if len(info) >= CACHEINFO.size else 0
    return {RouteAttribute.EXPIRES: NUMBER.pack(max(expires // 100, 1))} if expires > 0 else {}


def _next_hops(raw: bytes) -> bytes:
    """Return RTA_MULTIPATH without the flags that show the state of next hops."""
    taken, offset = bytearray(raw), 0
    while offset + NEXT_HOP.size <= len(raw):
        length, flags, weight, device = NEXT_HOP.unpack_from(raw, offset)
        NEXT_HOP.pack_into(taken, offset, length, flags & RTNH_F_ONLINK, weight, device)
        offset += max((length + 3) & ~3, NEXT_HOP.size)
    return bytes(taken)


def _metrics(before: Mapping[int, memoryview], name: str | None, *, locked: bool) -> bytes:
    """Return the content of RTA_METRICS with another congestion control, or with none."""
    parts = {
        attribute: bytes(raw)
        for attribute, raw in before.items()
        if attribute not in (RTAX_LOCK, RTAX_CC_ALGO)
    }
    lock = NUMBER.unpack(before[RTAX_LOCK])[0] if RTAX_LOCK in before else 0
    lock = lock & ~(1 << RTAX_CC_ALGO) | (1 << RTAX_CC_ALGO if locked and name else 0)
    if lock:
        parts[RTAX_LOCK] = NUMBER.pack(lock)
    if name:
        parts[RTAX_CC_ALGO] = name.encode() + b"\0"
    return b"".join(_attribute(attribute, raw) for attribute, raw in sorted(parts.items()))


def _attribute(attribute: int, raw: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(raw), attribute) + raw + b"\0" * (-len(raw) % 4)


def _index(device: str) -> int:
    try:
        return socket.if_nametoindex(device)
    except OSError:
        raise NotFoundError(
            f"there is no network device {device}", hint="ip link shows those of a namespace"
        ) from None
