"""Provoke every rule of the model on the running kernel.

A row has the operation, errno, rule, member, and the sentence that a user reads. The
kernel refuses the last operation of its sequence. A row waits for the features of its
rule, or for a kernel that lacks one. ``ELSEWHERE`` has the rules that no kernel of
``make vmtest`` shows: only ``tests/unit/struct_ops/rules/`` tests the model for them.
"""

from __future__ import annotations

from errno import E2BIG, EACCES, EBADF, EBUSY, EEXIST, EINPROGRESS, EINVAL, ENOENT, ENOLINK, EOPNOTSUPP, EPERM
from functools import cache
from typing import NamedTuple

import pytest

from structops_cli.errors import ENOTSUPP, errno_name
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.runtime.kernel import live_kernel
from structops_cli.runtime.probes import flag_masks
from structops_cli.struct_ops.capabilities import capabilities_of
from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.rules.diagnose import ALL_RULES
from structops_cli.struct_ops.rules.model import Model, ProgramFacts, World
from structops_cli.struct_ops.rules.step import step
from tests.kernel_features import (
    DUMMY_OPS,
    FEW_REQUIRED,
    KERNEL_BTF,
    LINK_DETACH,
    LINKS,
    SLEEPABLE,
    Feature,
    require,
    require_absence,
)
from tests.live.model_kernel import CLOSED, ModelKernel, Pool, model_pool
from tests.live.model_operations import DUMMY, TCP, Speaker, Words

# No row changes these, so they are read once.
kernel = cache(live_kernel)
capabilities = cache(lambda: capabilities_of(kernel()))
masks = cache(lambda: flag_masks(find_type(kernel(), TCP)))


class Row(NamedTuple):
    """One way to break one rule. ``why`` has PREFIX for the test's name, ID for a program."""

    operation: str
    errno: int
    rule: str
    member: str
    why: str
    sequence: tuple[Words, ...]


def made(*, link: bool = False, type_name: str = TCP, handle: str = "m0") -> Words:
    return ("create", handle, type_name, link, ())


def attribute(name: str, value: object) -> tuple[Words, ...]:
    return (("create", "m0", TCP, False, ((name, value),)),)


def updated(*mutations: Words, name: str = "a", key: int = 0, flags: int = 0, handle: str = "m0") -> Words:
    return ("update", handle, "least", name, mutations, key, flags)


def update(*mutations: Words, **more: object) -> tuple[Words, ...]:
    return (made(), updated(*mutations, **more))  # type: ignore[arg-type]  # name, key, flags


def two_ready(second: str = "a") -> tuple[Words, ...]:
    """Set two link maps; the first has a link."""
    return (
        made(link=True),
        made(link=True, handle="m1"),
        updated(),
        updated(handle="m1", name=second),
        ("link", "l0", "m0", 0),
    )


CREATE, UPDATE, LOOKUP, DELETE = "MAP_CREATE", "MAP_UPDATE_ELEM", "MAP_LOOKUP_ELEM", "MAP_DELETE_ELEM"
NEXT, FREEZE, LINK, RELINK, DETACH = (
    "MAP_GET_NEXT_KEY",
    "MAP_FREEZE",
    "LINK_CREATE",
    "LINK_UPDATE",
    "LINK_DETACH",
)
LOAD, RUN = "PROG_LOAD", "PROG_TEST_RUN"
NOT_OPEN = "the map is not open"

