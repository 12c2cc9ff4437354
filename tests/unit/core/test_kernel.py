"""CO-RE on the running kernel's BTF: a compiled object, and every struct with itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.asm.insn import CALL, decode_insn
from structops_cli.btf.btf import Btf
from structops_cli.btf.ext import CoreRelo
from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.btf.types import Composite, Enum, Member
from structops_cli.core.access import ASKS, subject
from structops_cli.core.apply import apply_fixups, poisoned_relocation
from structops_cli.core.fixup import Fixup, Relocator
from structops_cli.core.target import Target
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import Function, ObjectSpec
from structops_cli.syscall.uapi import BtfKind
from structops_cli.syscall.uapi import CoreReloKind as Kind
from tests.compile import compile_object
from tests.core_fixups import compute_fixups
from tests.unit.btf.sources import vmlinux as read_vmlinux

LDX_W, LDX_DW = 0x61, 0x79
SOURCE = Path(__file__).parent / "relocations.bpf.c"


@pytest.fixture(scope="module")
def vmlinux() -> Btf:
    return read_vmlinux()


@pytest.fixture(scope="module")
def spec() -> ObjectSpec:
    return read_object(compile_object(SOURCE), SOURCE.name)


@pytest.fixture(scope="module")
def every_kind(spec: ObjectSpec) -> Function:
    return spec.function("every_kind")


@pytest.fixture(scope="module")
def fixups(spec: ObjectSpec, every_kind: Function, vmlinux: Btf) -> tuple[Fixup, ...]:
    return compute_fixups(spec.btf, KernelTypes(vmlinux), every_kind.core_relos)


def composite(btf: Btf, name: str) -> Composite:
    type_id = btf.find(name, BtfKind.STRUCT, BtfKind.UNION)
    assert type_id is not None
    found = btf.type(type_id)
    assert isinstance(found, Composite)
    return found


def byte_offset(btf: Btf, struct: str, *path: str) -> int:
    """Return where a field is: the long way, through named members only."""
    bits, inside = 0, composite(btf, struct)
    for name in path:
        member = next(m for m in flattened(btf, inside) if m.name == name)
        bits += member.bit_offset
        found = btf.type(member.type)
        inside = found if isinstance(found, Composite) else inside
    return bits // 8


def flattened(btf: Btf, inside: Composite, base: int = 0) -> list[Member]:
    """Return all named members, with those of anonymous ones, at their offset in the whole."""
    found: list[Member] = []
    for member in inside.members:
        below = btf.type(member.type)
        if member.name:
            found.append(member._replace(bit_offset=base + member.bit_offset))
        elif isinstance(below, Composite):
            found += flattened(btf, below, base + member.bit_offset)
    return found


def test_the_compiler_emitted_every_kind(fixups: tuple[Fixup, ...]) -> None:
    assert {fixup.kind for fixup in fixups} == set(Kind)


def test_what_a_compiler_emitted_is_answered(
    spec: ObjectSpec, fixups: tuple[Fixup, ...], vmlinux: Btf
) -> None:
    nonagle = next(m for m in flattened(vmlinux, composite(vmlinux, "tcp_sock")) if m.name == "nonagle")
    state = vmlinux.type(vmlinux.find("tcp_ca_state", BtfKind.ENUM) or 0)
    assert isinstance(state, Enum)
    values = dict(state.values)
    cwnd = byte_offset(vmlinux, "tcp_sock", "snd_cwnd")
    private = byte_offset(vmlinux, "tcp_sock", "inet_conn", "icsk_ca_priv") + 3 * 8
    expected = {
        "struct tcp_sock.snd_cwnd: byte offset": cwnd,
        "struct tcp_sock.srtt_us: byte offset": byte_offset(vmlinux, "tcp_sock", "srtt_us"),
        "struct tcp_sock.inet_conn.icsk_ca_priv[3]: byte offset": private,
        "struct sock.__sk_common.skc_daddr: byte offset": byte_offset(
            vmlinux, "sock", "__sk_common", "skc_daddr"
        ),
        "struct tcp_sock.snd_cwnd: byte size": 4,
        "struct tcp_sock.snd_cwnd: exists": 1,
        "struct tcp_sock.snd_cwnd: signed": 0,
        "struct tcp_sock.nonagle: byte offset": nonagle.bit_offset // 8,
        "struct tcp_sock.nonagle: byte size": 1,
        "struct tcp_sock.nonagle: left shift": 64 - nonagle.bit_offset % 8 - nonagle.bit_size,
        "struct tcp_sock.nonagle: right shift": 64 - nonagle.bit_size,
        "struct tcp_sock___never.no_such_member: exists": 0,
        "struct tcp_sock___never.no_such_member: byte offset": 0,
        "struct no_such_struct.a: exists": 0,
        "struct tcp_sock: exists": 1,
        "struct tcp_sock: byte size": composite(vmlinux, "tcp_sock").size_bytes,
        "struct list_head: matches": 1,
        "struct tcp_sock: matches": 0,
        "struct no_such_struct: exists": 0,
        "struct no_such_struct: byte size": 0,
        "struct tcp_sock: type id in the object": spec.btf.find("tcp_sock"),
        "struct tcp_sock: type id": vmlinux.find("tcp_sock"),
        "TCP_CA_Open of enum tcp_ca_state: exists": 1,
        "TCP_CA_Open of enum tcp_ca_state: value": values["TCP_CA_Open"],
        "TCP_CA_Loss of enum tcp_ca_state: value": values["TCP_CA_Loss"],
        "NO_SUCH_STATE of enum tcp_ca_state___never: exists": 0,
        "NO_SUCH_STATE of enum tcp_ca_state___never: value": 0,
    }
    asked = {
        f"{subject(spec.btf, f.type_id, f.access, f.kind)}: {ASKS[f.kind]}": f.target_value for f in fixups
    }
    assert asked == expected
    poisoned = [f.poison for f in fixups if f.poison]
    assert poisoned == [
        "struct tcp_sock has no member no_such_member in this kernel",
        "enum tcp_ca_state has no value NO_SUCH_STATE in this kernel",
    ]


def test_the_instructions_take_the_answers(
    every_kind: Function, fixups: tuple[Fixup, ...], vmlinux: Btf
) -> None:
    patched = apply_fixups(every_kind.insns, fixups)
    assert len(patched) == len(every_kind.insns)
    loads = [
        decode_insn(patched, f.insn_index)
        for f in fixups
        if decode_insn(every_kind.insns, f.insn_index).opcode == LDX_W
    ]
    assert byte_offset(vmlinux, "tcp_sock", "snd_cwnd") in {load.offset for load in loads}
    # the source says that srtt_us is a u64, and the kernel has a u32
    srtt = next(f for f in fixups if f.local_size_bytes == 8 and f.target_size_bytes == 4)
    assert decode_insn(every_kind.insns, srtt.insn_index).opcode == LDX_DW
    assert decode_insn(patched, srtt.insn_index).opcode == LDX_W
    for number, fixup in enumerate(fixups):
        insn = decode_insn(patched, fixup.insn_index)
        assert (insn.opcode == CALL) is bool(fixup.poison)
        assert poisoned_relocation(insn.imm) == (number if fixup.poison else None)
    untouched = (
        set(range(len(patched) // 8)) - {f.insn_index for f in fixups} - {f.insn_index + 1 for f in fixups}
    )
    assert all(decode_insn(patched, n) == decode_insn(every_kind.insns, n) for n in untouched)


def test_every_struct_is_itself(vmlinux: Btf) -> None:
    """Relocated from vmlinux to vmlinux, nothing moves."""
    relocator = Relocator(vmlinux, Target(KernelTypes(vmlinux)))
    asked = 0
    for type_id in range(1, vmlinux.end_id, 7):
        if vmlinux.kind(type_id) != BtfKind.STRUCT or len(vmlinux.candidates(vmlinux.name(type_id))) != 1:
            continue
        found = vmlinux.type(type_id)
        assert isinstance(found, Composite)
        named = [n for n, member in enumerate(found.members) if member.name]
        relos = [
            CoreRelo(0, type_id, f"0:{n}", kind)
            for n in named
            for kind in (Kind.FIELD_BYTE_OFFSET, Kind.FIELD_EXISTS)
        ]
        for fixup in relocator.fixups(relos):
            assert fixup.local_value == fixup.target_value
            assert fixup.poison is fixup.fixed_size is None
            asked += 1
    assert asked > 1000


def test_types_match_themselves(vmlinux: Btf) -> None:
    for name in ("tcp_sock", "task_struct", "tcp_congestion_ops", "sk_buff", "net_device"):
        type_id = vmlinux.find(name, BtfKind.STRUCT)
        assert type_id is not None
        relos = [CoreRelo(0, type_id, "0", kind) for kind in (Kind.TYPE_MATCHES, Kind.TYPE_EXISTS)]
        assert [f.target_value for f in compute_fixups(vmlinux, KernelTypes(vmlinux), relos)] == [1, 1]
