"""Compare CO-RE relocations with libbpf's: the cases of the matrix, by instruction.

Each case becomes an object with one program, and a file of BTF. libbpf takes the file as
the kernel's BTF (``btf_custom_path``), relocates, and tries to load the program. The
answer of the kernel does not matter: most programs are nonsense.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path
from struct import pack
from typing import NamedTuple

import pytest

from structops_cli.asm.insn import CALL, INSN_BYTES, decode_insn
from structops_cli.btf.encode import encode
from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.types import BtfType, Func, FuncProto
from structops_cli.core.apply import apply_fixups
from structops_cli.core.fixup import Relocator
from structops_cli.core.target import Target
from structops_cli.errors import StructopsError
from structops_cli.syscall.uapi import CoreReloKind
from tests.elf_writers import EXIT, Sec, Sym, with_strings, write_elf
from tests.missing import skip_outside_ci
from tests.unit.core.c_types import Declared, declared
from tests.unit.core.matrix import FORMS, GROUPS, Case, access, disassembled, instruction

SECTION = "socket"
LOG_BYTES = 4096
REFUSED, POISON = "refused", "poison"
ELEMENT_RESIZE = (1, 6)
"""From this libbpf on, an array's element, not the whole array, decides on a resize."""
DELIBERATE = {
    "too far for a load, not for an addition": "poison, not refused",
    "to 16 bytes": "poison, not refused",
    "a part of the field, resized": "poison, not refused",
    "unsigned, loaded with its sign": "poison, not a load of another sign",
    "large, unsigned": "unsigned, as the kernel's BTF says",
    "to enum64": "poison, not a number cut short",
    "element": "answered, not refused",
    "fields differ": "what is the same at both places is answered, not refused",
    "array": "shifts of what is no number: 64 bits of them, not 32",
    "bit-field of 16 bytes": "shifts of what is no number: 64 bits of them, not 32",
}
"""Titles of cases that differ from libbpf; ``structops_cli/core/__init__.py`` says why."""
SINCE_ELEMENT_RESIZE = "a longer array, its first element"


class Question(NamedTuple):
    """One relocation of one instruction, with the types of the object and of the kernel."""

    case: Case
    local: Declared
    kernel: Declared
    type_id: int
    access: str
    kind: CoreReloKind
    form: str


class Options(ctypes.Structure):
    """The first fields of ``struct bpf_object_open_opts``."""

    _fields_ = [
        ("sz", ctypes.c_size_t),
        ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p),
        ("unused", ctypes.c_uint32),
        ("kconfig", ctypes.c_char_p),
        ("btf_custom_path", ctypes.c_char_p),
    ]


PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Libbpf:
    """The part of libbpf that this test needs."""

    def __init__(self, name: str) -> None:
        self.library = library = ctypes.CDLL(name)
        self.log: list[str] = []
        self.printer = PRINT(self._print)
        library.libbpf_set_print(self.printer)
        library.bpf_object__open_mem.restype = ctypes.c_void_p
        for function in (library.bpf_object__load, library.bpf_object__close, library.bpf_program__insn_cnt):
            function.argtypes = [ctypes.c_void_p]
        library.bpf_object__next_program.restype = library.bpf_program__insns.restype = ctypes.c_void_p
        library.bpf_object__next_program.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        library.bpf_program__insns.argtypes = [ctypes.c_void_p]
        library.bpf_program__insn_cnt.restype = ctypes.c_size_t
        self.version = (library.libbpf_major_version(), library.libbpf_minor_version())

    def _print(self, _level: int, text: bytes, arguments: int) -> int:
        line = ctypes.create_string_buffer(LOG_BYTES)
        ctypes.CDLL(None).vsnprintf(line, LOG_BYTES, text, ctypes.c_void_p(arguments))
        self.log.append(line.value.decode(errors="replace"))
        return 0

    def relocated(self, data: bytes, kernel: Path) -> bytes | None:
        """Return the first program's instructions as libbpf relocates them; None if it refuses."""
        self.log.clear()
        options = Options(ctypes.sizeof(Options), b"case", btf_custom_path=os.fsencode(kernel))
        opened = self.library.bpf_object__open_mem(data, ctypes.c_size_t(len(data)), ctypes.byref(options))
        assert opened, self.log
        try:
            self.library.bpf_object__load(opened)
            if any("failed to relocate" in line or "failed to patch" in line for line in self.log):
                return None
            assert any("patched insn" in line or "substituting insn" in line for line in self.log), self.log
            program = self.library.bpf_object__next_program(opened, None)
            count = self.library.bpf_program__insn_cnt(program)
            return ctypes.string_at(self.library.bpf_program__insns(program), count * INSN_BYTES)
        finally:
            self.library.bpf_object__close(opened)