ROWS = (
    Row(CREATE, EINVAL, "no-other-types", "", "btf_key_type_id or btf_value_type_id is set beside "
        "btf_vmlinux_value_type_id", attribute("btf_value_type_id", 1)),
    Row(CREATE, EINVAL, "no-extra", "", "map_extra is set, and a struct_ops map has none", attribute("map_extra", 1)),
    Row(CREATE, EINVAL, "key-size", "", "key_size is 8", attribute("key_size", 8)),
    Row(CREATE, EINVAL, "one-entry", "", "max_entries is 2", attribute("max_entries", 2)),
    Row(CREATE, EINVAL, "known-flags", "", "map_flags 0x400 has a bit that this kernel does not take for a struct_ops map",
        attribute("map_flags", 1 << 10)),
    Row(CREATE, EINVAL, "value-type-given", "", "btf_vmlinux_value_type_id is 0",
        attribute("btf_vmlinux_value_type_id", 0)),
    Row(CREATE, EBADF, "module-fd-open", "", f"value_type_btf_obj_fd {CLOSED} is no open fd",
        attribute("module", "closed")),
    Row(CREATE, EINVAL, "module-btf", "", "value_type_btf_obj_fd is not the BTF of a module",
        attribute("module", "vmlinux")),
    Row(CREATE, ENOTSUPP, "type-registered", "", "the kernel's BTF has the type, but no subsystem registered it as a "
        "struct_ops type", attribute("btf_vmlinux_value_type_id", -1)),
    Row(CREATE, EINVAL, "value-size", "", "value_size is 1, and the kernel's value has SIZE bytes",
        attribute("value_size", 1)),
    Row(CREATE, EBADF, "btf-fd-open", "", f"btf_fd {CLOSED} is no open fd", attribute("btf", "closed")),
    Row(CREATE, EINVAL, "btf-fd-kind", "", "btf_fd FD is no BTF object", attribute("btf", "array")),
    Row(CREATE, EACCES, "btf-not-kernels", "", "btf_fd is the kernel's own BTF", attribute("btf", "vmlinux")),
    Row(UPDATE, EBADF, "map-open", "", NOT_OPEN, (made(), updated(handle="closed"))),
    Row(UPDATE, EINVAL, "flags-zero", "", "the call's flags are 1, and a struct_ops map takes none", update(flags=1)),
    Row(UPDATE, E2BIG, "key-zero", "", "the key is not 0", update(key=1)),
    Row(UPDATE, EINVAL, "value-hole", "", "byte 8 of the value is padding of struct "
        "bpf_struct_ops_tcp_congestion_ops and not zero", update(("hole", "value", 0, 1))),
    Row(UPDATE, EINVAL, "struct-hole", "", "byte HOLE of struct tcp_congestion_ops is padding and not zero",
        update(("hole", "struct", 0, 1))),
    Row(UPDATE, EINVAL, "own-fields-zero", "", "state and refcnt are the kernel's own: an update has to leave them 0",
        update(("own", "state", 1))),
    Row(UPDATE, EBUSY, "used-before", "", "this map was registered before, and a struct_ops map is good for one "
        "registration", (*update(), ("delete", "m0", 0), updated())),
    Row(UPDATE, EOPNOTSUPP, "test-type", "", "the subsystem does not register this type: it exists for test runs",
        (made(type_name=DUMMY), updated())),
    Row(UPDATE, 0, "owner-zero", "owner", "owner is not zero: the kernel takes that for an answer, forgets the whole "
        "value and reports success", update(("data", "owner", 1))),
    Row(UPDATE, EINVAL, "reserved-zero", "key", "key is not zero, and the kernel fills it itself",
        update(("data", "key", 1))),
    Row(UPDATE, EINVAL, "flags-known", "flags", "flags has bits that this kernel may not know: 0x80000000",
        update(("data", "flags", 1 << 31 | 3))),
    Row(UPDATE, EINVAL, "name-given", "name", "name is empty", update(name="!empty")),
    Row(UPDATE, EINVAL, "name-characters", "name", "name 'a/b' has a character that the kernel refuses",
        update(name="!slash")),
    Row(UPDATE, EINVAL, "name-length", "name", "name has no room for its NUL", update(name="!full")),
    Row(UPDATE, EBADF, "fd-open", "ssthresh", f"ssthresh holds {CLOSED}, which is no open fd",
        update(("program", "ssthresh", ("closed",)))),
    Row(UPDATE, EINVAL, "fd-program", "ssthresh", "ssthresh holds fd FD, which is no program",
        update(("program", "ssthresh", ("array",)))),
    Row(UPDATE, EINVAL, "program-type", "ssthresh", "the program of ssthresh (program ID) is of another type than "
        "BPF_PROG_TYPE_STRUCT_OPS", update(("program", "ssthresh", ("filter",)))),
    Row(UPDATE, EINVAL, "program-struct", "ssthresh", "the program of ssthresh (program ID) was loaded for another "
        "struct than tcp_congestion_ops", update(("program", "ssthresh", ("of", DUMMY, "test_1")))),
    Row(UPDATE, EINVAL, "program-member", "undo_cwnd", "the program of undo_cwnd (program ID) was loaded for ssthresh",
        update(("program", "undo_cwnd", ("of", TCP, "ssthresh")))),
    Row(UPDATE, EINVAL, "required", "undo_cwnd", "the required member undo_cwnd has no program",
        update(("program", "undo_cwnd", ("none",)))),
    Row(UPDATE, EINVAL, "either", "", "one of cong_avoid or cong_control must have a program",
        update(("program", "cong_avoid", ("none",)), ("program", "cong_control", ("none",)))),
    Row(UPDATE, EEXIST, "name-taken", "", "the name is taken by something that is registered", update(name="!taken")),
    Row(LOOKUP, EBADF, "map-open", "", NOT_OPEN, (made(), ("lookup", "closed", 0))),
    Row(LOOKUP, ENOENT, "key-zero", "", "the key is not 0", (made(), ("lookup", "m0", 1))),
    Row(NEXT, EBADF, "map-open", "", NOT_OPEN, (made(), ("next", "closed", 1))),
    Row(NEXT, ENOENT, "last-key", "", "0 is the last key", (made(), ("next", "m0", 0))),
    Row(DELETE, EBADF, "map-open", "", NOT_OPEN, (made(), ("delete", "closed", 0))),
    Row(DELETE, EOPNOTSUPP, "link-map", "", "a link map is unregistered through its link, not by deleting its value",
        (made(link=True), ("delete", "m0", 0))),
    Row(DELETE, EINPROGRESS, "unregistered-already", "", "it is unregistered already, and a socket, a default, a pin or "
        "an open fd still holds it", (*update(), ("delete", "m0", 0), ("delete", "m0", 0))),
    Row(DELETE, ENOENT, "never-registered", "", "nothing was ever registered through this map",
        (made(), ("delete", "m0", 0))),
    Row(FREEZE, EBADF, "map-open", "", NOT_OPEN, (made(), ("freeze", "closed"))),
    Row(FREEZE, ENOTSUPP, "never-frozen", "", "a struct_ops map cannot be frozen", (made(), ("freeze", "m0"))),
    Row(LINK, EBADF, "map-open", "", NOT_OPEN, (made(), ("link", "l0", "closed", 0))),
    Row(LINK, EINVAL, "no-link-map", "", "the map is no link map: it was created without BPF_F_LINK",
        (*update(), ("link", "l0", "m0", 0))),
    Row(LINK, EINVAL, "not-ready", "", "the map has no value yet", (made(link=True), ("link", "l0", "m0", 0))),
    Row(LINK, EEXIST, "name-taken", "", "the name is taken by something that is registered",
        (*two_ready(), ("link", "l1", "m1", 0))),
    Row(RELINK, EINVAL, "known-flags", "", "flags 0x1 has a bit that LINK_UPDATE does not take",
        (*two_ready(), ("relink", "l0", "m1", None, 1))),
    Row(RELINK, EBADF, "link-open", "", "the link is not open", (*two_ready(), ("relink", "l1", "m1", None, None))),
    Row(RELINK, EBADF, "map-open", "", "the new map is not open",
        (*two_ready(), ("relink", "l0", "closed", None, None))),
    Row(RELINK, EBADF, "old-map-open", "", "old_map_fd is not open, and BPF_F_REPLACE asks for it",
        (*two_ready(), ("relink", "l0", "m1", "closed", None))),
    Row(RELINK, EINVAL, "old-map-given", "", "BPF_F_REPLACE asks for old_map_fd, and 0 is the fd of something that is "
        "no map", (*two_ready(), ("relink", "l0", "m1", None, 4))),
    Row(RELINK, EINVAL, "replace-flag", "", "old_map_fd is given without BPF_F_REPLACE",
        (*two_ready(), ("relink", "l0", "m1", "m0", 0))),
    Row(RELINK, EINVAL, "no-link-map", "", "the new map is no link map: it was created without BPF_F_LINK",
        (*two_ready(), made(handle="m2"), ("relink", "l0", "m2", None, None))),
    Row(RELINK, EINVAL, "not-ready", "", "the new map has no value yet",
        (*two_ready(), made(handle="m2", link=True), ("relink", "l0", "m2", None, None))),
    Row(RELINK, ENOLINK, "detached", "", "the link is detached",
        (*two_ready(), ("detach", "l0"), ("relink", "l0", "m1", None, None))),
    Row(RELINK, EPERM, "expected-map", "", "the map behind the link is not old_map_fd's",
        (*two_ready(), ("relink", "l0", "m1", "m1", None))),
    Row(RELINK, EINVAL, "same-name", "", "the new map is named PREFIXb, and the registered one PREFIXa",
        (*two_ready("b"), ("relink", "l0", "m1", None, None))),
    Row(DETACH, EBADF, "link-open", "", "the link is not open", (made(), ("detach", "l0"))),
    Row(LOAD, EINVAL, "licence", "", "struct_ops programs need a GPL-compatible licence, and the object's is 'Proprietary'", (("load", TCP, "own", "ssthresh", False, False),)),
    Row(LOAD, ENOTSUPP, "type-registered", "", "attach_btf_id 1 is no struct_ops type of this kernel",
        (("load", TCP, 1, "ssthresh", True, False),)),
    Row(LOAD, EINVAL, "member-index", "", "expected_attach_type 99 is no member of struct tcp_congestion_ops, which has "
        "COUNT", (("load", TCP, "own", 99, True, False),)),
    Row(LOAD, EINVAL, "member-function", "name", "name is no pointer to a function",
        (("load", TCP, "own", "name", True, False),)),
    Row(LOAD, ENOTSUPP, "member-supported", "get_info", "no program may implement get_info",
        (("load", TCP, "own", "get_info", True, False),)),
    Row(LOAD, EINVAL, "member-sleepable", "test_1", "test_1 may not sleep; these may: test_sleepable",
        (("load", DUMMY, "own", "test_1", True, True),)),
    Row(RUN, EOPNOTSUPP, "test-type", "", "only bpf_dummy_ops programs can be run on their own",
        (("run", TCP, "ssthresh", 1),)),
    Row(RUN, EINVAL, "context-size", "test_2", "test_2 takes 5 arguments, and 2 were given", (("run", DUMMY, "test_2", 2),)),
)  # fmt: skip

