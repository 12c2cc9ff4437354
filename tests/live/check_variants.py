"""Make objects and mutations of them, to compare checks with registrations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.encode import encode
from structops_cli.btf.types import BtfType, FuncProto, Int, Member, Param, Ptr, Struct
from structops_cli.obj.reader import read_object
from structops_cli.obj.spec import MemberFunction, ObjectSpec
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.objects import bundled_objects, open_object
from structops_cli.struct_ops.capabilities import refuses_narrow_pointers
from structops_cli.syscall.uapi import BtfKind
from tests.compile import FLAGS, OBJECTS, compile_object
from tests.live.objects import live_ops


class Variant(NamedTuple):
    """An object, and the expected relation between its check and its registration.

    ``verifier``: only the verifier can refuse it. ``unknown``: only an attempt can tell.
    """

    label: str
    make: Callable[[], ObjectSpec]
    verifier: bool = False
    unknown: bool = False


# Sources and macros

SOURCES = tuple(sorted(path.name for path in OBJECTS.glob("*.bpf.c")))

LIVE_OPS: tuple[tuple[str, ...], ...] = (
    (),
    ("UNKNOWN_MEMBER=0",),
    ("UNKNOWN_MEMBER=1",),
    ("WIDE_FLAGS",),
    ("WIDE_FLAGS", "FLAGS=1"),
    ("FLAGS=1",),
    ("FLAGS=3",),
    ("FLAGS=4",),
    ("FLAGS=0x80000000",),
    ("GET_INFO",),
    ("OWNER=1",),
    ("NO_CONG_AVOID",),
    ('LICENCE="Proprietary"',),
    ('LICENCE="Dual BSD/GPL"',),
    ('LICENCE=""',),
    ("POISONED",),
    ("EXTERN",),
    ('SECTION=".struct_ops"',),
    ('SECTION="?.struct_ops.link"',),
    ("OPS=tcp_congestion_ops___mine",),
    ("OPS=t_no_such_ops",),
    ('SECOND="t_second"',),
    ('SECOND="t_live_ops"', 'NAME="t_live_ops"'),
)
NAMES = ("", "has space", "t-dash", "t.dot", "t_fifteen_bytes", "cubic", "t\\n", "t\\xff")

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "old, unread": ("CONTROL=struct sock *sk, const struct rate_sample *rs",),
    "old, read": (
        "CONTROL=struct sock *sk, const struct rate_sample *rs",
        "BODY=seen = arguments[1];",
    ),
    "old, through": (
        "CONTROL=struct sock *sk, const struct rate_sample *rs",
        "BODY=seen = ((const struct rate_sample *)arguments[1])->losses;",
    ),
    "new, through": ("BODY=seen = ((const struct rate_sample *)arguments[3])->losses;",),
    "new, null checked": ("BODY=const struct rate_sample *rs = (void *)arguments[3]; if (rs) seen = rs->losses;",),
    "beyond": ("BODY=seen = arguments[4];",),
    "beyond, dead by a constant": ("BODY=if (off) seen = arguments[4];",),
    "beyond, alive by a constant": ("BODY=if (on) seen = arguments[4];",),
    "beyond, by a global": ("BODY=if (unknown) seen = arguments[4];",),
    "beyond, by an argument": ("BODY=if ((u32)arguments[1] == 7) seen = arguments[4];",),
    "beyond, twice by an argument": (
        "BODY=u32 a = arguments[1]; if (a > 7) { unknown++; if (a > 3) seen = arguments[4]; }",
    ),
    "beyond, never by an argument": (
        "BODY=u32 a = (u32)arguments[1] & 7; UNKNOWN(a); if (a > 100) seen = arguments[4];",
    ),
    "through, null checked": (
        "BODY=const struct rate_sample *rs = (void *)arguments[1]; if (rs) seen = rs->losses;",
    ),
    "through, dead by a constant": (
        "BODY=if (off) seen = ((const struct rate_sample *)arguments[1])->losses;",
    ),
    "written through": ("BODY=((struct rate_sample *)arguments[1])->losses = 1;",),
    "through in a subprogram": ("IN_SUBPROGRAM", "BODY=seen = losses((void *)arguments[1]);"),
    "right in a subprogram": ("IN_SUBPROGRAM", "BODY=seen = losses((void *)arguments[3]);"),
    "no such helper": ("BODY=no_helper();",),
    "no such helper, dead": ("BODY=if (off) no_helper();",),
    "no such helper, asked by a global": ("BODY=if (unknown) no_helper();",),
    "no such helper, in a global function": ("IN_GLOBAL", "BODY=if (unknown) seen = poisoned(1);"),
    "poison": ("BODY=seen = ((struct tcp_sock___never *)arguments[0])->in_no_kernel;",),
    "poison, asked for": (
        "BODY=struct tcp_sock___never *n = (void *)arguments[0]; if (__builtin_preserve_field_info(n->in_no_kernel, 2)) seen = n->in_no_kernel;",
    ),
    "poison, by a global": ("BODY=if (unknown) seen = ((struct tcp_sock___never *)arguments[0])->in_no_kernel;",),
    "in a loop": (
        "BODY=for (u32 i = 0; i < 4; i++) { seen += i; unknown++; } seen = arguments[4];",
    ),
    "on the stack": (
        "BODY=u64 kept[2] = {arguments[1], arguments[3]}; OPAQUE(kept); seen = ((const struct rate_sample *)kept[0])->losses;",
    ),
    "context written": ("BODY=arguments[1] = 7;",),
    "context written, dead by a constant": ("BODY=if (off) arguments[1] = 7;",),
    "context counted up": ("BODY=__sync_fetch_and_add(&arguments[1], 1);",),
    "half a pointer": ("BODY=seen = *(volatile u32 *)arguments;",),
    "half a number": ("BODY=seen = *(volatile u32 *)&arguments[1];",),
    "a byte of a number": ("BODY=seen = *(volatile unsigned char *)&arguments[1];",),
    "the upper half of a number": ("BODY=seen = ((volatile u32 *)arguments)[3];",),
    "beyond a struct": ("BODY=seen = *(volatile u32 *)((char *)arguments[3] + 4096);",),
    "before a struct": ("BODY=seen = *(volatile u32 *)((char *)arguments[3] - 8);",),
    "beyond a struct, dead by a constant": ("BODY=if (off) seen = *(volatile u32 *)((char *)arguments[3] + 4096);",),
    "beyond a socket, within a TCP socket": ("BODY=seen = *(volatile u32 *)((char *)arguments[0] + AFTER_SOCK);",),
    "beyond a TCP socket": ("BODY=seen = *(volatile u32 *)((char *)arguments[0] + 30000);",),
    "helper of other programs": ("BODY=seen = !((void *(*)(void *))96)((void *)arguments[0]);",),
    "helper of other programs, dead by a constant": ("BODY=if (off) seen = !((void *(*)(void *))96)((void *)arguments[0]);",),
    "helper that only new kernels allow": ("BODY=char comm[16] = {}; ((long (*)(void *, u32))16)(comm, 16);",),
    "helper that no kernel allows yet": ("BODY=seen = (u32)((u64 (*)(void *))46)((void *)arguments[0]);",),
    "helper that is its own": ("BODY=((long (*)(void *, u32))116)((void *)arguments[0], 7);",),
    "nothing returned": ("RETURNS=void", 'SSTHRESH=SEC("struct_ops/ssthresh") void t_ssthresh(u64 *arguments) { }'),
    "typed, unread": ('SSTHRESH=SEC("struct_ops/ssthresh") u32 t_ssthresh(struct sock *sk) { return 2; }',),
    "typed, read": ('SSTHRESH=SEC("struct_ops/ssthresh") u32 t_ssthresh(struct sock *sk) { return sk->sk_mark; }',),
    "other return": ("RETURNS=u64", 'SSTHRESH=SEC("struct_ops/ssthresh") u64 t_ssthresh(u64 *arguments) { return 2; }'),
}  # fmt: skip


BY_THE_SECOND = ("written through",)
"""Uses of the second argument that only the verifier refuses before 6.10: it is a pointer."""
BY_BOUNDS = ("beyond, never by an argument",)
"""The bounds of a number make these uses dead code, and only the verifier knows them."""

UNTIL_6_13 = ("half a pointer", "half a number", "a byte of a number")
"""Kernels before 6.13 refuse these uses only with a fix that BTF does not show."""

SOCKET = "struct sock *sk = (void *)arguments[0];"
REACH: dict[str, tuple[str, ...]] = {
    "never: constant": ("BODY=if (off) bad();",),
    "sure: constant": ("BODY=if (on) bad();",),
    "never: global function, called in dead code": ("BODY=if (off) seen = global(1);",),
    "never: global function, called by one that is called": ("BODY=seen = first_of_two(1);",),
    "sure: global function": ("BODY=if (unknown) seen = global(1);",),
    "never: what the kernel has is there": (f"BODY={SOCKET} if (!EXISTS(tcp_reno_ssthresh)) bad(); else seen = tcp_reno_ssthresh(sk);",),
    "never: what the kernel lacks is not there": (f"BODY={SOCKET} if (EXISTS(t_in_no_kernel_function)) seen = t_in_no_kernel_function(sk);",),
    "sure: what the kernel lacks": (f"BODY={SOCKET} seen = t_in_no_kernel_function(sk);",),
    "sure: other branch of what the kernel lacks": ("BODY=if (!EXISTS(t_in_no_kernel_function)) bad();",),
    "never: field": (f"BODY={SOCKET} if (!FIELD_EXISTS(sk->sk_mark)) bad();",),
    "sure: field": (f"BODY={SOCKET} if (FIELD_EXISTS(sk->sk_mark)) bad();",),
    "never: type": ("BODY=if (TYPE_EXISTS(struct t_in_no_kernel)) bad();",),
    "never: other branch of a type": ("BODY=if (!TYPE_EXISTS(struct sock)) bad();",),
    "never: by a function's result": ("BODY=if (has_field((void *)arguments[0])) bad();",),
    "sure: by a function's result": ("BODY=if (!has_field((void *)arguments[0])) bad();",),
    "never: by a function of a constant": ("BODY=if (one_way(3)) bad();",),
    "sure: behind a branch that meets again": ("BODY=u32 n = unknown; UNKNOWN(n); if (n & 1) seen = n; else other = n; bad();",),
    "sure: behind a loop": ("BODY=u32 n = unknown & 3; for (u32 i = 0; i < n; i++) { UNKNOWN(i); seen += i; } bad();",),
    "sure: by a global": ("BODY=if (unknown == 7) bad();",),
    "sure: by two globals": ("BODY=if (unknown == 7 && other > 3) bad();",),
    "perhaps: copy of what was compared": ("BODY=COMPARED_TWICE",),
    "perhaps: two that exclude each other": ("BODY=ONE_OF_TWO if (a == 5) { if (b == 5) bad(); }",),
    "perhaps: body of a loop": ("BODY=loop(4, body_of_loop, (void *)0, 0);",),
    "never: version": ("KCONFIG", "BODY=if (LINUX_KERNEL_VERSION < VERSION(5, 6)) bad();"),
    "sure: version": ("KCONFIG", "BODY=if (LINUX_KERNEL_VERSION >= VERSION(5, 6)) bad();"),
    "never: option": ("KCONFIG", "BODY=if (CONFIG_T_IN_NO_KERNEL) bad();"),
}  # fmt: skip
"""Bad code that the verifier reaches always, never, or depending on its bounds."""


LOOK_UP = "BODY=u32 key = 0; seen = !look_up(&map, &key);"
KEY_AND_VALUE = "NUMBER(key_size, 4) NUMBER(value_size, 8)"
MAPS = {
    "map: sound": f"NUMBER(type, 2) {KEY_AND_VALUE} NUMBER(max_entries, 1)",
    "map: array without entries": f"NUMBER(type, 2) {KEY_AND_VALUE}",
    "map: array by a long key": "NUMBER(type, 2) NUMBER(key_size, 8) NUMBER(value_size, 8) NUMBER(max_entries, 1)",
    "map: hash without a value": "NUMBER(type, 1) NUMBER(key_size, 4) NUMBER(max_entries, 1)",
    "map: trie that is preallocated": "NUMBER(type, 11) NUMBER(key_size, 8) NUMBER(value_size, 8) NUMBER(max_entries, 1)",
    "map: flag of another type": f"NUMBER(type, 1) {KEY_AND_VALUE} NUMBER(max_entries, 1) NUMBER(map_flags, 1024)",
}
"""Definitions of a map; only the kernel can judge the last one."""


def compiled(source: str, macros: tuple[str, ...]) -> ObjectSpec:
    data = compile_object(OBJECTS / source, flags=(*FLAGS, *(f"-D{macro}" for macro in macros)))
    return read_object(data, source.replace(".c", ".o"))


def bundled() -> Iterator[Variant]:
    """Yield the objects of the package."""
    for name in bundled_objects():
        yield Variant(name, partial(open_object, name))


def of_live_ops() -> Iterator[Variant]:
    """Yield ``live_ops`` with each macro that may change the result, and with odd names."""
    for macros in LIVE_OPS:
        make = partial(compiled, "live_ops.bpf.c", macros)
        yield Variant(f"live_ops {' '.join(macros)}", make)
    for name in NAMES:
        yield Variant(f"named {name!r}", partial(compiled, "live_ops.bpf.c", (f'NAME="{name}"',)))
    yield Variant("refused write", partial(compiled, "live_ops.bpf.c", ("REFUSED_WRITE",)), verifier=True)


def of_arguments() -> Iterator[Variant]:
    """Yield objects that use their arguments in different ways."""
    pointer, tells = _second_is_a_pointer(), refuses_narrow_pointers(live_kernel().vmlinux)
    for label, macros in ARGUMENTS.items():
        make = partial(compiled, "check_arguments.bpf.c", macros)
        unknown = label in BY_BOUNDS or (label in UNTIL_6_13 and not tells)
        yield Variant(label, make, verifier=pointer and label in BY_THE_SECOND, unknown=unknown)


def of_reach() -> Iterator[Variant]:
    """Yield objects with bad code in different places, and with different maps."""
    for label, macros in REACH.items():
        make = partial(compiled, "check_reach.bpf.c", macros)
        yield Variant(label, make, unknown=label.startswith("perhaps"))
    for label, definition in MAPS.items():
        yield Variant(label, partial(compiled, "check_reach.bpf.c", (f"MAP={definition}", LOOK_UP)))


def _second_is_a_pointer() -> bool:
    """Tell whether cong_control takes a socket and a rate sample only, as before 6.10."""
    vmlinux = live_kernel().vmlinux
    type_id = vmlinux.find("tcp_congestion_ops", BtfKind.STRUCT)
    struct = vmlinux.type(type_id) if type_id is not None else None
    assert isinstance(struct, Struct)
    pointer = vmlinux.type(next(one.type for one in struct.members if one.name == "cong_control"))
    assert isinstance(pointer, Ptr)
    proto = vmlinux.type(pointer.type)
    assert isinstance(proto, FuncProto)
    return len(proto.params) == 2


def of_sources() -> Iterator[Variant]:
    """Yield every source of the tests, compiled without macros."""
    for source in SOURCES:
        yield Variant(source, partial(compiled, source, ()))


# Mutations of the local struct


def mutations() -> Iterator[Variant]:
    """Yield a sound object with one mutation of one member of its struct."""
    spec = read_object(live_ops(), "live_ops.bpf.o")
    struct = spec.btf.type(spec.struct_ops[0].type_id)
    assert isinstance(struct, Struct)
    for place, member in enumerate(struct.members):
        for label, mutate in MUTATIONS.items():
            changed = mutate(spec, place)
            if changed is not None:
                yield Variant(f"{member.name}: {label}", partial(_same, changed))


def _same(spec: ObjectSpec) -> ObjectSpec:
    return spec


def _variable(spec: ObjectSpec, **changes: object) -> ObjectSpec:
    (variable,) = spec.struct_ops
    return spec._replace(struct_ops=(variable._replace(**changes),))  # type: ignore[arg-type]


def _rebuilt(spec: ObjectSpec, struct: Struct, more: tuple[BtfType, ...] = ()) -> ObjectSpec:
    """Return the object with another local struct, and with ``more`` types at the end."""
    types = [struct if one.id == struct.id else one for one in spec.btf.types()]
    # line_info refers to its text by an offset in the strings, which are encoded anew
    functions = tuple(one._replace(line_info=()) for one in spec.functions)
    return spec._replace(functions=functions, btf=Btf(encode([*types, *more]), origin=spec.name))


def _struct(spec: ObjectSpec) -> Struct:
    struct = spec.btf.type(spec.struct_ops[0].type_id)
    assert isinstance(struct, Struct)
    return struct


def _with_member(spec: ObjectSpec, place: int, member: Member, *more: BtfType) -> ObjectSpec:
    struct = _struct(spec)
    members = (*struct.members[:place], member, *struct.members[place + 1 :])
    return _rebuilt(spec, struct._replace(members=members), more)


def _start(spec: ObjectSpec, place: int) -> int:
    return _struct(spec).members[place].bit_offset // 8


def _renamed(spec: ObjectSpec, place: int) -> ObjectSpec:
    return _with_member(spec, place, _struct(spec).members[place]._replace(name="t_unknown"))


def _emptied(spec: ObjectSpec, place: int) -> ObjectSpec | None:
    start = _start(spec, place)
    left = tuple(one for one in spec.struct_ops[0].functions if one.offset_bytes != start)
    return _variable(spec, functions=left) if len(left) != len(spec.struct_ops[0].functions) else None


def _moved_program(spec: ObjectSpec, place: int) -> ObjectSpec | None:
    """Put the program of another member here."""
    start, functions = _start(spec, place), spec.struct_ops[0].functions
    if all(one.offset_bytes != start for one in functions):
        return None
    other = next(one.function for one in functions if one.offset_bytes != start)
    return _variable(
        spec,
        functions=tuple(
            MemberFunction(start, other) if one.offset_bytes == start else one for one in functions
        ),
    )


def _swapped_names(spec: ObjectSpec, place: int) -> ObjectSpec | None:
    """Exchange the names of two neighbours, which contradicts the object's data."""
    struct = _struct(spec)
    if place + 1 >= len(struct.members):
        return None
    one, two = struct.members[place : place + 2]
    members = (*struct.members[:place], one._replace(name=two.name), two._replace(name=one.name))
    return _rebuilt(spec, struct._replace(members=(*members, *struct.members[place + 2 :])))


