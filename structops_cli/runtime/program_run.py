"""Run one bpf_dummy_ops program by BPF_PROG_TEST_RUN (net/bpf/bpf_dummy_struct_ops.c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from structops_cli.btf.c_declarations import prototype
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.types import Int, Ptr, Struct
from structops_cli.core.target import Target
from structops_cli.errors import KernelError, UsageError
from structops_cli.obj.settings import with_globals
from structops_cli.obj.spec import ObjectSpec
from structops_cli.runtime.loader import load
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.member_text import MemberValue, decode_bytes, encode_text
from structops_cli.struct_ops.plan import ProgramPlan, Selection, plan_object
from structops_cli.syscall import bpf
from structops_cli.syscall.info import ProgInfo, prog_info
from structops_cli.syscall.uapi import BPF_STATS_RUN_TIME


class Argument(NamedTuple):
    """An argument, typed by the prototype, with its value before and after the run."""

    name: str
    before: MemberValue
    after: MemberValue


class ProgramRun(NamedTuple):
    """The result of one run. ``return_value`` is signed, as the member's prototype says."""

    program: ProgInfo
    member: str
    signature: str
    arguments: tuple[Argument, ...]
    return_value: int
    duration_ns: int


def run_program(
    spec: ObjectSpec,
    name: str,
    texts: Sequence[str],
    kernel: KernelTypes,
    members: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> ProgramRun:
    """Load one program of an object, run it once with arguments as text, and close it.

    ``members`` sets global variables and members first, as in ``Selection``. A number is
    passed as it is. For a pointer to a struct, ``MEMBER=VALUE,...`` or a value for its
    first member fills the struct, and ``null`` passes none.
    """
    spec, members = with_globals(spec, members)
    only = tuple(variable.name for variable in spec.struct_ops)
    plan = plan_object(spec, kernel, Selection(only=only, members=members))
    program = next((item for item in plan.programs if item.name == name), None)
    if program is None:
        known = ", ".join(item.name for item in plan.programs) or "none"
        raise UsageError(
            f"{spec.name} has no program {name} that a member points at",
            hint=f"it has: {known}",
            program=name,
        )
    words = _words(program, texts)
    before = [_render(program, index, word) for index, word in enumerate(words)]
    with load(spec, plan._replace(programs=(program,), maps=()), Target(kernel)) as loaded:
        try:
            with bpf.enable_stats(
                BPF_STATS_RUN_TIME
            ):  # a test run of bpf_dummy_ops answers 0 as its duration
                result = bpf.prog_test_run(loaded.programs[name], words)
        except KernelError as error:
            raise explained(error, f"{name} of {spec.name} could not be run", program.type.name) from None
        info = prog_info(loaded.programs[name])
    proto = program.member.proto
    assert proto is not None
    names = [param.name or f"a{index}" for index, param in enumerate(proto.params)]
    arguments = tuple(
        Argument(names[index], before[index], _render(program, index, word))
        for index, word in enumerate(words)
    )
    duration_ns = result.duration_ns or info.run_time_ns
    value = result.return_value - (1 << 32) if result.return_value >> 31 else result.return_value
    signature = prototype(program.type.btf, proto, program.member.name)
    return ProgramRun(info, program.member.name, signature, arguments, value, duration_ns)


def _words(program: ProgramPlan, texts: Sequence[str]) -> list[int | bytearray]:
    proto = program.member.proto
    assert proto is not None
    if len(texts) != len(proto.params):
        raise UsageError(
            f"{program.member.name} takes {len(proto.params)} argument(s), and {len(texts)} are given",
            hint=prototype(program.type.btf, proto, program.member.name),
            program=program.name,
            member=program.member.name,
        )
    return [_word(program, index, text) for index, text in enumerate(texts)]


def _word(program: ProgramPlan, index: int, text: str) -> int | bytearray:
    struct = _pointed_struct(program, index)
    if struct is None:
        try:
            return int(text, 0)
        except ValueError:
            raise UsageError(f"argument {index + 1}, {text!r}, is no number", program=program.name) from None
    if text.lower() in ("null", "none"):
        return 0
    state = bytearray(struct.size_bytes)
    for part in text.split(","):
        name, equals, value = part.partition("=")
        member = (
            struct.members[0] if not equals else next((m for m in struct.members if m.name == name), None)
        )
        if member is None:
            raise UsageError(
                f"struct {struct.name} has no member {name}",
                hint=f"it has: {', '.join(item.name for item in struct.members)}",
                program=program.name,
            )
        raw = encode_text(
            program.type.btf, member.type, value if equals else name, f"{struct.name}.{member.name}"
        )
        state[member.bit_offset // 8 : member.bit_offset // 8 + len(raw)] = raw
    return state


def _pointed_struct(program: ProgramPlan, index: int) -> Struct | None:
    proto = program.member.proto
    assert proto is not None
    pointer = resolve(program.type.btf, proto.params[index].type)
    target = resolve(program.type.btf, pointer.type) if isinstance(pointer, Ptr) else None
    return target if isinstance(target, Struct) else None


def _render(program: ProgramPlan, index: int, word: int | bytearray) -> MemberValue:
    struct = _pointed_struct(program, index)
    if struct is not None and isinstance(word, bytearray):
        return decode_bytes(program.type.btf, struct.id, bytes(word))
    if struct is not None:
        return None
    proto = program.member.proto
    assert proto is not None
    assert isinstance(word, int)
    kind = resolve(program.type.btf, proto.params[index].type)
    if isinstance(kind, Int):
        size = size_of(program.type.btf, kind.id)
        return decode_bytes(program.type.btf, kind.id, (word & (1 << 8 * size) - 1).to_bytes(size, "little"))
    return word
