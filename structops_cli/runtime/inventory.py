"""Take stock of the live struct_ops maps, joined with their links, pins and programs.

Nothing here trusts a name: maps, links and programs are told apart by id, and
what is registered is read from the kernel's state each time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from errno import EACCES, EAGAIN, EINVAL, ELOOP, ENOENT, ENOTDIR, EPERM
from importlib import import_module
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import (
    BtfError,
    KernelError,
    NotPermittedError,
    StructopsError,
)
from structops_cli.runtime.other_maps import maps_to_look_at, opened
from structops_cli.runtime.pin_directory import Writers, open_file
from structops_cli.runtime.pins import KEPT_FOLDER, PIN_FOLDER, is_of_this_project, pinned_name
from structops_cli.struct_ops.catalogue import StructOpsType, type_of_value, unread_type
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.value import (
    KEY,
    StructOpsValue,
    decode_value,
    read_name,
    read_programs,
    read_state,
)
from structops_cli.syscall import bpf, bpf_maps, bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import (
    LinkInfo,
    MapInfo,
    ProgInfo,
    btf_bytes,
    btf_info,
    link_info,
    map_info,
    prog_func_type,
    prog_info,
)
from structops_cli.syscall.uapi import BPF_F_LINK, BPF_OBJ_NAME_LEN, BpfLinkType, BpfMapType, StructOpsState

__all__ = [
    "LiveLink",
    "LiveMap",
    "LiveProgram",
    "kernel_rendering",
    "programs_of",
    "take_steady_stock",
    "take_stock",
    "type_of_map",
]


NO_OBJECT = frozenset({ENOENT, ENOTDIR, ELOOP, EINVAL})
"""What OBJ_GET says of a path that is gone, or no object of bpf(2)."""
NOT_OURS = frozenset({EACCES, EPERM})
"""What it says of somebody else's."""
UNDER_WAY_S = 0.05
"""How long a link that is being made or updated is given: three of a quiet machine's grace periods."""


class LiveLink(NamedTuple):
    """A link and the bpffs paths where it is pinned."""

    id: int
    pins: tuple[str, ...]


class LiveProgram(NamedTuple):
    """A program of a map, and the members that it implements."""

    members: tuple[str, ...]
    info: ProgInfo


class LiveMap(NamedTuple):
    """A struct_ops map as it is now; ``raw`` is its value, decoded when somebody asks.

    ``state`` is one of ``unset``, ``ready``, ``registered``, ``retired``
    (unregistered, and still held) and ``ejected`` (the link is there, and the
    kernel has put an end to what it registered: ``reason``, if that is known). ``refcnt`` is the kernel's own count of who
    holds it (since 6.4 an estimate). ``pins`` are of the map itself. The ``name`` of a map whose type could not be
    read (``type.unread``) is that of its pin, or ``id:N``.
    """

    info: MapInfo
    type: StructOpsType
    raw: bytes
    kernel_state: int
    refcnt: int
    state: str
    name: str
    links: tuple[LiveLink, ...]
    pins: tuple[str, ...]
    reason: str = ""

    @property
    def value(self) -> StructOpsValue:
        """The whole value, member by member."""
        return decode_value(self.type, self.raw)

    @property
    def program_ids(self) -> tuple[int, ...]:
        """The ids of its programs, each once, in member order."""
        return tuple(read_programs(self.type, self.raw))

    @property
    def is_link_map(self) -> bool:
        """Whether it was created with BPF_F_LINK."""
        return bool(self.info.map_flags & BPF_F_LINK)


class _Pins(NamedTuple):
    """Paths by id, for the two sorts of object that matter here."""

    links: dict[int, tuple[str, ...]]
    maps: dict[int, tuple[str, ...]]


def take_stock(kernel: KernelTypes) -> tuple[LiveMap, ...]:
    """Return every struct_ops map of the kernel, by id. Needs CAP_SYS_ADMIN, as the kernel's id iteration does."""
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


def take_steady_stock(kernel: KernelTypes) -> tuple[LiveMap, ...]:
    """Return every struct_ops map, for whoever tells people of them: looked at twice where something is perhaps under way.

    LINK_CREATE and LINK_UPDATE hold the new map from their beginning, and name it in the link at their end: in between
    (an RCU grace period in ``tcp_update_congestion_control``) it looks like one that lost its link, with one holder.
    """
    stock = take_stock(kernel)
    if not any(_may_be_on_its_way(item) for item in stock):
        return stock
    time.sleep(UNDER_WAY_S)
    return take_stock(kernel)


def _may_be_on_its_way(item: LiveMap) -> bool:
    return item.kernel_state == StructOpsState.READY and item.state == "retired" and item.refcnt == 1


def _struct_ops_maps() -> Iterator[tuple[MapInfo, bytes]]:
    for map_id in maps_to_look_at():
        try:
            with opened(map_id) as (fd, info):
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
            ):  # gone, or not there yet: its LINK_CREATE has not returned
                raise
            continue
        if info.link_type == BpfLinkType.STRUCT_OPS:
            found.setdefault(info.map_id, []).append(info)
    return found


def _pins() -> _Pins:
    """Open every pin of every bpffs in sight and sort the struct_ops links and maps by id."""
    found = _Pins({}, {})
    for mount in bpffs.mounts():
        for path in bpffs.pins(mount.path, is_of_this_project):
            try:
                with open_file(path, path, Writers.ANYBODY) as fd:
                    _note_pin(found, fd, path)
            except KernelError as error:
                if error.errno in (NO_OBJECT if is_of_this_project(path) else NO_OBJECT | NOT_OURS):
                    continue
                # a version that is kept would seem not to be
                raise explained(error, f"{path} could not be looked at") from None
    return found


