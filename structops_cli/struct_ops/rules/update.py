"""The rules of MAP_UPDATE_ELEM, in the order of ``bpf_struct_ops_map_update_elem``.

The kernel checks the call and the value as a whole, then each member, then the subsystem's demands on all
of them. It stops at the first broken rule; ``update_findings`` goes on, to report all.
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import E2BIG, EBADF, EBUSY, EINVAL, EOPNOTSUPP

from structops_cli.struct_ops.catalogue import KernelMember
from structops_cli.struct_ops.kinds.kind import Need
from structops_cli.struct_ops.rules.causes import ONE_KEY, TEST_TYPE, USED_BEFORE
from structops_cli.struct_ops.rules.maps import map_open
from structops_cli.struct_ops.rules.model import ProgramFacts, Update
from structops_cli.struct_ops.rules.rule import Broken, Case, Facts, Rule, broken, when
from structops_cli.struct_ops.rules.subsystem import (
    SUBSYSTEM_MEMBER_RULES,
    SUBSYSTEM_RULES,
    is_handled,
    registering_rules,
)
from structops_cli.struct_ops.value import (
    first_hole_byte,
    first_inner_hole_byte,
    is_module_pointer,
    member_bytes,
    program_fd,
    read_state,
)
from structops_cli.syscall.uapi import BpfProgType, StructOpsState

OPERATION = "MAP_UPDATE_ELEM"
PAGE_SIZE = 4096


def _update(case: Case) -> Update:
    assert isinstance(case.operation, Update)
    return case.operation


def _member(case: Case) -> KernelMember:
    assert case.member is not None
    return case.member


# The call


def _value_hole(case: Case) -> Facts | None:
    offset = first_hole_byte(case.type.btf, case.type.value, _update(case).value)
    return when(offset is not None, offset=offset, struct=case.type.value.name)


def _struct_hole(case: Case) -> Facts | None:
    offset = first_inner_hole_byte(case.type, _update(case).value)
    return when(offset is not None, offset=offset, struct=case.type.name)


CALL_RULES = (
    map_open(OPERATION),
    Rule(
        "flags-zero", OPERATION, EINVAL, lambda case: when(_update(case).flags != 0, flags=_update(case).flags),
        "the call's flags are {flags}, and a struct_ops map takes none", "leave the flags 0", rank=9,
    ),
    Rule("key-zero", OPERATION, E2BIG, lambda case: when(_update(case).key != 0), *ONE_KEY, rank=1),
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
        "own-fields-zero", OPERATION, EINVAL,
        lambda case: when(any(read_state(case.type, _update(case).value))),
        "state and refcnt are the kernel's own: an update has to leave them 0", "leave them out", rank=7,
    ),
    Rule(
        "used-before", OPERATION, EBUSY,
        lambda case: when(case.map is not None and case.map.state != StructOpsState.INIT), *USED_BEFORE, rank=1,
    ),
    Rule(
        "test-type", OPERATION, EOPNOTSUPP,
        lambda case: when(not case.kind.registration.registers and bool(case.type.members)), *TEST_TYPE, rank=1,
    ),
)  # fmt: skip


# One member


def _owner(case: Case) -> Facts | None:
    """Find a non-zero module pointer: the kernel returns, with the result of the member before."""
    member = _member(case)
    if not is_module_pointer(case.type, member) or not any(
        member_bytes(case.type, _update(case).value, member)
    ):
        return None
    before = case.type.members[member.member_index - 1] if member.member_index else None
    return {"result": int(before is not None and is_handled(case, before))}


def _is_set_data(case: Case) -> bool:
    member = _member(case)
    if member.proto is not None or is_handled(case, member):
        return False
    return any(member_bytes(case.type, _update(case).value, member))


def _is_reserved(case: Case) -> bool:
    return case.kind.members.need(_member(case).name) is Need.RESERVED


def _fd(case: Case) -> int:
    member = _member(case)
    return program_fd(case.type, _update(case).value, member) if member.proto is not None else 0


def _program(case: Case) -> ProgramFacts | None:
    found = (case.world.fds or {}).get(_fd(case))
    return found if isinstance(found, ProgramFacts) else None


def _fd_open(case: Case) -> Facts | None:
    fd = _fd(case)
    return when(bool(fd) and case.world.fds is not None and fd not in case.world.fds, fd=fd)


def _fd_program(case: Case) -> Facts | None:
    fd = _fd(case)
    return when(bool(fd) and fd in (case.world.fds or {}) and _program(case) is None, fd=fd)


def _program_type(case: Case) -> Facts | None:
    program = _program(case)
    return {"program": program.id} if program and program.prog_type != BpfProgType.STRUCT_OPS else None


def _program_struct(case: Case) -> Facts | None:
    program = _program(case)
    # bpf_prog_info of 5.10 shows 0; that of 6.1 shows the id
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
    """Lay the trampolines out as the kernel does: by member, none across two pages."""
    sizes, pages, room = case.world.trampoline_bytes, 0, 0
    if not _fd(case):
        return None
    for member in case.type.members[: _member(case).member_index + 1]:
        if member.proto is None or not program_fd(case.type, _update(case).value, member):
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
        "reserved-zero", OPERATION, EINVAL, lambda case: when(_is_set_data(case) and _is_reserved(case)),
        "{member} is not zero, and the kernel fills it itself", "leave {member} zero", rank=3,
    ),
    Rule(
        "data-zero", OPERATION, EINVAL, lambda case: when(_is_set_data(case) and not _is_reserved(case)),
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


# All members

REGISTER_RULES = registering_rules(OPERATION)
RULES = (*CALL_RULES, *MEMBER_RULES, *SUBSYSTEM_RULES, *REGISTER_RULES)


def update_findings(case: Case) -> Iterator[Broken]:
    """Yield every rule that an update breaks; the kernel answers with the first."""
    yield from broken(CALL_RULES, case)
    for member in case.type.members:
        yield from broken(MEMBER_RULES, case._replace(member=member))
    yield from broken((*SUBSYSTEM_RULES, *REGISTER_RULES), case)
