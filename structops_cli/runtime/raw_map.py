"""Make single kernel calls on a struct_ops map, for learning and testing.

``create`` pins the map, because the kernel frees a map without references. Every answer of
the kernel is reported unchanged.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from errno import EINVAL
from typing import NamedTuple

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import KernelError, NotFoundError, UsageError
from structops_cli.runtime.inventory import list_maps, type_of_map
from structops_cli.runtime.pins import pin_with_undo, prepare_pin_dir
from structops_cli.runtime.selection import (
    find_one,
    find_to_change,
    is_path,
    map_of_pin,
    no_match,
    open_trusted,
)
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.struct_ops.capabilities import has_links
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType, find_type
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.member_text import encode_member
from structops_cli.struct_ops.rules.causes import NO_LINKS, Cause
from structops_cli.struct_ops.rules.model import BtfFacts, FdFacts, ProgramFacts
from structops_cli.struct_ops.value import POINTER, StructOpsValue, decode_value, program_fd
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import MapInfo, ObjectType, btf_info, map_info, object_type, prog_info


class RawResult(NamedTuple):
    """The kernel's answer, and the map's value afterwards."""

    operation: str
    result: int
    info: MapInfo
    type: StructOpsType
    value: StructOpsValue


def create(kernel: KernelTypes, type_name: str, name: str, pin: str, *, link: bool) -> RawResult:
    """MAP_CREATE a struct_ops map of a type, and pin it."""
    if "/" in name:
        raise UsageError(
            f"{name} is no name for a map", why="it holds a slash", hint="--pin PATH sets the path of the pin"
        )
    kernel_type = find_type(kernel, type_name)
    with ExitStack() as undo:
        prepare_pin_dir(os.path.dirname(os.path.abspath(pin)), undo)
        try:
            with least_btf() as btf, create_struct_ops_map(kernel_type, name, btf, link=link) as fd:
                pin_with_undo(fd, pin, undo)
                answer = _answered(kernel, "MAP_CREATE", 0, fd)
        except KernelError as error:
            cause = NO_LINKS if link and error.errno == EINVAL and not has_links(kernel) else None
            raise explained(
                error, f"no map of type {type_name} could be created at {pin}", type_name, cause
            ) from None
        undo.pop_all()
    return answer


def open_map(kernel: KernelTypes, selector: str, *, to_change: bool = False) -> Fd:
    """Open the struct_ops map that a selector names, and own the fd.

    A path of the map's own pin works without the privilege to list maps.
    """
    if not is_path(selector):
        find = find_to_change if to_change else find_one
        return bpf.map_get_fd_by_id(find(list_maps(kernel), selector).info.id)
    fd = map_of_pin(selector, to_change=to_change)
    if fd is None:
        raise no_match((), selector)
    return fd


def update(kernel: KernelTypes, fd: Fd, assignments: Mapping[str, str], *, key: int, flags: int) -> RawResult:
    """MAP_UPDATE_ELEM with a value made of ``MEMBER=VALUE`` pairs.

    The VALUE of a function pointer is a program: ``id:N``, a number, or the path of a
    pin. ``state`` and ``refcnt`` set the kernel's own fields, which the kernel refuses.
    """
    kernel_type = _type(kernel, fd)
    with ExitStack() as stack:
        raw = bytearray(kernel_type.value.size_bytes)
        for name, text in assignments.items():
            start, data = _assignment(kernel_type, name, text, stack)
            raw[start : start + len(data)] = data
        try:
            result = bpf_maps.map_update_elem(fd, struct.pack("<I", key), bytes(raw), flags)
        except KernelError as error:
            cause = _cause(kernel, kernel_type, bytes(raw), key, flags, error.errno or 0)
            what = f"the kernel refused the update of map {map_info(fd).id}"
            raise explained(error, what, kernel_type.name, cause) from None
    return _answered(kernel, "MAP_UPDATE_ELEM", result, fd)


def _cause(
    kernel: KernelTypes, kernel_type: StructOpsType, raw: bytes, key: int, flags: int, errno: int
) -> Cause | None:
    """Return the rule behind the kernel's answer, while the programs are still open."""
    from structops_cli.runtime.probes import flag_masks
    from structops_cli.struct_ops.capabilities import capabilities_of
    from structops_cli.struct_ops.rules.diagnose import refused_update
    from structops_cli.struct_ops.rules.model import World

    fds = _fd_facts(program_fd(kernel_type, raw, member) for member in kernel_type.members if member.proto)
    world = World(capabilities_of(kernel), fds, flag_masks=flag_masks(kernel_type))
    return refused_update(kernel_type, raw, flags, key=key, errno=errno, world=world)


