"""Compute a ``Fixup`` for each CO-RE relocation of an object on a kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.layout import CUT, may_be_cut, resolve
from structops_cli.core.access import (
    ASKS,
    ENUM_KINDS,
    TYPE_KINDS,
    check_whole_type,
    read_enumerator,
    read_field,
    spell_type,
    subject,
)
from structops_cli.core.agreement import Agreement, CandidateValue
from structops_cli.core.compatibility import types_compatible, types_match
from structops_cli.core.target import Mismatch, Target, TypeCandidate, match_enumerator, match_field
from structops_cli.core.values import (
    access_size,
    enum_value,
    field_value,
    is_checked,
    is_signed,
    measure,
    refuse_resize,
    type_value,
)
from structops_cli.errors import RelocationError, StructopsError
from structops_cli.syscall.uapi import CoreReloKind

_KINDS = tuple(CoreReloKind)
_new = tuple.__new__
"""Builds a NamedTuple in half the time of its constructor."""
_FIELD_BYTE_OFFSET = CoreReloKind.FIELD_BYTE_OFFSET
_FIELD_EXISTS = CoreReloKind.FIELD_EXISTS
_ZERO_WHEN_MISSING = (*TYPE_KINDS, _FIELD_EXISTS, CoreReloKind.ENUMVAL_EXISTS)


class Fixup(NamedTuple):
    """The change of one instruction.

    ``local_value`` is the compiler's number; ``checked`` demands it in the
    instruction. ``target_value`` replaces it. The sizes are those of the field,
    for loads and stores. ``fixed_size`` is the reason if no access has the
    target's size. ``poison`` is the reason if there is no value at all.
    """

    insn_index: int
    type_id: int
    access: str
    kind: CoreReloKind
    local_value: int
    target_value: int
    checked: bool
    local_size_bytes: int
    target_size_bytes: int
    fixed_size: str | None
    poison: str | None

    def describe(self, local: Btf) -> str:
        """Return a line such as ``struct tcp_sock.snd_cwnd: byte offset 1736 -> 1752``."""
        about = subject(local, self.type_id, self.access, self.kind)
        text = f"{about}: {ASKS[self.kind]} {self.local_value} -> "
        if self.poison:
            return f"{text}no answer: {self.poison}"
        text += str(self.target_value)
        if self.local_size_bytes != self.target_size_bytes:
            text += f", {self.local_size_bytes} -> {self.target_size_bytes} bytes"
        return text


class Relocator:
    """The relocations of one object on one kernel. It computes equal ones once."""

    def __init__(self, local: Btf, target: Target) -> None:
        self._local = local
        self._target = target
        self._agreement = Agreement(local, target)
        self._known: dict[tuple[int, str, int], Fixup] = {}

    def fixups(self, relos: Iterable[CoreRelo]) -> tuple[Fixup, ...]:
        """Return one fixup for each relocation, in order.

        Raises BtfError for a relocation that does not fit the object's types, and
        RelocationError for several values.
        """
        return tuple([self._fixup(relo) for relo in relos])

    def _fixup(self, relo: CoreRelo) -> Fixup:
        key = relo.type_id, relo.access, relo.kind
        known = self._known.get(key)
        if known is None:
            try:
                known = self._known[key] = self._compute(relo)
            except StructopsError as error:
                error.add(insn=relo.insn_index, type_id=relo.type_id)
                raise
        return known if known.insn_index == relo.insn_index else _new(Fixup, (relo.insn_index, *known[1:]))

    def _compute(self, relo: CoreRelo) -> Fixup:
        if not 0 <= relo.kind < len(_KINDS):
            raise _unknown_kind(relo)
        kind = _KINDS[relo.kind]
        if kind in ENUM_KINDS:
            return self._enumerator(relo, kind)
        if kind in TYPE_KINDS:
            return self._whole_type(relo, kind)
        if kind == _FIELD_EXISTS:
            return self._field_exists(relo, kind)
        return self._field(relo, kind)

    def _field_exists(self, relo: CoreRelo, kind: CoreReloKind) -> Fixup:
        path = read_field(self._local, relo.type_id, relo.access)

        def question(candidate: TypeCandidate) -> CandidateValue | Mismatch:
            found = match_field(self._local, path, self._target, candidate)
            return found if isinstance(found, Mismatch) else CandidateValue(1)

        return _fixup(relo, kind, 1, self._agreement.ask(relo, question), checked=True)

    def _field(self, relo: CoreRelo, kind: CoreReloKind) -> Fixup:
        path = read_field(self._local, relo.type_id, relo.access)
        ours = measure(self._local, path.field)
        sized = kind == _FIELD_BYTE_OFFSET
        size = access_size(self._local, ours) if sized else 0

        def question(candidate: TypeCandidate) -> CandidateValue | Mismatch:
            found = match_field(self._local, path, self._target, candidate)
            if isinstance(found, Mismatch):
                return found
            btf = candidate.btf
            theirs = measure(btf, found)
            if not sized:
                return CandidateValue(field_value(theirs, kind))
            new_size = access_size(btf, theirs)
            fixed_size = refuse_resize(ours, theirs, (size, new_size), btf.origin)
            return _new(CandidateValue, (theirs.byte_offset, new_size, fixed_size))

        answer = self._agreement.ask(relo, question)
        checked = is_checked(ours, kind)
        return _fixup(relo, kind, field_value(ours, kind), answer, checked=checked, size_bytes=size)

    def _enumerator(self, relo: CoreRelo, kind: CoreReloKind) -> Fixup:
        enumerator = read_enumerator(self._local, relo.type_id, relo.access)
        local_enum = resolve(self._local, relo.type_id)
        signed = is_signed(local_enum)
        value_asked = kind == CoreReloKind.ENUMVAL_VALUE

        def question(candidate: TypeCandidate) -> CandidateValue | Mismatch:
            found = match_enumerator(enumerator, candidate)
            if isinstance(found, Mismatch):
                return found
            enum = resolve(candidate.btf, candidate.id)
            if value_asked and may_be_cut(enum):
                return Mismatch(f"{spell_type(candidate.btf, enum.id)} of {candidate.btf.origin} has {CUT}")
            return CandidateValue(enum_value(found, enum, signed=signed) if value_asked else 1)

        local_value = enumerator.value if value_asked else 1
        checked = not (value_asked and may_be_cut(local_enum))
        return _fixup(relo, kind, local_value, self._agreement.ask(relo, question), checked=checked)

    def _whole_type(self, relo: CoreRelo, kind: CoreReloKind) -> Fixup:
        local, type_id = self._local, relo.type_id
        check_whole_type(local, type_id, relo.access)
        if kind == CoreReloKind.TYPE_ID_LOCAL:
            return _fixup(relo, kind, type_id, CandidateValue(type_id), checked=False)
        alike = types_match if kind == CoreReloKind.TYPE_MATCHES else types_compatible

        def question(candidate: TypeCandidate) -> CandidateValue | Mismatch:
            btf, target_id = candidate
            if alike(local, type_id, btf, target_id):
                return CandidateValue(type_value(btf, target_id, kind))
            return Mismatch(f"{spell_type(btf, target_id)} is a different type in {btf.origin}")

        # A linker renumbers types but not the ids in instructions, so those prove nothing.
        checked = kind != CoreReloKind.TYPE_ID_TARGET
        local_value = type_value(local, type_id, kind)
        return _fixup(relo, kind, local_value, self._agreement.ask(relo, question), checked=checked)


def _fixup(
    relo: CoreRelo,
    kind: CoreReloKind,
    local_value: int,
    answer: CandidateValue | Mismatch,
    *,
    checked: bool,
    size_bytes: int = 0,
) -> Fixup:
    head = (relo.insn_index, relo.type_id, relo.access, kind, local_value)
    if isinstance(answer, CandidateValue):
        value, new_size, fixed_size = answer
        return _new(Fixup, (*head, value, checked, size_bytes, new_size, fixed_size, None))
    if kind in _ZERO_WHEN_MISSING:
        return Fixup(*head, 0, checked, 0, 0, None, None)
    return Fixup(*head, 0, checked, size_bytes, size_bytes, None, answer.why)


def _unknown_kind(relo: CoreRelo) -> RelocationError:
    return RelocationError(
        f"CO-RE relocation kind {relo.kind} is not known",
        why=f"the kinds known are 0 to {len(_KINDS) - 1}",
        hint="The object was made by a compiler that is newer than this program.",
    )
