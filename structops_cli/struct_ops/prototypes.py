"""Compare the object's prototype of a member with the kernel's. Pure.

The kernel passes a program one array of 64-bit words, in the layout of *its own* prototype. A program that
was built for another prototype loads, and reads one argument for another.
"""

from __future__ import annotations

from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import declare
from structops_cli.btf.layout import resolve, size_of
from structops_cli.btf.names import essential_name
from structops_cli.btf.types import (
    BtfType,
    Enum,
    Enum64,
    Func,
    FuncProto,
    Fwd,
    Int,
    Param,
    Ptr,
    Struct,
    Union,
    Void,
)
from structops_cli.errors import BtfError
from structops_cli.obj.spec import Function
from structops_cli.syscall.uapi import BtfIntEncoding, BtfKind

WORD_BYTES = 8
_MAX_NESTING = 8
"""The depth of first members that are compared; from tcp_sock to sock there are three."""


class Difference(NamedTuple):
    """One difference of two prototypes.

    ``position`` counts arguments from 1; 0 is the result. ``local`` and ``kernel`` are declarations, "" for
    a missing argument. ``moved_to`` is the kernel's position of the same argument, 0 for none.
    """

    position: int
    local: str
    kernel: str
    moved_to: int

    def describe(self) -> str:
        """Return the difference in words that follow the member's name."""
        if not self.position:
            return f"it returns {self.local} in the object and {self.kernel} in the kernel"
        elsewhere = f" (that is argument {self.moved_to} there)" if self.moved_to else ""
        if not self.kernel:
            return f"argument {self.position}, {self.local}, is one that the kernel does not pass{elsewhere}"
        if not self.local:
            return (
                f"argument {self.position} of the kernel, {self.kernel}, is one that the object does not take"
            )
        return f"argument {self.position} is read as {self.local} where the kernel passes {self.kernel}{elsewhere}"


def compare_prototypes(
    local_btf: Btf, local: FuncProto, kernel_btf: Btf, kernel: FuncProto
) -> tuple[Difference, ...]:
    """Return every difference except names and qualifiers."""
    found = []
    if not alike(local_btf, local.return_type, kernel_btf, kernel.return_type):
        texts = declare(local_btf, local.return_type), declare(kernel_btf, kernel.return_type)
        found.append(Difference(0, *texts, 0))
    for index in range(max(len(local.params), len(kernel.params))):
        mine = local.params[index] if index < len(local.params) else None
        theirs = kernel.params[index] if index < len(kernel.params) else None
        if mine and theirs and alike(local_btf, mine.type, kernel_btf, theirs.type):
            continue
        moved = _moved(local_btf, mine, kernel_btf, kernel, index) if mine else 0
        found.append(Difference(index + 1, _spell(local_btf, mine), _spell(kernel_btf, theirs), moved))
    return tuple(found)


def _spell(btf: Btf, param: Param | None) -> str:
    if param is None:
        return ""
    return declare(btf, param.type, param.name) if param.type else "..."


def _moved(local_btf: Btf, mine: Param, kernel_btf: Btf, kernel: FuncProto, index: int) -> int:
    """Return the position of the kernel's only other argument of the same type, 0 for none."""
    places = [
        at
        for at, theirs in enumerate(kernel.params)
        if at != index and alike(local_btf, mine.type, kernel_btf, theirs.type)
    ]
    return places[0] + 1 if len(places) == 1 and isinstance(resolve(local_btf, mine.type), Ptr) else 0


def describe_parameters(btf: Btf, proto: FuncProto) -> str:
    """Return the arguments of a prototype in C, in parentheses."""
    return f"({', '.join(_spell(btf, param) for param in proto.params) or 'void'})"


# Types


def alike(local_btf: Btf, local_id: int, kernel_btf: Btf, kernel_id: int) -> bool:
    """Tell whether two types of an argument agree.

    Integers agree by size and sign, enums by size, structs by name without the flavour. Pointers agree by
    their targets: ``void`` agrees with all, and a struct with the struct that it begins with (``tcp_sock``
    and ``sock``).
    """
    mine, theirs = resolve(local_btf, local_id), resolve(kernel_btf, kernel_id)
    if isinstance(mine, Ptr) and isinstance(theirs, Ptr):
        return _pointees_alike(resolve(local_btf, mine.type), kernel_btf, resolve(kernel_btf, theirs.type))
    return _values_alike(mine, theirs)