def _assignment(kernel_type: StructOpsType, name: str, text: str, stack: ExitStack) -> tuple[int, bytes]:
    """Return offset and bytes of an assignment; ``stack`` owns program fds."""
    own = {"state": kernel_type.state_offset, "refcnt": kernel_type.refcnt_offset}
    if name in own:
        return own[name], struct.pack("<I", _number(name, text))
    member = _member(kernel_type, name)
    start = kernel_type.data_offset + member.offset_bytes
    if member.proto is not None:
        return start, POINTER.pack(stack.enter_context(_open_program(text)).fileno())
    return start, encode_member(kernel_type, member, text)


def _number(name: str, text: str) -> int:
    try:
        return int(text, 0) & 0xFFFFFFFF
    except ValueError:
        raise UsageError(f"{name}={text}: {text} is no number") from None


def _member(kernel_type: StructOpsType, name: str) -> KernelMember:
    for member in kernel_type.members:
        if member.name == name:
            return member
    raise UsageError(
        f"struct {kernel_type.name} has no member {name}",
        hint=f"structops types {kernel_type.name} lists them",
        member=name,
        type_name=kernel_type.name,
    )


def _open_program(text: str) -> Fd:
    """Open a program by id or pin.

    Raises ``StructopsError`` for a pin that another user could have made.
    """
    try:
        if is_path(text):
            return open_trusted(text)
        number = text.removeprefix("id:")
        if not number.isdecimal():
            raise UsageError(
                f"{text!r} names no program", hint="write id:N, a program's number, or the path of its pin"
            )
        return bpf.prog_get_fd_by_id(int(number))
    except KernelError as error:
        raise NotFoundError(
            f"there is no program {text}",
            why=explained(error, "").why,
            hint="structops show SELECTOR lists programs",
        ) from None


def lookup(kernel: KernelTypes, fd: Fd, *, key: int) -> RawResult:
    """MAP_LOOKUP_ELEM."""
    info, kernel_type = map_info(fd), _type(kernel, fd)
    try:
        raw = bpf_maps.map_lookup_elem(fd, struct.pack("<I", key), info.value_size)
    except KernelError as error:
        raise explained(error, f"map {info.id} has no value at key {key}", kernel_type.name) from None
    return RawResult("MAP_LOOKUP_ELEM", 0, info, kernel_type, decode_value(kernel_type, raw))


def delete(kernel: KernelTypes, fd: Fd, *, key: int) -> RawResult:
    """MAP_DELETE_ELEM."""
    try:
        bpf_maps.map_delete_elem(fd, struct.pack("<I", key))
    except KernelError as error:
        raise explained(error, f"the kernel refused to delete the value of map {map_info(fd).id}") from None
    return _answered(kernel, "MAP_DELETE_ELEM", 0, fd)


def next_key(fd: Fd, *, key: int | None) -> int:
    """MAP_GET_NEXT_KEY: return the key after ``key``, or the first for None."""
    try:
        following = bpf_maps.map_get_next_key(fd, None if key is None else struct.pack("<I", key), 4)
    except KernelError as error:
        raise explained(error, f"map {map_info(fd).id} has no key after {key}") from None
    number: int = struct.unpack("<I", following)[0]
    return number


def _type(kernel: KernelTypes, fd: Fd) -> StructOpsType:
    return type_of_map(kernel, map_info(fd))


def _answered(kernel: KernelTypes, operation: str, result: int, fd: Fd) -> RawResult:
    return lookup(kernel, fd, key=0)._replace(operation=operation, result=result)


def _fd_facts(numbers: Iterable[int]) -> dict[int, FdFacts]:
    """Return the facts of each open fd. The kernel does not show the member of a program."""
    found: dict[int, FdFacts] = {}
    for number in set(numbers):
        try:
            copy = os.dup(number)
        except (OSError, OverflowError):
            continue
        with Fd(copy) as fd:
            found[number] = _facts(fd)
    return found


def _facts(fd: Fd) -> FdFacts:
    what = object_type(fd)
    if what is ObjectType.PROG:
        info = prog_info(fd)
        return ProgramFacts(info.id, info.prog_type, info.attach_btf_id, None)
    if what is ObjectType.BTF:
        btf = btf_info(fd)
        return BtfFacts(btf.is_kernel, btf.is_kernel and btf.name != "vmlinux")
    return None
