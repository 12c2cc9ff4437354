"""The model of the kernel's rules on kernels of other shapes, which the running one cannot show."""

from __future__ import annotations

import struct
from errno import E2BIG, EBADF, EBUSY, EINPROGRESS, EINVAL, ENOENT

import pytest

from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.rules.model import (
    CreateLink,
    Delete,
    DetachLink,
    Lookup,
    MapModel,
    Model,
    Update,
    World,
)
from structops_cli.struct_ops.rules.step import step
from structops_cli.syscall.uapi import (
    StructOpsState,
)
from tests.unit.struct_ops.rules.cases import (
    TCP,
    answer,
    fds,
    value,
)


@pytest.mark.parametrize(
    "operation", [Update("m", b""), Lookup("m"), Delete("m"), CreateLink("k", "m"), DetachLink("k")]
)
def test_nothing_is_open(operation: object) -> None:
    assert answer(operation, model=Model(links={"other": ""}))[0] == EBADF


@pytest.mark.parametrize(("size", "pages", "refused"), [(900, 1, False), (1400, 1, True), (1400, 2, False)])
def test_trampolines_fill_pages(size: int, pages: int, refused: bool) -> None:
    said = answer(
        Update("m", value()),
        capabilities=Capabilities(trampoline_pages=pages),
        trampoline_bytes=dict.fromkeys(range(5), size),
    )
    assert said == ((E2BIG, "trampoline-pages", "undo_cwnd") if refused else (0, "", ""))


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