def _swapped_places(spec: ObjectSpec, place: int) -> ObjectSpec | None:
    """Exchange two neighbouring pointers and their programs: the kernel sees no difference."""
    struct, functions = _struct(spec), spec.struct_ops[0].functions
    if place + 1 >= len(struct.members) or any(
        not isinstance(spec.btf.type(one.type), Ptr) for one in struct.members[place : place + 2]
    ):
        return None
    one, two = struct.members[place : place + 2]
    members = (
        *struct.members[:place],
        two._replace(bit_offset=one.bit_offset),
        one._replace(bit_offset=two.bit_offset),
        *struct.members[place + 2 :],
    )
    to = {one.bit_offset // 8: two.bit_offset // 8, two.bit_offset // 8: one.bit_offset // 8}
    moved = tuple(
        sorted(
            MemberFunction(to.get(item.offset_bytes, item.offset_bytes), item.function) for item in functions
        )
    )
    return _variable(_rebuilt(spec, struct._replace(members=members)), functions=moved)


def _as_integer(spec: ObjectSpec, place: int) -> ObjectSpec:
    """Make the member an integer of 8 bytes."""
    last = spec.btf.end_id
    member = _struct(spec).members[place]._replace(type=last)
    return _with_member(spec, place, member, Int(last, "t_word", 8, 0, 0, 64))


def _shorter(spec: ObjectSpec, place: int) -> ObjectSpec:
    last = spec.btf.end_id
    member = _struct(spec).members[place]._replace(type=last)
    return _with_member(spec, place, member, Int(last, "t_byte", 1, 0, 0, 8))


def _another_prototype(spec: ObjectSpec, place: int) -> ObjectSpec | None:
    """Let the member take three integers and return one."""
    member = _struct(spec).members[place]
    if not isinstance(spec.btf.type(member.type), Ptr):
        return None
    last = spec.btf.end_id
    number = Int(last, "t_short", 2, 0, 0, 16)
    proto = FuncProto(last + 1, last, tuple(Param(f"a{at}", last) for at in range(3)))
    return _with_member(spec, place, member._replace(type=last + 2), number, proto, Ptr(last + 2, last + 1))


def _set(spec: ObjectSpec, place: int) -> ObjectSpec | None:
    """Set the member to non-zero data; return None if it has a program."""
    variable, start = spec.struct_ops[0], _start(spec, place)
    if any(one.offset_bytes == start for one in variable.functions):
        return None
    # every kernel knows this bit of flags
    value = b"\1\0\0\0" if _struct(spec).members[place].name == "flags" else b"\1" * 8
    return _variable(spec, data=variable.data[:start] + value + variable.data[start + len(value) :])


MUTATIONS: dict[str, Callable[[ObjectSpec, int], ObjectSpec | None]] = {
    "unknown to the kernel": _renamed,
    "without its program": _emptied,
    "with another's program": _moved_program,
    "named as its neighbour": _swapped_names,
    "in its neighbour's place": _swapped_places,
    "an integer": _as_integer,
    "a byte": _shorter,
    "of another prototype": _another_prototype,
    "set": _set,
}


SORTS: dict[str, Callable[[], Iterator[Variant]]] = {
    "bundled": bundled,
    "live_ops": of_live_ops,
    "arguments": of_arguments,
    "reach": of_reach,
    "sources": of_sources,
    "mutations": mutations,
}
"""The generators of variants by name."""
