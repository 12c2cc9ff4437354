"""The rules of MAP_UPDATE_ELEM, in the order of ``bpf_struct_ops_map_update_elem`` (kernel/bpf/bpf_struct_ops.c).

First the call and the value as a whole, then member by member in the kernel's
order, then what the subsystem asks of all of them together. The kernel stops at
the first that is broken; ``update_findings`` goes on, for those who want all.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import E2BIG, EBADF, EBUSY, EEXIST, EINVAL, EOPNOTSUPP

from structops_cli.struct_ops.catalogue import KernelMember
from structops_cli.struct_ops.kinds import Need
from structops_cli.struct_ops.rules.facts import ProgramFacts, Update
from structops_cli.struct_ops.rules.maps import map_open
from structops_cli.struct_ops.rules.rule import Broken, Case, Facts, Rule, broken
from structops_cli.struct_ops.rules.subsystem import SUBSYSTEM_MEMBER_RULES, SUBSYSTEM_RULES, is_handled
from structops_cli.struct_ops.rules.value import (
    first_hole_byte,
    first_inner_hole_byte,
    is_module_pointer,
    member_bytes,
    own_fields,
    program_fd,
)
from structops_cli.syscall.uapi import BpfProgType, StructOpsState

__all__ = ["CALL_RULES", "MEMBER_RULES", "RULES", "update_findings"]

OPERATION = "MAP_UPDATE_ELEM"
PAGE_SIZE = 4096


def _value(case: Case) -> bytes:
    assert isinstance(case.operation, Update)
    return case.operation.value


def _member(case: Case) -> KernelMember:
    assert case.member is not None
    return case.member


# The call


def _flags(case: Case) -> Facts | None:
    assert isinstance(case.operation, Update)
    return {"flags": case.operation.flags} if case.operation.flags else None


def _key(case: Case) -> Facts | None:
    assert isinstance(case.operation, Update)
    return {"key": case.operation.key} if case.operation.key else None


def _value_hole(case: Case) -> Facts | None:
    offset = first_hole_byte(case.type.btf, case.type.value, _value(case))
    return None if offset is None else {"offset": offset, "struct": case.type.value.name}


def _struct_hole(case: Case) -> Facts | None:
    offset = first_inner_hole_byte(case.type, _value(case))
    return None if offset is None else {"offset": offset, "struct": case.type.name}


def _own_fields(case: Case) -> Facts | None:
    return {} if any(own_fields(case.type, _value(case))) else None


def _used_before(case: Case) -> Facts | None:
    return None if case.map is None or case.map.state == StructOpsState.INIT else {}


CALL_RULES = (
    map_open(OPERATION),
    Rule(
        "flags-zero", OPERATION, EINVAL, _flags,
        "the call's flags are {flags}, and a struct_ops map takes none", "leave the flags 0", rank=9,
    ),
    Rule(
        "key-zero", OPERATION, E2BIG, _key,
        "the key is not 0", "a struct_ops map has the one key 0", rank=1,
    ),
    Rule(
        "value-hole", OPERATION, EINVAL, _value_hole,
        "byte {offset} of the value is padding of struct {struct} and not zero",
        "clear the value before its members are set", rank=8,
    ),
    Rule(
        "struct-hole", OPERATION, EINVAL, _struct_hole,
        "byte {offset} of struct {struct} is padding and not zero",
        "clear the value before its members are set", rank=8,
    ),
    Rule(
        "own-fields-zero", OPERATION, EINVAL, _own_fields,
        "state and refcnt are the kernel's own: an update has to leave them 0", "leave them out", rank=7,
    ),
    Rule(
        "used-before", OPERATION, EBUSY, _used_before,
        "this map was registered before, and a struct_ops map is good for one registration", "create a new map",
        rank=1,
    ),
)  # fmt: skip


# One member


def _owner(case: Case) -> Facts | None:
    """Find a non-zero module pointer; the kernel then goes back without an errno, with what the member before it gave."""
    member = _member(case)
    if not is_module_pointer(case.type, member) or not any(member_bytes(case.type, _value(case), member)):
        return None
    before = case.type.members[member.member_index - 1] if member.member_index else None
    return {"result": int(before is not None and is_handled(case, before))}


def _is_set_data(case: Case) -> bool:
    member = _member(case)
    if member.proto is not None or is_handled(case, member):
        return False
    return any(member_bytes(case.type, _value(case), member))


def _is_reserved(case: Case) -> bool:
    return case.kind.need(_member(case).name) is Need.RESERVED


def _fd(case: Case) -> int:
    member = _member(case)
    return program_fd(case.type, _value(case), member) if member.proto is not None else 0


def _program(case: Case) -> ProgramFacts | None:
    found = (case.world.fds or {}).get(_fd(case))
    return found if isinstance(found, ProgramFacts) else None


def _fd_open(case: Case) -> Facts | None:
    fd = _fd(case)
    return {"fd": fd} if fd and case.world.fds is not None and fd not in case.world.fds else None


def _fd_program(case: Case) -> Facts | None:
    fd = _fd(case)
    return {"fd": fd} if fd and fd in (case.world.fds or {}) and _program(case) is None else None


def _program_type(case: Case) -> Facts | None:
    program = _program(case)
    return {"program": program.id} if program and program.prog_type != BpfProgType.STRUCT_OPS else None


def _program_struct(case: Case) -> Facts | None:
    program = _program(case)
    # 0: the bpf_prog_info of 5.10 does not say it, that of 6.1 does
    if program is None or program.attach_btf_id in (0, case.type.struct.id):
        return None
    return {"program": program.id, "type": case.type.name}


def _program_member(case: Case) -> Facts | None:
    program = _program(case)
    index = program.member_index if program else None
    if program is None or index is None or index == _member(case).member_index:
        return None
    members = case.type.members
    return {
        "program": program.id,
        "other": members[index].name if index < len(members) else f"member {index}",
    }


def _trampoline_pages(case: Case) -> Facts | None:
    """Lay the trampolines out as the kernel does: in order of members, none across two pages."""
    sizes, pages, room = case.world.trampoline_bytes, 0, 0
    if not _fd(case):
        return None
    for member in case.type.members[: _member(case).member_index + 1]:
        if member.proto is None or not program_fd(case.type, _value(case), member):
            continue
        size = sizes.get(member.member_index, 0)
        if size > room or not pages:
            pages, room = pages + 1, PAGE_SIZE
        room -= size
    return (
        {"pages": case.capabilities.trampoline_pages} if pages > case.capabilities.trampoline_pages else None
    )


HEAD_RULES = (
    Rule(
        "owner-zero", OPERATION, 0, _owner,
        "{member} is not zero: the kernel takes that for an answer, forgets the whole value and reports success",
        "leave {member} zero: the kernel fills it itself", rank=1,
    ),
)  # fmt: skip

TAIL_RULES = (
    Rule(
        "reserved-zero", OPERATION, EINVAL, lambda case: {} if _is_set_data(case) and _is_reserved(case) else None,
        "{member} is not zero, and the kernel fills it itself", "leave {member} zero", rank=3,
    ),
    Rule(
        "data-zero", OPERATION, EINVAL, lambda case: {} if _is_set_data(case) and not _is_reserved(case) else None,
        "{member} is not zero, and the subsystem does not take it", "leave {member} zero", rank=3,
    ),
    Rule(
        "fd-open", OPERATION, EBADF, _fd_open,
        "{member} holds {fd}, which is no open fd", "a lookup returns program ids, and an update takes fds: "
        "structops map update SELECTOR {member}=id:N opens the program of an id", rank=1,
    ),
    Rule(
        "fd-program", OPERATION, EINVAL, _fd_program,
        "{member} holds fd {fd}, which is no program", "a lookup returns program ids, and an update takes fds: "
        "structops map update SELECTOR {member}=id:N opens the program of an id", rank=6,
    ),
    Rule(
        "program-type", OPERATION, EINVAL, _program_type,
        "the program of {member} (program {program}) is of another type than BPF_PROG_TYPE_STRUCT_OPS",
        "load it as a struct_ops program", rank=6,
    ),
    Rule(
        "program-struct", OPERATION, EINVAL, _program_struct,
        "the program of {member} (program {program}) was loaded for another struct than {type}",
        "load it with the attach_btf_id of struct {type}", rank=5,
    ),
    Rule(
        "program-member", OPERATION, EINVAL, _program_member,
        "the program of {member} (program {program}) was loaded for {other}",
        "load one for {member}: a program serves one member", rank=4,
    ),
    Rule(
        "trampoline-pages", OPERATION, E2BIG, _trampoline_pages,
        "the trampolines need more than the {pages} pages that this kernel gives one map",
        "implement fewer members", rank=2,
        kernels="6.9 and later, for a type with some 200 functions; no type has as many",
    ),
)  # fmt: skip

MEMBER_RULES = (*HEAD_RULES, *SUBSYSTEM_MEMBER_RULES, *TAIL_RULES)


# All of it


def _unregisterable(case: Case) -> Facts | None:
    return None if case.kind.registration.registers or not case.type.members else {"type": case.type.name}


TEST_TYPE = Rule(
    "test-type", OPERATION, EOPNOTSUPP, _unregisterable,
    "the subsystem does not register this type: it exists for test runs", "run one of its programs: structops run OBJ PROGRAM", rank=1,
)  # fmt: skip


def _name_taken(case: Case) -> Facts | None:
    from structops_cli.struct_ops.rules.links import name_taken  # links has the rules of registration

    return name_taken(case) if case.map and not case.map.is_link_map else None


def _another(case: Case) -> Facts | None:
    from structops_cli.struct_ops.rules.links import another_registered

    return another_registered(case) if case.map and not case.map.is_link_map else None


def _missing_to_register(case: Case) -> Facts | None:
    from structops_cli.struct_ops.rules.links import missing_to_register

    return missing_to_register(case) if case.map and not case.map.is_link_map else None


REGISTER_RULES = (
    Rule(
        "required-to-register", OPERATION, EINVAL, _missing_to_register,
        "the required member {member} has no program", "implement {member}",
        kernels="7.1 and later, for io_uring_bpf_ops", rank=4,
    ),
    Rule(
        "name-taken", OPERATION, EEXIST, _name_taken,
        "the name is taken by something that is registered", "see structops list{ELSEWHERE}; choose another name "
        "with --set {NAME_MEMBER}=NAME", tell="structops list", rank=1,
    ),
    Rule(
        "one-at-a-time", OPERATION, EBUSY, _another,
        "the subsystem takes one at a time, and has one", "unregister that one first: structops list",
        tell="structops list", kernels="6.12 and later, for sched_ext_ops", rank=2,
    ),
)  # fmt: skip

RULES = (*CALL_RULES, TEST_TYPE, *MEMBER_RULES, *SUBSYSTEM_RULES, *REGISTER_RULES)


def update_findings(case: Case) -> Iterator[Broken]:
    """Go through every rule that an update breaks, the one that the kernel answers with first."""
    yield from broken((*CALL_RULES, TEST_TYPE), case)
    for member in case.type.members:
        yield from broken(MEMBER_RULES, case._replace(member=member))
    yield from broken((*SUBSYSTEM_RULES, *REGISTER_RULES), case)
