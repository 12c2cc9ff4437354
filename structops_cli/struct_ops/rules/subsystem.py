"""The rules of MAP_UPDATE_ELEM that are the subsystem's: its ``init_member`` for one member, its ``validate`` for all.

They are driven by what ``kinds/`` knows of the type. bpf_tcp_ca_init_member and
tcp_validate_congestion_control (net/ipv4), bpf_scx_init_member
(kernel/sched/ext.c) and their like answer so.
"""

from __future__ import annotations

from errno import E2BIG, EEXIST, EINVAL

from structops_cli.btf.layout import may_be_cut
from structops_cli.btf.types import Enum, Enum64
from structops_cli.struct_ops.catalogue import KernelMember
from structops_cli.struct_ops.rules.facts import Update
from structops_cli.struct_ops.rules.rule import Case, Facts, Rule
from structops_cli.struct_ops.rules.value import member_bytes, program_fd
from structops_cli.syscall.uapi import BtfKind

__all__ = ["SUBSYSTEM_MEMBER_RULES", "SUBSYSTEM_RULES", "is_handled"]

OPERATION = "MAP_UPDATE_ELEM"


def is_handled(case: Case, member: KernelMember) -> bool:
    """Tell whether the subsystem takes a data member; of a type that no kind knows, it is taken for granted."""
    settable = case.kind.data.settable
    return member.proto is None and (settable is None or member.name in settable)


def _bytes(case: Case) -> bytes:
    assert isinstance(case.operation, Update)
    assert case.member is not None
    return member_bytes(case.type, case.operation.value, case.member)


def _has_program(case: Case, member: KernelMember) -> bool:
    assert isinstance(case.operation, Update)
    return member.proto is not None and program_fd(case.type, case.operation.value, member) != 0


def _is_name(case: Case) -> bool:
    return case.member is not None and case.member.name == case.kind.naming.member


# One member


def _is_allowed(byte: int) -> bool:
    """Tell what ``isalnum`` of the kernel (lib/ctype.c, which knows Latin-1), '_' and '.' allow."""
    letter = chr(byte)
    return letter in "_." or (letter.isalnum() and (byte < 0x80 or byte >= 0xC0))


def _name_empty(case: Case) -> Facts | None:
    return {} if _is_name(case) and not _bytes(case).partition(b"\0")[0] else None


def _name_characters(case: Case) -> Facts | None:
    text = _bytes(case).partition(b"\0")[0] if _is_name(case) else b""
    if all(map(_is_allowed, text)):
        return None
    return {"name": repr(text.decode(errors="replace"))}


def _name_length(case: Case) -> Facts | None:
    if not _is_name(case) or b"\0" in _bytes(case):
        return None
    return {"room": len(_bytes(case)) - 1}


def _name_taken_early(case: Case) -> Facts | None:
    from structops_cli.struct_ops.rules.links import name_taken  # links has the rules of registration

    return name_taken(case) if _is_name(case) and case.capabilities.name_taken_at_update else None


def _flag_mask(case: Case) -> int | None:
    """Return the bits that a flags member may have: as the kernel was asked, or those that have names; None: unknown."""
    assert case.member is not None
    name = case.member.name
    asked = case.world.flag_masks.get((case.type.name, name))
    if asked is not None:
        return asked
    if name in case.kind.data.flags:
        return sum(item.value for item in case.kind.data.flags[name])
    if name not in case.kind.data.flag_mask:
        return None
    enum_name, enumerator = case.kind.data.flag_mask[name]
    type_id = case.type.btf.find(enum_name, BtfKind.ENUM, BtfKind.ENUM64)
    enum = case.type.btf.type(type_id) if type_id else None
    values = enum.values if isinstance(enum, Enum | Enum64) and not may_be_cut(enum) else ()
    return next((item.value for item in values if item.name == enumerator), None)


