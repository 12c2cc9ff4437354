"""Generate BPF C with many CO-RE relocations or many programs.

The sources are for one kernel: they refer only to types of its BTF, so that every
loader can resolve each relocation.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import POINTER_SIZE, resolve
from structops_cli.btf.types import Int, Ptr, Struct
from structops_cli.syscall.uapi import BtfKind
from tests.bench.timing import CommandError

__all__ = ["FIELDS", "Layout", "common_layouts", "compiled", "many_programs", "many_relocations"]

COMPILER = ("clang-19", "-target", "bpf", "-O2", "-g", "-mcpu=v3", "-x", "c", "-", "-c", "-o")
FIELDS = 10
"""Most used fields of a type: 4,000 relocations need 400 types."""
PER_PROGRAM = 500
"""Relocations of one program, far below the verifier's limits."""
OPS_TYPE = "tcp_congestion_ops"
OPS = ("ssthresh", "cong_avoid", "undo_cwnd", "set_state", "cwnd_event", "in_ack_event", "pkts_acked",
       "min_tso_segs", "init", "release")  # fmt: skip
"""Members of ``struct tcp_congestion_ops`` since Linux 5.6, the required ones first."""
HEAD = """\
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define SEC(name) __attribute__((section(name), used))
#define CORE __attribute__((preserve_access_index))
#define AT(type, field) __builtin_preserve_field_info(((struct type *)0)->field, 0)
char _license[] SEC("license") = "GPL";
"""


def compiled(source: str, path: Path) -> Path:
    """Compile C to an object at ``path``, and return the path."""
    done = subprocess.run([*COMPILER, path], input=source.encode(), capture_output=True, check=False)
    if done.returncode != 0:
        raise CommandError(done.stderr.decode(errors="replace"))
    return path


class Layout(NamedTuple):
    """A struct of the kernel by name, with the names and types of some members."""

    name: str
    members: tuple[tuple[str, str], ...]


def common_layouts(btf: Btf, count: int) -> list[Layout]:
    """Return ``count`` structs of a kernel with FIELDS integer or pointer members."""
    found = list(islice(_layouts(btf), count))
    if len(found) < count:
        message = f"{btf.origin} has {len(found)} structs with {FIELDS} plain members, not {count}"
        raise ValueError(message)
    return found


def _layouts(btf: Btf) -> Iterator[Layout]:
    for type_id in range(1, btf.end_id):
        name = btf.name(type_id) if btf.kind(type_id) == BtfKind.STRUCT else OPS_TYPE
        if name == OPS_TYPE or len(btf.candidates(name)) != 1:
            continue
        struct = btf.type(type_id)
        if isinstance(struct, Struct):
            members = tuple(islice(_plain_members(btf, struct), FIELDS))
            if len(members) == FIELDS:
                yield Layout(struct.name, members)


def _plain_members(btf: Btf, struct: Struct) -> Iterator[tuple[str, str]]:
    for name, type_id, _offset, bit_size in struct.members:
        below = resolve(btf, type_id)
        if name and not bit_size and isinstance(below, Ptr):
            yield name, "void *"
        elif name and not bit_size and isinstance(below, Int) and below.size_bytes <= POINTER_SIZE:
            yield name, f"u{below.size_bytes * 8} "


def many_relocations(layouts: Iterable[Layout], count: int, name: str) -> str:
    """Return a congestion control with ``count`` relocations, each of another field."""
    used = list(layouts)
    fields = [
        (layout.name, member)
        for number in range(FIELDS)
        for layout in used
        for member, _ in [layout.members[number]]
    ]
    asked = fields[:count]
    if len(asked) < count:
        message = f"{len(used)} types have {len(fields)} fields, not {count}"
        raise ValueError(message)
    types = "".join(_declared(layout) for layout in used)
    parts = [asked[at : at + PER_PROGRAM] for at in range(0, count, PER_PROGRAM)]
    parts += [[]] * (3 - len(parts))
    programs = "".join(_sum_program(f"part_{number}", part) for number, part in enumerate(parts))
    members = zip(OPS, [f"part_{number}" for number in range(len(parts))], strict=False)
    return HEAD + types + programs + OPS_DECLARED + _variable(name, members)


def many_programs(count: int, prefix: str) -> str:
    """Return congestion controls with ``count`` programs, each with one relocation."""
    fields = "struct tcp_sock {\n\tu32 snd_cwnd;\n\tu32 prior_cwnd;\n} CORE;\n"
    text = HEAD + fields + OPS_DECLARED
    for number, first in enumerate(range(0, count, len(OPS))):
        names = [(op, f"{op}_{number}") for op in OPS[: count - first]]
        text += "".join(_sum_program(name, [("tcp_sock", "snd_cwnd")]) for _, name in names)
        text += _variable(f"{prefix}{number:02}", names)
    return text


OPS_DECLARED = (
    f"struct {OPS_TYPE} {{\n" + "".join(f"\tu64 (*{op})(void);\n" for op in OPS) + "\tchar name[16];\n};\n"
)


def _declared(layout: Layout) -> str:
    members = "".join(f"\t{kind}{name};\n" for name, kind in layout.members)
    return f"struct {layout.name} {{\n{members}}} CORE;\n"


def _sum_program(name: str, asked: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"\tsum += AT({struct}, {member});\n" for struct, member in asked)
    return f'SEC("struct_ops")\nu64 {name}(u64 *ctx)\n{{\n\tu64 sum = 2;\n{lines}\treturn sum;\n}}\n'


def _variable(name: str, members: Iterable[tuple[str, str]]) -> str:
    values = "".join(f"\t.{member} = (void *){program},\n" for member, program in members)
    return (
        f'SEC(".struct_ops.link")\nstruct tcp_congestion_ops {name} = {{\n{values}\t.name = "{name}",\n}};\n'
    )
