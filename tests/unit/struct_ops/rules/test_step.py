"""The model of the kernel's rules on kernels of other shapes, which the running one cannot show."""

from __future__ import annotations

import struct
from errno import E2BIG, EACCES, EBADF, EBUSY, EEXIST, EINPROGRESS, EINVAL, ENOENT, ENOLINK, EOPNOTSUPP, EPERM
from typing import Any

import pytest

from structops_cli.errors import ENOTSUPP
from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.catalogue import StructOpsType, find_type
from structops_cli.struct_ops.rules.model import (
    BtfFacts,
    CreateLink,
    CreateMap,
    Delete,
    DetachLink,
    LoadProgram,
    Lookup,
    MapModel,
    Model,
    ProgramFacts,
    RunProgram,
    Update,
    UpdateLink,
    World,
)
from structops_cli.struct_ops.rules.step import step
from structops_cli.syscall.uapi import (
    BPF_F_LINK,
    BPF_F_REPLACE,
    BPF_F_VTYPE_BTF_OBJ_FD,
    BpfProgType,
    StructOpsState,
)
from tests.synthetic_kernels import kernel

FUNCTIONS = ("ssthresh", "cong_avoid", "set_state", "undo_cwnd", "cong_control")
TCP = find_type(kernel(members=FUNCTIONS), "tcp_congestion_ops")
OLD = find_type(kernel(new=False, links=False, members=FUNCTIONS), "tcp_congestion_ops")
BEFORE_6_0 = Capabilities(
    common_value=False,
    links=False,
    link_detach=False,
    module_types=False,
    trampoline_pages=1,
    every_member_required=True,
    name_taken_at_update=True,
)
BTF_FD, KERNEL_BTF_FD, MODULE_BTF_FD = 3, 4, 5


def fds(kernel_type: StructOpsType) -> dict[int, ProgramFacts | BtfFacts | None]:
    """Return programs at fd 10 and up, each for the member of its number, and a few others."""
    programs = {
        10 + index: ProgramFacts(100 + index, BpfProgType.STRUCT_OPS, kernel_type.struct.id, index)
        for index in range(len(FUNCTIONS))
    }
    others = {BTF_FD: BtfFacts(False), KERNEL_BTF_FD: BtfFacts(True), MODULE_BTF_FD: BtfFacts(True, True)}
    return {**programs, **others, 6: None}


def value(
    kernel_type: StructOpsType = TCP,
    *,
    programs: tuple[int, ...] = (10, 11, 0, 13, 0),
    name: bytes = b"t_one",
) -> bytes:
    raw = bytearray(kernel_type.value.size_bytes)
    struct.pack_into("<5Q16s", raw, kernel_type.data_offset, *programs, name)
    return bytes(raw)


def answer(
    operation: object,
    *,
    capabilities: Capabilities = Capabilities(),  # noqa: B008 -- immutable
    kernel_type: StructOpsType = TCP,
    model: Model | None = None,
    **world: Any,
) -> tuple[int, str, str]:
    """Return errno, rule and member of the answer to one operation."""
    start = model or Model({"m": MapModel(kernel_type), "l": MapModel(kernel_type, BPF_F_LINK)})
    there = World(capabilities, fds(kernel_type))._replace(**world)
    _, said = step(start, operation, there)  # type: ignore[arg-type]  # the operations' union
    return said.errno, said.rule, said.member


def create(**changes: int) -> CreateMap:
    plain = CreateMap("n", TCP, 4, TCP.value.size_bytes, 1, 0, TCP.value.id, BTF_FD)
    return plain._replace(**changes)  # type: ignore[arg-type]  # numbers only


# Generations


def test_an_old_kernel_wants_each_function_and_says_so_at_the_first_that_is_missing() -> None:
    update = Update("m", value(OLD, programs=(10, 0, 0, 13, 14), name=b""))
    assert answer(update, capabilities=BEFORE_6_0, kernel_type=OLD) == (
        EINVAL,
        "required-early",
        "cong_avoid",
    )
    assert answer(update, kernel_type=OLD) == (EINVAL, "name-given", "name"), (
        "cong_control is enough since 6.0"
    )


