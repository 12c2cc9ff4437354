"""C declarations of BTF types: one thing, a whole definition, or a header of all that some types need."""

from __future__ import annotations

from structops_cli.btf.btf import Btf
from structops_cli.btf.c_header import header
from structops_cli.btf.c_syntax import Printer, keyword
from structops_cli.btf.types import Enum, Enum64, Func, FuncProto, Fwd, Struct, Typedef, Union, Var
from structops_cli.errors import BtfError

__all__ = ["declare", "definition", "header", "prototype"]


def declare(btf: Btf, type_id: int, name: str = "") -> str:
    """Declare one thing of that type: ``int (*name)(struct sock *)``, ``char name[16]``.

    Type names only: an anonymous type is ``struct { ... }``, one of a kind that
    structops does not know ``<BTF kind 20>``. Without a name, the type alone. Of a function or variable, without a name, its own. BtfError
    for what is no type of C, or does not end.
    """
    target = btf.type(type_id)
    if isinstance(target, Func | Var):
        return Printer(btf).declare(target.type, name or target.name)
    return Printer(btf).declare(type_id, name)


def prototype(btf: Btf, proto: FuncProto, name: str) -> str:
    """Declare a function: ``void cong_avoid(struct sock *sk, u32 ack, u32 acked)``."""
    return Printer(btf).prototype(proto, name)


def definition(btf: Btf, type_id: int) -> str:
    """Define a struct, union, enum or typedef, or declare a function or variable, with the final semicolon.

    Anonymous types are written where they are used. Compiled, together with
    what it names, it has the sizes and offsets of the BTF: padding and the
    ``packed`` attribute are added where natural alignment does not explain
    them. BtfError for other kinds, and for what no C can say.
    """
    printer = Printer(btf, bodies=True)
    target = btf.type(type_id)
    if isinstance(target, Typedef):
        return f"typedef {printer.declare(target.type, target.name)};"
    if isinstance(target, Fwd) or (isinstance(target, Enum | Enum64) and not target.values):
        return f"{keyword(target)} {target.name};"
    if isinstance(target, Struct | Union | Enum | Enum64):
        return f"{printer.body(target)};"
    if isinstance(target, Func | Var):
        return f"{printer.declare(target.type, target.name)};"
    why = f"kind {type(target).__name__} has no definition of its own"
    raise BtfError(f"{btf.origin}: type {type_id} cannot be written as C", why=why, type_id=type_id)
