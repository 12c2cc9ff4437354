"""Compare a type of the object with a type of the kernel, as libbpf does.

- ``fields_compatible``: an access to one field makes sense on the other.
- ``types_compatible``: both are the same sort of type, whatever a struct contains
  (TYPE_EXISTS, TYPE_SIZE, TYPE_ID_TARGET).
- ``types_match``: the kernel's type has all names and members of the object's
  (TYPE_MATCHES).

All look through modifiers and typedefs below the root (``src/relo_core.c``).
"""

from __future__ import annotations

from typing import TypeAlias

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve
from structops_cli.btf.names import essential_name
from structops_cli.btf.types import (
    Array,
    BtfType,
    Composite,
    Enum,
    Enum64,
    Float,
    FuncProto,
    Fwd,
    Int,
    Ptr,
    Struct,
    Union,
    Void,
)
from structops_cli.errors import RelocationError
from structops_cli.syscall.uapi import BtfIntEncoding

MAX_NESTING = 64
"""The deepest nesting of types. It ends walks through circular BTF."""


_AnyEnum: TypeAlias = Enum | Enum64


def fields_compatible(local: Btf, ours: BtfType, target: Btf, theirs: BtfType) -> bool:
    """Tell whether an access to a field of type ``ours`` makes sense on ``theirs``.

    Both types are resolved. A struct matches a union, a pointer any pointer, an
    integer any size and sign, an array any length. Two named enums need one name.
    """
    for _ in range(MAX_NESTING):
        if not (isinstance(ours, Array) and isinstance(theirs, Array)):
            return _elements_compatible(ours, theirs)
        ours, theirs = resolve(local, ours.element_type), resolve(target, theirs.element_type)
    raise _too_deep(local, ours.id)


def _elements_compatible(ours: BtfType, theirs: BtfType) -> bool:
    if isinstance(ours, Int):
        return isinstance(theirs, Int) and ours.bit_offset == theirs.bit_offset == 0
    if isinstance(ours, Composite):
        return isinstance(theirs, Composite)
    if isinstance(ours, Ptr | Float):
        return type(ours) is type(theirs)
    if isinstance(ours, _AnyEnum):
        return isinstance(theirs, _AnyEnum) and _same_or_no_name(ours.name, theirs.name)
    return isinstance(ours, Fwd) and isinstance(theirs, Fwd) and _same_or_no_name(ours.name, theirs.name)


def types_compatible(
    local: Btf, local_id: int, target: Btf, target_id: int, *, declared: bool = False
) -> bool:
    """Tell whether two types of one essential name are the same sort of type.

    Pointers, arrays and prototypes are followed, composites and enums are not.
    With ``declared``, a declaration equals its definition; libbpf has no such mode.
    """
    return _Comparison(local, target, declared=declared).compatible(local_id, target_id, MAX_NESTING)


