"""Read a BPF object into an ``ObjectSpec``, the same on every machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import BtfExt, parse_ext
from structops_cli.errors import ElfError, InputError, ObjectError
from structops_cli.obj.data import read_data
from structops_cli.obj.datasec import repair_datasecs
from structops_cli.obj.elf import read_elf
from structops_cli.obj.elf_values import ElfObject
from structops_cli.obj.externs import read_externs
from structops_cli.obj.functions import check_ext, function_extents, other_programs, read_function
from structops_cli.obj.jump_tables import jump_tables_of
from structops_cli.obj.maps import map_places, read_maps
from structops_cli.obj.relocations import AddressMap, function_relocations
from structops_cli.obj.sections import check_sections
from structops_cli.obj.spec import ObjectSpec
from structops_cli.obj.variables import read_struct_ops

if TYPE_CHECKING:
    from mmap import mmap

COMPILER = re.compile(rb"clang version [\w.+~-]{1,40}|GNU C\d* [\w.+~-]{1,40}")


def read_object(data: bytes | mmap, name: str) -> ObjectSpec:
    """Read the bytes of a BPF object with at least one struct_ops variable.

    ``name`` is for messages. For all other bytes it raises ElfError, BtfError
    or ObjectError, and nothing else.
    """
    spec = read_functions(data, name)
    if not spec.struct_ops:
        what = "this object has nothing to register"
        why = "no variable is in section .struct_ops or .struct_ops.link"
        hint = 'define one: SEC(".struct_ops.link") struct tcp_congestion_ops NAME = {...}'
        raise ObjectError(f"{name}: {what}", why=why, hint=hint, object=name)
    return spec


def read_functions(data: bytes | mmap, name: str) -> ObjectSpec:
    """Read an object that may lack struct_ops variables. Raises as ``read_object``."""
    try:
        return _read(data, name)
    except InputError as error:
        error.add(object=name)
        if name not in error.what:
            error.what = f"{name}: {error.what}"
        raise


def _read(data: bytes | mmap, name: str) -> ObjectSpec:
    elf = read_elf(data, name)
    check_sections(elf)
    btf = _btf(elf)
    externs = read_externs(elf, btf)
    ext = _ext(elf, btf)
    extents = function_extents(elf, btf, ext)
    addresses = AddressMap(elf, extents, map_places(elf, btf), (extern.name for extern in externs))
    relocations = function_relocations(elf, extents, addresses)
    functions = tuple(
        read_function(extent, btf, ext, references, jump_tables_of(elf, extent, references))
        for extent, references in zip(extents, relocations, strict=True)
    )
    check_ext(elf, ext, functions)
    return ObjectSpec(
        name=name,
        licence=_licence(elf),
        btf=btf,
        functions=functions,
        struct_ops=read_struct_ops(elf, btf, addresses, functions),
        maps=read_maps(elf, btf, addresses),
        data=read_data(elf, btf),
        externs=externs,
        other_programs=other_programs(elf),
        compiler=_compiler(elf),
        unknown_ext=ext.unknown,
    )


def _btf(elf: ElfObject) -> Btf:
    """Return the object's BTF, repaired and then checked as a whole."""
    section = elf.section(".BTF")
    if section is None:
        raise ElfError("this object has no BTF", why="there is no section .BTF", hint="compile it with -g")
    btf = repair_datasecs(elf, Btf(bytes(section.data), origin=f"{elf.name} .BTF"))
    btf.check()
    return btf


def _ext(elf: ElfObject, btf: Btf) -> BtfExt:
    section = elf.section(".BTF.ext")
    return parse_ext(bytes(section.data), btf) if section is not None else BtfExt({}, {}, {})


def _licence(elf: ElfObject) -> str:
    """Return the licence, "" without one."""
    section = elf.section("license")
    text = bytes(section.data).partition(b"\0")[0] if section is not None else b""
    try:
        return text.decode("ascii")
    except UnicodeDecodeError as error:
        why = f"section license begins with {text[:16]!r}"
        raise ObjectError("the licence of this object is not text", why=why, section="license") from error


def _compiler(elf: ElfObject) -> str | None:
    """Return the compiler named by the debug information, or None."""
    for name in (".comment", ".debug_str", ".debug_line_str"):
        section = elf.section(name)
        if section is not None and (found := COMPILER.search(section.data)):
            return found[0].decode(errors="replace")
    return None
