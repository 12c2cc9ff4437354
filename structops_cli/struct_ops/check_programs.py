"""Check the relocations, helpers, arguments and externs of programs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from structops_cli.asm.insn import CALL, LD_IMM64, PseudoCall, opcode_at, set_src_reg
from structops_cli.btf.btf import Btf
from structops_cli.core.apply import POISON_BASE, apply_fixups, why_poisoned
from structops_cli.core.externs import EXTERN_POISON_BASE, Externs, apply_externs, poisoned_extern
from structops_cli.core.fixup import Fixup, Relocator
from structops_cli.errors import StructopsError
from structops_cli.obj.link import exception_callback, exception_tags
from structops_cli.obj.sparse_bytes import SparseBytes
from structops_cli.obj.spec import ExternCategory, LinkedProgram, ObjectSpec, RelocationTarget, source_line
from structops_cli.struct_ops.capabilities import has_lazy_globals, helpers_of
from structops_cli.struct_ops.check_arguments import (
    Arguments,
    arguments_of,
    check_arguments,
    pointer_words,
)
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.flow import effects_of
from structops_cli.struct_ops.flow_steps import Act, Code, Effect
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.plan import Plan, ProgramPlan
from structops_cli.struct_ops.rules.verifier import is_allowed

Allows: TypeAlias = Callable[[ProgramPlan, int], "bool | None"]
THROW = "bpf_throw"
"""The kernel function that ends the calling program."""


class ProgramReport(NamedTuple):
    """A checked program; ``poisoned`` counts the relocations without an answer."""

    plan: ProgramPlan
    section: str
    sleepable: bool
    relocations: int
    poisoned: int
    arguments: Arguments
    findings: tuple[Finding, ...]


def check_program(
    spec: ObjectSpec,
    plan: Plan,
    program: ProgramPlan,
    linked: LinkedProgram,
    externs: Externs,
    relocator: Relocator,
    kernel: Btf,
    allows: Allows,
) -> ProgramReport:
    """Check one linked program of a plan, with its known externs.

    ``allows`` asks the kernel whether a program may call a helper, and returns None without an answer.
    """
    return _ProgramCheck(spec, program, linked, externs, kernel, allows).report(plan, relocator)


class _ProgramCheck:
    """The check of one program."""

    def __init__(
        self,
        spec: ObjectSpec,
        program: ProgramPlan,
        linked: LinkedProgram,
        externs: Externs,
        kernel: Btf,
        allows: Allows,
    ) -> None:
        self.spec, self.program, self.linked = spec, program, linked
        self.externs, self.kernel, self.allows = externs, kernel, allows

    def report(self, plan: Plan, relocator: Relocator) -> ProgramReport:
        name = self.program.name
        variables = [item.variable for item in plan.maps if any(one.program == name for one in item.members)]
        arguments = arguments_of(self.spec, self.program, variables)
        section, relocations = self.spec.function(name).section, self.linked.core_relos
        head = self.program, section, self.linked.sleepable, len(relocations)
        try:
            fixups = relocator.fixups(relocations)
            applied = apply_externs(self.spec, self.linked, self.externs)
            insns = apply_fixups(applied.insns, fixups)
        except StructopsError as error:
            error.add(program=name, member=self.program.member.name)
            return ProgramReport(*head, 0, arguments, (Finding.of_error(error),))
        effects = effects_of(self._code(applied._replace(insns=insns)))
        findings = [
            *self._poisoned(fixups, effects),
            *self._refused_helpers(effects),
            *check_arguments(self.spec, self.program, self.linked, arguments, effects, self.kernel),
        ]
        poisoned = sum(bool(fixup.poison) for fixup in fixups)
        return ProgramReport(*head, poisoned, arguments, tuple(findings))

    # The program for the walk

    def _code(self, applied: LinkedProgram) -> Code:
        kconfig = (self.externs.kconfig,) if self.externs.kconfig else ()
        constant = {one.name: one.contents for one in (*self.spec.data, *kconfig) if one.read_only}
        categories = {one.name: one.category for one in self.spec.externs}
        insns = bytearray(applied.insns)
        data: dict[int, tuple[SparseBytes | None, int]] = {}
        addresses, unknown = set(), set()
        for item in applied.relocations:
            index = item.insn_index
            if item.target is RelocationTarget.DATA and item.symbol in constant:
                data[index] = constant[item.symbol], item.addend
            elif item.target is RelocationTarget.EXTERN and opcode_at(insns, index) == CALL:
                set_src_reg(insns, index, PseudoCall.KFUNC_CALL)
            elif item.target is RelocationTarget.EXTERN and categories[item.symbol] is ExternCategory.KCONFIG:
                data[index] = None, 0
            elif item.target is RelocationTarget.EXTERN:
                unknown.add(index)
            elif opcode_at(insns, index) == LD_IMM64:
                addresses.add(index)
        return Code(
            bytes(insns),
            data,
            pointer_words(self.program),
            frozenset(addresses),
            self._existing(),
            frozenset(unknown),
            **self._functions(),
            lazy=has_lazy_globals(self.kernel),
            ends=any(item.symbol == THROW for item in self.linked.relocations),
        )

    def _existing(self) -> frozenset[int]:
        """Return the loads of addresses of kernel functions that exist (``bpf_ksym_exists``).

        The verifier knows that such an address is not zero (1057d2994596, Linux 6.4).
        """
        existing = {
            name
            for name, one in self.externs.resolved.items()
            if one.extern.category is ExternCategory.FUNCTION and not one.missing
        }
        return frozenset(
            item.insn_index
            for item in self.linked.relocations
            if item.target is RelocationTarget.EXTERN
            and item.symbol in existing
            and opcode_at(self.linked.insns, item.insn_index) == LD_IMM64
        )

    def _functions(self) -> dict[str, frozenset[int]]:
        """Return where the global functions begin, and the exception callback among them."""
        functions = {one.name: one for one in self.spec.functions}
        begins = {name: start for start, name in self.linked.functions if start and functions[name].is_global}
        main, tags = self.spec.function(self.linked.name), exception_tags(self.spec.btf)
        callback = exception_callback(functions, main, tags)
        called = {begins[callback.name]} if callback and callback.name in begins else set()
        return {"global_functions": frozenset(begins.values()), "callbacks": frozenset(called)}

    # The findings

    def _refusal(
        self,
        effect: Effect,
        reason: str,
        hint: str,
        *,
        unsure: str = "; it lets it pass only where it can tell that this is never reached",
    ) -> Finding:
        """Return a finding for a forbidden effect: an error if the verifier surely meets it."""
        name, member = self.program.name, self.program.member.name
        line = source_line(self.spec, self.linked, effect.insn)
        at = f", at {line}" if line else ""
        return Finding(
            Severity.ERROR if effect.sure else Severity.UNKNOWN,
            f"the verifier {'refuses' if effect.sure else 'may refuse'} {name} (member {member})",
            f"{reason}{at}{'' if effect.sure else unsure}",
            hint,
            {"object": self.spec.name, "program": name, "member": member, "insn": effect.insn},
        )

    def _poisoned(self, fixups: Sequence[Fixup], effects: Sequence[Effect]) -> Iterator[Finding]:
        for effect in _first_of_each(Act.POISON, effects):
            if effect.number < len(fixups):
                why = why_poisoned(fixups[effect.number])
                reason = f"it reaches a CO-RE relocation that this kernel cannot satisfy: {why}"
                yield self._refusal(effect, reason, "ask first: bpf_core_field_exists() and its like")

    def _refused_helpers(self, effects: Sequence[Effect]) -> Iterator[Finding]:
        known = helpers_of(self.kernel)
        for effect in _first_of_each(Act.HELPER, effects):
            if EXTERN_POISON_BASE <= effect.number < POISON_BASE:
                name = poisoned_extern(self.spec, effect.number)
                reason = f"it calls {name}, {self.externs.resolved[name].absence()}"
                yield self._refusal(effect, reason, "ask first: bpf_ksym_exists()")
            elif known and effect.number not in known:
                reason = f"it calls helper {effect.number}, and the last that this kernel has is {max(known)}"
                yield self._refusal(effect, reason, "ask first: bpf_core_enum_value_exists()")
            elif known:
                yield from self._disallowed(effect, known[effect.number].removeprefix("BPF_FUNC_"))

    def _disallowed(self, effect: Effect, helper: str) -> Iterator[Finding]:
        type_name, member = self.program.type.name, self.program.member.name
        allowed = is_allowed(kind_of(type_name), member, helper)
        if allowed is None:
            allowed = self.allows(self.program, effect.number)
        caller = f"a program of {member} of {type_name}"
        if allowed is False:
            yield self._refusal(effect, f"it calls bpf_{helper}, which {caller} may not", "do without it")
        elif allowed is None:
            reason = f"it calls bpf_{helper}, and whether {caller} may is unknown here"
            hint = "ask the kernel: check as root on the machine that runs it"
            yield self._refusal(effect._replace(sure=False), reason, hint, unsure="")


def _first_of_each(act: Act, effects: Sequence[Effect]) -> Iterator[Effect]:
    """Yield the first effect of each number, the sure effects before the others."""
    told: set[int] = set()
    for effect in sorted(effects, key=lambda effect: (not effect.sure, effect.insn)):
        if effect.act is act and effect.number not in told:
            told.add(effect.number)
            yield effect
