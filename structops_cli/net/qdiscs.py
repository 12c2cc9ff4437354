"""Read the kinds of the queueing disciplines in the calling thread's namespace.

This uses raw netlink, because importing pyroute2 slows ``status`` and ``unregister`` down. The kernel
shows the kind of a queueing discipline, but not the version of a registered ``Qdisc_ops``.
"""

from __future__ import annotations

import socket
from struct import Struct
from typing import NamedTuple

from structops_cli.net.netlink import NETLINK_ROUTE, NetlinkSocket, attributes, damaged, messages

RTM_NEWQDISC, RTM_GETQDISC = 36, 38
TCMSG = Struct("=B3xiIII")
"""``struct tcmsg``: family, device index, handle, parent, info."""
TCA_KIND, TCA_DUMP_INVISIBLE = 1, 10
"""``include/uapi/linux/rtnetlink.h``."""
FLAG = Struct("=HH")
"""An attribute without a value."""
DEFAULT_QDISC = "/proc/sys/net/core/default_qdisc"


class DeviceQdisc(NamedTuple):
    """A queueing discipline of a device. The kernel calls its name ``kind``.

    ``handle`` and ``parent`` are major << 16 | minor.
    """

    device: str
    kind: str
    handle: int
    parent: int


def read_device_qdiscs() -> tuple[DeviceQdisc, ...]:
    """Return the queueing disciplines of every device, invisible ones of the kernel included.

    Follows ``tc_dump_qdisc``. Raises ``KernelError`` if the kernel refuses, ``InputError`` for a
    damaged answer.
    """
    request = TCMSG.pack(0, 0, 0, 0, 0) + FLAG.pack(FLAG.size, TCA_DUMP_INVISIBLE)
    with NetlinkSocket(NETLINK_ROUTE) as netlink:
        answer = netlink.dump(RTM_GETQDISC, request, "RTM_GETQDISC")
    return tuple(_qdisc(body) for kind, body in messages(answer) if kind == RTM_NEWQDISC)


def default_qdisc() -> str | None:
    """Return the kind in net.core.default_qdisc, None if the kernel does not show it."""
    try:
        with open(DEFAULT_QDISC, encoding="ascii", errors="replace") as file:
            return file.read().strip() or None
    except OSError:
        return None


def _qdisc(body: memoryview) -> DeviceQdisc:
    if len(body) < TCMSG.size:
        raise damaged(f"a queueing discipline of {len(body)} bytes")
    _, index, handle, parent, _ = TCMSG.unpack_from(body)
    kind = bytes(attributes(body, TCMSG.size).get(TCA_KIND, b"")).rstrip(b"\0")
    return DeviceQdisc(_device(index), kind.decode("ascii", "replace"), handle, parent)


def _device(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # the device was removed meanwhile
        return f"device {index}"