@pytest.fixture(scope="module")
def libbpf() -> Libbpf:
    name = find_library("bpf")
    if name is None:
        skip_outside_ci("libbpf is not installed")
    return Libbpf(name)


def test_the_matrix_is_answered_as_libbpf_answers_it(libbpf: Libbpf, tmp_path: Path) -> None:
    differing: dict[str, list[str]] = {}
    for question in questions():
        before = instruction(FORMS[question.form], held(question))
        ours, theirs = answer(question, before), libbpf_answer(libbpf, question, before, tmp_path)
        if ours != theirs:
            kind = question.kind.name.lower()
            said = f"{kind}, {disassembled(before)}: {ours}, with libbpf {theirs}"
            differing.setdefault(question.case.title, []).append(said)
    known = set(DELIBERATE) | ({SINCE_ELEMENT_RESIZE} if libbpf.version < ELEMENT_RESIZE else set())
    assert {title: said for title, said in differing.items() if title not in known} == {}
    assert known - set(differing) == set(), "these do not differ"


def questions() -> Iterator[Question]:
    """Yield every relocation of the matrix in each of its instructions.

    An addition and a 64-bit load are always among them. libbpf takes no modules with a custom
    BTF, so cases with modules are left out.
    """
    for case in (case for cases in GROUPS.values() for case in cases if not case.module):
        local, kernel = declared(case.local), declared(case.target)
        type_id, path = access(local.btf("object"), case.what)
        for kind in case.kinds:
            for form in dict.fromkeys((*case.forms, "add", "imm64")):
                question = Question(case, local, kernel, type_id, path, kind, form)
                if form == "imm64" or -(1 << 31) <= held(question) < 1 << 31:
                    yield question


def held(question: Question) -> int:
    """Return the value that the compiler would put into the instruction."""
    case, local, _, type_id, path, kind, _ = question
    if case.held is not None:
        return int(case.held)
    alone = Relocator(local.btf("object"), Target(KernelTypes(local.btf())))
    return alone.fixups([CoreRelo(0, type_id, path, kind)])[0].local_value


def answer(question: Question, before: bytes) -> str:
    """Return the instruction as this package relocates it."""
    _, local, kernel, type_id, path, kind, _ = question
    relocator = Relocator(local.btf("object"), Target(KernelTypes(kernel.btf())))
    try:
        return shown(apply_fixups(before, relocator.fixups([CoreRelo(0, type_id, path, kind)])))
    except StructopsError:
        return REFUSED


def libbpf_answer(libbpf: Libbpf, question: Question, before: bytes, folder: Path) -> str:
    """Return the instruction as libbpf relocates it."""
    kernel = folder / "kernel.btf"
    kernel.write_bytes(question.kernel.btf().raw())
    after = libbpf.relocated(written(question, before), kernel)
    return REFUSED if after is None else shown(after)


def shown(insns: bytes) -> str:
    return POISON if decode_insn(insns, 0).opcode == CALL else disassembled(insns)


def written(question: Question, before: bytes) -> bytes:
    """Return an object with one program, which begins with the instruction."""
    types, path = question.local.types, question.access
    proto = len(types) + 1
    more: list[BtfType] = [FuncProto(proto, 0, ()), Func(proto + 1, "program", proto, 1)]
    btf, names = with_strings(encode([*types, *more]), (SECTION, path))
    functions = pack("<5I", 8, names[SECTION], 1, 0, proto + 1)
    relos = pack("<7I", 16, names[SECTION], 1, 0, question.type_id, names[path], question.kind)
    parts = pack("<6I", 0, len(functions), len(functions), 0, len(functions), len(relos))
    ext = pack("<HBBI", 0xEB9F, 1, 0, 8 + len(parts)) + parts + functions + relos
    code = before + EXIT
    sections = [
        Sec(SECTION, code, 6),
        Sec("license", b"GPL\0", 3),
        Sec(".BTF", btf, 0),
        Sec(".BTF.ext", ext, 0),
    ]
    return write_elf(sections, [Sym("program", SECTION, 0, len(code), 2)], [])
