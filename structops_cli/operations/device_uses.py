"""Network devices that run a queueing discipline of a struct_ops, in every namespace, and the default that names one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from structops_cli.errors import KernelError, NotFoundError
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.qdiscs import DeviceQdisc, default_qdisc, read_device_qdiscs

__all__ = ["DeviceUse", "DeviceUses", "find_device_uses"]


class DeviceUse(NamedTuple):
    """A queueing discipline of a device in the namespace of that inode."""

    netns: int
    qdisc: DeviceQdisc


class DeviceUses(NamedTuple):
    """What was found, by kind; ``default`` is the kind of net.core.default_qdisc if it is one of them; it holds a reference, too."""

    devices: tuple[DeviceUse, ...] = ()
    default: str | None = None
    unseen: tuple[str, ...] = ()


def find_device_uses(namespaces: Mapping[int, NetNamespace], kinds: Collection[str]) -> DeviceUses:
    """Look at the devices of every namespace for queueing disciplines of these kinds; nothing is looked at without kinds.

    What cannot be looked at is left out and said in ``unseen``.
    """
    if not kinds:
        return DeviceUses()
    found: list[DeviceUse] = []
    unseen = []
    for item in namespaces.values():
        try:
            here = inside(item, read_device_qdiscs) if item.path else ()
        except NotFoundError:  # gone: nothing of it is left to count
            continue
        except KernelError as error:
            unseen.append(f"the network devices of namespace {item.title}: {error.why or error.what}")
            continue
        if not item.path:
            unseen.append(f"the network devices of namespace {item.title}, which nothing in sight leads into")
        found += [DeviceUse(item.inode, qdisc) for qdisc in here if qdisc.kind in kinds]
    default = default_qdisc()
    return DeviceUses(tuple(found), default if default in kinds else None, tuple(unseen))
