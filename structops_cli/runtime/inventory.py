"""List the live struct_ops maps, joined with their links and pins.

Maps, links and programs are identified by id, never by name, and the kernel's state
is read each time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from errno import EACCES, EAGAIN, EINVAL, ELOOP, ENOENT, ENOTDIR, EPERM
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import (
    BtfError,
    KernelError,
    NotPermittedError,
)
from structops_cli.runtime import sched_ext
from structops_cli.runtime.live_map import LiveLink, LiveMap, MapState
from structops_cli.runtime.maps_by_id import map_ids_to_open, open_map_by_id
from structops_cli.runtime.pin_directory import Writers, open_file
from structops_cli.runtime.pins import KEPT_FOLDER, PIN_FOLDER, is_of_this_project, pinned_name
from structops_cli.struct_ops.catalogue import StructOpsType, type_of_value, unread_type
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.value import (
    KEY,
    read_name,
    read_state,
)
from structops_cli.syscall import bpf, bpf_maps, bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import (
    LinkInfo,
    MapInfo,
    ObjectType,
    btf_bytes,
    btf_info,
    link_info,
    map_info,
    object_type,
)
from structops_cli.syscall.uapi import BpfLinkType, BpfMapType, StructOpsState

NO_OBJECT = frozenset({ENOENT, ENOTDIR, ELOOP, EINVAL})
"""Errnos of OBJ_GET for a path that is gone or is no BPF object."""
NOT_OURS = frozenset({EACCES, EPERM})
"""Errnos of OBJ_GET for another user's pin."""
UNDER_WAY_S = 0.05
"""Seconds to create or update a link: three RCU grace periods of an idle machine."""


class _Pins(NamedTuple):
    """Paths of link and map pins by id."""

    links: dict[int, tuple[str, ...]]
    maps: dict[int, tuple[str, ...]]


def list_maps(kernel: KernelTypes) -> tuple[LiveMap, ...]:
    """Return each struct_ops map of the kernel, by id. Needs CAP_SYS_ADMIN."""
    try:
        found = list(_struct_ops_maps())
    except NotPermittedError as error:
        raise explained(error, "the struct_ops maps of this kernel cannot be listed") from None
    if not found:
        return ()
    links = _links_by_map()
    pins = _pins()
    types: dict[tuple[int, int], StructOpsType] = {}
    return _without_ejected([_describe(kernel, info, raw, links, pins, types) for info, raw in found])


def list_settled_maps(kernel: KernelTypes) -> tuple[LiveMap, ...]:
    """Return each struct_ops map; list them twice if a link may be under construction.

    LINK_CREATE and LINK_UPDATE hold the new map from their start, and set it in the link at
    their end. In between, an RCU grace period in ``tcp_update_congestion_control``, the map
    has one reference and no link, as if it had lost its link.
    """
    stock = list_maps(kernel)
    if not any(_may_be_on_its_way(item) for item in stock):
        return stock
    time.sleep(UNDER_WAY_S)
    return list_maps(kernel)


def _may_be_on_its_way(item: LiveMap) -> bool:
    return item.kernel_state == StructOpsState.READY and item.state == MapState.RETIRED and item.refcnt == 1


def _struct_ops_maps() -> Iterator[tuple[MapInfo, bytes]]:
    for map_id in map_ids_to_open():
        try:
            with open_map_by_id(map_id) as (fd, info):
                if info.map_type == BpfMapType.STRUCT_OPS:
                    yield info, bpf_maps.map_lookup_elem(fd, KEY, info.value_size)
        except KernelError as error:
            if error.errno != ENOENT:  # gone between the two calls
                raise


def _links_by_map() -> dict[int, list[LinkInfo]]:
    found: dict[int, list[LinkInfo]] = {}
    for link_id in bpf.link_ids():
        try:
            with bpf.link_get_fd_by_id(link_id) as fd:
                info = link_info(fd)
        except KernelError as error:
            if error.errno not in (
                ENOENT,
                EAGAIN,
            ):  # gone, or its LINK_CREATE has not returned
                raise
            continue
        if info.link_type == BpfLinkType.STRUCT_OPS:
            found.setdefault(info.map_id, []).append(info)
    return found


def _pins() -> _Pins:
    """Open each reachable pin and sort the links and maps by id."""
    found = _Pins({}, {})
    for mount in bpffs.mounts():
        for path in bpffs.pins(mount.path, is_of_this_project):
            try:
                with open_file(path, path, Writers.ANYBODY) as fd:
                    _note_pin(found, fd, path)
            except KernelError as error:
                if error.errno in (NO_OBJECT if is_of_this_project(path) else NO_OBJECT | NOT_OURS):
                    continue
                # a skipped pin could be of a kept version
                raise explained(error, f"{path} could not be looked at") from None
    return found


