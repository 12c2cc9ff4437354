"""The rules of one subsystem for a value: ``init_member``, ``validate`` and ``reg``.

The fields of ``kinds/`` drive them. They follow bpf_tcp_ca_init_member, tcp_validate_congestion_control
and tcp_register_congestion_control (net/ipv4), bpf_scx_init_member (kernel/sched/ext.c) and their like.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import E2BIG, EBUSY, EEXIST, EINVAL

from structops_cli.btf.layout import may_be_cut
from structops_cli.btf.types import Enum, Enum64
from structops_cli.struct_ops.catalogue import KernelMember
from structops_cli.struct_ops.rules.causes import NAME_TAKEN, ONE_AT_A_TIME
from structops_cli.struct_ops.rules.model import MapModel, Model, Update
from structops_cli.struct_ops.rules.rule import Case, Facts, Rule, when
from structops_cli.struct_ops.value import kernel_name, member_bytes, program_fd
from structops_cli.syscall.uapi import BtfKind, StructOpsState

OPERATION = "MAP_UPDATE_ELEM"


def is_handled(case: Case, member: KernelMember) -> bool:
    """Tell whether the subsystem accepts a data member; an unknown one accepts all."""
    settable = case.kind.data.settable
    return member.proto is None and (settable is None or member.name in settable)


def value_of(case: Case) -> bytes:
    """Return the value to register: that of an update, or of a link map."""
    if isinstance(case.operation, Update):
        return case.operation.value
    return case.map.value if case.map else b""


def _member(case: Case) -> KernelMember:
    assert case.member is not None
    return case.member


def _bytes(case: Case) -> bytes:
    return member_bytes(case.type, value_of(case), _member(case))


def _number(case: Case) -> int:
    return int.from_bytes(_bytes(case), "little")


def _has_program(case: Case, member: KernelMember) -> bool:
    return member.proto is not None and program_fd(case.type, value_of(case), member) != 0


# One member


def _is_name(case: Case) -> bool:
    return _member(case).name == case.kind.naming.member


def _is_allowed(byte: int) -> bool:
    """Tell whether a name may hold a byte: '_', '.', or ``isalnum`` of lib/ctype.c (Latin-1)."""
    letter = chr(byte)
    return letter in "_." or (letter.isalnum() and (byte < 0x80 or byte >= 0xC0))


def _name_empty(case: Case) -> Facts | None:
    return when(_is_name(case) and not _bytes(case).partition(b"\0")[0])


def _name_characters(case: Case) -> Facts | None:
    text = _bytes(case).partition(b"\0")[0] if _is_name(case) else b""
    return when(not all(map(_is_allowed, text)), name=repr(text.decode(errors="replace")))


def _name_length(case: Case) -> Facts | None:
    return when(_is_name(case) and b"\0" not in _bytes(case), room=len(_bytes(case)) - 1)


def _name_taken_early(case: Case) -> Facts | None:
    return _name_taken(case) if case.capabilities.name_taken_at_update and _is_name(case) else None


def _flag_mask(case: Case) -> int | None:
    """Return the allowed bits of a flags member: the kernel's answer, or the named bits."""
    name, data = _member(case).name, case.kind.data
    asked = case.world.flag_masks.get((case.type.name, name))
    if asked is not None:
        return asked
    if name in data.flags:
        return sum(item.value for item in data.flags[name])
    if name not in data.flag_mask:
        return None
    enum_name, enumerator = data.flag_mask[name]
    type_id = case.type.btf.find(enum_name, BtfKind.ENUM, BtfKind.ENUM64)
    enum = case.type.btf.type(type_id) if type_id else None
    values = enum.values if isinstance(enum, Enum | Enum64) and not may_be_cut(enum) else ()
    return next((item.value for item in values if item.name == enumerator), None)


def _flags(case: Case) -> Facts | None:
    mask = _flag_mask(case)
    rest = 0 if mask is None else _number(case) & ~mask
    known = case.kind.data.flags.get(_member(case).name)
    names = ", ".join(item.name.lower() for item in known) if known else "those of this kernel's BTF"
    return when(rest != 0, bits=f"{rest:#x}", known=names)


