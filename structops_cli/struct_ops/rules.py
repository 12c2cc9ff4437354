"""Why the kernel refuses a value: the rules of an update and of the subsystem, applied to the very bytes. Pure.

The kernel answers EINVAL to all of them alike. They are asked in the kernel's
own order (kernel/bpf/bpf_struct_ops.c, ``bpf_struct_ops_map_update_elem``, and
for congestion controls net/ipv4/tcp_cong.c, ``tcp_validate_congestion_control``),
so that the first finding is the cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.explain import Cause
from structops_cli.struct_ops.kinds import Need, kind_of
from structops_cli.struct_ops.value import POINTER, read_state

__all__ = ["refused_update"]


def refused_update(kernel_type: StructOpsType, raw: bytes, flags: int = 0) -> Cause | None:
    """Return the cause for which MAP_UPDATE_ELEM answers EINVAL to this value; None when no rule here knows it."""
    return next(_findings(kernel_type, raw, flags), None)


def _findings(kernel_type: StructOpsType, raw: bytes, flags: int) -> Iterator[Cause]:
    if flags:
        yield Cause(f"the call's flags are {flags}, and a struct_ops map takes none", "leave the flags 0")
    state, refcnt = read_state(kernel_type, raw)
    if state or refcnt:
        yield Cause("state and refcnt are the kernel's own: an update has to leave them 0", "leave them out")
    yield from _reserved(kernel_type, raw)
    yield from _name(kernel_type, raw)
    yield from _missing(kernel_type, raw)
    yield from _flags(kernel_type, raw)  # last: newer kernels take bits that have no name here


def _bytes(kernel_type: StructOpsType, raw: bytes, member: KernelMember) -> bytes:
    start = kernel_type.data_offset + member.offset_bytes
    return raw[start : start + member.size_bytes]


def _reserved(kernel_type: StructOpsType, raw: bytes) -> Iterator[Cause]:
    kind = kind_of(kernel_type.name)
    for member in kernel_type.members:
        is_set = any(_bytes(kernel_type, raw, member))
        if is_set and kind.need(member.name) is Need.UNSUPPORTED:
            yield Cause(f"no program may implement {member.name}", f"leave {member.name} out")
        if is_set and (kind.need(member.name) is Need.RESERVED or not _settable(kernel_type, member)):
            yield Cause(
                f"{member.name} is not zero, and the kernel fills it itself", f"leave {member.name} zero"
            )


def _settable(kernel_type: StructOpsType, member: KernelMember) -> bool:
    settable = kind_of(kernel_type.name).settable
    return member.proto is not None or settable is None or member.name in settable


def _name(kernel_type: StructOpsType, raw: bytes) -> Iterator[Cause]:
    kind = kind_of(kernel_type.name)
    wanted = kind.name_member
    for member in kernel_type.members:
        if member.name != wanted:
            continue
        text, nul, _ = _bytes(kernel_type, raw, member).partition(b"\0")
        if not text:
            yield Cause(f"{wanted} is empty", f"give it one: --set {wanted}=NAME")
        elif not nul:
            yield Cause(f"{wanted} has no room for its NUL", f"at most {member.size_bytes - 1} bytes")
        elif kind.name_pattern and not re.fullmatch(kind.name_pattern.encode(), text):
            shown = text.decode(errors="replace")
            yield Cause(
                f"{wanted} {shown!r} has a character that the kernel refuses",
                "letters, digits, '_' and '.' only",
            )


def _flags(kernel_type: StructOpsType, raw: bytes) -> Iterator[Cause]:
    for member in kernel_type.members:
        known = kind_of(kernel_type.name).flags.get(member.name)
        if known is not None:
            value = int.from_bytes(_bytes(kernel_type, raw, member), "little")
            rest = value & ~sum(item.value for item in known)
            if rest:
                names = ", ".join(item.name.lower() for item in known if item.name)
                yield Cause(
                    f"{member.name} has bits that this kernel may not know: {rest:#x}", f"flags: {names}"
                )


def _missing(kernel_type: StructOpsType, raw: bytes) -> Iterator[Cause]:
    kind = kind_of(kernel_type.name)
    there = {
        member.name
        for member in kernel_type.members
        if member.proto is not None and POINTER.unpack(_bytes(kernel_type, raw, member))[0]
    }
    for name in sorted(kind.required - there):
        yield Cause(f"the required member {name} has no program", f"implement {name}")
    for group in kind.either:
        if not group & there:
            names = " or ".join(sorted(group))
            yield Cause(f"one of {names} must have a program", f"implement {names}")