def test_an_old_kernel_looks_for_the_name_before_the_functions_behind_it() -> None:
    taken = frozenset([("tcp_congestion_ops", "t_one")])
    update = Update("m", value(OLD, programs=(10, 11, 0, 0, 0)))
    assert answer(update, taken=taken, capabilities=Capabilities(name_taken_at_update=True)) == (
        EEXIST,
        "name-taken-early",
        "name",
    )
    assert answer(update, taken=taken) == (EINVAL, "required", "undo_cwnd"), "today: validate before reg"


def test_links_where_there_are_none() -> None:
    assert answer(create(map_flags=BPF_F_LINK), capabilities=BEFORE_6_0) == (EINVAL, "no-links-here", "")
    assert answer(CreateLink("k", "m"), capabilities=BEFORE_6_0) == (EINVAL, "no-links-here", "")
    assert answer(create(map_flags=BPF_F_VTYPE_BTF_OBJ_FD), capabilities=BEFORE_6_0) == (
        EINVAL,
        "known-flags",
        "",
    )


def test_programs_may_not_sleep_before_6_3() -> None:
    load = LoadProgram(TCP, TCP.struct.id, 0, sleepable=True)
    assert answer(load, capabilities=Capabilities(sleepable=False)) == (EINVAL, "sleepable-here", "")
    assert answer(load) == (0, "", "")


def test_indexes_that_are_taken_for_attach_types() -> None:
    load = LoadProgram(TCP, TCP.struct.id, 2)
    assert answer(load, capabilities=Capabilities(confused_indexes=frozenset({2}))) == (
        EINVAL,
        "member-index-confused",
        "",
    )
    assert answer(load, capabilities=Capabilities(confused_indexes=frozenset({3}))) == (0, "", "")


def test_a_closed_map_comes_before_links_that_there_are_not() -> None:
    assert answer(CreateLink("k", "closed"), capabilities=BEFORE_6_0)[:2] == (EBADF, "map-open")


@pytest.mark.parametrize(
    "operation", [Update("m", b""), Lookup("m"), Delete("m"), CreateLink("k", "m"), DetachLink("k")]
)
def test_nothing_is_open(operation: object) -> None:
    assert answer(operation, model=Model(links={"other": ""}))[0] == EBADF


def test_a_run_where_there_are_none() -> None:
    assert answer(RunProgram(TCP, 0, 1), capabilities=Capabilities(test_runs=False))[:2] == (
        ENOTSUPP,
        "no-test-runs",
    )
    assert answer(RunProgram(TCP, 0, 1))[:2] == (EOPNOTSUPP, "test-type")


def test_detach_before_6_11() -> None:
    model = Model({"l": MapModel(TCP, BPF_F_LINK, StructOpsState.READY, value())}, {"k": "l"})
    assert answer(DetachLink("k"), model=model, capabilities=Capabilities(link_detach=False)) == (
        EOPNOTSUPP,
        "detachable",
        "",
    )
    assert answer(DetachLink("k"), model=model) == (0, "", "")


@pytest.mark.parametrize(("size", "pages", "refused"), [(900, 1, False), (1400, 1, True), (1400, 2, False)])
def test_trampolines_fill_pages(size: int, pages: int, refused: bool) -> None:
    said = answer(
        Update("m", value()),
        capabilities=Capabilities(trampoline_pages=pages),
        trampoline_bytes=dict.fromkeys(range(5), size),
    )
    assert said == ((E2BIG, "trampoline-pages", "undo_cwnd") if refused else (0, "", ""))


# Rules that the differential test meets as well, once each, with their rule and member


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, (0, "")),
        ({"btf_key_type_id": 1}, (EINVAL, "no-other-types")),
        ({"map_extra": 1}, (EINVAL, "no-extra")),
        ({"key_size": 8}, (EINVAL, "key-size")),
        ({"max_entries": 2}, (EINVAL, "one-entry")),
        ({"map_flags": 1}, (EINVAL, "known-flags")),
        ({"btf_vmlinux_value_type_id": 0}, (EINVAL, "value-type-given")),
        ({"map_flags": BPF_F_VTYPE_BTF_OBJ_FD, "value_type_btf_obj_fd": 99}, (EBADF, "module-fd-open")),
        ({"map_flags": BPF_F_VTYPE_BTF_OBJ_FD, "value_type_btf_obj_fd": KERNEL_BTF_FD}, (EINVAL, "module-btf")),
        ({"map_flags": BPF_F_VTYPE_BTF_OBJ_FD, "value_type_btf_obj_fd": MODULE_BTF_FD}, (0, "")),
        ({"btf_vmlinux_value_type_id": 1}, (ENOTSUPP, "type-registered")),
        ({"value_size": 1}, (EINVAL, "value-size")),
        ({"btf_fd": 99}, (EBADF, "btf-fd-open")),
        ({"btf_fd": 6}, (EINVAL, "btf-fd-kind")),
        ({"btf_fd": KERNEL_BTF_FD}, (EACCES, "btf-not-kernels")),
    ],
)  # fmt: skip
def test_create(changes: dict[str, int], said: tuple[int, str]) -> None:
    assert answer(create(**changes))[:2] == said