def _at_most(case: Case) -> Facts | None:
    name, data = _member(case).name, case.kind.data
    most = data.at_most.get(name)
    if most is None or _number(case) in data.beyond.get(name, ()):
        return None
    return when(_number(case) > most, most=most)


def _at_least(case: Case) -> Facts | None:
    least = case.kind.data.at_least.get(_member(case).name, 0)
    return when(0 < _number(case) < least, least=least)


def _required_early(case: Case) -> Facts | None:
    """Find a missing function that kernels before 6.0 require; they check member by member."""
    member, rules = _member(case), case.kind.members
    optional = rules.optional_before_6_0
    if not case.capabilities.every_member_required or optional is None or member.proto is None:
        return None
    return when(member.name not in optional | rules.unsupported and not _has_program(case, member))


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
        "name-taken-early", OPERATION, EEXIST, _name_taken_early, *NAME_TAKEN,
        tell="structops list", kernels="before 6.4", rank=3,
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


# All members


def _missing_of(case: Case, required: frozenset[str]) -> Facts | None:
    """Find the first required member without a program."""
    members = case.type.members if value_of(case) else ()
    missing = (item.name for item in members if item.name in required and not _has_program(case, item))
    name = next(missing, None)
    return when(name is not None, member=name)


def _neither(case: Case) -> Facts | None:
    present = {member.name for member in case.type.members if _has_program(case, member)}
    lacking = next((group for group in case.kind.members.either if not group & present), None)
    return when(lacking is not None, names=" or ".join(sorted(lacking or ())))


SUBSYSTEM_RULES = (
    Rule(
        "required", OPERATION, EINVAL, lambda case: _missing_of(case, case.kind.members.required),
        "the required member {member} has no program", "implement {member}", rank=1,
    ),
    Rule("either", OPERATION, EINVAL, _neither, "one of {names} must have a program", "implement {names}", rank=1),
)  # fmt: skip


# The registration


def _registered(model: Model) -> Iterator[MapModel]:
    """Yield the registered maps: in use, or behind a link."""
    linked = set(model.links.values())
    for handle, item in model.maps.items():
        if item.state == StructOpsState.INUSE or handle in linked:
            yield item


def _name_taken(case: Case) -> Facts | None:
    """Find a registered instance with the name of the value."""
    name = kernel_name(case.type, value_of(case))
    names = {(item.type.name, kernel_name(item.type, item.value)) for item in _registered(case.model)}
    return when(bool(name) and (case.type.name, name) in names | case.world.taken, name=name)


def _another(case: Case) -> Facts | None:
    """Find another registration of a type that takes one at a time."""
    types = {item.type.name for item in _registered(case.model)} | {name for name, _ in case.world.taken}
    return when(case.kind.registration.one_at_a_time and case.type.name in types)


def _registers(case: Case) -> bool:
    """Tell whether the operation ends in ``reg``: an update of a link map does not."""
    return not isinstance(case.operation, Update) or bool(case.map and not case.map.is_link_map)


def registering_rules(operation: str) -> tuple[Rule, ...]:
    """Return the rules of ``reg``, for an update without a link or for LINK_CREATE."""
    is_update = operation == OPERATION
    return (
        Rule(
            "required-to-register", operation, EINVAL,
            lambda case: _missing_of(case, case.kind.members.required_to_register) if _registers(case) else None,
            "the required member {member} has no program", "implement {member}",
            kernels="7.1 and later, for io_uring_bpf_ops", rank=4 if is_update else 3,
        ),
        Rule(
            "name-taken", operation, EEXIST, lambda case: _name_taken(case) if _registers(case) else None,
            *NAME_TAKEN, tell="structops list", rank=1,
        ),
        Rule(
            "one-at-a-time", operation, EBUSY, lambda case: _another(case) if _registers(case) else None,
            *ONE_AT_A_TIME, tell="structops list", kernels="6.12 and later, for sched_ext_ops",
            rank=2 if is_update else 1,
        ),
    )  # fmt: skip