MODULE_TYPES = Feature("struct_ops of modules", (6, 9), lambda: capabilities().module_types)
PADDING = Feature("padding in tcp_congestion_ops", (5, 14), lambda: bool(_holes()))

EARLY_ROWS = (
    (LINKS, Row(CREATE, EINVAL, "no-links-here", "", "this kernel has no struct_ops links, they came with 6.4",
                (made(link=True),))),
    (LINKS, Row(UPDATE, EEXIST, "name-taken-early", "name", "the name is taken by something that is registered",
                update(name="!taken"))),
    (LINKS, Row(LINK, EINVAL, "no-links-here", "", "this kernel has no struct_ops links, they came with 6.4",
                (*update(), ("link", "l0", "m0", 0)))),
    (FEW_REQUIRED, Row(UPDATE, EINVAL, "required-early", "cong_avoid", "cong_avoid has no program, and this kernel "
                       "requires every function that is not optional", update(("program", "cong_avoid", ("none",))))),
    (DUMMY_OPS, Row(RUN, ENOTSUPP, "no-test-runs", "", "this kernel runs no struct_ops program on its own, "
                    "bpf_dummy_ops came with 5.17", (("run", TCP, "ssthresh", 1),))),
    (SLEEPABLE, Row(LOAD, EINVAL, "sleepable-here", "", "struct_ops programs of this kernel may not sleep, they may "
                    "since 6.3", (("load", TCP, "own", "ssthresh", True, True),))),
)  # fmt: skip
"""Answers of kernels that lack a feature; only those kernels run these rows."""