def _note_pin(found: _Pins, fd: Fd, path: str) -> None:
    sort = os.readlink(f"/proc/self/fd/{fd.fileno()}")
    if sort.endswith(("bpf_link", "bpf-link")):
        object_id, table = link_info(fd).id, found.links
    elif sort.endswith("bpf-map"):
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
    """Return the type of a live map; one that says why it could not be read, where its BTF is damaged or not there."""
    try:
        found = type_of_map(kernel, info)
        reason = f"BTF has {found.value.size_bytes} bytes for a value of {info.value_size}"
        if found.value.size_bytes == info.value_size:
            return found
    except BtfError as error:
        reason = str(kernel.unread or error)
    return unread_type(kernel.vmlinux, info.value_size, reason)


def _name_of_unread(map_id: int, links: Iterable[LiveLink], pins: Iterable[str]) -> str:
    """Return the name that this project's pins have for a map whose value cannot be decoded; ``id:N`` without one."""
    for path in (*(pin for link in links for pin in link.pins), *pins):
        folders = path.split("/")
        if folders[-2] == PIN_FOLDER:
            return pinned_name(path)
        if folders[-3::2] == [KEPT_FOLDER, str(map_id)]:
            return pinned_name(os.path.dirname(path))
    return f"id:{map_id}"


def type_of_map(kernel: KernelTypes, info: MapInfo) -> StructOpsType:
    """Return the type of a live struct_ops map, of the kernel's own BTF or a module's."""
    module = _module_name(info.btf_vmlinux_id)
    btf = _module_btf(kernel, module, info.btf_vmlinux_id) if module else kernel.vmlinux
    return type_of_value(btf, info.btf_vmlinux_value_type_id, module)


def _module_btf(kernel: KernelTypes, module: str, btf_id: int) -> Btf:
    """Return the types of one module, from the kernel; no other module is read."""
    if kernel.unread:
        raise kernel.unread if isinstance(kernel.unread, BtfError) else BtfError(str(kernel.unread))
    with bpf.btf_get_fd_by_id(btf_id) as fd:
        return Btf.from_bytes(btf_bytes(fd), base=kernel.vmlinux, origin=f"module {module}")


def _without_ejected(stock: list[LiveMap]) -> tuple[LiveMap, ...]:
    """Ask the subsystems whose links outlive what they registered which of them did."""
    asked: dict[str, dict[int, str]] = {}
    for item in stock:
        if item.state == "registered" and item.links and (module := kind_of(item.type.name).ejected_by):
            asked.setdefault(module, {}).update({link.id: item.name for link in item.links})
    reasons: dict[int, str] = {}
    for module, names in asked.items():
        reasons |= import_module(f"structops_cli.runtime.{module}").ejections(names)
    return tuple(_if_ejected(item, reasons) for item in stock)


def _if_ejected(item: LiveMap, reasons: dict[int, str]) -> LiveMap:
    mine = [reasons[link.id] for link in item.links if link.id in reasons]
    return item._replace(state="ejected", reason=mine[-1]) if mine and len(mine) == len(item.links) else item


def _module_name(btf_id: int) -> str:
    """Return the module whose BTF object this is, "" for vmlinux (and for kernels that do not say)."""
    if not btf_id:
        return ""
    with bpf.btf_get_fd_by_id(btf_id) as fd:
        name = btf_info(fd).name
    return "" if name == "vmlinux" else name


STATES = {
    int(StructOpsState.INIT): "unset",
    int(StructOpsState.INUSE): "registered",
    int(StructOpsState.TOBEFREE): "retired",
}
"""What the kernel's states of a map without a link mean."""


def _state(state: int, refcnt: int, *, linked: bool) -> str:
    """Turn the kernel's state into what it means.

    A link map stays READY whatever happens: it is registered while a link names
    it, and retired when none does and something still holds it. TOBEFREE is for
    maps without a link only.
    """
    if state == StructOpsState.READY:
        return "registered" if linked else "retired" if refcnt else "ready"
    return STATES.get(state, f"state {state}")


def programs_of(live: LiveMap) -> tuple[LiveProgram, ...]:
    """Ask the kernel about the programs of a map; one that is gone meanwhile is left out."""
    found = []
    for program_id, members in read_programs(live.type, live.raw).items():
        try:
            found.append(LiveProgram(tuple(members), _program(program_id)))
        except KernelError as error:
            if error.errno != ENOENT:
                raise
    return tuple(found)


def _program(program_id: int) -> ProgInfo:
    """Return what the kernel tells of a program, under its whole name where the kernel cut it to 15 bytes."""
    with bpf.prog_get_fd_by_id(program_id) as fd:
        info = prog_info(fd)
        if len(info.name) < BPF_OBJ_NAME_LEN - 1 or not info.btf_id:
            return info
        func_type = prog_func_type(fd)
    with bpf.btf_get_fd_by_id(info.btf_id) as btf_fd:
        data = btf_bytes(btf_fd)
    try:
        name = Btf.from_bytes(data, origin=f"BTF {info.btf_id}", partial=True).name(func_type)
    except BtfError:  # the kernel knows more of it than structops: the short name will do
        return info
    return info._replace(name=name) if name.startswith(info.name) else info


def kernel_rendering(map_id: int) -> str:
    """Return the kernel's own text of a struct_ops map's value, read through a pin in a private bpffs."""
    with bpf.map_get_fd_by_id(map_id) as fd, bpffs.detached() as root:
        path = f"/proc/self/fd/{root.fileno()}/value"
        bpf.obj_pin(fd, path)
        try:
            with open(path, encoding="utf-8", errors="replace") as pinned:
                return pinned.read()
        except OSError as error:
            raise StructopsError(
                f"the kernel does not render map {map_id}",
                why=error.strerror or "",
                hint="leave out --kernel",
            ) from None
