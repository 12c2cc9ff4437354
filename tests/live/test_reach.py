"""Compare the walk of random programs with the verifier.

Each program calls a helper that no kernel has. If the walk surely reaches the call, the
kernel must refuse the program. If the walk never reaches it, the kernel must not refuse
the program because of the helper. No program is registered.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from structops_cli.errors import KernelError
from structops_cli.runtime.kernel import live_kernel
from structops_cli.struct_ops.catalogue import StructOpsType, find_type
from structops_cli.struct_ops.check_arguments import pointer_words
from structops_cli.struct_ops.flow import effects_of
from structops_cli.struct_ops.flow_steps import Code
from structops_cli.struct_ops.plan import ProgramPlan
from structops_cli.syscall import bpf
from structops_cli.syscall.uapi import BpfProgType
from tests.elf_writers import insn

PROGRAMS = 2000
NO_HELPER = 9999
UNKNOWN_HELPER = ("invalid func", "unknown func")
MOV_K, MOV_X, CALL, EXIT, LDX, STX, ST = 0xB7, 0xBF, 0x85, 0x95, 0x79, 0x7B, 0x7A
LOADS = (0x79, 0x61, 0x71)
ALU = (0x07, 0x0F, 0x17, 0x1F, 0x27, 0x47, 0x57, 0x67, 0x77, 0xA7, 0xAF, 0x04, 0x0C, 0x14, 0x54, 0x64, 0x74, 0xA4, 0xB4,
       0xBC, 0xB7, 0xBF, 0xC7, 0x37, 0x97, 0x87)  # fmt: skip
JUMPS = (0x15, 0x55, 0x25, 0x35, 0xA5, 0xB5, 0x45, 0x65, 0x75, 0xC5, 0xD5, 0x1D, 0x5D, 0x2D, 0x16, 0x56, 0x26, 0x36, 0xA6,
         0x1E, 0x66, 0x46)  # fmt: skip
NEGATE = 0x87
NUMBERS = (0, 1, 2, 3, 5, 7, 8, 16, 31, 0xFF)
COMPARED = (0, 0, 1, 2, 5, 7, -1, 0x100)
REGISTERS = (2, 3, 4, 5, 7)
CONTEXT = 6


def written(random: Random) -> bytes:
    """Return a program without loops; it may call a function behind it."""
    head = [insn(MOV_X, CONTEXT, 1)]
    head += [insn(MOV_K, register, imm=random.choice((0, 0, 1, 2, 5, 7, -1))) for register in REGISTERS]
    head += [insn(ST, 10, 0, -8, 0), insn(ST, 10, 0, -16, 3)]
    count = random.randint(5, 22)
    bad = random.sample(range(count), random.choice((1, 1, 2)))
    calls = random.randrange(count) if random.random() < 0.3 else -1
    body = [insn(CALL, imm=NO_HELPER) if at in bad else step(random, count - at - 1) for at in range(count)]
    tail = [insn(MOV_K, 0), insn(EXIT)]
    if calls < 0:
        return b"".join((*head, *body, *tail))
    again = [insn(MOV_X, register, 0) for register in (2, 3, 4, 5)]
    behind = len(body) - calls + len(again) + len(tail) - 1
    body[calls : calls + 1] = [insn(CALL, 0, 1, imm=behind), *again]
    return b"".join((*head, *body, *tail, *function(random)))


def function(random: Random) -> list[bytes]:
    """Return a function of two arguments that returns a number."""
    compared = random.choice((2, 3))
    return [
        insn(MOV_K, 0, imm=random.choice(NUMBERS)),
        insn(random.choice((0x15, 0x55, 0x25)), compared, 0, 1, random.choice(COMPARED)),
        insn(MOV_K, 0, imm=random.choice(NUMBERS)),
        insn(CALL, imm=NO_HELPER) if random.random() < 0.1 else insn(MOV_K, 4),
        insn(EXIT),
    ]


def step(random: Random, left: int) -> bytes:
    """Return one instruction; a jump skips at most ``left`` instructions."""
    to, of, sort = random.choice(REGISTERS), random.choice(REGISTERS), random.random()
    if sort < 0.22:
        return insn(random.choice(LOADS), to, CONTEXT, random.choice((8, 16)))
    if sort < 0.28:
        return insn(STX, 10, of, -8 * random.randint(1, 2))
    if sort < 0.33:
        return insn(LDX, to, 10, -8 * random.randint(1, 2))
    operation = random.choice(ALU if sort < 0.62 else JUMPS)
    by_register = bool(operation & 8) and operation != NEGATE
    number = 0 if by_register or operation == NEGATE else random.choice(NUMBERS if sort < 0.62 else COMPARED)
    distance = 0 if sort < 0.62 else random.randint(0, min(6, left))
    return insn(operation, to, of if by_register else 0, distance, number)


def refused_for(kernel_type: StructOpsType, member_index: int, code: bytes) -> str:
    """Return the verifier's log for a refused program, "" for an accepted one."""
    try:
        bpf.prog_load(
            BpfProgType.STRUCT_OPS,
            code,
            licence="GPL",
            name="t_reach",
            attach_btf_id=kernel_type.struct.id,
            expected_attach_type=member_index,
        ).close()
    except KernelError as error:
        return getattr(error, "log", "") or str(error)
    return ""


def test_random_programs() -> None:
    kernel_type = find_type(live_kernel(), "tcp_congestion_ops")
    member = next(one for one in kernel_type.members if one.name == "cong_avoid")
    pointers = pointer_words(ProgramPlan("t_reach", kernel_type, member))
    counted: Counter[tuple[str, bool]] = Counter()
    wrong = []
    for seed in range(PROGRAMS):
        code = written(Random(seed))
        reached = {use.sure for use in effects_of(Code(code, pointers=pointers)) if use.number == NO_HELPER}
        walked = "sure" if True in reached else "perhaps" if reached else "never"
        why = refused_for(kernel_type, member.member_index, code)
        counted[walked, bool(why)] += 1
        if (walked == "sure" and not why) or (
            walked == "never" and any(one in why for one in UNKNOWN_HELPER)
        ):
            wrong.append((seed, walked, why[-300:]))
    assert not wrong
    assert counted["sure", True] > PROGRAMS // 10
    assert counted["never", False] > PROGRAMS // 50