SCHED_EXT = "6.12 and later with CONFIG_SCHED_CLASS_EXT"
ELSEWHERE = {
    (CREATE, "capable"): "any, without capabilities: tests/live/test_privileges.py",
    (UPDATE, "data-zero"): "6.11 and later with HID-BPF, 6.16 and later with a Qdisc_ops that sets one",
    (UPDATE, "at-most"): SCHED_EXT,
    (UPDATE, "at-least"): "7.3 and later with CONFIG_SCHED_CLASS_EXT: tests/live/test_kinds.py",
    (
        UPDATE,
        "required-to-register",
    ): "7.1 and later with CONFIG_IO_URING_BPF_OPS: tests/live/test_io_uring.py",
    (LINK, "required-to-register"): "7.1 and later with CONFIG_IO_URING_BPF_OPS: tests/live/test_io_uring.py",
    (
        "PROG_LOAD",
        "member-index-confused",
    ): "7.3, with a type of sixty members: tests/live/test_module_type.py",
    (UPDATE, "trampoline-pages"): "none: no type has so many functions that eight pages are not enough",
    (UPDATE, "one-at-a-time"): SCHED_EXT,
    (LINK, "one-at-a-time"): SCHED_EXT,
    (RELINK, "replaceable"): SCHED_EXT,
    (RELINK, "same-type"): "any with a second type that registers: " + SCHED_EXT,
    (DETACH, "detachable"): "6.4 to 6.10",
}
"""Each (operation, rule) that no Debian kernel from 5.10 on shows, and a place that would."""


