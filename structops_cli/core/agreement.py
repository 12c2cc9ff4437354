"""Ask every type candidate of the kernel, and accept a value only if they agree.

A kernel may have several types of one name: two files may each define a
``struct entry``. Candidates that do not match are dropped, the others must
agree. A dropped candidate is not asked again for that local type, so an object
that tells two types apart by a member keeps to one of them, as in libbpf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.names import essential_name
from structops_cli.core.access import ASKS, spell_type, subject
from structops_cli.core.target import Mismatch, Target, TypeCandidate
from structops_cli.errors import RelocationError
from structops_cli.syscall.uapi import BtfKind, CoreReloKind


class CandidateValue(NamedTuple):
    """The number that a type candidate gives for a relocation.

    A byte offset comes with the field's size, and with the reason if no access
    of another size is possible.
    """

    value: int
    size_bytes: int = 0
    fixed_size: str | None = None


Question: TypeAlias = Callable[[TypeCandidate], CandidateValue | Mismatch]


class Agreement:
    """The remaining type candidates of each type of one object."""

    def __init__(self, local: Btf, target: Target) -> None:
        self.local = local
        self.target = target
        self._left: dict[int, tuple[TypeCandidate, ...]] = {}

    def ask(self, relo: CoreRelo, question: Question) -> CandidateValue | Mismatch:
        """Return the one value for a relocation, or the reason why there is none.

        Raises RelocationError for several values, and for a type without a name.
        """
        candidates = self._left.get(relo.type_id) or self._candidates(relo)
        if len(candidates) == 1:
            return question(candidates[0])
        answers: list[tuple[TypeCandidate, CandidateValue]] = []
        mismatch: Mismatch | None = None
        for candidate in candidates:
            outcome = question(candidate)
            if isinstance(outcome, CandidateValue):
                answers.append((candidate, outcome))
            elif mismatch is None:
                mismatch = outcome
        if not answers:
            return mismatch or self._no_candidate(relo)
        if len(answers) < len(candidates):
            self._left[relo.type_id] = tuple([candidate for candidate, _ in answers])
        return answers[0][1] if len(answers) == 1 else self._agreed(relo, answers)

    def _agreed(
        self, relo: CoreRelo, answers: Sequence[tuple[TypeCandidate, CandidateValue]]
    ) -> CandidateValue:
        """Return the first value if all are equal. Sizes may differ, as in libbpf."""
        first = answers[0][1]
        if any(answer.value != first.value for _, answer in answers):
            raise _ambiguous(self.local, relo, answers)
        return first

    def _candidates(self, relo: CoreRelo) -> tuple[TypeCandidate, ...]:
        left = self._left.get(relo.type_id)
        if left is None:
            name = self.local.name(relo.type_id)
            kind = self.local.kind(relo.type_id)
            if not name or kind is None:
                raise _not_found_by_name(self.local, relo, kind)
            left = self._left[relo.type_id] = self.target.candidates(essential_name(name), kind)
        return left

    def _no_candidate(self, relo: CoreRelo) -> Mismatch:
        name = self.local.name(relo.type_id)
        words = spell_type(self.local, relo.type_id).removesuffix(name) + essential_name(name)
        return Mismatch(f"there is no {words} in {self.target.kernel.vmlinux.origin}, nor in a module")


def _ambiguous(
    local: Btf, relo: CoreRelo, answers: Sequence[tuple[TypeCandidate, CandidateValue]]
) -> RelocationError:
    kind = CoreReloKind(relo.kind)
    named = [f"{spell_type(btf, type_id)} (type {type_id} of {btf.origin})" for (btf, type_id), _ in answers]
    given = [f"{name} gives {answer.value}" for name, (_, answer) in zip(named, answers, strict=True)]
    about = subject(local, relo.type_id, relo.access, kind)
    return RelocationError(
        f"{about}: the kernel has several answers to {ASKS[kind]!r}",
        why=", ".join(given),
        hint="Declare the type with a member that only the wanted one has, and use that member first.",
        type_name=local.name(relo.type_id),
        candidates=named,
    )


def _not_found_by_name(local: Btf, relo: CoreRelo, kind: BtfKind | None) -> RelocationError:
    if kind is None:
        what = f"type {relo.type_id} of the object cannot be looked up in the kernel"
        why = f"it is {spell_type(local, relo.type_id)}"
        return RelocationError(what, why=why, hint="use a newer structops")
    return RelocationError(
        f"{spell_type(local, relo.type_id)} cannot be looked up in the kernel",
        why="a relocation finds its type by name",
        hint="Give the type a name, or a typedef.",
    )