def test_create_without_the_capability_or_the_type() -> None:
    assert answer(create(), capable=False) == (EPERM, "capable", "")
    assert answer(create(), offered=frozenset()) == (ENOTSUPP, "type-registered", "")


def test_an_update_that_succeeds_keeps_program_ids() -> None:
    model, said = step(Model({"m": MapModel(TCP)}), Update("m", value()), World(fds=fds(TCP)))
    assert (said.errno, model.maps["m"].state) == (0, StructOpsState.INUSE)
    _, shown = step(model, Lookup("m"), World())
    refcnt, state = struct.unpack_from("<II", shown.value)
    assert (refcnt, state) == (1, StructOpsState.INUSE)
    assert struct.unpack_from("<5Q", shown.value, 64) == (100, 101, 0, 103, 0)
    model, _ = step(model, Delete("m"), World())
    assert model.maps["m"].state == StructOpsState.TOBEFREE
    assert answer(Delete("m"), model=model)[:2] == (EINPROGRESS, "unregistered-already")
    assert answer(Update("m", value()), model=model) == (EBUSY, "used-before", "")


def test_a_refused_update_changes_nothing() -> None:
    model = Model({"m": MapModel(TCP)})
    assert step(model, Update("m", value(name=b"")), World(fds=fds(TCP)))[0] == model
    assert answer(Delete("m"), model=model)[:2] == (ENOENT, "never-registered")


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ((99, 11, 0, 13, 0), (EBADF, "fd-open", "ssthresh")),
        ((6, 11, 0, 13, 0), (EINVAL, "fd-program", "ssthresh")),
        ((10, 11, 0, 10, 0), (EINVAL, "program-member", "undo_cwnd")),
        ((10, 1 << 32, 0, 13, 0), (EINVAL, "either", "")),
        ((10, 11 | 1 << 32, 0, 13, 0), (0, "", "")),
    ],
)
def test_programs_of_an_update(programs: tuple[int, ...], said: tuple[int, str, str]) -> None:
    assert answer(Update("m", value(programs=programs))) == said


def test_replacing() -> None:
    ready = MapModel(TCP, BPF_F_LINK, StructOpsState.READY, value())
    model = Model(
        {"a": ready, "b": ready, "c": ready._replace(value=value(name=b"t_two"))}, {"k": "a", "d": ""}
    )
    assert answer(UpdateLink("k", "b"), model=model) == (0, "", "")
    assert answer(UpdateLink("k", "c"), model=model)[:2] == (EINVAL, "same-name")
    assert answer(UpdateLink("k", "b", "c", BPF_F_REPLACE), model=model)[:2] == (EPERM, "expected-map")
    assert answer(UpdateLink("k", "b", "a"), model=model)[:2] == (EINVAL, "replace-flag")
    assert answer(UpdateLink("d", "b"), model=model)[:2] == (ENOLINK, "detached")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, (0, "")),
        ({"licence": "Proprietary"}, (EINVAL, "licence")),
        ({"attach_btf_id": 1}, (ENOTSUPP, "type-registered")),
        ({"member_index": 99}, (EINVAL, "member-index")),
        ({"member_index": 5}, (EINVAL, "member-function")),
    ],
)
def test_loading(changes: dict[str, int], said: tuple[int, str]) -> None:
    load = LoadProgram(TCP, TCP.struct.id, 0)._replace(**changes)  # type: ignore[arg-type]  # numbers only
    assert answer(load)[:2] == said