WAITS = {
    (CREATE, "module-fd-open"): MODULE_TYPES, (CREATE, "module-btf"): MODULE_TYPES,
    (CREATE, "btf-not-kernels"): KERNEL_BTF,
    (UPDATE, "struct-hole"): PADDING, (UPDATE, "program-struct"): DUMMY_OPS, (UPDATE, "required"): FEW_REQUIRED,
    (UPDATE, "either"): FEW_REQUIRED, (UPDATE, "name-taken"): LINKS, (DELETE, "link-map"): LINKS,
    (LINK, "no-link-map"): LINKS, (RELINK, "detached"): LINK_DETACH, (DETACH, "link-open"): LINKS,
    (LOAD, "member-sleepable"): SLEEPABLE,
}  # fmt: skip
"""Rules that older kernels lack; rows with links or bpf_dummy_ops wait for these, too."""


def features(row: Row) -> set[Feature]:
    """Return the features that a row waits for."""
    links = any(
        words[0] in ("link", "relink") or (words[0] == "create" and words[3]) for words in row.sequence
    )
    dummy = any(DUMMY in words for words in row.sequence)
    found = {
        WAITS.get((row.operation, row.rule)),
        LINKS if links else None,
        DUMMY_OPS if dummy or row.operation == RUN else None,
    }
    return {feature for feature in found if feature}


def label(row: Row) -> str:
    return f"{row.operation}-{errno_name(row.errno)}-{row.rule}"


@pytest.mark.parametrize("row", ROWS, ids=label)
def test_a_row(row: Row, name: str) -> None:
    for feature in features(row):
        require(feature)
    with model_pool(kernel()) as pool:
        _hold(row, pool, name)


@pytest.mark.parametrize(("feature", "row"), [pytest.param(*item, id=label(item[1])) for item in EARLY_ROWS])
def test_a_row_of_a_kernel_without(feature: Feature, row: Row, name: str) -> None:
    require_absence(feature)
    with model_pool(kernel()) as pool:
        _hold(row, pool, name)


def _hold(row: Row, pool: Pool, name: str) -> None:
    available = read_congestion_controls().available
    taken = frozenset((TCP, word) for word in available)
    world = World(capabilities(), pool.fds, taken, flag_masks=masks())
    speaker, running, model = Speaker(pool, name, available[0]), ModelKernel(pool), Model()
    try:
        for words in row.sequence:
            operation = speaker.operation(words, model)
            assert operation is not None
            model, answer = step(model, operation, world)
            assert running.apply(operation) == (answer.errno, answer.result, answer.value), words
    finally:
        running.close()
    assert (answer.operation, errno_name(answer.errno), answer.rule, answer.member) == (
        row.operation,
        errno_name(row.errno),
        row.rule,
        row.member,
    )
    assert _without_numbers(answer.why, pool) == row.why.replace("PREFIX", name)
    assert answer.hint


def _without_numbers(why: str, pool: Pool) -> str:
    """Replace the numbers of one run and one kernel by words."""
    tcp = pool.types[TCP]
    for number, word in (
        (f"the kernel's value has {tcp.value.size_bytes} bytes", "the kernel's value has SIZE bytes"),
        (f"fd {pool.array.fileno()},", "fd FD,"),
        (f"btf_fd {pool.array.fileno()} ", "btf_fd FD "),
        (f"which has {len(tcp.members)}", "which has COUNT"),
        *((f"byte {at} of struct tcp", "byte HOLE of struct tcp") for at in _holes()[:1]),
    ):
        why = why.replace(number, word)
    for facts in pool.fds.values():
        if isinstance(facts, ProgramFacts):
            why = why.replace(f"(program {facts.id})", "(program ID)")
    return why


def _holes() -> list[int]:
    """Return the offsets of the padding in struct tcp_congestion_ops."""
    tcp = find_type(kernel(), TCP)
    used = {
        at for item in tcp.members for at in range(item.offset_bytes, item.offset_bytes + item.size_bytes)
    }
    return [at for at in range(tcp.struct.size_bytes) if at not in used]


def test_every_rule_is_shown_or_said_to_be_shown_elsewhere() -> None:
    known = {(rule.operation, rule.name) for rule in ALL_RULES}
    shown = {(row.operation, row.rule) for row in (*ROWS, *(row for _, row in EARLY_ROWS))}
    assert shown | ELSEWHERE.keys() == known
    assert not shown & ELSEWHERE.keys()