def _values_alike(mine: BtfType, theirs: BtfType) -> bool:
    if isinstance(mine, Void) or isinstance(theirs, Void):
        return isinstance(mine, Void) and isinstance(theirs, Void)
    if isinstance(mine, Int) and isinstance(theirs, Int):
        # char has a sign in BPF, and none in kernels from 6.2 on
        signs = 0 if mine.name == theirs.name else (mine.encoding ^ theirs.encoding) & BtfIntEncoding.SIGNED
        return mine.size_bytes == theirs.size_bytes and not signs
    if isinstance(mine, Int | Enum | Enum64) and isinstance(theirs, Int | Enum | Enum64):
        return mine.size_bytes == theirs.size_bytes
    if isinstance(mine, Struct | Union) and isinstance(theirs, Struct | Union):
        return essential_name(mine.name) == theirs.name
    return False


def _pointees_alike(mine: BtfType, kernel_btf: Btf, theirs: BtfType) -> bool:
    if isinstance(mine, Void | FuncProto) or isinstance(theirs, Void | FuncProto):
        return True
    if isinstance(mine, Ptr) or isinstance(theirs, Ptr):
        return isinstance(mine, Ptr) and isinstance(theirs, Ptr)
    if isinstance(mine, Struct | Union | Fwd) and isinstance(theirs, Struct | Union | Fwd):
        return _named_alike(essential_name(mine.name), theirs, kernel_btf)
    return _values_alike(mine, theirs)


def _named_alike(wanted: str, theirs: Struct | Union | Fwd, kernel_btf: Btf) -> bool:
    """Tell whether two structs have one name, or one begins with the other."""
    if not wanted or not theirs.name:
        return True  # an anonymous struct has no name to be wrong about
    other = kernel_btf.find(wanted, BtfKind.STRUCT, BtfKind.UNION)
    return wanted in _beginnings(kernel_btf, theirs) or (
        other is not None and theirs.name in _beginnings(kernel_btf, kernel_btf.type(other))
    )


def _beginnings(btf: Btf, composite: BtfType) -> set[str]:
    """Return the names of a struct, of its first member's struct, and so on."""
    names = set()
    for _ in range(_MAX_NESTING):
        if not isinstance(composite, Struct | Union | Fwd):
            break
        names.add(composite.name)
        if isinstance(composite, Fwd) or not composite.members:
            break
        composite = resolve(btf, composite.members[0].type)
    return names


# The object's prototypes


def is_context(btf: Btf, proto: FuncProto) -> bool:
    """Tell whether a prototype takes the array of arguments, and names none of them."""
    if len(proto.params) != 1:
        return False
    pointer = resolve(btf, proto.params[0].type)
    if not isinstance(pointer, Ptr):
        return False
    word = resolve(btf, pointer.type)
    return isinstance(word, Void) or (isinstance(word, Int) and word.size_bytes == WORD_BYTES)


def typed_body(btf: Btf, function: Function) -> FuncProto | None:
    """Return the prototype that BPF_PROG makes (``____NAME``), without the array."""
    type_id = btf.find(f"____{function.name}", BtfKind.FUNC)
    body = btf.type(type_id) if type_id else None
    proto = btf.type(body.type) if isinstance(body, Func) else None
    if not isinstance(proto, FuncProto) or not proto.params:
        return None
    return proto._replace(params=proto.params[1:])


def words_of(btf: Btf, proto: FuncProto) -> tuple[int, ...]:
    """Return the position (from 1) of the argument in each word; a struct may take two."""
    found: list[int] = []
    for position, param in enumerate(proto.params, 1):
        try:
            size = size_of(btf, param.type)
        except BtfError:
            size = WORD_BYTES  # a variadic: no struct_ops has one
        found += [position] * max(1, -(-size // WORD_BYTES))
    return tuple(found)
