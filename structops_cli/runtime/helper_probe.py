"""Ask the kernel whether a program may call a helper: load one that does nothing else, and close it."""

from __future__ import annotations

from contextlib import ExitStack

from structops_cli.asm.insn import CALL, RETURN_ZERO, Insn, encode_insn
from structops_cli.errors import StructopsError, VerifierError
from structops_cli.runtime.kernel import open_module
from structops_cli.struct_ops.plan import ProgramPlan
from structops_cli.syscall import bpf
from structops_cli.syscall.uapi import BpfProgType

__all__ = ["may_call"]

NOT_FOR_THIS_TYPE = ("cannot use helper", "unknown func")
"""``check_helper_call`` on a helper that the subsystem does not give; the first since 6.12."""
ABOUT_ARGUMENTS = ("R1", "R2", "type=", "expected=", "must be", "arg#")
"""How the verifier complains of arguments: it has found the helper."""


def may_call(program: ProgramPlan, helper: int) -> bool | None:
    """Tell whether a program for the same member may call a helper; None where the kernel does not tell."""
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
