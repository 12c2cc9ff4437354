"""The shape of a rule: data, one predicate, and the answer that a broken rule means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.kinds.kind import Kind
from structops_cli.struct_ops.rules.model import MapModel, Model, Operation, World

Facts: TypeAlias = Mapping[str, object]
"""The words that a predicate found for its sentence, by the names in braces there."""


class Case(NamedTuple):
    """One operation in its circumstances; ``member`` is set in a walk of the members."""

    operation: Operation
    type: StructOpsType
    map: MapModel | None
    model: Model
    world: World
    member: KernelMember | None = None

    @property
    def kind(self) -> Kind:
        """The facts about the type that its BTF does not hold."""
        return kind_of(self.type.name)

    @property
    def capabilities(self) -> Capabilities:
        """The abilities of this kernel's struct_ops."""
        return self.world.capabilities


class Rule(NamedTuple):
    """One reason for which the kernel answers an operation with an errno.

    ``broken`` returns the words for the sentences, or None if the rule holds. ``why`` and ``hint``
    have the names of these words in braces. ``tell`` is the command that shows whether this rule is
    the cause, where several rules have one errno. ``kernels`` names the kernels with the rule, "" for
    all. ``rank`` orders the rules of one errno: 1 is the likeliest. An ``errno`` of 0 is a call that
    succeeds and does nothing.
    """

    name: str
    operation: str
    errno: int
    broken: Callable[[Case], Facts | None]
    why: str
    hint: str = ""
    tell: str = ""
    kernels: str = ""
    rank: int = 5


class Broken(NamedTuple):
    """A broken rule, and the words of the case."""

    rule: Rule
    type_name: str
    member: str
    facts: Facts


class KernelAnswer(NamedTuple):
    """The kernel's answer: errno (0: success), broken rule ("": none), value of a lookup.

    ``result`` is the call's positive answer where it is not an fd.
    """

    operation: str
    errno: int = 0
    result: int = 0
    rule: str = ""
    member: str = ""
    why: str = ""
    hint: str = ""
    value: bytes = b""


def when(is_broken: bool, **facts: object) -> Facts | None:
    """Return the words of a broken rule, None for a rule that holds."""
    return facts if is_broken else None


def broken(rules: Sequence[Rule], case: Case) -> Iterator[Broken]:
    """Yield the rules that a case breaks, in the order given."""
    for rule in rules:
        facts = rule.broken(case)
        if facts is not None:
            member = case.member.name if case.member else str(facts.get("member", ""))
            yield Broken(rule, case.type.name, member, facts)


def answer_of(found: Broken, variable: str = "") -> KernelAnswer:
    """Return the answer of a broken rule; ``variable`` is the object's, if there is one."""
    rule, words = found.rule, dict(found.facts)
    if found.member:
        words["member"] = found.member
    result = found.facts.get("result", 0)
    return KernelAnswer(
        rule.operation,
        errno=rule.errno,
        result=result if isinstance(result, int) and not rule.errno else 0,
        rule=rule.name,
        member=found.member,
        why=filled(rule.why, found.type_name, variable, words),
        hint=filled(rule.hint, found.type_name, variable, words),
    )


class _Words(dict[str, object]):
    """Words for a sentence; a missing word stands for itself in capitals, as in a manual."""

    def __missing__(self, key: str) -> str:
        return key.upper()


def filled(sentence: str, type_name: str = "", variable: str = "", facts: Facts | None = None) -> str:
    """Return a sentence with the words of a type and a case; ``MEMBER`` if one is missing."""
    naming = kind_of(type_name).naming
    words = _Words({
        "ELSEWHERE": f" and {naming.listed_in}" if naming.listed_in else "",
        "NAME_MEMBER": f"{variable}.{naming.member or 'name'}".lstrip("."),
        "TYPE": type_name or "TYPE",
    })  # fmt: skip
    return sentence.format_map(_Words({**words, **(facts or {})}))
