"""One immutable value per BTF kind, and their closed union.

Every value starts with the ``id`` that it has in its own BTF (0 is void), so
two types of one BTF are never equal by accident. A field named ``type`` or
``*_type`` is a type id; names are text, "" for anonymous. Sizes are bytes and
offsets bits where the name says so.

They are ``NamedTuple`` and not dataclasses for one measured reason: defining a
frozen slotted dataclass costs about 1 ms of start-up, a NamedTuple 0.25 ms,
and a command defines some fifty. The layouts are those of
``Documentation/bpf/btf.rst`` and ``include/uapi/linux/btf.h``.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

__all__ = [
    "Array",
    "BtfType",
    "Composite",
    "Const",
    "Datasec",
    "DatasecEntry",
    "DeclTag",
    "Enum",
    "Enum64",
    "Enumerator",
    "Float",
    "Func",
    "FuncProto",
    "Fwd",
    "Int",
    "Member",
    "Modifier",
    "Param",
    "Ptr",
    "Restrict",
    "Struct",
    "TypeTag",
    "Typedef",
    "Union",
    "UnknownKind",
    "Var",
    "Void",
    "Volatile",
]


class Void(NamedTuple):
    """Type 0: nothing, or anything behind a pointer."""

    id: int = 0


class Int(NamedTuple):
    """BTF_KIND_INT. ``encoding`` holds ``BtfIntEncoding`` bits; ``bits`` is the number of value bits."""

    id: int
    name: str
    size_bytes: int
    encoding: int
    bit_offset: int
    bits: int


class Ptr(NamedTuple):
    """BTF_KIND_PTR."""

    id: int
    type: int


class Array(NamedTuple):
    """BTF_KIND_ARRAY: ``count`` elements of ``element_type``."""

    id: int
    element_type: int
    index_type: int
    count: int  # type: ignore[assignment]  # the element count; nobody counts equal fields with tuple.count


class Member(NamedTuple):
    """A member of a struct or union. ``bit_size`` is 0 for a member that is no bit-field."""

    name: str
    type: int
    bit_offset: int
    bit_size: int


class Struct(NamedTuple):
    """BTF_KIND_STRUCT. ``kind_flag`` tells how member offsets are encoded; decoded members hide it."""

    id: int
    name: str
    size_bytes: int
    members: tuple[Member, ...]
    kind_flag: bool


class Union(NamedTuple):
    """BTF_KIND_UNION."""

    id: int
    name: str
    size_bytes: int
    members: tuple[Member, ...]
    kind_flag: bool


class Enumerator(NamedTuple):
    """A value of an enum, already signed as the enum is."""

    name: str
    value: int


class Enum(NamedTuple):
    """BTF_KIND_ENUM: values of up to 32 bits."""

    id: int
    name: str
    size_bytes: int
    signed: bool
    values: tuple[Enumerator, ...]


class Enum64(NamedTuple):
    """BTF_KIND_ENUM64: values of up to 64 bits."""

    id: int
    name: str
    size_bytes: int
    signed: bool
    values: tuple[Enumerator, ...]


class Fwd(NamedTuple):
    """BTF_KIND_FWD: a struct or union that is declared only."""

    id: int
    name: str
    is_union: bool


class Typedef(NamedTuple):
    """BTF_KIND_TYPEDEF."""

    id: int
    name: str
    type: int


class Volatile(NamedTuple):
    """BTF_KIND_VOLATILE."""

    id: int
    type: int


class Const(NamedTuple):
    """BTF_KIND_CONST."""

    id: int
    type: int


class Restrict(NamedTuple):
    """BTF_KIND_RESTRICT."""

    id: int
    type: int


class Func(NamedTuple):
    """BTF_KIND_FUNC. ``type`` is a FuncProto; ``linkage`` a ``BtfFuncLinkage``."""

    id: int
    name: str
    type: int
    linkage: int


class Param(NamedTuple):
    """A parameter. A variadic prototype ends in ``Param("", 0)``."""

    name: str
    type: int


class FuncProto(NamedTuple):
    """BTF_KIND_FUNC_PROTO."""

    id: int
    return_type: int
    params: tuple[Param, ...]

    def named(self) -> FuncProto:
        """Return it with a name for each parameter, as the prototype of a function has to be (``btf_func_check``).

        Itself when all have one; "..." never has (``btf_func_proto_check``).
        """
        if all(param.name or not param.type for param in self.params):
            return self
        params = (
            Param(param.name or (f"arg{number}" if param.type else ""), param.type)
            for number, param in enumerate(self.params, 1)
        )
        return self._replace(params=tuple(params))


class Var(NamedTuple):
    """BTF_KIND_VAR. ``linkage`` is a ``BtfVarLinkage``."""

    id: int
    name: str
    type: int
    linkage: int


class DatasecEntry(NamedTuple):
    """A variable (or an extern function) of a section; ``type`` is a Var or a Func."""

    type: int
    offset_bytes: int
    size_bytes: int


class Datasec(NamedTuple):
    """BTF_KIND_DATASEC."""

    id: int
    name: str
    size_bytes: int
    entries: tuple[DatasecEntry, ...]


class Float(NamedTuple):
    """BTF_KIND_FLOAT."""

    id: int
    name: str
    size_bytes: int


class DeclTag(NamedTuple):
    """BTF_KIND_DECL_TAG. ``component`` is the member or parameter it tags, -1 for the whole."""

    id: int
    name: str
    type: int
    component: int
    kind_flag: bool


class TypeTag(NamedTuple):
    """BTF_KIND_TYPE_TAG."""

    id: int
    name: str
    type: int
    kind_flag: bool


class UnknownKind(NamedTuple):
    """A type of a kind that came after this list; the layout section of its BTF says where it ends.

    ``raw`` is its whole record. Ids and names in it are not known to be such.
    """

    id: int
    name: str
    kind: int
    raw: bytes

    def describe(self) -> str:
        """Return it in words, for messages."""
        return f"{self.name or 'a type'} of BTF kind {self.kind}, which structops does not know"


Modifier: TypeAlias = Volatile | Const | Restrict | TypeTag
Composite: TypeAlias = Struct | Union
BtfType: TypeAlias = (
    Void
    | Int
    | Ptr
    | Array
    | Struct
    | Union
    | Enum
    | Fwd
    | Typedef
    | Volatile
    | Const
    | Restrict
    | Func
    | FuncProto
    | Var
    | Datasec
    | Float
    | DeclTag
    | TypeTag
    | Enum64
    | UnknownKind
)
