"""Find the wishes of an object that a registration does not fulfil. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from structops_cli.counted import counted
from structops_cli.obj.spec import ObjectSpec, OtherProgram
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.plan import Plan


def absent_members(spec: ObjectSpec, plan: Plan) -> Iterator[Finding]:
    """Yield a warning for each member with a program that this kernel lacks."""
    for item in plan.skipped:
        yield Finding(
            Severity.WARNING,
            f"this kernel has no member {item.member} ({item.variable})",
            f"its program {item.program} is not loaded, and nothing calls it",
            "register on a kernel that has the member, or make sure that the object works without it",
            {"object": spec.name, "variable": item.variable, "member": item.member, "program": item.program},
        )


def absent_links(spec: ObjectSpec, plan: Plan) -> Iterator[Finding]:
    """Yield a warning for each map that is to have a link, on a kernel without links."""
    for item in plan.maps:
        if item.link_wanted and not item.link:
            yield Finding(
                Severity.WARNING,
                f"this kernel has no link for {item.registered_name} ({item.variable})",
                "struct_ops links came with Linux 6.4; without one no pin holds it, and update needs --restart",
                "register on Linux 6.4 or later, or ask for no link: register --no-link",
                {"object": spec.name, "variable": item.variable},
            )


def not_attached(spec: ObjectSpec) -> tuple[OtherProgram, ...]:
    """Return the programs that no registration loads: of other types, or in no variable.

    Programs of a section that begins with ``?`` load on request only, so they are not among them. Nor are
    programs of variables that --only or --with leave out.
    """
    found = (*spec.other_programs, *_unreferenced(spec))
    return tuple(one for one in found if not one.section.startswith("?"))


def _unreferenced(spec: ObjectSpec) -> Iterator[OtherProgram]:
    referred = {one.function for variable in spec.struct_ops for one in variable.functions}
    for function in spec.functions:
        if function.is_program and function.name not in referred:
            yield OtherProgram(function.name, function.section)


def programs_left_out(spec: ObjectSpec) -> Iterator[Finding]:
    """Yield warnings for the programs of ``not_attached``, those of other types first."""
    others: list[OtherProgram] = []
    ours: list[OtherProgram] = []
    for one in not_attached(spec):
        (others if one in spec.other_programs else ours).append(one)
    if others:
        yield _programs(
            spec,
            others,
            "is neither loaded nor attached",
            "are neither loaded nor attached",
            "structops loads struct_ops programs only",
            f'attach with another loader what is needed, mark the rest optional: SEC("?{others[0].section}")',
        )
    if ours:
        yield _programs(
            spec,
            ours,
            "is not loaded",
            "are not loaded",
            "a struct_ops program is loaded for a variable that refers to it, and none does",
            "set a member of a struct_ops variable to it, or remove it",
        )


def _programs(
    spec: ObjectSpec, found: list[OtherProgram], one: str, several: str, why: str, hint: str
) -> Finding:
    names = ", ".join(f"{program.name} ({program.section})" for program in found)
    what = f"{spec.name}: {counted(len(found), 'program')} {one if len(found) == 1 else several}: {names}"
    programs = [program._asdict() for program in found]
    return Finding(Severity.WARNING, what, why, hint, {"object": spec.name, "not_attached": programs})
