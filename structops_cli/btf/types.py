"""Define one immutable value per BTF kind, and their closed union.

Each value begins with its ``id`` in its own BTF. Fields named ``type`` or
``*_type`` are type ids. Names are text, "" for anonymous types. Layouts follow
``Documentation/bpf/btf.rst`` and ``include/uapi/linux/btf.h``.

They are NamedTuples, not dataclasses: defining a frozen, slotted dataclass costs
1 ms of start-up, a NamedTuple 0.25 ms, and a command defines some fifty.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class Void(NamedTuple):
    """Type 0."""

    id: int = 0


class Int(NamedTuple):
    """BTF_KIND_INT. ``encoding`` has ``BtfIntEncoding`` bits, ``bits`` counts the value bits."""

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
    """A member of a struct or union. ``bit_size`` is 0 unless it is a bit-field."""

    name: str
    type: int
    bit_offset: int
    bit_size: int


class Struct(NamedTuple):
    """BTF_KIND_STRUCT. ``kind_flag`` selects the encoding of member offsets."""

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
    """A value of an enum, with the sign of the enum."""

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
    """BTF_KIND_FWD: a declared struct or union."""

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
    """BTF_KIND_FUNC. ``type`` is a FuncProto, ``linkage`` a ``BtfFuncLinkage``."""

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
        """Return the prototype with a name for each parameter (``btf_func_check``).

        Returns itself if all have names. The "..." of a variadic prototype has none.
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
    """A variable, or an extern function, of a section. ``type`` is a Var or a Func."""

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
    """BTF_KIND_DECL_TAG. ``component`` is the tagged member or parameter, -1 for the whole."""

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
    """A type of a kind that is newer than this program. ``raw`` is its record.

    The layout section gives its length. Ids and names in it are unknown.
    """

    id: int
    name: str
    kind: int
    raw: bytes

    def describe(self) -> str:
        """Describe the type for messages."""
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
