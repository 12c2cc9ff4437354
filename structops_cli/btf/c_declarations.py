"""Write BTF types as C: declarations, prototypes and definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from structops_cli.btf import types as t
from structops_cli.btf.btf import Btf
from structops_cli.btf.c_layout import Filler, Padding, lay_out
from structops_cli.btf.layout import CUT, innermost, may_be_cut, resolve
from structops_cli.errors import BtfError

_MAX_PARTS = 200_000
"""The most declarations in one text. Types share parts, so a small BTF can be a huge text."""
_MAX_DEPTH = 32
"""The deepest nesting of prototypes and bodies."""
_MAX_CHAIN = 64
_UNITS = {8: "char", 16: "short", 32: "int", 64: "long"}
_ENUM_MODES = {1: "QI", 2: "HI", 8: "DI"}
_QUALIFIERS: dict[type, str] = {t.Const: "const", t.Volatile: "volatile", t.Restrict: "restrict"}
_Tagged: TypeAlias = t.Struct | t.Union | t.Enum | t.Enum64 | t.Fwd


def keyword(target: _Tagged) -> str:
    """Return ``struct``, ``union`` or ``enum``."""
    if isinstance(target, t.Enum | t.Enum64):
        return "enum"
    is_union = target.is_union if isinstance(target, t.Fwd) else isinstance(target, t.Union)
    return "union" if is_union else "struct"


def _same(name: str) -> str:
    return name


class Printer:
    """Writes the types of one BTF.

    ``names`` renames types by id, ``enumerator`` renames enumerators. With
    ``bodies``, anonymous types have their members; otherwise they are
    ``struct { ... }``. Type tags are left out: they are not part of a C type.
    """

    def __init__(
        self,
        btf: Btf,
        *,
        names: Mapping[int, str] | None = None,
        enumerator: Callable[[str], str] = _same,
        bodies: bool = False,
    ) -> None:
        self._btf = btf
        self._names: Mapping[int, str] = {} if names is None else names
        self._enumerator = enumerator
        self._bodies = bodies
        self._parts = 0
        self._fillers = 0
        self._depth = 0

    def name(self, target: t.Typedef | _Tagged) -> str:
        """Return the name of a type, after renaming."""
        return self._names.get(target.id, target.name)

    def declare(self, type_id: int, name: str, indent: int = 0) -> str:
        """Declare ``name``, or write the type alone for "".

        ``indent`` is the number of tabs in front of further lines.
        """
        self._count(type_id)
        declarator = name
        qualifiers: list[str] = []
        after_pointer = False
        target = self._btf.type(type_id)
        for _ in range(_MAX_CHAIN):
            if isinstance(target, t.Const | t.Volatile | t.Restrict):
                word = _QUALIFIERS[type(target)]
                qualifiers += [word] if word not in qualifiers else []
            elif isinstance(target, t.Ptr):
                declarator = "*" + " ".join([*qualifiers, declarator] if declarator else qualifiers)
                qualifiers = []
                after_pointer = True
            elif isinstance(target, t.Array | t.FuncProto):
                declarator = f"({declarator})" if after_pointer else declarator
                after_pointer = False
                if isinstance(target, t.Array):
                    declarator += f"[{target.count}]"
                else:
                    declarator += f"({self._params(target, indent)})"
                    qualifiers = []  # qualifiers of a function have no meaning
            elif not isinstance(target, t.TypeTag):
                break
            target = self._btf.type(_following(target))
        else:
            raise self._error(type_id, f"its declaration has more than {_MAX_CHAIN} steps")
        text = " ".join([*qualifiers, self._specifier(target, indent, pointed_at=after_pointer)])
        return f"{text} {declarator}" if declarator else text

    def prototype(self, proto: t.FuncProto, name: str) -> str:
        """Declare a function with this prototype."""
        return self.declare(proto.return_type, f"{name}({self._params(proto, 0)})")

    def _params(self, proto: t.FuncProto, indent: int) -> str:
        if not proto.params:
            return "void"
        if len(proto.params) == 1 and proto.params[0].type == 0:
            return ""  # an old-style declaration: C has no `(...)` before C23
        self._deepen(proto.id)
        texts = [
            self.declare(param.type, param.name, indent) if param.type else "..." for param in proto.params
        ]
        self._depth -= 1
        return ", ".join(texts)

    def _specifier(self, target: t.BtfType, indent: int, *, pointed_at: bool) -> str:
        """Return the first words of a declaration. A pointer to an unknown kind is ``void``."""
        if isinstance(target, t.Void) or (isinstance(target, t.UnknownKind) and pointed_at):
            return "void"
        if isinstance(target, t.Int | t.Float):
            return target.name or "int"
        if isinstance(target, t.Typedef):
            return self.name(target)
        if isinstance(target, t.Struct | t.Union | t.Enum | t.Enum64 | t.Fwd):
            if target.name or isinstance(target, t.Fwd):
                return f"{keyword(target)} {self.name(target)}"
            return self.body(target, indent) if self._bodies else f"{keyword(target)} {{ ... }}"
        if isinstance(target, t.UnknownKind) and not self._bodies:
            return f"<BTF kind {target.kind}>"
        if isinstance(target, t.UnknownKind):
            raise self._error(target.id, f"it is {target.describe()}")
        raise self._error(target.id, f"kind {type(target).__name__} is not a type of C")

    def body(self, target: t.Composite | t.Enum | t.Enum64, indent: int = 0, *, tagged: bool = True) -> str:
        """Write a struct, union or enum up to the closing brace and its attributes."""
        tag = f"{self.name(target)} " if tagged and target.name else ""
        if isinstance(target, t.Enum | t.Enum64):
            lines, attribute = self._enumerators(target)
        else:
            lines, attribute = self._members(target, indent)
        margin = "\t" * indent
        inside = "".join(f"{margin}\t{line}\n" for line in lines)
        return f"{keyword(target)} {tag}{{\n{inside}{margin}}}{attribute}"

    def _members(self, target: t.Composite, indent: int) -> tuple[list[str], str]:
        self._deepen(target.id)
        known, unknown = self._split(target)
        packed, items = lay_out(self._btf, known)
        lines = [f"{self._item(item, target, indent + 1)};" for item in items] + unknown
        self._depth -= 1
        return lines, " __attribute__((packed))" if packed else ""

    def _split(self, target: t.Composite) -> tuple[t.Composite, list[str]]:
        """Separate the members of unknown kinds, and describe each in a comment."""
        comments = []
        known = []
        for member in target.members:
            inner = innermost(self._btf, member.type)
            if isinstance(inner, t.UnknownKind):
                place = f"at byte {member.bit_offset // 8}"
                comments.append(f"/* {place}: {member.name or 'a member'}, {inner.describe()} */")
            else:
                known.append(member)
        return (target._replace(members=tuple(known)) if comments else target), comments

    def _item(self, item: t.Member | Padding | Filler, owner: t.Composite, indent: int) -> str:
        self._count(owner.id)
        if isinstance(item, Padding):
            return f"{_UNITS[item.unit_bits]}: {item.bits}"
        if isinstance(item, Filler):
            self._fillers += 1
            return f"unsigned char __btf_pad{self._fillers}[{item.size_bytes}]"
        if not item.name:
            inner = resolve(self._btf, item.type)
            if isinstance(inner, t.Struct | t.Union):
                # The type may have a name (-fms-extensions): its members belong to the owner.
                return self.body(inner, indent, tagged=False)
        bits = f": {item.bit_size}" if item.bit_size else ""
        return self.declare(item.type, item.name, indent) + bits

    def _enumerators(self, target: t.Enum | t.Enum64) -> tuple[list[str], str]:
        self._count(target.id, len(target.values))
        lines = [f"{self._enumerator(item.name)} = {_constant(item.value)}," for item in target.values]
        mode = _ENUM_MODES.get(target.size_bytes)
        if mode == "DI" and any(not -(1 << 31) <= item.value < 1 << 32 for item in target.values):
            mode = None  # it has 8 bytes without the attribute
        if target.values and may_be_cut(target):
            lines.insert(0, "/* " + CUT + " */")
        return lines, f" __attribute__((mode({mode})))" if mode else ""

    def _count(self, type_id: int, parts: int = 1) -> None:
        self._parts += parts
        if self._parts > _MAX_PARTS:
            raise self._error(type_id, f"it has more than {_MAX_PARTS} parts")

    def _deepen(self, type_id: int) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(type_id, f"more than {_MAX_DEPTH} prototypes and bodies are nested")

    def _error(self, type_id: int, why: str) -> BtfError:
        return BtfError(
            f"{self._btf.origin}: type {type_id} cannot be written as C", why=why, type_id=type_id
        )


def _following(
    target: t.Ptr | t.Array | t.FuncProto | t.Const | t.Volatile | t.Restrict | t.TypeTag | t.Func | t.Var,
) -> int:
    """Return the next type of a declarator."""
    if isinstance(target, t.Array):
        return target.element_type
    return target.return_type if isinstance(target, t.FuncProto) else target.type


def _constant(value: int) -> str:
    """Write an integer constant with the suffix that its size needs."""
    if value == -(1 << 63):
        return f"{value + 1}LL - 1"
    if -(1 << 31) <= value < 1 << 32:
        return str(value)
    return f"{value}ULL" if value >= 1 << 63 else f"{value}LL"


def declare(btf: Btf, type_id: int, name: str = "") -> str:
    """Declare one variable of a type, such as ``char name[16]``.

    Without a name, write the type alone. A function or variable has its own
    name. An anonymous type is ``struct { ... }``, one of an unknown kind
    ``<BTF kind 20>``. Raises BtfError for a type that C does not have.
    """
    target = btf.type(type_id)
    if isinstance(target, t.Func | t.Var):
        return Printer(btf).declare(target.type, name or target.name)
    return Printer(btf).declare(type_id, name)


def prototype(btf: Btf, proto: t.FuncProto, name: str) -> str:
    """Declare a function, such as ``void cong_avoid(struct sock *sk, u32 ack, u32 acked)``."""
    return Printer(btf).prototype(proto, name)


def definition(btf: Btf, type_id: int) -> str:
    """Define a struct, union, enum or typedef, or declare a function or variable.

    Anonymous types stand where they are used. The compiled text has the sizes
    and offsets of the BTF: padding and ``packed`` are added where natural
    alignment differs. Raises BtfError for other kinds.
    """
    printer = Printer(btf, bodies=True)
    target = btf.type(type_id)
    if isinstance(target, t.Typedef):
        return f"typedef {printer.declare(target.type, target.name)};"
    if isinstance(target, t.Fwd) or (isinstance(target, t.Enum | t.Enum64) and not target.values):
        return f"{keyword(target)} {target.name};"
    if isinstance(target, t.Struct | t.Union | t.Enum | t.Enum64):
        return f"{printer.body(target)};"
    if isinstance(target, t.Func | t.Var):
        return f"{printer.declare(target.type, target.name)};"
    why = f"kind {type(target).__name__} has no definition of its own"
    raise BtfError(f"{btf.origin}: type {type_id} cannot be written as C", why=why, type_id=type_id)
