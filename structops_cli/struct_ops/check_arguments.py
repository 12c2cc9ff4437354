"""Compare a program's use of its arguments with those that the kernel passes. Pure.

An error is an access that the verifier surely meets and refuses. A warning is a program that loads and
takes one argument for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import declare
from structops_cli.btf.layout import pointee_proto, resolve
from structops_cli.btf.names import essential_name
from structops_cli.btf.types import Enum, Enum64, Func, FuncProto, Int, Ptr, Struct, Void
from structops_cli.obj.spec import Function, LinkedProgram, ObjectSpec, source_line
from structops_cli.struct_ops.findings import Finding, Severity
from structops_cli.struct_ops.flow_steps import Act, Effect
from structops_cli.struct_ops.plan import ProgramPlan
from structops_cli.struct_ops.prototypes import (
    Difference,
    compare_prototypes,
    describe_parameters,
    is_context,
    typed_body,
    words_of,
)
from structops_cli.struct_ops.rules.verifier import Refused, refused_context, refused_struct


class Arguments(NamedTuple):
    """The object's view of the arguments of a member.

    ``local`` is the object's prototype, None without one. ``differences`` are those from the kernel's.
    ``typed`` is the prototype of a program that takes the arguments themselves instead of their array.
    """

    local: FuncProto | None
    differences: tuple[Difference, ...]
    typed: FuncProto | None


def arguments_of(spec: ObjectSpec, plan: ProgramPlan, variables: Iterable[str]) -> Arguments:
    """Compare the object's prototype of a program with the kernel's member.

    ``variables`` have the program in a member. The best source is the function that BPF_PROG makes, then
    the member of the local struct.
    """
    function = spec.function(plan.name)
    typed = _own_prototype(spec.btf, function, plan)
    local = typed_body(spec.btf, function) or _local_member(spec, plan.member.name, variables)
    if local is not None and is_context(spec.btf, local):
        local = None
    assert plan.member.proto is not None
    found = compare_prototypes(spec.btf, local, plan.type.btf, plan.member.proto) if local else ()
    return Arguments(local, found, typed)


def _own_prototype(btf: Btf, function: Function, plan: ProgramPlan) -> FuncProto | None:
    own = btf.type(function.type_id)
    proto = btf.type(own.type) if isinstance(own, Func) else None
    if not isinstance(proto, FuncProto) or not proto.params or is_context(btf, proto):
        return None
    if len(proto.params) == 1 and _is_array(_pointee(btf, proto), plan):
        return None
    return proto


def _is_array(struct: Struct | None, plan: ProgramPlan) -> bool:
    """Tell whether a struct of words names the array, and is not the first argument's struct."""
    if struct is None or any(member.bit_offset % 64 for member in struct.members):
        return False
    assert plan.member.proto is not None
    first = _pointee(plan.type.btf, plan.member.proto)
    return first is None or essential_name(struct.name) != first.name


def _pointee(btf: Btf, proto: FuncProto) -> Struct | None:
    """Return the struct that the first parameter points to."""
    pointer = resolve(btf, proto.params[0].type) if proto.params else None
    struct = resolve(btf, pointer.type) if isinstance(pointer, Ptr) else None
    return struct if isinstance(struct, Struct) else None


def _local_member(spec: ObjectSpec, member: str, variables: Iterable[str]) -> FuncProto | None:
    for variable in spec.struct_ops:
        struct = spec.btf.type(variable.type_id)
        if variable.name in variables and isinstance(struct, Struct):
            for one in struct.members:
                if one.name == member:
                    return pointee_proto(spec.btf, one.type)
    return None


def pointer_words(plan: ProgramPlan) -> frozenset[int]:
    """Return the words of the array of arguments that hold pointers."""
    proto, btf = plan.member.proto, plan.type.btf
    assert proto is not None
    return frozenset(
        word
        for word, position in enumerate(words_of(btf, proto))
        if isinstance(resolve(btf, proto.params[position - 1].type), Ptr)
    )


def check_arguments(
    spec: ObjectSpec,
    plan: ProgramPlan,
    linked: LinkedProgram,
    arguments: Arguments,
    effects: Sequence[Effect],
    vmlinux: Btf,
) -> Iterator[Finding]:
    """Find accesses to arguments that the verifier refuses, or that the author cannot mean."""
    return iter(_ArgumentCheck(spec, plan, linked, arguments, vmlinux).findings(effects))


