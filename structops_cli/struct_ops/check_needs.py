"""Check the maps and externs that an object needs of a kernel. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.core.externs import VERSION, Externs, KernelFacts, extern_references
from structops_cli.core.resolve_externs import resolve_externs
from structops_cli.errors import StructopsError
from structops_cli.obj.needed_maps import needed_maps
from structops_cli.obj.spec import ExternCategory, LinkedProgram, MapSpec, ObjectSpec, RelocationTarget
from structops_cli.struct_ops.capabilities import map_types_of
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.plan import Plan
from structops_cli.struct_ops.rules.causes import NO_JUMP_TABLES
from structops_cli.struct_ops.rules.definitions import map_faults
from structops_cli.syscall.uapi import BpfMapType


def check_maps(
    spec: ObjectSpec,
    plan: Plan,
    linked: Sequence[LinkedProgram],
    kernel: KernelTypes,
    creates: Callable[[MapSpec], bool | None],
) -> Iterator[Finding]:
    """Find maps that a kernel lacks or does not create, and impossible contents.

    ``creates`` asks the kernel for a map, and returns None without an answer.
    """
    used = {
        item.symbol
        for one in linked
        for item in one.relocations
        if item.target is not RelocationTarget.EXTERN
    }
    try:
        needed = needed_maps(spec, used, [program.name for program in plan.programs])
    except StructopsError as error:
        error.add(object=spec.name)
        yield Finding.of_error(error)
        return
    known = map_types_of(kernel.vmlinux)
    if known and BpfMapType.INSN_ARRAY not in known:
        yield from _jump_tables(spec, linked)
    for one in needed.maps:
        yield from _refused_map(spec, one, creates)
        if known and one.map_type not in known:
            yield Finding(
                Severity.ERROR,
                f"map {one.name} is of a type that this kernel does not have",
                f"it is {_map_type(one.map_type)}, and its BTF lists {len(known)} types, up to {max(known)}",
                "use another type of map for this kernel",
                {"object": spec.name, "map": one.name},
            )


def _jump_tables(spec: ObjectSpec, linked: Sequence[LinkedProgram]) -> Iterator[Finding]:
    """Find programs with jump tables, for a kernel without instruction arrays."""
    for one in linked:
        if any(item.target is RelocationTarget.JUMP_TABLE for item in one.relocations):
            what, fields = f"the verifier refuses {one.name}", {"object": spec.name, "program": one.name}
            yield Finding(Severity.ERROR, what, *NO_JUMP_TABLES, fields)


def _refused_map(
    spec: ObjectSpec, one: MapSpec, creates: Callable[[MapSpec], bool | None]
) -> Iterator[Finding]:
    fields = {"object": spec.name, "map": one.name, "operation": "MAP_CREATE"}
    for fault in map_faults(one):
        answer = False if fault.certain else creates(one)
        if answer is None:
            what, severity = f"map {one.name} may not be created", Severity.UNKNOWN
        else:
            what, severity = f"map {one.name} could not be created", Severity.ERROR
        if answer is not True:
            yield Finding(severity, what, fault.why, fault.hint, fields | {"errno": fault.errno})


def _map_type(number: int) -> str:
    try:
        return BpfMapType(number).name
    except ValueError:
        return f"number {number}"


def check_externs(
    spec: ObjectSpec, linked: Sequence[LinkedProgram], kernel: KernelTypes, facts: KernelFacts
) -> tuple[Externs, tuple[Finding, ...]]:
    """Return the known externs, and a finding for each missing or unknown one."""
    used = extern_references(spec, linked)
    if not used:
        return Externs({}, None, ()), ()
    findings: list[Finding] = []
    externs = resolve_externs(
        spec, linked, kernel, facts, lambda error: findings.append(Finding.of_error(error))
    )
    categories = {use.extern.name: use.extern.category for use in used}
    findings += [_unknown(spec, name, categories[name]) for name in externs.unknown]
    return externs, tuple(findings)


def _unknown(spec: ObjectSpec, name: str, category: ExternCategory) -> Finding:
    configured = category is ExternCategory.KCONFIG
    example = "6.12" if name == VERSION else "y"
    return Finding(
        Severity.UNKNOWN,
        f"the value of {name} on this kernel is unknown",
        ("the configuration and the version" if configured else "the addresses of symbols")
        + " are not in BTF",
        f"give it: --const {name}={example}; or put the kernel's config file beside its BTF"
        if configured
        else "check on a machine that runs this kernel",
        {"object": spec.name, "symbol": name},
    )
