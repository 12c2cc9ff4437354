"""A little C into BTF: the types of a test's two sides, written as one reads them.

``struct s { u32 a; union { u64 b; ptr c; }; u8 flag:3; struct t in[4]; }`` and so
on, laid out as a compiler would on a 64-bit machine; ``@N`` behind a member puts
it at bit N instead. ``struct s`` without members is a declaration only, a
``u32 (*f)(u32, ptr)`` a pointer to a function, ``ptr`` a ``void *``. Integers are
those of SCALARS, each a type of its own name.
"""

from __future__ import annotations

import re

from structops_cli.btf.types import Member
from structops_cli.syscall.uapi import BtfIntEncoding
from tests.unit.core.worlds import World

__all__ = ["Declared", "declared"]

SIGNED = BtfIntEncoding.SIGNED
SCALARS = {f"u{bits}": (bits // 8, 0) for bits in (8, 16, 32, 64, 128)}
SCALARS |= {f"s{bits}": (bits // 8, SIGNED) for bits in (8, 16, 32, 64, 128)}
SCALARS |= {"bool": (1, BtfIntEncoding.BOOL), "char": (1, SIGNED), "long": (8, SIGNED)}
_TOKEN = re.compile(r"-?\w+|[{}()\[\];:=,*@]")


class Declared(World):
    """A world that knows its types by the words that declared them, and how large they are."""

    def __init__(self, text: str, *, base: Declared | None = None) -> None:
        super().__init__(base=base.btf() if base else None)
        self.known: dict[str, int] = dict(base.known) if base else {"void": 0}
        self.sizes: dict[int, tuple[int, int]] = dict(base.sizes) if base else {0: (0, 1)}
        self.tokens = _TOKEN.findall(text)
        while self.tokens:
            self.definition()

    def next(self, *wanted: str) -> bool:
        """Take the next token if it is one of these."""
        taken = bool(self.tokens) and self.tokens[0] in wanted
        if taken:
            self.tokens.pop(0)
        return taken

    def sized(self, type_id: int, size: int, align: int) -> int:
        self.sizes[type_id] = size, align
        return type_id

    def definition(self) -> None:
        """``struct s { ... };``, ``typedef u32 handle;``"""
        alias = self.next("typedef")
        base = self.specifier()
        if alias:
            name, type_id, _ = self.declarator(base)
            self.known[name] = self.sized(self.typedef(name, type_id), *self.sizes[type_id])
        elif self.tokens[0] != ";":
            self.declarator(base)  # a variable: what counts is that there is its type
        assert self.next(";") or not self.tokens, self.tokens

    def specifier(self) -> int:
        word = self.tokens.pop(0)
        if word == "const":
            inside = self.specifier()
            return self.sized(self.const(inside), *self.sizes[inside])
        if word == "ptr":
            return self.sized(self.ptr(), 8, 8)
        if word in ("struct", "union"):
            return self.composite(word)
        if word in ("enum", "enum64"):
            return self.enumeration(word)
        if word in ("float", "double"):
            size = 4 if word == "float" else 8
            return self.sized(self.floating(word, size), size, size)
        if word not in self.known:
            size, encoding = SCALARS[word]
            self.known[word] = self.sized(self.integer(word, size, encoding), size, min(size, 16))
        return self.known[word]

    def name(self) -> str:
        return self.tokens.pop(0) if self.tokens and self.tokens[0][0].isalpha() else ""

    def composite(self, word: str) -> int:
        name = self.name()
        if not self.next("{"):
            key = f"{word} {name}"
            if key not in self.known:
                self.known[key] = self.sized(self.fwd(name, is_union=word == "union"), 0, 1)
            return self.known[key]
        members: list[Member] = []
        end, align = 0, 1
        while not self.next("}"):
            member, size, own_align = self.member(0 if word == "union" else end)
            members.append(member)
            end = max(end, member.bit_offset + (member.bit_size or size * 8))
            align = max(align, own_align)
        size = (end + align * 8 - 1) // (align * 8) * align
        make = self.struct if word == "struct" else self.union
        self.known[f"{word} {name}"] = made = self.sized(make(name, size, *members), size, align)
        return made

    def member(self, end: int) -> tuple[Member, int, int]:
        name, type_id, width = self.declarator(self.specifier())
        size, align = self.sizes[type_id]
        unit = align * 8
        crosses = width and end // (size * 8) != (end + width - 1) // (size * 8)
        bit = (end + unit - 1) // unit * unit if crosses or not width else end
        if self.next("@"):
            bit = int(self.tokens.pop(0))
        self.next(";")
        return Member(name, type_id, bit, width), size, align

    def declarator(self, type_id: int) -> tuple[str, int, int]:
        while self.next("*"):
            type_id = self.sized(self.ptr(type_id), 8, 8)
        if self.next("("):
            assert self.next("*")
            name = self.name()
            assert self.next(")")
            assert self.next("(")
            params = []
            while not self.next(")"):
                params.append(self.declarator(self.specifier())[1])
                self.next(",")
            return name, self.sized(self.ptr(self.proto(type_id, *params)), 8, 8), 0
        name, counts = self.name(), []
        while self.next("["):
            counts.append(0 if self.tokens[0] == "]" else int(self.tokens.pop(0)))
            assert self.next("]")
        for count in reversed(counts):
            size, align = self.sizes[type_id]
            type_id = self.sized(self.array(type_id, count), size * count, align)
        return name, type_id, int(self.tokens.pop(0)) if self.next(":") else 0

    def enumeration(self, word: str) -> int:
        name = self.name()
        values: dict[str, int] = {}
        size = 8 if word == "enum64" else 4
        if self.next(":"):
            size = SCALARS[self.tokens.pop(0)][0]
        if not self.next("{"):
            return self.known[f"{word} {name}"]
        while not self.next("}"):
            key = self.tokens.pop(0)
            values[key] = int(self.tokens.pop(0), 0) if self.next("=") else len(values)
            self.next(",")
        signed = any(value < 0 for value in values.values())
        make = (
            self.enum64(name, signed=signed, **values)
            if word == "enum64"
            else self.enum(name, size, signed=signed, **values)
        )
        self.known[f"{word} {name}"] = self.sized(make, size, size)
        return make


def declared(text: str, *, base: Declared | None = None) -> Declared:
    """Return the world of these declarations, on top of those of ``base``."""
    return Declared(text, base=base)
