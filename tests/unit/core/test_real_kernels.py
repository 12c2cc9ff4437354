"""CO-RE against excerpts of Debian's kernels: what objects ask for, and every field as another reader has it.

``python -m tests.kernels`` makes the excerpts, and the tables that bpftool and clang say.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.types import Composite
from structops_cli.core.access import ASKS, subject
from structops_cli.core.fixup import Fixup, Relocator
from structops_cli.core.target import Target
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import ObjectSpec
from structops_cli.runtime.objects import bundled_objects, object_path
from structops_cli.syscall.uapi import BtfKind
from structops_cli.syscall.uapi import CoreReloKind as Kind
from tests.compile import compile_object
from tests.golden_files import Golden
from tests.kernels.data import KERNELS, fields_of_kernel, kernel_types
from tests.kernels.layout_table import Place

SOURCE = Path(__file__).parent / "relocations.bpf.c"
PAIRS = [(local, target) for local in KERNELS for target in KERNELS]
BIT_FIELD_KINDS = (Kind.FIELD_BYTE_OFFSET, Kind.FIELD_LSHIFT_U64, Kind.FIELD_RSHIFT_U64)
PLAIN_KINDS = (Kind.FIELD_BYTE_OFFSET, Kind.FIELD_BYTE_SIZE)
BECAME_ANOTHER_TYPE = {
    "inet_sock.inet_id": "a number, then an atomic_t",
    "inet_sock.local_port_range": "a struct, then a number",
    "sock.sk_tskey": "a number, then an atomic_t",
    "task_struct.mm_cid": "a number, then a struct",
    "task_struct.perf_event_ctxp": "an array, then a pointer",
    "task_struct.rseq": "a pointer, then a struct",
}
"""Fields that some of these kernels have with a type that an access cannot be carried over to."""
NOT_EXCERPTED = {"fifo_qdisc", "hid_filter"}
"""Objects of other subsystems, whose types the excerpts were cut without."""


@pytest.mark.parametrize("version", KERNELS)
def test_an_excerpt_is_sound(version: str) -> None:
    kernel_types(version).vmlinux.check()


@pytest.mark.parametrize(("local", "target"), PAIRS)
def test_fields_are_where_another_reader_has_them(local: str, target: str) -> None:
    """Relocate every field of the one kernel's structs to the other's."""
    ours, theirs = fields_of_kernel(local), fields_of_kernel(target)
    btf = kernel_types(local).vmlinux
    relocator = Relocator(btf, Target(kernel_types(target)))
    found = 0
    for struct, fields in ours.items():
        type_id, paths = access_strings(btf, struct)
        assert set(paths) == set(fields) - {""}
        for name, path in paths.items():
            place = place_of(relocator, type_id, path, theirs.get(struct, {}).get(name))
            if place is not None:
                assert place == theirs[struct][name], (struct, name)
                found += 1
            elif name in theirs.get(struct, {}):
                assert local != target, (struct, name)
                assert f"{struct}.{name}" in BECAME_ANOTHER_TYPE
    assert found > 500


def access_strings(btf: Btf, struct: str) -> tuple[int, dict[str, str]]:
    """Return the id of a struct and the way to each named field, through anonymous members."""
    (type_id,) = btf.ids(struct, BtfKind.STRUCT)
    paths: dict[str, str] = {}
    pending = [(type_id, "0")]
    while pending:
        inside, path = pending.pop()
        found = btf.type(inside)
        if isinstance(found, Composite):
            for index, member in enumerate(found.members):
                if member.name:
                    paths[member.name] = f"{path}:{index}"
                else:
                    pending.append((member.type, f"{path}:{index}"))
    return type_id, paths


def place_of(relocator: Relocator, type_id: int, path: str, expected: Place | None) -> Place | None:
    """Return where relocations say that a field is, in the shape of ``expected``; None if it is not there."""
    is_bit_field = expected is not None and expected.is_bit_field
    kinds = BIT_FIELD_KINDS if is_bit_field else PLAIN_KINDS
    exists, *fixups = relocator.fixups(
        CoreRelo(0, type_id, path, kind) for kind in (Kind.FIELD_EXISTS, *kinds)
    )
    assert [bool(fixup.poison) for fixup in fixups] == [not exists.target_value] * len(fixups)
    if not exists.target_value:
        return None
    byte, *rest = (fixup.target_value for fixup in fixups)
    if not is_bit_field:
        return Place(byte * 8, rest[0] * 8, False)
    left, right = rest
    return Place(byte * 8 + right - left, 64 - right, True)


def objects() -> Iterator[ObjectSpec]:
    for name in sorted({*bundled_objects()} - NOT_EXCERPTED):
        yield read_object(Path(object_path(name)).read_bytes(), name)
    yield read_object(compile_object(SOURCE), SOURCE.name)


def test_what_objects_ask_for_has_its_answers(golden: Golden) -> None:
    golden.check("core_kernels.txt", "\n\n".join(map(answers, objects())) + "\n")


def answers(spec: ObjectSpec) -> str:
    """Return a table: a row for each different relocation of an object, a column for each kernel."""
    relos = [relo for function in spec.functions for relo in function.core_relos]
    columns = [Relocator(spec.btf, Target(kernel_types(version))).fixups(relos) for version in KERNELS]
    rows = {asked(spec.btf, row[0]): row for row in zip(*columns, strict=True)}
    width = max(map(len, rows), default=0)
    lines = [f"{spec.name:<{width}} object" + "".join(f"{version:>7}" for version in KERNELS)]
    for text, row in sorted(rows.items()):
        local = row[0].local_value
        lines.append(f"{text:<{width}} {local:>6}" + "".join(f" {answered(fixup):>6}" for fixup in row))
    return "\n".join(lines)


def asked(local: Btf, fixup: Fixup) -> str:
    return f"{subject(local, fixup.type_id, fixup.access, fixup.kind)}: {ASKS[fixup.kind]}"


def answered(fixup: Fixup) -> str:
    resized = fixup.local_size_bytes != fixup.target_size_bytes
    return "-" if fixup.poison else f"{fixup.target_value}{'*' if resized else ''}"
