"""Define the fuzz targets: every parser of foreign bytes raises only the project's errors."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from itertools import islice

from structops_cli.btf.btf import Btf
from structops_cli.btf.c_declarations import declare
from structops_cli.btf.c_header import header
from structops_cli.btf.encode import encode
from structops_cli.btf.ext import CoreRelo, parse_ext
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.layout import align_of, size_of
from structops_cli.btf.sanitise import BtfFeature, sanitise
from structops_cli.core.apply import apply_fixups
from structops_cli.core.externs import KernelFacts, apply_externs, facts_needed
from structops_cli.core.fixup import Relocator
from structops_cli.core.kconfig import option_bytes
from structops_cli.core.resolve_externs import resolve_externs
from structops_cli.core.target import Target
from structops_cli.errors import StructopsError
from structops_cli.obj.elf import read_elf
from structops_cli.obj.link import link_programs
from structops_cli.obj.loadable import loadable_btf
from structops_cli.obj.needed_maps import needed_maps
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import LinkedProgram, ObjectSpec
from structops_cli.runtime.kernel_config import parse_options, parse_version
from structops_cli.runtime.kernel_image import may_be_kernel, read_kernel_btf
from structops_cli.struct_ops.catalogue import offered_types
from structops_cli.struct_ops.flow import effects_of
from structops_cli.struct_ops.flow_steps import Code
from structops_cli.struct_ops.plan import Selection, plan_object
from structops_cli.struct_ops.value import decode_value, encode_value
from tests.btf_writers import LATER, M, Record, every_kind, newer, struct_, write_btf
from tests.compile import OBJECTS, compile_object
from tests.core_fixups import compute_fixups
from tests.elf_writers import small_object
from tests.kernel_images import bzimage
from tests.synthetic_kernels import kernel

__all__ = ["TARGETS", "FuzzTarget", "seeds"]

SOURCES = (
    "everything",
    "maps",
    "variables",
    "externs",
    "btf_kinds",
    "live_ops",
    "live_maps",
    "map_in_map",
    "kernel_symbols",
    "new_btf",
)
ANSWERS = ("y", "m", "42", "0xffffffffffffffff", '"text"', "-1")
MOST = 64
"""Limit of types, programs or relocations of one input: more of them find nothing new."""


class FuzzTarget:
    """A function that takes any bytes, and the seeds of its search."""

    def __init__(self, run: Callable[[bytes], None], seeds: Callable[[], Iterable[bytes]]) -> None:
        self.run = run
        self.seeds = seeds


@cache
def _objects() -> tuple[bytes, ...]:
    return (*(compile_object(OBJECTS / f"{name}.bpf.c") for name in SOURCES), small_object())


def _section(data: bytes, name: str) -> bytes:
    found = read_elf(data, "seed").section(name)
    assert found is not None
    return bytes(found.data)


@cache
def _a_kernel() -> KernelTypes:
    return kernel()


# Objects, up to the instructions that would be loaded


def read_any_object(data: bytes) -> None:
    """Read, link, relocate and plan an object against a kernel."""
    with suppress(StructopsError):
        _use_object(read_object(data, "x.o"))


def _use_object(spec: ObjectSpec) -> None:
    relocator = Relocator(spec.btf, Target(_a_kernel()))
    programs = [function.name for function in spec.functions if function.is_program]
    with suppress(StructopsError):
        sanitise(Btf(loadable_btf(spec)), set(BtfFeature))
    for linked in link_programs(spec, programs[:MOST]):
        with suppress(StructopsError):
            _fill_in_externs(spec, linked)
        with suppress(StructopsError):
            effects_of(Code(apply_fixups(linked.insns, relocator.fixups(linked.core_relos))))
        with suppress(StructopsError):
            needed_maps(spec, {item.symbol for item in linked.relocations}, programs)
    every = tuple(variable.name for variable in spec.struct_ops)
    for selection in (Selection(), Selection(only=every), Selection(link=False)):
        with suppress(StructopsError):
            plan_object(spec, _a_kernel(), selection)


def _fill_in_externs(spec: ObjectSpec, linked: LinkedProgram) -> None:
    """Resolve the external symbols of a program, with a value for each of them."""
    needed = facts_needed(spec, [linked])
    facts = KernelFacts(
        symbols=dict.fromkeys(needed.symbols, (1 << 63,)),
        options=dict(zip(sorted(needed.options), ANSWERS * len(needed.options), strict=False)),
        found="somewhere",
        version=0x60000,
    )
    apply_externs(spec, linked, resolve_externs(spec, [linked], _a_kernel(), facts))


# Other files of a kernel


def read_any_image(data: bytes) -> None:
    """Parse the bytes as a file that may hold a kernel."""
    with open(os.memfd_create("image"), "wb", buffering=0) as file:
        file.write(data)
        path = f"/proc/self/fd/{file.fileno()}"
        with suppress(StructopsError):
            may_be_kernel(path)
            read_kernel_btf(path)


def _image_seeds() -> Iterable[bytes]:
    btf = _a_kernel().vmlinux.raw()
    yield btf
    for compressed in (gzip.compress(btf), lzma.compress(btf), bz2.compress(btf)):
        yield compressed
        yield bzimage(compressed)


def read_any_options(data: bytes) -> None:
    """Parse the bytes as a kernel's configuration and version."""
    lines = data.decode(errors="replace").splitlines()
    names = {line.partition("=")[0] for line in lines[:MOST]}
    for text in parse_options(lines, names).values():
        for type_id in range(1, _base().end_id):
            with suppress(StructopsError):
                option_bytes(_base(), type_id, text)
    with suppress(StructopsError):
        parse_version(data.decode(errors="replace"), data.decode(errors="replace"))