def _note_pin(found: _Pins, fd: Fd, path: str) -> None:
    pinned = object_type(fd)
    if pinned is ObjectType.LINK:
        object_id, table = link_info(fd).id, found.links
    elif pinned is ObjectType.MAP:
        object_id, table = map_info(fd).id, found.maps
    else:
        return
    table[object_id] = (*table.get(object_id, ()), path)


def _describe(
    kernel: KernelTypes,
    info: MapInfo,
    raw: bytes,
    links: dict[int, list[LinkInfo]],
    pins: _Pins,
    types: dict[tuple[int, int], StructOpsType],
) -> LiveMap:
    key = (info.btf_vmlinux_id, info.btf_vmlinux_value_type_id)
    if key not in types:
        types[key] = _type_if_readable(kernel, info)
    kernel_type = types[key]
    state, refcnt = read_state(kernel_type, raw)
    live_links = tuple(LiveLink(link.id, pins.links.get(link.id, ())) for link in links.get(info.id, ()))
    map_pins = pins.maps.get(info.id, ())
    return LiveMap(
        info=info,
        type=kernel_type,
        raw=raw,
        kernel_state=state,
        refcnt=refcnt,
        state=_state(state, refcnt, linked=bool(live_links)),
        name=_name_of_unread(info.id, live_links, map_pins)
        if kernel_type.unread
        else read_name(kernel_type, raw) or info.name,
        links=live_links,
        pins=map_pins,
    )


def _type_if_readable(kernel: KernelTypes, info: MapInfo) -> StructOpsType:
    """Return the type of a live map, or an unread type with the reason."""
    try:
        found = type_of_map(kernel, info)
        reason = f"BTF has {found.value.size_bytes} bytes for a value of {info.value_size}"
        if found.value.size_bytes == info.value_size:
            return found
    except BtfError as error:
        reason = str(kernel.unread or error)
    return unread_type(kernel.vmlinux, info.value_size, reason)


def _name_of_unread(map_id: int, links: Iterable[LiveLink], pins: Iterable[str]) -> str:
    """Return the name of an undecodable map from its pin; ``id:N`` without a pin."""
    for path in (*(pin for link in links for pin in link.pins), *pins):
        folders = path.split("/")
        if folders[-2] == PIN_FOLDER:
            return pinned_name(path)
        if folders[-3::2] == [KEPT_FOLDER, str(map_id)]:
            return pinned_name(os.path.dirname(path))
    return f"id:{map_id}"


def type_of_map(kernel: KernelTypes, info: MapInfo) -> StructOpsType:
    """Return the type of a live struct_ops map, from the kernel's BTF or a module's."""
    module = _module_name(info.btf_vmlinux_id)
    btf = _module_btf(kernel, module, info.btf_vmlinux_id) if module else kernel.vmlinux
    return type_of_value(btf, info.btf_vmlinux_value_type_id, module)


def _module_btf(kernel: KernelTypes, module: str, btf_id: int) -> Btf:
    """Return the types of one module without reading the others."""
    if kernel.unread:
        raise kernel.unread if isinstance(kernel.unread, BtfError) else BtfError(str(kernel.unread))
    with bpf.btf_get_fd_by_id(btf_id) as fd:
        return Btf(btf_bytes(fd), base=kernel.vmlinux, origin=f"module {module}")


def _without_ejected(stock: list[LiveMap]) -> tuple[LiveMap, ...]:
    """Mark the maps of ejected schedulers, whose links still exist."""
    names = {
        link.id: item.name
        for item in stock
        if item.state == MapState.REGISTERED and item.type.name in sched_ext.TYPES
        for link in item.links
    }
    reasons = sched_ext.ejections(names) if names else {}
    return tuple(_if_ejected(item, reasons) for item in stock)


def _if_ejected(item: LiveMap, reasons: Mapping[int, str]) -> LiveMap:
    mine = [reasons[link.id] for link in item.links if link.id in reasons]
    return (
        item._replace(state=MapState.EJECTED, reason=mine[-1])
        if mine and len(mine) == len(item.links)
        else item
    )


def _module_name(btf_id: int) -> str:
    """Return the module of a BTF object, "" for vmlinux and for kernels without BTF names."""
    if not btf_id:
        return ""
    with bpf.btf_get_fd_by_id(btf_id) as fd:
        name = btf_info(fd).name
    return "" if name == "vmlinux" else name


STATES = {
    int(StructOpsState.INIT): MapState.UNSET,
    int(StructOpsState.INUSE): MapState.REGISTERED,
    int(StructOpsState.TOBEFREE): MapState.RETIRED,
}
"""The state of a map without a link, by the kernel's state."""


def _state(state: int, refcnt: int, *, linked: bool) -> MapState:
    """Return the state of a map.

    A link map stays READY. It is registered while a link has it. It is retired if no link has
    it and other references remain. Only a map without BPF_F_LINK becomes TOBEFREE.
    """
    if state == StructOpsState.READY:
        return MapState.REGISTERED if linked else MapState.RETIRED if refcnt else MapState.READY
    return STATES.get(state, MapState.UNKNOWN)