class _ArgumentCheck:
    """One program's arguments."""

    def __init__(
        self,
        spec: ObjectSpec,
        plan: ProgramPlan,
        linked: LinkedProgram,
        arguments: Arguments,
        vmlinux: Btf,
    ) -> None:
        assert plan.member.proto is not None
        self.vmlinux = vmlinux
        self.spec, self.plan, self.linked, self.arguments = spec, plan, linked, arguments
        self.btf, self.proto = plan.type.btf, plan.member.proto
        self.words = words_of(self.btf, self.proto)
        self.differs = {item.position: item for item in arguments.differences}

    def findings(self, effects: Sequence[Effect]) -> Iterator[Finding]:
        told: set[tuple[str, int] | str] = set()
        for effect in sorted(effects, key=lambda effect: (not effect.sure, effect.insn)):
            refused = self._refused(effect)
            if refused and told.isdisjoint(((effect.act, effect.number), refused.why)):
                told.update(((effect.act, effect.number), refused.why))
                yield self._refusal(effect, refused)
        if not told:
            yield from self._mistaken(effects)

    def _refused(self, effect: Effect) -> Refused | None:
        """Return the reason why the verifier refuses an effect, None if it accepts it."""
        if effect.act is Act.NO_RESULT:
            returned = declare(self.btf, self.proto.return_type)
            is_void = isinstance(resolve(self.btf, self.proto.return_type), Void)
            return None if is_void else Refused(f"it returns nothing, and the kernel wants {returned}", True)
        if effect.act in {Act.READ, Act.WRITE}:
            return self._context(effect)
        if effect.act is Act.THROUGH and 0 <= effect.number < len(self.words):
            position = self.words[effect.number]
            why = self._through(position)
            if why or effect.at is None:
                return Refused(why, True) if why else None
            return refused_struct(self.plan.type, self.plan.member, position, effect.at, effect.size_bytes)
        return None

    def _context(self, effect: Effect) -> Refused | None:
        """Return the reason to refuse an access to the array of arguments."""
        if effect.act is Act.READ and not 0 <= effect.number < len(self.words):
            return Refused(self._beyond(effect.number), True)
        position = self.words[effect.number] if 0 <= effect.number < len(self.words) else 0
        param_type = self.proto.params[position - 1].type if position else 0
        write = effect.act is Act.WRITE
        return refused_context(
            self.plan.type, self.vmlinux, param_type, effect.at or 0, effect.size_bytes, write=write
        )

    def _beyond(self, word: int) -> str:
        count = len(self.proto.params)
        if self.arguments.typed:
            return self._takes_the_arguments_themselves()
        return f"it reads argument {word + 1}, and the kernel passes {count}: {self._signature()}"

    def _through(self, position: int) -> str:
        kernels = resolve(self.btf, self.proto.params[position - 1].type)
        if not isinstance(kernels, Int | Enum | Enum64):
            return ""
        known = self.differs.get(position)
        text = known.describe() if known else f"argument {position} is {self._spell(position)}"
        return f"{text}, and memory is used through it"

    def _spell(self, position: int) -> str:
        param = self.proto.params[position - 1]
        return declare(self.btf, param.type, param.name)

    def _signature(self) -> str:
        return f"{self.plan.member.name}{describe_parameters(self.btf, self.proto)}"

    def _refusal(self, effect: Effect, refused: Refused) -> Finding:
        line = source_line(self.spec, self.linked, effect.insn)
        certain = effect.sure and refused.certain
        return Finding(
            Severity.ERROR if certain else Severity.UNKNOWN,
            f"the verifier {'refuses' if certain else 'may refuse'} {self.plan.name} (member {self.plan.member.name})",
            refused.why + (f", at {line}" if line else ""),
            self._hint(),
            self._fields() | {"insn": effect.insn},
        )

    def _mistaken(self, effects: Sequence[Effect]) -> Iterator[Finding]:
        """Find programs that load and are probably wrong."""
        what = f"{self.plan.name} is not written for {self.plan.member.name} of this kernel"
        hint = self._hint()
        read = {
            self.words[effect.number]
            for effect in effects
            if effect.act is Act.READ and 0 <= effect.number < len(self.words)
        }
        wrong = [item.describe() for item in self.arguments.differences if item.position in read]
        if self.arguments.typed and read:
            wrong = [self._takes_the_arguments_themselves()]
        if 0 in self.differs and not isinstance(resolve(self.btf, self.proto.return_type), Void):
            wrong.append(self.differs[0].describe())
        if wrong:
            yield Finding(Severity.WARNING, what, "; ".join(wrong), hint, self._fields())

    def _takes_the_arguments_themselves(self) -> str:
        assert self.arguments.typed is not None
        mine = describe_parameters(self.spec.btf, self.arguments.typed)
        return f"it takes {mine} itself, and the kernel hands every program one pointer to an array of its arguments"

    def _hint(self) -> str:
        how = "define it with BPF_PROG of bpf_tracing.h, and " if self.arguments.typed else ""
        return f"{how}take what this kernel passes: {self._signature()}"

    def _fields(self) -> dict[str, object]:
        return {
            "object": self.spec.name,
            "program": self.plan.name,
            "member": self.plan.member.name,
            "type_name": self.plan.type.name,
        }
