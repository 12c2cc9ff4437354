"""Link and relocate the programs of an object, then load them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from errno import EINVAL
from typing import TYPE_CHECKING, NamedTuple

from structops_cli.asm.insn import PseudoSrc, set_imm64, set_src_reg
from structops_cli.core.apply import apply_fixups
from structops_cli.core.fixup import Fixup, Relocator
from structops_cli.core.target import Target
from structops_cli.errors import KernelError, VerifierError
from structops_cli.obj.jump_tables import linked_jump_tables
from structops_cli.obj.link import link_programs
from structops_cli.obj.sections import is_read_only
from structops_cli.obj.spec import JumpTable, LinkedProgram, ObjectSpec, RelocationTarget
from structops_cli.runtime.loaded import Loaded
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.plan import ProgramPlan
from structops_cli.struct_ops.rules.causes import NO_JUMP_TABLES
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BPF_F_SLEEPABLE, BpfMapType, BpfProgType

if TYPE_CHECKING:
    from structops_cli.core.externs import Externs

FUNC_INFO = struct.Struct("<II")
LINE_INFO = struct.Struct("<IIII")
JUMP_TABLE_NAME = ".jumptables"
INDEX = struct.Struct("=I")
INSN_ARRAY_VALUE = struct.Struct("=IIII")
"""``struct bpf_insn_array_value``: the original instruction, and offsets from the kernel."""


class PreparedProgram(NamedTuple):
    """A program for PROG_LOAD that lacks only the fds of its maps and modules."""

    plan: ProgramPlan
    linked: LinkedProgram
    fixups: tuple[Fixup, ...]
    insns: bytes


def prepare_programs(
    spec: ObjectSpec, plans: Sequence[ProgramPlan], target: Target
) -> tuple[tuple[PreparedProgram, ...], Externs | None]:
    """Link programs, resolve externs and apply CO-RE relocations; create nothing.

    The externs are None if no program uses any.
    """
    linked = tuple(link_programs(spec, [plan.name for plan in plans]))
    externs = None
    if any(item.target is RelocationTarget.EXTERN for program in linked for item in program.relocations):
        from structops_cli.core.externs import apply_externs  # few objects have externs
        from structops_cli.runtime.externs import find_externs

        externs = find_externs(spec, linked, target.kernel)
        linked = tuple([apply_externs(spec, program, externs) for program in linked])
    relocator = Relocator(spec.btf, target)
    return tuple([_relocated(*item, relocator) for item in zip(plans, linked, strict=True)]), externs


def _relocated(plan: ProgramPlan, linked: LinkedProgram, relocator: Relocator) -> PreparedProgram:
    fixups = relocator.fixups(linked.core_relos)
    return PreparedProgram(plan, linked, fixups, apply_fixups(linked.insns, fixups))


def load_programs(loaded: Loaded, btf_fd: Fd, prepared: Iterable[PreparedProgram]) -> None:
    """Load each program for its type and member, and bind the read-only data to it."""
    constants = [
        loaded.maps[section.name]
        for section in loaded.spec.data
        if section.name in loaded.maps and is_read_only(section.name)
    ]
    with ExitStack() as stack:
        modules = _open_modules(loaded, prepared, stack)
        for program in prepared:
            with ExitStack() as closing:
                tables = _jump_tables(loaded, program.linked, closing)
                fd = loaded.own(_load_program(loaded, btf_fd, program, modules, tables))
            loaded.programs[program.plan.name] = fd
            for section in constants:
                _bind(fd, section)


def _open_modules(loaded: Loaded, prepared: Iterable[PreparedProgram], stack: ExitStack) -> dict[str, Fd]:
    """Open the BTF of each module that a program is for, calls or reads from."""
    prepared = tuple(prepared)
    names = [one.plan.type.module for one in prepared if one.plan.type.module]
    names += [
        item.symbol
        for one in prepared
        for item in one.linked.relocations
        if item.target is RelocationTarget.MODULE
    ]
    names += loaded.externs.modules if loaded.externs else ()
    if not names:
        return {}
    from structops_cli.runtime.kernel import open_module

    return {name: stack.enter_context(open_module(name)) for name in dict.fromkeys(names)}


def _bind(program: Fd, section: Fd) -> None:
    """Bind constants that no instruction reads, such as metadata, to the program.

    A failure is ignored: only readers of the map need them.
    """
    with suppress(KernelError):
        bpf.prog_bind_map(program, section)


def _load_program(
    loaded: Loaded,
    btf_fd: Fd,
    program: PreparedProgram,
    modules: Mapping[str, Fd],
    tables: Mapping[int, Fd],
) -> Fd:
    plan, linked = program.plan, program.linked
    called = loaded.externs.modules if loaded.externs else ()
    try:
        return bpf.prog_load(
            BpfProgType.STRUCT_OPS,
            _with_fds(program, loaded.maps, modules, tables),
            licence=loaded.spec.licence,
            name=plan.name,
            prog_flags=BPF_F_SLEEPABLE if linked.sleepable else 0,
            expected_attach_type=plan.member.member_index,
            attach_btf_id=plan.type.struct.id,
            attach_btf_obj_fd=modules[plan.type.module].fileno() if plan.type.module else 0,
            prog_btf_fd=btf_fd.fileno(),
            func_info=b"".join(FUNC_INFO.pack(*item) for item in linked.func_info),
            line_info=b"".join(LINE_INFO.pack(*item) for item in linked.line_info),
            fd_array=[modules[name].fileno() for name in called],
        )
    except VerifierError as error:
        from structops_cli.runtime.verifier_log import explain_refusal  # only a refusal needs it

        missing = loaded.externs.missing() if loaded.externs else ()
        raise explain_refusal(error, loaded.spec, program.plan, linked, program.fixups, missing) from None
    except KernelError as error:
        error.add(program=plan.name, member=plan.member.name, member_index=plan.member.member_index)
        raise explained(error, f"{plan.name} could not be loaded", plan.type.name) from None


def _with_fds(
    program: PreparedProgram, maps: Mapping[str, Fd], modules: Mapping[str, Fd], tables: Mapping[int, Fd]
) -> bytes:
    """Put the fds of maps, data sections, modules and jump tables into the instructions."""
    insns = bytearray(program.insns)
    for item in program.linked.relocations:
        if item.target is RelocationTarget.MODULE:
            set_imm64(insns, item.insn_index, item.addend, modules[item.symbol].fileno())
            continue
        table = item.target is RelocationTarget.JUMP_TABLE
        number = (tables[item.insn_index] if table else maps[item.symbol]).fileno()
        if table or item.target is RelocationTarget.DATA:
            set_imm64(insns, item.insn_index, number, item.addend)
            set_src_reg(insns, item.insn_index, PseudoSrc.MAP_VALUE)
        else:
            set_imm64(insns, item.insn_index, number, 0)
            set_src_reg(insns, item.insn_index, PseudoSrc.MAP_FD)
    return bytes(insns)


def _jump_tables(loaded: Loaded, linked: LinkedProgram, closing: ExitStack) -> Mapping[int, Fd]:
    """Create the jump tables of a program; return each by its referring instruction.

    ``closing`` owns the fds: a loaded program holds its tables itself
    (kernel/bpf/bpf_insn_array.c, where a table belongs to one program).
    """
    if all(item.target is not RelocationTarget.JUMP_TABLE for item in linked.relocations):
        return {}
    tables = linked_jump_tables(loaded.spec, linked)
    made = {table: _created(linked.name, table, closing) for table in dict.fromkeys(tables.values())}
    return {index: made[table] for index, table in tables.items()}


def _created(program: str, table: JumpTable, stack: ExitStack) -> Fd:
    try:
        fd = stack.enter_context(
            bpf_maps.map_create(
                BpfMapType.INSN_ARRAY,
                key_size=INDEX.size,
                value_size=INSN_ARRAY_VALUE.size,
                max_entries=len(table.targets),
                name=JUMP_TABLE_NAME,
            )
        )
        for number, target in enumerate(table.targets):
            bpf_maps.map_update_elem(fd, INDEX.pack(number), INSN_ARRAY_VALUE.pack(target, 0, 0, 0))
        bpf_maps.map_freeze(fd)
    except KernelError as error:
        error.add(program=program, symbol=table.name)
        lacking = error.operation == "MAP_CREATE" and error.errno == EINVAL
        what = f"the jump tables of {program} could not be created"
        raise explained(error, what, "", NO_JUMP_TABLES if lacking else None) from None
    return fd