def _flags(case: Case) -> Facts | None:
    mask = _flag_mask(case)
    rest = 0 if mask is None else int.from_bytes(_bytes(case), "little") & ~mask
    if not rest:
        return None
    assert case.member is not None
    known = case.kind.data.flags.get(case.member.name)
    names = ", ".join(item.name.lower() for item in known) if known else "those of this kernel's BTF"
    return {"bits": f"{rest:#x}", "known": names}


def _at_most(case: Case) -> Facts | None:
    assert case.member is not None
    name, number = case.member.name, int.from_bytes(_bytes(case), "little")
    most = case.kind.data.at_most.get(name)
    if most is None or number <= most or number in case.kind.data.beyond.get(name, ()):
        return None
    return {"most": most}


def _at_least(case: Case) -> Facts | None:
    assert case.member is not None
    least = case.kind.data.at_least.get(case.member.name, 0)
    return {"least": least} if 0 < int.from_bytes(_bytes(case), "little") < least else None


def _required_early(case: Case) -> Facts | None:
    """Find a function that a kernel before 6.0 wants; it looks at each when it comes to it."""
    member, kind = case.member, case.kind
    assert member is not None
    if (
        not case.capabilities.every_member_required
        or kind.members.optional_before_6_0 is None
        or member.proto is None
    ):
        return None
    optional = member.name in kind.members.optional_before_6_0 or member.name in kind.members.unsupported
    return None if optional or _has_program(case, member) else {}


SUBSYSTEM_MEMBER_RULES = (
    Rule(
        "flags-known", OPERATION, EINVAL, _flags,
        "{member} has bits that this kernel may not know: {bits}", "flags: {known}", rank=3,
    ),
    Rule(
        "name-given", OPERATION, EINVAL, _name_empty,
        "{member} is empty", "give it one: --set {NAME_MEMBER}=NAME", rank=2,
    ),
    Rule(
        "name-characters", OPERATION, EINVAL, _name_characters,
        "{member} {name} has a character that the kernel refuses", "letters, digits, '_' and '.' only", rank=2,
    ),
    Rule(
        "name-length", OPERATION, EINVAL, _name_length,
        "{member} has no room for its NUL", "at most {room} bytes", rank=2,
    ),
    Rule(
        "name-taken-early", OPERATION, EEXIST, _name_taken_early,
        "the name is taken by something that is registered", "see structops list{ELSEWHERE}; choose another name "
        "with --set {NAME_MEMBER}=NAME", tell="structops list", kernels="before 6.4", rank=3,
    ),
    Rule(
        "at-most", OPERATION, E2BIG, _at_most,
        "{member} is larger than {most}", "set it to {most} or less", kernels="6.12 and later, for sched_ext_ops",
        rank=3,
    ),
    Rule(
        "at-least", OPERATION, EINVAL, _at_least,
        "{member} is smaller than {least}, and not 0 for what the kernel chooses", "set it to {least} or more",
        kernels="7.3 and later, for sched_ext_ops", rank=3,
    ),
    Rule(
        "required-early", OPERATION, EINVAL, _required_early,
        "{member} has no program, and this kernel requires every function that is not optional",
        "implement {member}", kernels="before 6.0", rank=4,
    ),
)  # fmt: skip


# All of it


def _missing(case: Case) -> Facts | None:
    there = {member.name for member in case.type.members if _has_program(case, member)}
    missing = [
        m.name for m in case.type.members if m.name in case.kind.members.required and m.name not in there
    ]
    return {"member": missing[0]} if missing else None


def _neither(case: Case) -> Facts | None:
    there = {member.name for member in case.type.members if _has_program(case, member)}
    for group in case.kind.members.either:
        if not group & there:
            return {"names": " or ".join(sorted(group))}
    return None


SUBSYSTEM_RULES = (
    Rule(
        "required", OPERATION, EINVAL, _missing,
        "the required member {member} has no program", "implement {member}", rank=1,
    ),
    Rule(
        "either", OPERATION, EINVAL, _neither,
        "one of {names} must have a program", "implement {names}", rank=1,
    ),
)  # fmt: skip
