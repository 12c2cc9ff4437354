"""Load a planned object: its BTF, maps, data and programs, and the struct_ops maps that wait for their value.

``load`` reads as the list of what happens. Nothing is registered here, and
all that was made goes with the fds: ``Loaded`` owns every one of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

from structops_cli.core.apply import apply_fixups
from structops_cli.core.fixup import Fixup, Relocator
from structops_cli.core.target import Target
from structops_cli.errors import ENOTSUPP, FitError, KernelError, VerifierError
from structops_cli.obj.datasec import loadable_btf
from structops_cli.obj.insn import set_imm64, set_src_reg
from structops_cli.obj.link import link_program
from structops_cli.obj.spec import (
    DataSection,
    LinkedProgram,
    MapSpec,
    ObjectSpec,
    Relocation,
    RelocationTarget,
)
from structops_cli.records import NamedTuple
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.plan import MapPlan, Plan, ProgramPlan
from structops_cli.struct_ops.value import KEY
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import (
    BPF_F_LINK,
    BPF_F_MMAPABLE,
    BPF_F_RDONLY_PROG,
    BPF_F_SLEEPABLE,
    BPF_F_VTYPE_BTF_OBJ_FD,
    BPF_OBJ_NAME_LEN,
    BpfMapType,
    BpfProgType,
    BtfIntEncoding,
    PseudoSrc,
)

__all__ = ["Loaded", "PreparedProgram", "create_struct_ops_map", "least_btf", "load", "prepare_program"]

FUNC_INFO = struct.Struct("<II")
LINE_INFO = struct.Struct("<IIII")
RETURN_ZERO = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
"""``r0 = 0; exit``."""
OBJECT_PREFIX_LEN = 8
"""Characters of the object's name before a data section's in the name of its map: the accepted convention."""
WITHOUT_BTF = frozenset({
    BpfMapType.PROG_ARRAY, BpfMapType.PERF_EVENT_ARRAY, BpfMapType.STACK_TRACE, BpfMapType.CGROUP_ARRAY,
    BpfMapType.ARRAY_OF_MAPS, BpfMapType.HASH_OF_MAPS, BpfMapType.DEVMAP, BpfMapType.DEVMAP_HASH, BpfMapType.SOCKMAP,
    BpfMapType.SOCKHASH, BpfMapType.CPUMAP, BpfMapType.XSKMAP, BpfMapType.RINGBUF, BpfMapType.USER_RINGBUF,
    BpfMapType.REUSEPORT_SOCKARRAY, BpfMapType.QUEUE, BpfMapType.STACK, BpfMapType.BLOOM_FILTER,
})  # fmt: skip
"""Map types for which the kernel takes no key and value types (``map_check_btf`` is absent)."""


class PreparedProgram(NamedTuple):
    """A program ready for PROG_LOAD but for the fds of its maps."""

    plan: ProgramPlan
    linked: LinkedProgram
    fixups: tuple[Fixup, ...]
    insns: bytes


class Loaded:
    """Own the fds of a loaded object; a context manager that closes them all."""

    def __init__(self, spec: ObjectSpec, plan: Plan) -> None:
        self.spec = spec
        self.plan = plan
        self.maps: dict[str, Fd] = {}
        self.programs: dict[str, Fd] = {}
        self.struct_ops: dict[str, Fd] = {}
        self._owned = ExitStack()

    def own(self, fd: Fd) -> Fd:
        """Take over an fd."""
        return self._owned.enter_context(fd)

    def close(self) -> None:
        """Close every fd; what is registered without a link stays registered."""
        self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(spec: ObjectSpec, plan: Plan, target: Target) -> Loaded:
    """Load what a plan needs of an object; the caller owns the answer. Every error carries the object's name.

    Programs are relocated before anything is created, so that an object that
    does not fit this kernel is refused without a trace of it.
    """
    relocator = Relocator(spec.btf, target)
    prepared = [prepare_program(spec, program, relocator) for program in plan.programs]
    loaded = Loaded(spec, plan)
    try:
        btf_fd = loaded.own(_load_btf(spec))
        _create_struct_ops_maps(loaded, btf_fd)
        _create_maps(loaded, btf_fd, _used_symbols(prepared))
        _load_programs(loaded, btf_fd, prepared)
    except BaseException as error:
        loaded.close()
        if isinstance(error, KernelError):
            error.add(object=spec.name)
        raise
    return loaded


# Programs, before the kernel is asked


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


def _used_symbols(prepared: Iterable[PreparedProgram]) -> frozenset[str]:
    return frozenset(item.symbol for program in prepared for item in program.linked.relocations)


# BTF and maps


def _load_btf(spec: ObjectSpec) -> Fd:
    try:
        return bpf.btf_load(loadable_btf(spec.btf))
    except KernelError as error:
        raise explained(error, f"the kernel refused the BTF of {spec.name}") from None


def _create_maps(loaded: Loaded, btf_fd: Fd, used: frozenset[str]) -> None:
    """Create the maps and data sections that a planned program uses."""
    for spec in loaded.spec.maps:
        if spec.name in used:
            loaded.maps[spec.name] = loaded.own(_create_map(spec, btf_fd))
    for section in loaded.spec.data:
        if section.name in used:
            loaded.maps[section.name] = loaded.own(_create_data_map(loaded.spec.name, section, btf_fd))


def _create_map(spec: MapSpec, btf_fd: Fd) -> Fd:
    if spec.pinned_by_name:
        raise FitError(
            f"map {spec.name} wants to be pinned by name",
            why="shared pinned maps are not supported yet",
            map=spec.name,
        )
    typed = spec.map_type not in WITHOUT_BTF and spec.value_type_id
    try:
        return bpf.map_create(
            spec.map_type,
            key_size=spec.key_size,
            value_size=spec.value_size,
            max_entries=spec.max_entries,
            name=spec.name,
            map_flags=spec.map_flags,
            numa_node=spec.numa_node or 0,
            map_extra=spec.map_extra,
            btf_fd=btf_fd.fileno() if typed else 0,
            btf_key_type_id=spec.key_type_id if typed else 0,
            btf_value_type_id=spec.value_type_id if typed else 0,
        )
    except KernelError as error:
        error.add(map=spec.name)
        raise explained(error, f"map {spec.name} could not be created") from None


def _create_data_map(object_name: str, section: DataSection, btf_fd: Fd) -> Fd:
    flags = BPF_F_MMAPABLE | (BPF_F_RDONLY_PROG if section.read_only else 0)
    name = data_map_name(object_name, section.name)
    typed = bool(section.type_id)
    try:
        fd = bpf.map_create(
            BpfMapType.ARRAY,
            key_size=4,
            value_size=len(section.contents),
            max_entries=1,
            name=name,
            map_flags=flags,
            btf_fd=btf_fd.fileno() if typed else 0,
            btf_value_type_id=section.type_id,
        )
        _fill(fd, section)
    except KernelError as error:
        error.add(map=name, section=section.name)
        raise explained(error, f"the data section {section.name} could not be created") from None
    return fd


def _fill(fd: Fd, section: DataSection) -> None:
    try:
        if any(section.contents):
            bpf.map_update_elem(fd, KEY, section.contents)
        if section.read_only:
            bpf.map_freeze(fd)
    except BaseException:
        fd.close()
        raise


def data_map_name(object_name: str, section: str) -> str:
    """Return the kernel's name for a data section's map: up to 8 characters of the object's name, then the section's."""
    room = min(
        OBJECT_PREFIX_LEN, BPF_OBJ_NAME_LEN - 1 - max(len(section), BPF_OBJ_NAME_LEN - 1 - OBJECT_PREFIX_LEN)
    )
    return object_name.rsplit("/", 1)[-1].split(".", 1)[0][: max(room, 0)] + section


def _create_struct_ops_maps(loaded: Loaded, btf_fd: Fd) -> None:
    for plan in loaded.plan.maps:
        loaded.struct_ops[plan.variable] = loaded.own(_create_planned(plan, btf_fd))


def _create_planned(plan: MapPlan, btf_fd: Fd) -> Fd:
    try:
        return create_struct_ops_map(plan.type, plan.variable, btf_fd, link=plan.link)
    except KernelError as error:
        error.add(variable=plan.variable, type_name=plan.type.name)
        raise explained(
            error, f"no struct_ops map could be created for {plan.variable}", plan.type.name
        ) from None


def create_struct_ops_map(kernel_type: StructOpsType, name: str, btf_fd: Fd, *, link: bool) -> Fd:
    """Create a struct_ops map of a type, with BPF_F_LINK or without, and own its fd.

    ``btf_fd`` is any BTF that is not the kernel's: ``map_create`` wants one beside
    every value type, and answers EINVAL without.
    """
    try:
        return _create_struct_ops_map(kernel_type, name, btf_fd, link=link)
    except KernelError as error:
        if error.errno != ENOTSUPP:
            raise
    _wake_verifier()
    return _create_struct_ops_map(kernel_type, name, btf_fd, link=link)


def _wake_verifier() -> None:
    """Load a program that does nothing and drop it.

    Old kernels (5.10 does, 6.1 does not) read their own BTF when the first program
    since boot is verified (``bpf_check``), and know no struct_ops type until then.
    """
    with suppress(KernelError):
        bpf.prog_load(BpfProgType.SOCKET_FILTER, RETURN_ZERO, licence="GPL").close()


def _create_struct_ops_map(kernel_type: StructOpsType, name: str, btf_fd: Fd, *, link: bool) -> Fd:
    with ExitStack() as stack:
        module = stack.enter_context(_module_btf(kernel_type)) if kernel_type.module else None
        return bpf.map_create(
            BpfMapType.STRUCT_OPS,
            key_size=4,
            value_size=kernel_type.value.size_bytes,
            max_entries=1,
            name=name,
            btf_fd=btf_fd.fileno(),
            map_flags=(BPF_F_LINK if link else 0) | (BPF_F_VTYPE_BTF_OBJ_FD if module else 0),
            btf_vmlinux_value_type_id=kernel_type.value.id,
            value_type_btf_obj_fd=module.fileno() if module else 0,
        )


def least_btf() -> Fd:
    """Load BTF of one integer, the least that the kernel takes, for a map that has no object; own its fd."""
    from structops_cli.btf.encode import encode
    from structops_cli.btf.types import Int  # no command that has an object needs it

    return bpf.btf_load(encode([Int(1, "int", 4, BtfIntEncoding.SIGNED, 0, 32)]))


def _module_btf(kernel_type: StructOpsType) -> Fd:
    """Open the BTF object of a type's module."""
    from structops_cli.runtime.kernel import btf_ids  # only modules need it

    for btf_id, name in btf_ids():
        if name == kernel_type.module:
            return bpf.btf_get_fd_by_id(btf_id)
    raise FitError(f"module {kernel_type.module} is not loaded any more", type_name=kernel_type.name)


# Programs


def _load_programs(loaded: Loaded, btf_fd: Fd, prepared: Iterable[PreparedProgram]) -> None:
    for program in prepared:
        loaded.programs[program.plan.name] = loaded.own(_load_program(loaded, btf_fd, program))


def _load_program(loaded: Loaded, btf_fd: Fd, program: PreparedProgram) -> Fd:
    plan, linked = program.plan, program.linked
    with ExitStack() as stack:
        module = stack.enter_context(_module_btf(plan.type)) if plan.type.module else None
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
            error.add(program=plan.name, member=plan.member.name)
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
