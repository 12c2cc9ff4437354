"""The kind of every queueing discipline in the calling thread's network namespace: which device runs what.

Raw netlink, for ``net.qdisc`` imports pyroute2. The kernel shows a kind's name and never which version of a
registered ``Qdisc_ops`` it is.
"""

from __future__ import annotations

import socket
from struct import Struct
from typing import NamedTuple

from structops_cli.net.netlink import NETLINK_ROUTE, NetlinkSocket, attributes, damaged, messages

__all__ = ["DeviceQdisc", "default_qdisc", "read_qdisc_kinds"]

RTM_NEWQDISC, RTM_GETQDISC = 36, 38
TCMSG = Struct("=B3xiIII")
"""``struct tcmsg``: family, index of the device, handle, parent, and a word of its own."""
TCA_KIND, TCA_DUMP_INVISIBLE = 1, 10
"""``include/uapi/linux/rtnetlink.h``, as all of these."""
FLAG = Struct("=HH")
"""An attribute without a value."""
DEFAULT_QDISC = "/proc/sys/net/core/default_qdisc"


class DeviceQdisc(NamedTuple):
    """A queueing discipline of a device; ``handle`` and ``parent`` are major << 16 | minor, as in ``QdiscStatistics``."""

    device: str
    kind: str
    handle: int
    parent: int


def read_qdisc_kinds() -> tuple[DeviceQdisc, ...]:
    """Return the queueing disciplines of every device, those that the kernel made by itself below others included.

    Raises ``KernelError`` for what the kernel refuses, ``InputError`` for a damaged answer. Source: ``tc_dump_qdisc``.
    """
    found = []
    request = TCMSG.pack(0, 0, 0, 0, 0) + FLAG.pack(FLAG.size, TCA_DUMP_INVISIBLE)
    with NetlinkSocket(NETLINK_ROUTE) as netlink:
        for kind, body in messages(netlink.dump(RTM_GETQDISC, request, "RTM_GETQDISC")):
            if kind == RTM_NEWQDISC:
                found.append(_of_message(body))
    return tuple(found)


def _of_message(body: memoryview) -> DeviceQdisc:
    if len(body) < TCMSG.size:
        raise damaged(f"a queueing discipline of {len(body)} bytes")
    _, index, handle, parent, _ = TCMSG.unpack_from(body)
    kind = bytes(attributes(body, TCMSG.size).get(TCA_KIND, b"")).rstrip(b"\0")
    return DeviceQdisc(_name_of(index), kind.decode("ascii", "replace"), handle, parent)


def _name_of(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # gone meanwhile
        return f"device {index}"


def default_qdisc() -> str:
    """Return the kind that devices get when nobody chooses one, "" where this kernel or namespace does not show it."""
    try:
        with open(DEFAULT_QDISC, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