def types_match(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Tell whether the target type has everything that the local type has.

    Every member and enumerator must exist by name, members with a matching type.
    Integers agree in size and sign, arrays in length. Behind a pointer the
    kind and the name of a composite suffice.
    """
    return _Comparison(local, target).matches(local_id, target_id, MAX_NESTING, behind_pointer=False)


class _Comparison:
    """One comparison. It remembers pairs of types, so shared parts cost once."""

    def __init__(self, local: Btf, target: Btf, *, declared: bool = False) -> None:
        self.declared = declared
        self.local = local
        self.target = target
        self.known: dict[tuple[int, int, bool], bool] = {}

    def compatible(self, local_id: int, target_id: int, depth: int) -> bool:
        if depth == 0:
            raise _too_deep(self.local, local_id)
        ours, theirs = resolve(self.local, local_id), resolve(self.target, target_id)
        match ours, theirs:
            case Ptr(), Ptr():
                alike = self.compatible(ours.type, theirs.type, depth - 1)
            case Array(), Array():
                alike = self.compatible(ours.element_type, theirs.element_type, depth - 1)
            case FuncProto(), FuncProto():
                alike = self._compatible_prototypes(ours, theirs, depth - 1)
            case Int(), Int():
                alike = ours.bit_offset == theirs.bit_offset == 0
            case ((Enum() | Enum64()), (Enum() | Enum64())):
                alike = True
            case ((Struct() | Union() | Fwd()), (Struct() | Union() | Fwd())) if self.declared:
                alike = _is_union(ours) == _is_union(theirs)
            case ((Void() | Struct() | Union() | Fwd()), _):
                alike = type(ours) is type(theirs)
            case _:
                alike = False
        return alike

    def _compatible_prototypes(self, ours: FuncProto, theirs: FuncProto, depth: int) -> bool:
        key = (ours.id, theirs.id, False)
        if key not in self.known:
            pairs = zip(_signature(ours), _signature(theirs), strict=False)
            same_length = len(ours.params) == len(theirs.params)
            self.known[key] = same_length and all(self.compatible(a, b, depth) for a, b in pairs)
        return self.known[key]

    def matches(self, local_id: int, target_id: int, depth: int, *, behind_pointer: bool) -> bool:
        if depth == 0:
            raise _too_deep(self.local, local_id)
        ours, theirs = resolve(self.local, local_id), resolve(self.target, target_id)
        key = (ours.id, theirs.id, behind_pointer)
        if key not in self.known:
            named_alike = _same_name(_name(ours), _name(theirs))
            self.known[key] = named_alike and self._match(ours, theirs, depth - 1, behind_pointer)
        return self.known[key]

    def _match(self, ours: BtfType, theirs: BtfType, depth: int, behind_pointer: bool) -> bool:
        match ours, theirs:
            case ((Struct() | Union() | Fwd()), (Struct() | Union() | Fwd())):
                alike = self._match_composites(ours, theirs, depth, behind_pointer)
            case ((Enum() | Enum64()), (Enum() | Enum64())):
                alike = _match_enums(ours, theirs)
            case Int(), Int():
                alike = _match_ints(ours, theirs)
            case Ptr(), Ptr():
                alike = self.matches(ours.type, theirs.type, depth, behind_pointer=True)
            case Array(), Array() if ours.count == theirs.count:
                elements = ours.element_type, theirs.element_type
                alike = self.matches(*elements, depth, behind_pointer=behind_pointer)
            case FuncProto(), FuncProto():
                alike = self._match_prototypes(ours, theirs, depth, behind_pointer)
            case _:
                alike = isinstance(ours, Void) and isinstance(theirs, Void)
        return alike

    def _match_composites(
        self, ours: Composite | Fwd, theirs: Composite | Fwd, depth: int, behind_pointer: bool
    ) -> bool:
        """Compare kind and name behind a pointer, where a declaration equals a definition."""
        if _is_union(ours) != _is_union(theirs):
            return False
        if isinstance(ours, Fwd) or isinstance(theirs, Fwd):
            return behind_pointer or type(ours) is type(theirs)
        return behind_pointer or self._match_members(ours, theirs, depth)

    def _match_members(self, ours: Composite, theirs: Composite, depth: int) -> bool:
        """Find each local member in the target. Any anonymous member may match another."""
        by_name: dict[str, list[int]] = {}
        for member in theirs.members:
            by_name.setdefault(essential_name(member.name), []).append(member.type)
        return len(ours.members) <= len(theirs.members) and all(
            any(
                self.matches(member.type, candidate, depth, behind_pointer=False)
                for candidate in by_name.get(essential_name(member.name), ())
            )
            for member in ours.members
        )

    def _match_prototypes(self, ours: FuncProto, theirs: FuncProto, depth: int, behind_pointer: bool) -> bool:
        return len(ours.params) == len(theirs.params) and all(
            self.matches(a, b, depth, behind_pointer=behind_pointer)
            for a, b in zip(_signature(ours), _signature(theirs), strict=True)
        )


def _is_union(composite: Composite | Fwd) -> bool:
    return composite.is_union if isinstance(composite, Fwd) else isinstance(composite, Union)


def _match_enums(ours: Enum | Enum64, theirs: Enum | Enum64) -> bool:
    if ours.size_bytes != theirs.size_bytes or len(ours.values) > len(theirs.values):
        return False
    return {essential_name(v.name) for v in ours.values} <= {essential_name(v.name) for v in theirs.values}


def _match_ints(ours: Int, theirs: Int) -> bool:
    sign = BtfIntEncoding.SIGNED
    return ours.size_bytes == theirs.size_bytes and ours.encoding & sign == theirs.encoding & sign


def _signature(proto: FuncProto) -> list[int]:
    return [*(param.type for param in proto.params), proto.return_type]


def _name(value: BtfType) -> str:
    """Return the name to compare, "" for none.

    Integers have one too, as in libbpf: clang's ``unsigned long`` is not gcc's
    ``long unsigned int``.
    """
    return getattr(value, "name", "")


def _same_name(ours: str, theirs: str) -> bool:
    return ours == theirs or (ours != "" and essential_name(ours) == essential_name(theirs))


def _same_or_no_name(ours: str, theirs: str) -> bool:
    return not ours or not theirs or essential_name(ours) == essential_name(theirs)


def _too_deep(local: Btf, local_id: int) -> RelocationError:
    return RelocationError(
        f"types are nested deeper than {MAX_NESTING} levels",
        why="no struct, enum or integer ends the chain",
        hint="The object's BTF or the kernel's is damaged.",
        type_id=local_id,
        type_name=local.name(local_id),
    )
