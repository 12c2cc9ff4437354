"""What a rule is, what it is asked about, and what an answer is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.catalogue import KernelMember, StructOpsType
from structops_cli.struct_ops.kinds import Kind, kind_of
from structops_cli.struct_ops.rules.facts import MapModel, Model, Operation, World

__all__ = ["Answer", "Broken", "Case", "Facts", "Rule", "answer_of", "broken", "general"]

Facts: TypeAlias = Mapping[str, object]
"""What a rule found, for its sentence: words by the names that stand in braces there."""


class Case(NamedTuple):
    """One operation in its circumstances; ``member`` is set while the members of a value are walked."""

    operation: Operation
    type: StructOpsType
    map: MapModel | None
    model: Model
    world: World
    member: KernelMember | None = None

    @property
    def kind(self) -> Kind:
        """What is known of the type beside its BTF."""
        return kind_of(self.type.name)

    @property
    def capabilities(self) -> Capabilities:
        """What this kernel's struct_ops does."""
        return self.world.capabilities


class Rule(NamedTuple):
    """One reason for which the kernel answers an operation with an errno.

    ``broken`` returns what is wrong, or None. ``why`` and ``hint`` are
    sentences; what stands in braces there is filled with what ``broken`` found.
    ``tell`` is the command that shows whether this rule is the one, where
    several answer alike; ``kernels`` says which kernels show it, "" for all.
    ``rank`` orders the rules of one errno for people: 1 is the likeliest.
    An ``errno`` of 0 is a call that succeeds and does nothing.
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
    """A rule that does not hold, and what of the case says so."""

    rule: Rule
    type_name: str
    member: str
    facts: Facts


class Answer(NamedTuple):
    """What the kernel answers: an errno (0 for success), the rule behind it ("" when none is broken), a value for a lookup.

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


def broken(rules: Sequence[Rule], case: Case) -> Iterator[Broken]:
    """Go through the rules that a case breaks, in the order given."""
    for rule in rules:
        facts = rule.broken(case)
        if facts is not None:
            member = case.member.name if case.member else str(facts.get("member", ""))
            yield Broken(rule, case.type.name, member, facts)


class _Words(dict[str, object]):
    """Words for a sentence; one that is missing stands for itself, in capitals, as in a manual."""

    def __missing__(self, key: str) -> str:
        return key.upper()


def answer_of(found: Broken, variable: str = "") -> Answer:
    """Return the answer that a broken rule means; ``variable`` is the object's, where there is one."""
    rule, words = found.rule, _words(found.type_name, variable) | {**found.facts}
    if found.member:
        words["member"] = found.member
    result = found.facts.get("result", 0)
    return Answer(
        rule.operation,
        errno=rule.errno,
        result=result if isinstance(result, int) and not rule.errno else 0,
        rule=rule.name,
        member=found.member,
        why=rule.why.format_map(_Words(words)),
        hint=rule.hint.format_map(_Words(words)),
    )


def general(sentence: str, type_name: str = "") -> str:
    """Return a rule's sentence for a reader who has no case: ``MEMBER`` for a member and so on."""
    return sentence.format_map(_Words(_words(type_name)))


def _words(type_name: str, variable: str = "") -> dict[str, object]:
    """Return what a type puts into sentences: its name, the member that names its instances, where those are listed."""
    kind = kind_of(type_name)
    listed = f" and {kind.naming.listed_in}" if kind.naming.listed_in else ""
    member = f"{variable}.{kind.naming.member or 'name'}".lstrip(".")
    words: dict[str, object] = {"ELSEWHERE": listed, "NAME_MEMBER": member}
    return {**words, "TYPE": type_name} if type_name else words