def walk_any_code(data: bytes) -> None:
    """Analyse the bytes as a program's instructions."""
    effects_of(Code(data[: len(data) // 8 * 8]))


def _code_seeds() -> Iterable[bytes]:
    for data in _objects():
        yield from (function.insns for function in read_object(data, "seed").functions)


# BTF


def read_any_btf(data: bytes) -> None:
    """Read BTF and call every query; valid BTF must encode to the same types."""
    with suppress(StructopsError):
        _use_btf(Btf(data))


def _use_btf(btf: Btf) -> None:
    names = []
    for type_id in range(min(btf.end_id, MOST)):
        for function in (size_of, align_of, declare):
            with suppress(StructopsError):
                function(btf, type_id)
        with suppress(StructopsError):
            names.append(btf.name(type_id))
    with suppress(StructopsError):
        header(btf, [name for name in names if name][:8])
    btf.check()
    types = list(btf.types())
    if not btf.unknown_kinds():
        assert list(Btf(encode(types)).types()) == types
    again = Btf(sanitise(btf, set(BtfFeature)))
    assert (again.end_id, again.unknown_parts(), again.has_layout) == (btf.end_id, (), False)


# A kernel's BTF


def read_any_kernel(data: bytes) -> None:
    """Read the bytes as a kernel's BTF, and plan an object against it."""
    with suppress(StructopsError):
        found = KernelTypes(Btf(data))
        offered_types(found)
        spec = _spec()
        plan = plan_object(spec, found)
        for item in plan.maps:
            value = encode_value(item, dict.fromkeys((program.name for program in plan.programs), 3))
            assert len(value) == item.type.value.size_bytes
            decode_value(item.type, value)
        relocator = Relocator(spec.btf, Target(found))
        for linked in link_programs(spec, [program.name for program in plan.programs]):
            apply_fixups(linked.insns, relocator.fixups(linked.core_relos))


@cache
def _spec() -> ObjectSpec:
    return read_object(compile_object(OBJECTS / "live_ops.bpf.c"), "live_ops.bpf.o")


# .BTF.ext, and relocations


@cache
def _base() -> Btf:
    return Btf(_section(compile_object(OBJECTS / "btf_kinds.bpf.c"), ".BTF"))


def read_any_ext(data: bytes) -> None:
    """Read .BTF.ext with valid BTF."""
    with suppress(StructopsError):
        parse_ext(data, _base())


def relocate_any(data: bytes) -> None:
    """Apply relocations that the bytes describe.

    Each takes 8 bytes of numbers, 8 of access string, and 16 of instructions.
    """
    for start in islice(range(0, len(data) - 31, 32), MOST):
        record = data[start : start + 32]
        access = bytes(b"0123456789:"[byte % 11] for byte in record[8:16].rstrip(b"\0")).decode()
        relo = CoreRelo(record[0] % 4, int.from_bytes(record[2:4], "little") % 64, access, record[1] % 16)
        with suppress(StructopsError):
            fixups = compute_fixups(_base(), KernelTypes(_base()), [relo])
            fixups[0].describe(_base())
            assert len(apply_fixups(record[16:], fixups)) == 16


def _relocation_seeds() -> Iterable[bytes]:
    for kind in range(13):
        yield b"".join(
            bytes([0, kind, number, 0, 0, 0, 0, 0]) + b"\0\x0a\1".ljust(8, b"\0") + _section_of_code()
            for number in range(12)
        )


def _section_of_code() -> bytes:
    return bytes.fromhex("1801000000000000 0000000000000000".replace(" ", ""))


def later_btf() -> bytes:
    """Return BTF with a layout, a longer header, and types of unknown kinds."""
    later = [Record(20, "sites", 7, vlen=2, rest=(0, 1, 2, 3, 4)), Record(21, "", 3, kind_flag=True)]
    return write_btf(
        [*every_kind(), *later, struct_("of_later", 8, M("site", 28))], layout=LATER, tail=b"more"
    )


def _btf_seeds() -> Iterable[bytes]:
    yield later_btf()
    yield write_btf(every_kind(), more_strings=["a___b", "x" * 600])
    yield from (_section(data, ".BTF") for data in _objects())


TARGETS: dict[str, FuzzTarget] = {
    "object": FuzzTarget(read_any_object, _objects),
    "btf": FuzzTarget(read_any_btf, _btf_seeds),
    "kernel": FuzzTarget(
        read_any_kernel, lambda: [_a_kernel().vmlinux.raw(), newer(_a_kernel().vmlinux.raw())]
    ),
    "ext": FuzzTarget(read_any_ext, lambda: (_section(data, ".BTF.ext") for data in _objects()[:-1])),
    "relocations": FuzzTarget(relocate_any, _relocation_seeds),
    "image": FuzzTarget(read_any_image, _image_seeds),
    "options": FuzzTarget(
        read_any_options, lambda: [b'CONFIG_HZ=1000\nCONFIG_A=y\nCONFIG_B="x"\n', b"6.18.5-1"]
    ),
    "code": FuzzTarget(walk_any_code, _code_seeds),
}
"""The targets, by the names for ``make fuzz FUZZ_ARGS=NAME``."""


def seeds(name: str) -> list[bytes]:
    """Return the valid inputs with which a target's search begins."""
    return list(TARGETS[name].seeds())
