"""Object specs written by hand for the planner: a struct_ops variable of any shape, with or without programs."""

from __future__ import annotations

from structops_cli.btf.types import Array, Ptr
from structops_cli.obj.spec import Function, MemberFunction, ObjectSpec, StructOpsVariable
from structops_cli.syscall.uapi import BtfIntEncoding
from tests.synthetic_kernels import BtfBuilder

EXIT = bytes.fromhex("b700000000000000 9500000000000000")
"""r0 = 0; exit."""


def function(name: str, **changes: object) -> Function:
    """Return a program that does nothing."""
    plain = Function(name, "struct_ops", True, False, True, 0, EXIT, (), (), (), ())
    return plain._replace(**changes)  # type: ignore[arg-type]


def spec(
    *,
    members: tuple[str, ...] = ("ssthresh", "cong_avoid", "undo_cwnd"),
    programs: dict[str, str] | None = None,
    name: str = "t_one",
    flags: int = 0,
    type_name: str = "tcp_congestion_ops",
    variables: tuple[str, ...] = ("one",),
    link: bool = True,
    optional: bool = False,
    extra: bytes = b"",
    flags_size: int = 4,
) -> ObjectSpec:
    """Return an object with struct_ops variables of one local struct: function members, name, flags and maybe ``extra``."""
    b = BtfBuilder()
    number, char = b.integer("unsigned int", flags_size), b.integer("char", 1, BtfIntEncoding.SIGNED)
    index = b.integer("int", 4)
    text = b.add(Array, char, index, 16)
    u32 = b.integer("u32", 4)
    pointer = b.function_pointer(b.add(Ptr, b.struct("sock", 4, [("x", u32, 0)])), returns=u32)
    layout = [(member, pointer, 8 * at) for at, member in enumerate(members)]
    at = 8 * len(members)
    layout += [("name", text, at), ("flags", number, at + 16)]
    size = at + 24
    if extra:
        layout.append(("extra", b.add(Array, char, index, len(extra)), size))
    struct = b.struct(type_name, size + len(extra), layout)
    data = (
        bytes(at)
        + name.encode().ljust(16, b"\0")
        + flags.to_bytes(flags_size, "little").ljust(8, b"\0")
        + extra
    )
    given = programs if programs is not None else {member: f"p_{member}" for member in members}
    pointers = tuple(MemberFunction(8 * members.index(member), program) for member, program in given.items())
    return ObjectSpec(
        "t_object.bpf.o",
        "GPL",
        b.btf("a written object"),
        tuple(function(program) for program in dict.fromkeys(given.values())),
        tuple(
            StructOpsVariable(variable, ".struct_ops.link", struct, type_name, link, optional, data, pointers)
            for variable in variables
        ),
        (),
        (),
        (),
    )
