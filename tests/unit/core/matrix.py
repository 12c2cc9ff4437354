"""The matrix of CO-RE: local types, target types, questions and instructions, as C and as text.

Below a case there is a line for each fixup, and below that one for each
instruction, before and after. What the compiler would have put into an
instruction is put there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from structops_cli.asm.insn import CALL, LD_IMM64, Insn, decode_insn, encode_insn, set_imm64
from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.kernel_types import KernelTypes, ModuleBtf
from structops_cli.btf.layout import resolve
from structops_cli.btf.types import Array, Composite, Enum, Enum64
from structops_cli.core.apply import apply_fixups, poisoned_relocation, why_poisoned
from structops_cli.core.fixup import Fixup, Relocator
from structops_cli.core.target import Target
from structops_cli.errors import StructopsError
from structops_cli.syscall.uapi import CoreReloKind as Kind
from tests.unit.core.c_types import declared

FIELD_KINDS = (
    Kind.FIELD_BYTE_OFFSET, Kind.FIELD_BYTE_SIZE, Kind.FIELD_EXISTS, Kind.FIELD_SIGNED, Kind.FIELD_LSHIFT_U64,
    Kind.FIELD_RSHIFT_U64,
)  # fmt: skip
TYPE_KINDS = (Kind.TYPE_EXISTS, Kind.TYPE_SIZE, Kind.TYPE_MATCHES)
SIZES = {"u8": 0x10, "u16": 0x08, "u32": 0x00, "u64": 0x18}
FORMS = {f"load {name}": 0x61 | size for name, size in SIZES.items()}
FORMS |= {f"load s{name[1:]}": 0x81 | size for name, size in SIZES.items() if name != "u64"}
FORMS |= {f"store {name}": 0x63 | size for name, size in SIZES.items()}
FORMS |= {f"store {name} number": 0x62 | size for name, size in SIZES.items()}
FORMS |= {
    "atomic u32": 0xC3,
    "atomic u64": 0xDB,
    "move": 0xB7,
    "move 32": 0xB4,
    "add": 0x07,
    "add register": 0x0F,
}
FORMS |= {"imm64": LD_IMM64, "exit": 0x95}
WORDS = {opcode: form for form, opcode in FORMS.items()}


class Case(NamedTuple):
    """A question about ``what`` of ``local``, asked of ``target``; ``module`` is a BTF on top of it."""

    title: str
    local: str
    target: str
    what: str
    kinds: tuple[Kind, ...]
    forms: tuple[str, ...] = ()
    module: str = ""
    held: int | None = None


def field(title: str, local: str, target: str, what: str, *forms: str, **more: str) -> Case:
    """Return a question of where a field is; the forms are instructions that hold its offset."""
    return Case(title, local, target, what, (Kind.FIELD_BYTE_OFFSET,), forms, **more)  # type: ignore[arg-type]


def every(title: str, local: str, target: str, what: str) -> Case:
    """Return all questions about a field."""
    return Case(title, local, target, what, FIELD_KINDS)


def whole(title: str, local: str, target: str, what: str = "s", **more: str) -> Case:
    """Return the questions about a type as a whole."""
    return Case(title, local, target, what, TYPE_KINDS, **more)  # type: ignore[arg-type]


def enumerator(title: str, local: str, target: str, what: str, *forms: str) -> Case:
    """Return the questions about an enumerator."""
    return Case(title, local, target, what, (Kind.ENUMVAL_EXISTS, Kind.ENUMVAL_VALUE), forms)


A = "struct s { u32 a; };"
MOVED = "struct s { u64 pad; u32 a; };"
FAR = "struct s { u8 pad[40000]; u32 a; };"
PAIR = "struct p { u32 x; u32 y; };"

GROUPS: dict[str, list[Case]] = {
    "where a field is": [
        field("unmoved", A, A, "s.a", "load u32"),
        field("moved", A, MOVED, "s.a", "load u32", "store u32", "store u32 number", "atomic u32", "add", "move"),
        field("of 8 bytes", "struct s { u64 a; };", "struct s { u64 pad; u64 a; };", "s.a", "load u64", "store u64",
              "store u64 number", "atomic u64"),
        field("of 2 bytes", "struct s { u16 a; };", "struct s { u64 pad; u16 a; };", "s.a", "load u16", "load s16",
              "store u16", "store u16 number"),
        field("of 1 byte", "struct s { u8 a; };", "struct s { u64 pad; u8 a; };", "s.a", "load u8", "load s8", "store u8",
              "store u8 number"),
        field("moved, sign extended", "struct s { s32 a; };", "struct s { u64 pad; s32 a; };", "s.a", "load s32"),
        field("in a struct", PAIR + "struct s { struct p in; };", PAIR + "struct s { u64 pad; struct p in; };", "s.in.y"),
        field("into an anonymous union", A, "struct s { u64 pad; union { u64 all; u32 a; }; };", "s.a", "load u32"),
        field("out of an anonymous struct", "struct s { u32 b; struct { u32 c; u32 a; }; };", A, "s.a", "load u32"),
        field(
            "through two anonymous ones", A,
            "struct s { u32 x; union { struct { u32 y; struct { u32 z; u32 a; }; }; u64 w; }; };", "s.a",
        ),
        field("a struct that became a union", "struct s { struct { u32 a; } in; };",
              "struct s { u64 pad; union { u32 a; } in; };", "s.in.a"),
        field("the second of several", A, MOVED, "s[1].a", "load u32"),
        field("the pointer as an array of one size", A, A, "s[3].a"),
        field("element of an array", "struct s { u32 a[4]; };", "struct s { u64 pad; u32 a[4]; };", "s.a[2]", "load u32"),
        field("element of a longer array", "struct s { u32 a[4]; };", "struct s { u32 a[8]; };", "s.a[3]", "load u32"),
        field("element beyond the array", "struct s { u32 a[4]; };", "struct s { u32 a[2]; };", "s.a[3]", "load u32"),
        field("element of larger elements", PAIR + "struct s { struct p a[4]; };",
              "struct p { u64 z; u32 y; u32 x; }; struct s { struct p a[4]; };", "s.a[2].x", "load u32"),
        field("of two dimensions", "struct s { u32 a[3][4]; };", "struct s { u32 a[5][6]; };", "s.a[2][1]", "load u32"),
        field("a longer array, its first element", "struct s { u32 b; u32 a[4]; };", "struct s { u64 b; u32 a[8]; };",
              "s.a", "load u32", "add"),
        field("an array of larger elements, its first", "struct s { u32 a[4]; };", "struct s { u64 a[4]; };", "s.a",
              "load u32", "add"),
        field("flexible array", "struct s { u32 n; u32 a[]; };", "struct s { u64 n; u32 a[]; };", "s.a[7]", "load u32"),
        field("empty array that is not the last", "struct s { u32 n; u32 a[]; };", "struct s { u32 a[]; u32 n; };", "s.a[7]"),
        field("flexible in an anonymous struct", "struct s { u32 n; u32 a[]; };",
              "struct s { struct { u64 n; u32 a[]; }; };", "s.a[7]"),
        field("no array any more", "struct s { u32 a[4]; };", "struct s { u32 a; };", "s.a[1]"),
        field("type behind typedefs and const", "typedef u32 id; struct s { const id a; };", MOVED, "s.a", "load u32"),
        field("root is a typedef of a struct", "typedef struct { u32 a; } t;",
              "struct t { u32 a; }; typedef struct { u64 pad; u32 a; } t;", "t.a"),
        field("too far for a load, not for an addition", A, FAR, "s.a", "load u32", "add", "move 32"),
        field("the object's instruction holds something else", A, MOVED, "s.a", "load u32", "add", held="4"),
        field("no place for a number", A, MOVED, "s.a", "add register", "exit"),
    ],
    "which names count": [
        field("flavour in the object", "struct s___old { u32 a; };", MOVED, "s___old.a"),
        field("flavour in the kernel", A, "struct s___2 { u64 pad; u32 a; };", "s.a"),
        field("flavours on both sides", "struct s___x { u32 a; };", "struct s___y { u64 pad; u32 a; };", "s___x.a"),
        field("two flavours in one name", "struct s___x___y { u32 a; };", "struct s___x { u32 a; }; " + MOVED, "s___x___y.a"),
        field("four underscores are no flavour", "struct s____x { u32 a; };", MOVED, "s____x.a"),
        field("three underscores at the end are no flavour", "struct s___ { u32 a; };", MOVED, "s___.a"),
        field("members have no flavours", "struct s { u32 a___x; };", MOVED, "s.a___x"),
        field("other case", "struct S { u32 a; };", MOVED, "S.a"),
    ],
    "which kinds count": [
        field("union for struct", A, "union s { u64 pad; u32 a; };", "s.a"),
        field("only declared", A, "struct s; struct t { struct s *p; };", "s.a"),
        field("a typedef of that name", A, "typedef struct { u32 a; } s;", "s.a"),
        field("an enum of that name", A, "enum s { a };", "s.a"),
        field("in a module", A, "u32 x;", "s.a", module=MOVED),
        field("in vmlinux first", A, A, "s.a", module=MOVED),
        field("vmlinux has one, without the member", A, "struct s { u32 b; };", "s.a", module=MOVED),
        field("a flavour of it in vmlinux", A, "struct s___v { u32 a; };", "s.a", module=MOVED),
    ],
    "which types a field may change to": [
        field("number to pointer", A, "struct s { ptr a; };", "s.a"),
        field("number to float", A, "struct s { float a; };", "s.a"),
        field("number to enum", A, "struct s { enum e { X } a; };", "s.a"),
        field("number to struct", A, "struct s { struct { u32 x; } a; };", "s.a"),
        field("number to array", A, "struct s { u32 a[1]; };", "s.a"),
        field("float to double", "struct s { float a; };", "struct s { double a; };", "s.a", "load u32"),
        field("pointer to another", "struct s { u32 *a; };", "struct s { u64 pad; struct t *a; };", "s.a", "load u64"),
        field("function to pointer", "struct s { u32 (*a)(u32); };", "struct s { u64 pad; ptr a; };", "s.a", "load u64"),
        field("struct to union", "struct s { struct x { u32 b; } a; };", "struct s { u64 p; union y { u64 b; } a; };", "s.a"),
        field("enum to itself", "struct s { enum e { X } a; };", "struct s { u32 p; enum e { X } a; };", "s.a", "load u32"),
        field("enum of another name", "struct s { enum e { X } a; };", "struct s { enum f { Y } a; };", "s.a"),
        field("enum of another flavour", "struct s { enum e___x { X } a; };", "struct s { u32 p; enum e { X } a; };", "s.a"),
        field("enum to an anonymous one", "struct s { enum e { X } a; };", "struct s { u32 p; enum { Y } a; };", "s.a"),
        field("enum to enum64", "struct s { enum e { X } a; };", "struct s { enum64 e { X } a; };", "s.a", "load u32", "add"),
        field("enum to a byte", "struct s { enum e { X } a; };", "struct s { enum e : u8 { X } a; };", "s.a", "load u32", "add"),
        field("array to array of another type", "struct s { u32 a[4]; };", "struct s { ptr a[4]; };", "s.a"),
    ],
    "how a load or store follows the size": [
        field("wider", A, "struct s { u64 a; };", "s.a", "load u32", "store u32", "store u32 number", "atomic u32"),
        field("narrower", "struct s { u64 a; };", "struct s { u32 p; u16 a; };", "s.a", "load u64", "store u64"),
        field("to a byte", A, "struct s { u8 a; };", "s.a", "load u32", "atomic u32"),
        field("unsigned to signed", A, "struct s { s64 a; };", "s.a", "load u32", "add"),
        field("signed to signed", "struct s { s32 a; };", "struct s { s64 a; };", "s.a", "load s32", "load u32"),
        field("signed to unsigned of one size", "struct s { s32 a; };", MOVED, "s.a", "load s32"),
        field("unsigned, loaded with its sign", A, "struct s { u16 a; };", "s.a", "load s32"),
        field("bool to a word", "struct s { bool a; };", "struct s { u32 p; u32 a; };", "s.a", "load u8"),
        field("to 16 bytes", "struct s { u64 a; };", "struct s { u64 p; u128 a; };", "s.a", "load u64", "add"),
        field("a part of the field, unchanged", A, MOVED, "s.a", "load u8"),
        field("a part of the field, resized", A, "struct s { u64 a; };", "s.a", "load u8"),
        field("structs of another size", PAIR + "struct s { struct p a; };", "struct p { u64 x; u64 y; u64 z; }; "
              "struct s { u64 pad; struct p a; };", "s.a", "load u64", "add"),
        field("to a bit-field", A, "struct s { u32 p; u32 a:5; };", "s.a", "load u32", "add"),
        field("from a bit-field", "struct s { u32 a:5; };", MOVED, "s.a", "load u32", "add"),
        field("bit-field to bit-field", "struct s { u32 b:3; u32 a:5; };", "struct s { u64 p; u32 b:30; u32 a:4; };", "s.a",
              "load u32", "add"),
    ],
    "everything about a field": [
        every("number", A, MOVED, "s.a"),
        every("wider, signed", A, "struct s { s64 p; s64 a; };", "s.a"),
        every("array", "struct s { u16 a[2]; };", "struct s { u64 p; u16 a[5]; };", "s.a"),
        every("element", "struct s { s16 a[2]; };", "struct s { u64 p; u32 a[5]; };", "s.a[1]"),
        every("pointer", "struct s { ptr a; };", "struct s { u64 p; ptr a; };", "s.a"),
        every("enum, unsigned to signed", "struct s { enum e { X } a; };", "struct s { u64 p; enum e { X = -1 } a; };", "s.a"),
        every("bit-field", "struct s { u32 p:3; u32 a:5; };", "struct s { u64 p; u32 q:7; u32 a:9; };", "s.a"),
        every("bit-field, signed", "struct s { s32 p:3; s32 a:5; };", "struct s { s64 p:20; s64 a:33; };", "s.a"),
        every("bit-field of bytes", "struct s { u8 p:3; u8 a:5; };", "struct s { u8 p:7; u8 a:1; };", "s.a"),
        every("bit-field across its unit", "struct s { u32 a:5; };", "struct s { u32 p; u32 a:7 @60; };", "s.a"),
        every("bit-field across 8 bytes", "struct s { u32 a:5; };", "struct s { u64 p; u64 a:9 @60; };", "s.a"),
        every("bit-field of 16 bytes", "struct s { u32 a:5; };", "struct s { u128 p:70; u128 a:9; };", "s.a"),
        every("bit-field in an anonymous union", "struct s { u32 a:5; };", "struct s { u32 p; union { u32 q; u32 a:6; }; };", "s.a"),
        every("number became a bit-field", A, "struct s { u32 p:3; u32 a:9; };", "s.a"),
        every("bit-field became a number", "struct s { u32 a:9; };", MOVED, "s.a"),
        every("missing", A, "struct s { u32 b; };", "s.a"),
        every("of a missing type", A, "u32 x;", "s.a"),
        every("of another type", A, "struct s { ptr a; };", "s.a"),
    ],
    "several types of one name": [
        every("fields agree", A, "struct s { u32 a; u32 b; }; struct s { u32 a; u64 c; };", "s.a"),
        every("fields differ", A, A + MOVED, "s.a"),
        every("only one has it", A, "struct s { u32 b; }; " + MOVED, "s.a"),
        every("none has it", A, "struct s { u32 b; }; struct s { u32 c; };", "s.a"),
        every("of another type in one", A, "struct s { ptr a; }; " + MOVED, "s.a"),
        field("differ in size alone, wider first", A, "struct s { u64 a; }; " + A, "s.a", "load u32"),
        field("differ in size alone, same first", A, A + "struct s { u64 a; };", "s.a", "load u32"),
        whole("types differ", A, A + MOVED),
        enumerator("enumerators agree", "enum e { X };", "enum e { X }; enum e { X, Y };", "e.X"),
        enumerator("enumerators differ", "enum e { X };", "enum e { X }; enum e { Y, X };", "e.X"),
        field("in two modules, which differ", A, "u32 x;", "s.a", module="struct s { u32 a; }; " + MOVED),
    ],
    "whole types": [
        whole("the same", A, A),
        whole("has more", A, MOVED),
        whole("has less", MOVED, A),
        whole("missing", A, "u32 x;"),
        whole("union for struct", A, "union s { u32 a; };"),
        whole("member of another size", A, "struct s { u64 a; };"),
        whole("member of another sign", "struct s { u32 a; };", "struct s { s32 a; };"),
        whole("typedefs differ", "typedef u32 id; struct s { id a; };", A),
        whole("integers of other names", "struct s { s64 a; };", "struct s { long a; };"),
        whole("member moved into an anonymous union", A, "struct s { union { u32 a; u64 b; }; };"),
        whole("anonymous ones on both sides", "struct s { union { u32 a; }; };", "struct s { u64 p; union { u64 q; u32 a; }; };"),
        whole("flavoured member", "struct s { u32 a___x; };", A),
        whole("array longer", "struct s { u32 a[2]; };", "struct s { u32 a[3]; };"),
        whole("array the same", "struct s { u32 a[2]; };", "struct s { u64 p; u32 a[2]; };"),
        whole("pointer to a struct with less", "struct s { struct t { u32 x; u32 y; } *a; };", "struct s { struct t { u64 z; } *a; };"),
        whole("pointer to a declared one", "struct s { struct t *a; };", "struct s { struct t { u64 z; } *a; };"),
        whole("pointer to another", "struct s { struct t *a; };", "struct s { struct u *a; };"),
        whole("pointer to a union of that name", "struct s { struct t *a; };", "struct s { union t *a; };"),
        whole("struct inside with more", "struct s { struct t { u32 x; } a; };", "struct s { struct t { u32 w; u32 x; } a; };"),
        whole("struct inside with less", "struct s { struct t { u32 x; } a; };", "struct s { struct t { u32 y; } a; };"),
        whole("function pointer the same", "struct s { u32 (*f)(u32, ptr); };", "struct s { u32 (*f)(u32, ptr); };"),
        whole("function pointer, more arguments", "struct s { u32 (*f)(u32); };", "struct s { u32 (*f)(u32, u32); };"),
        whole("function pointer, other result", "struct s { u32 (*f)(u32); };", "struct s { ptr (*f)(u32); };"),
        whole("enum inside with more", "struct s { enum e { X } a; };", "struct s { enum e { Y, X } a; };"),
        whole("float inside", "struct s { float a; };", "struct s { float a; };"),
        whole("enum", "enum s { X, Y };", "enum s { W, X, Y };"),
        whole("enum with less", "enum s { X, Y };", "enum s { X };"),
        whole("enum to enum64", "enum s { X };", "enum64 s { X };"),
        whole("enum64 of one size", "enum s : u64 { X };", "enum64 s { X };"),
        whole("typedef of a number", "typedef u32 s;", "typedef u32 s;"),
        whole("typedef of a wider number", "typedef u32 s;", "typedef s64 s;"),
        whole("typedef of a pointer", "typedef u32 s;", "typedef u32 *s;"),
        whole("typedef of a function pointer", "typedef u32 (*s)(u32);", "typedef u64 (*s)(s16);"),
        whole("typedef of a longer function pointer", "typedef u32 (*s)(u32);", "typedef u32 (*s)(u32, u32);"),
        whole("typedef of an array", "typedef u32 s[2];", "typedef u64 s[3];"),
        whole("typedef of a struct", "typedef struct { u32 a; } s;", "typedef struct { u64 b; } s;"),
        whole("typedef of a float", "typedef float s;", "typedef float s;"),
        whole("in a module", A, "u32 x;", module=A),
        Case("ids", "u64 pad; " + A, "u64 x; u16 y; " + A, "s", (Kind.TYPE_ID_LOCAL, Kind.TYPE_ID_TARGET), ("imm64", "move")),
        Case("ids, of a missing type", A, "u64 x;", "s", (Kind.TYPE_ID_LOCAL, Kind.TYPE_ID_TARGET), ("imm64",)),
        Case("ids, after a linker moved types", A, A, "s", (Kind.TYPE_ID_LOCAL, Kind.TYPE_ID_TARGET), ("imm64",), held=99),
        Case("size, after a linker moved types", A, MOVED, "s", (Kind.TYPE_SIZE,), ("imm64",), held=99),
    ],
    "enumerators": [
        enumerator("unchanged", "enum e { X = 3 };", "enum e { X = 3 };", "e.X", "imm64"),
        enumerator("changed", "enum e { X = 3 };", "enum e { W, X = 70 };", "e.X", "imm64", "move"),
        enumerator("missing", "enum e { X };", "enum e { Y };", "e.X", "imm64"),
        enumerator("of a missing enum", "enum e { X };", "enum f { X };", "e.X", "imm64"),
        enumerator("of a flavour", "enum e___x { X };", "enum e { W, X };", "e___x.X"),
        enumerator("flavoured", "enum e { X___v2 = 9 };", "enum e { X = 5 };", "e.X___v2"),
        enumerator("flavoured in the kernel", "enum e { X };", "enum e { X___k = 5 };", "e.X"),
        enumerator("negative", "enum e { X = -5 };", "enum e { X = -6 };", "e.X", "imm64"),
        enumerator("to negative", "enum e { X };", "enum e { X = -6 };", "e.X", "imm64"),
        enumerator("large, unsigned", "enum e { X = 1 };", "enum e { X = 0xFFFFFFF0 };", "e.X", "imm64"),
        enumerator("signed in the object alone", "enum e { X = -5 };", "enum e { X = 0xFFFFFFFA };", "e.X", "imm64"),
        enumerator("to enum64", "enum e { X };", "enum64 e { X = 0x100000005 };", "e.X", "imm64", "move"),
        enumerator("from enum64", "enum64 e { X = 0x100000005 };", "enum e { X = 7 };", "e.X", "imm64"),
        enumerator("through a typedef", "typedef enum { X } e;", "typedef enum { W, X } e;", "e.X"),
        enumerator("a typedef of no enum any more", "typedef enum { X } e;", "typedef u32 e;", "e.X"),
    ],
}  # fmt: skip


def group_text(title: str, cases: Iterable[Case]) -> str:
    return "\n".join([title.upper(), *(line for case in cases for line in _lines(case))])


def _lines(case: Case) -> Iterator[str]:
    local, vmlinux = declared(case.local), declared(case.target)
    modules = (
        [ModuleBtf("module", declared(case.module, base=vmlinux).btf("module"), 1)] if case.module else []
    )
    kernel = KernelTypes(modules[0].btf.base or vmlinux.btf() if modules else vmlinux.btf(), lambda: modules)
    btf = local.btf("object")
    type_id, path = access(btf, case.what)
    yield f"  {case.title}: {case.local} {case.what} | {case.target}" + (
        f" | {case.module}" if case.module else ""
    )
    for kind in case.kinds:
        label = kind.name.lower().replace("_", " ")
        try:
            (fixup,) = Relocator(btf, Target(kernel)).fixups([CoreRelo(0, type_id, path, kind)])
        except StructopsError as error:
            yield f"    {label}: refused, {error.what}: {error.why}"
            continue
        yield f"    {label}: {_answer(fixup)}"
        forms = case.forms if kind != Kind.ENUMVAL_EXISTS else ()
        yield from (f"      {applied(form, fixup, case.held)}" for form in forms)


def _answer(fixup: Fixup) -> str:
    local = f"{fixup.local_value}" + ("" if fixup.checked else " (not checked)")
    if fixup.poison:
        return f"{local} -> none, {fixup.poison}"
    sizes = fixup.local_size_bytes, fixup.target_size_bytes
    resized = f", {sizes[0]} -> {sizes[1]} bytes" if sizes[0] != sizes[1] else ""
    return f"{local} -> {fixup.target_value}{resized}"


def applied(form: str, fixup: Fixup, held: object) -> str:
    before = instruction(FORMS[form], fixup.local_value if held is None else int(str(held)))
    try:
        after = apply_fixups(before, [fixup])
    except StructopsError as error:
        return f"{disassembled(before)} -> refused, {error.why}"
    if poisoned_relocation(decode_insn(after, 0).imm) is not None and decode_insn(after, 0).opcode == CALL:
        return f"{disassembled(before)} -> poison, {why_poisoned(fixup)}"
    return f"{disassembled(before)} -> {disassembled(after)}"


def instruction(opcode: int, value: int) -> bytes:
    """Return an instruction of that opcode that holds a number where a relocation puts it."""
    if opcode == LD_IMM64:
        wide = bytearray(encode_insn(Insn(LD_IMM64, 1, 0, 0, 0)) + bytes(8))
        set_imm64(wide, 0, value, value >> 32)
        return bytes(wide)
    if opcode & 7 in (1, 2, 3):
        return encode_insn(Insn(opcode, 1, 2, value, 0))
    return encode_insn(Insn(opcode, 1, 0, 0, value))


def disassembled(insns: bytes) -> str:
    insn = decode_insn(insns, 0)
    form = WORDS.get(insn.opcode, f"opcode {insn.opcode:#x}")
    if insn.opcode == LD_IMM64:
        return f"{form} {insn.imm & 0xFFFFFFFF | (decode_insn(insns, 1).imm & 0xFFFFFFFF) << 32:#x}"
    if insn.opcode & 7 in (1, 2, 3):
        return f"{form} at {insn.offset}"
    return f"{form} {insn.imm}"


def access(btf: Btf, what: str) -> tuple[int, str]:
    """Return the type and the access string of ``s.a[2].b`` or ``e.X``."""
    root, *rest = re.findall(r"\w+", what)
    (type_id,) = btf.ids(root)
    inside = resolve(btf, type_id)
    if isinstance(inside, Enum | Enum64):
        return type_id, str([value.name for value in inside.values].index(rest[0])) if rest else "0"
    path = [rest.pop(0) if rest and rest[0].isdecimal() else "0"]
    for step in rest:
        if isinstance(inside, Array):
            path.append(step)
            inside = resolve(btf, inside.element_type)
        else:
            assert isinstance(inside, Composite)
            indexes = _member(btf, inside, step)
            assert indexes is not None
            path += map(str, indexes)
            for index in indexes:
                assert isinstance(inside, Composite)
                inside = resolve(btf, inside.members[index].type)
    return type_id, ":".join(path)


def _member(btf: Btf, inside: Composite, name: str) -> list[int] | None:
    for index, member in enumerate(inside.members):
        if member.name == name:
            return [index]
        below = resolve(btf, member.type)
        if not member.name and isinstance(below, Composite):
            found = _member(btf, below, name)
            if found is not None:
                return [index, *found]
    return None
