"""Programs: linked and relocated before the kernel is asked, then loaded with the fds of their maps."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress

from structops_cli.core.apply import apply_fixups
from structops_cli.core.fixup import Fixup, Relocator
from structops_cli.errors import FitError, KernelError, VerifierError
from structops_cli.obj.insn import set_imm64, set_src_reg
from structops_cli.obj.link import link_program
from structops_cli.obj.spec import LinkedProgram, ObjectSpec, Relocation, RelocationTarget
from structops_cli.records import NamedTuple
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.struct_ops_map import open_module_btf
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.plan import ProgramPlan
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BPF_F_SLEEPABLE, BpfProgType, PseudoSrc

__all__ = ["PreparedProgram", "load_programs", "prepare_program"]

FUNC_INFO = struct.Struct("<II")
LINE_INFO = struct.Struct("<IIII")


class PreparedProgram(NamedTuple):
    """A program ready for PROG_LOAD but for the fds of its maps."""

    plan: ProgramPlan
    linked: LinkedProgram
    fixups: tuple[Fixup, ...]
    insns: bytes


def prepare_program(spec: ObjectSpec, plan: ProgramPlan, relocator: Relocator) -> PreparedProgram:
    """Link a program with its subprograms and apply its CO-RE relocations. Pure."""
    linked = link_program(spec, plan.name)
    for relocation in linked.relocations:
        if relocation.target is RelocationTarget.EXTERN:
            raise _extern(spec, plan.name, relocation)
    fixups = relocator.fixups(linked.core_relos)
    return PreparedProgram(plan, linked, fixups, apply_fixups(linked.insns, fixups))


def _extern(spec: ObjectSpec, program: str, relocation: Relocation) -> FitError:
    return FitError(
        f"{program} of {spec.name} uses the extern symbol {relocation.symbol}",
        why="kernel functions, kernel symbols and configuration variables are not resolved yet",
        hint="build the object without externs",
        object=spec.name,
        program=program,
        symbol=relocation.symbol,
        insn=relocation.insn_index,
    )


def load_programs(loaded: Loaded, btf_fd: Fd, prepared: Iterable[PreparedProgram]) -> None:
    """Load every program for its type and member, and have it hold the object's read-only data."""
    constants = [
        loaded.maps[section.name]
        for section in loaded.spec.data
        if section.name in loaded.maps and section.read_only
    ]
    for program in prepared:
        fd = loaded.programs[program.plan.name] = loaded.own(_load_program(loaded, btf_fd, program))
        for section in constants:
            _bind(fd, section)


def _bind(program: Fd, section: Fd) -> None:
    """Show constants with every program of their object, metadata that no instruction reads included; no more than a service."""
    with suppress(KernelError):
        bpf.prog_bind_map(program, section)


def _load_program(loaded: Loaded, btf_fd: Fd, program: PreparedProgram) -> Fd:
    plan, linked = program.plan, program.linked
    with ExitStack() as stack:
        module = stack.enter_context(open_module_btf(plan.type)) if plan.type.module else None
        try:
            return bpf.prog_load(
                BpfProgType.STRUCT_OPS,
                _with_fds(program, loaded.maps),
                licence=loaded.spec.licence,
                name=plan.name,
                prog_flags=BPF_F_SLEEPABLE if linked.sleepable else 0,
                expected_attach_type=plan.member.member_index,
                attach_btf_id=plan.type.struct.id,
                attach_btf_obj_fd=module.fileno() if module else 0,
                prog_btf_fd=btf_fd.fileno(),
                func_info=b"".join(FUNC_INFO.pack(*item) for item in linked.func_info),
                line_info=b"".join(LINE_INFO.pack(*item) for item in linked.line_info),
            )
        except VerifierError as error:
            from structops_cli.runtime.verifier_log import explain_refusal  # only a refusal needs it

            raise explain_refusal(error, loaded.spec, program.plan, linked, program.fixups) from None
        except KernelError as error:
            error.add(program=plan.name, member=plan.member.name, member_index=plan.member.member_index)
            raise explained(error, f"{plan.name} could not be loaded", plan.type.name) from None


def _with_fds(program: PreparedProgram, maps: Mapping[str, Fd]) -> bytes:
    """Put the fds of maps and data sections where the program refers to them."""
    insns = bytearray(program.insns)
    for item in program.linked.relocations:
        number = maps[item.symbol].fileno()
        if item.target is RelocationTarget.DATA:
            set_imm64(insns, item.insn_index, number, item.addend)
            set_src_reg(insns, item.insn_index, PseudoSrc.MAP_VALUE)
        else:
            set_imm64(insns, item.insn_index, number, 0)
            set_src_reg(insns, item.insn_index, PseudoSrc.MAP_FD)
    return bytes(insns)
