"""Prepare maps to be registered, and register them while the old one still has the name."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from errno import EBUSY, EEXIST, EINVAL, EPERM
from types import SimpleNamespace

import pytest

from structops_cli.errors import KernelError, StateError
from structops_cli.operations import ready_map as module
from structops_cli.operations.ready_map import (
    ReadyMap,
    _register,
    _value_again,
    copy_map,
    is_as_before,
    is_registered,
    register_ready,
)
from structops_cli.runtime.live_map import LiveLink, LiveMap
from structops_cli.struct_ops.value import POINTER, WORD, read_programs, read_state
from structops_cli.syscall import bpf
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.uapi import StructOpsState
from tests.unit.operations.live_maps import TYPE, live


def opened(_: object = None) -> Fd:
    return Fd(os.open(os.devnull, os.O_RDONLY))


def refusing(errno: int) -> Callable[..., None]:
    def refused(*_: object) -> None:
        raise KernelError("no", errno=errno, operation="LINK_CREATE")

    return refused


@pytest.fixture
def ready() -> object:
    """Return a map that a link registers."""
    with opened() as fd:
        yield ReadyMap(TYPE, fd, b"")


def with_programs(*ids: int) -> LiveMap:
    """Return a registered map with data, a reference count of 3, and these programs."""
    raw = bytearray(TYPE.value.size_bytes)
    WORD.pack_into(raw, TYPE.state_offset, StructOpsState.INUSE)
    WORD.pack_into(raw, TYPE.refcnt_offset, 3)
    functions = [member for member in TYPE.members if member.proto is not None]
    for member, number in zip(functions, ids, strict=True):
        POINTER.pack_into(raw, TYPE.data_offset + member.offset_bytes, number)
    [name] = [member for member in TYPE.members if member.name == "name"]
    at = TYPE.data_offset + name.offset_bytes
    raw[at : at + 3] = b"t_a"
    return live(7, "registered", 3)._replace(raw=bytes(raw))


def test_a_copy_names_open_programs_and_has_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def program(number: int) -> Fd:
        asked.append(number)
        return opened()

    monkeypatch.setattr(bpf, "prog_get_fd_by_id", program)
    one = with_programs(50, 0, 50)
    with ExitStack() as owner:
        value = _value_again(one, owner)
        [(number, members)] = read_programs(TYPE, value).items()
        os.fstat(number)
    assert asked == [50]
    assert members == ["ssthresh", "undo_cwnd"]
    assert read_state(TYPE, value) == (0, 0)
    assert value[-32:] == one.raw[-32:]


def test_a_map_of_an_unread_type_has_no_copy() -> None:
    one = live(7, "registered", 1)
    one = one._replace(type=TYPE._replace(unread="the module is gone"))
    with (
        ExitStack() as owner,
        pytest.raises(StateError, match="t_a \\(id:7\\) cannot be registered") as raised,
    ):
        copy_map(one, owner, link=False)
    assert raised.value.why.endswith("its type is not known: the module is gone")


@pytest.mark.parametrize("errno", [EEXIST, EBUSY])
def test_a_taken_name_is_tried_again_until_it_is_free(
    monkeypatch: pytest.MonkeyPatch, ready: ReadyMap, errno: int
) -> None:
    answers = [refusing(errno), refusing(errno), lambda *_: None]
    monkeypatch.setattr(module, "_register", lambda *_: answers.pop(0)())
    with ExitStack() as owner:
        link, gap_ns = register_ready(ready, owner)
    assert (link, answers) == (None, [])
    assert gap_ns < 1e9


@pytest.mark.parametrize(
    ("errno", "hopeless", "seconds"), [(EINVAL, False, 9), (EEXIST, True, 9), (EEXIST, False, 0)]
)
def test_another_refusal_is_final(
    monkeypatch: pytest.MonkeyPatch, ready: ReadyMap, errno: int, seconds: float, *, hopeless: bool
) -> None:
    answers = [refusing(errno), lambda *_: None]
    monkeypatch.setattr(module, "_register", lambda *_: answers.pop(0)())
    monkeypatch.setattr(module, "RETRY_S", seconds - 1)
    with ExitStack() as owner, pytest.raises(KernelError):
        register_ready(ready, owner, lambda: hopeless)
    assert len(answers) == 1


def test_a_link_that_cannot_be_read_gives_the_name_back(
    monkeypatch: pytest.MonkeyPatch, ready: ReadyMap
) -> None:
    detached: list[Fd] = []
    monkeypatch.setattr(bpf, "link_create", opened)
    monkeypatch.setattr(bpf, "link_detach", detached.append)
    monkeypatch.setattr(module, "map_info", lambda _: SimpleNamespace(id=7))
    monkeypatch.setattr(module, "link_info", refusing(EPERM))
    with ExitStack() as owner, pytest.raises(KernelError):
        _register(ready, owner)
    assert [link.closed for link in detached] == [True]
    monkeypatch.setattr(module, "link_info", lambda _: SimpleNamespace(map_id=0))
    with ExitStack() as owner, pytest.raises(StateError, match="nothing is registered, though"):
        _register(ready, owner)


def test_a_map_outlives_its_process_only_with_all_pins(
    monkeypatch: pytest.MonkeyPatch, ready: ReadyMap
) -> None:
    monkeypatch.setattr(module, "map_info", lambda _: SimpleNamespace(id=7))
    monkeypatch.setattr(module, "is_link_pinned", lambda map_id, pin: (map_id, pin) in {(7, "/a"), (7, "/b")})
    assert is_registered(ready, ["/a", "/b"])
    assert not is_registered(ready, ["/a", "/c"])
    assert not is_registered(ready, [])
    for pins, expected in [(("/a", "/b"), True), (("/a", "/c"), False)]:
        one = live(7, "registered", 1)._replace(links=(LiveLink(3, pins[:1]), LiveLink(4, pins[1:])))
        assert is_as_before(one) is expected
