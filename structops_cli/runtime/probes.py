"""Ask the kernel for facts that BTF lacks. A probe leaves nothing behind."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from enum import StrEnum
from errno import EBADF, EMFILE, ENFILE, ENOMEM

from structops_cli.asm.insn import CALL, RETURN_ZERO, Insn, encode_insn
from structops_cli.errors import ENOTSUPP, KernelError, StructopsError, VerifierError
from structops_cli.runtime.kernel import open_module
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.plan import ProgramPlan
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import BpfProgType

NO_ROOM = frozenset({EMFILE, ENFILE, ENOMEM})
"""Errnos of a process or kernel without resources, which leave the question open."""
CLOSED_FD = 0x7FFFFFFF
"""A number above the limit of open files."""


class ProbeAnswer(StrEnum):
    """The answer of a probe."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


def is_registered(kernel_type: StructOpsType) -> ProbeAnswer:
    """Tell whether a subsystem offers a type: MAP_CREATE answers ENOTSUPP if none does.

    The map never gets a value and is closed at once. Raises ``KernelError`` if the
    process or the kernel is out of resources.
    """
    try:
        with least_btf() as btf:
            create_struct_ops_map(kernel_type, "bpf_probe", btf, link=False).close()
    except KernelError as error:
        if error.errno in NO_ROOM:
            raise
        return ProbeAnswer.NO if error.errno == ENOTSUPP else ProbeAnswer.UNKNOWN
    return ProbeAnswer.YES


def flag_masks(kernel_type: StructOpsType) -> dict[tuple[str, str], int]:
    """Return the accepted bits of each flags member by (type, member); empty if unknown.

    The probe sets one bit, and a closed fd in a later member. The kernel answers EINVAL
    for the bit or EBADF for the fd, so that the map never gets a value.
    """
    found = {}
    for member in kernel_type.members:
        behind = [item for item in kernel_type.members[member.member_index :] if item.proto is not None]
        if member.name in kind_of(kernel_type.name).data.flags and behind:
            with suppress(KernelError):
                found[kernel_type.name, member.name] = _taken_bits(kernel_type, member, behind[0])
    return found


def _taken_bits(kernel_type: StructOpsType, flags: KernelMember, behind: KernelMember) -> int:
    with least_btf() as btf, create_struct_ops_map(kernel_type, "bpf_probe", btf, link=False) as fd:
        answers = {
            bit: _answer(fd, kernel_type, flags, behind, 1 << bit) for bit in range(8 * flags.size_bytes)
        }
    return sum(1 << bit for bit, errno in answers.items() if errno == EBADF)


def _answer(fd: Fd, kernel_type: StructOpsType, flags: KernelMember, behind: KernelMember, bits: int) -> int:
    raw, name = bytearray(kernel_type.value.size_bytes), kind_of(kernel_type.name).naming.member
    for member in kernel_type.members:
        start = kernel_type.data_offset + member.offset_bytes
        if member.name == name:
            raw[start : start + 1] = b"t"
        elif member is flags:
            raw[start : start + member.size_bytes] = bits.to_bytes(member.size_bytes, "little")
        elif member is behind:
            raw[start : start + member.size_bytes] = CLOSED_FD.to_bytes(member.size_bytes, "little")
    try:
        bpf_maps.map_update_elem(fd, KEY, bytes(raw))
    except KernelError as error:
        return error.errno or 0
    return 0


NOT_FOR_THIS_TYPE = ("cannot use helper", "unknown func")
"""``check_helper_call`` on a helper that the subsystem denies; the first since 6.12."""
ABOUT_ARGUMENTS = ("R1", "R2", "type=", "expected=", "must be", "arg#")
"""The verifier's complaints about arguments: it has found the helper."""


def may_call(program: ProgramPlan, helper: int) -> bool | None:
    """Tell whether a program for the same member may call a helper; None if unknown.

    The probe loads a program that only calls the helper, and closes it.
    """
    try:
        with ExitStack() as stack:
            module = program.type.module
            fd = stack.enter_context(open_module(module)).fileno() if module else 0
            bpf.prog_load(
                BpfProgType.STRUCT_OPS,
                encode_insn(Insn(CALL, imm=helper)) + RETURN_ZERO,
                licence="GPL",
                name="bpf_probe",
                expected_attach_type=program.member.member_index,
                attach_btf_id=program.type.struct.id,
                attach_btf_obj_fd=fd,
            ).close()
    except VerifierError as error:
        if any(words in error.log for words in NOT_FOR_THIS_TYPE):
            return False
        return True if any(words in error.log for words in ABOUT_ARGUMENTS) else None
    except StructopsError:
        return None
    return True
