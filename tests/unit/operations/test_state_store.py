"""Saved state: another program's pin is refused, and an entry that others delete is no error."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from errno import EINVAL, ENOENT, ENOMEM, EPERM
from types import SimpleNamespace
from typing import Any, cast

import pytest

from structops_cli.errors import KernelError, StructopsError
from structops_cli.operations import state_store as module
from structops_cli.operations.state_store import (
    KEY,
    MAP_NAME,
    VALUE,
    RouteKey,
    SavedDefault,
    SavedRoute,
    StateStore,
    _check_ours,
    _name,
    _open,
    _text,
)
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import ObjectType
from structops_cli.syscall.uapi import BpfMapType

PATH = "/bpf/structops/m"
ONE = SavedDefault(1, "cubic", "t_a")


def refusing(errno: int) -> Callable[..., Any]:
    def refused(*_: object) -> None:
        raise KernelError.from_errno("no", errno=errno, operation="MAP_UPDATE_ELEM")

    return refused


class Map:
    """The pinned map. Map entries are in the order in which they were written."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.removed: list[str] = []
        self.vanishes: set[bytes] = set()
        self.is_full = False
        self.errno = ENOENT

    def next_key(self, _: object, key: bytes | None, __: int) -> bytes:
        keys = list(self.entries)
        at = 0 if key is None else keys.index(key) + 1
        return keys[at] if at < len(keys) else cast("bytes", refusing(ENOENT)())

    def lookup(self, _: object, key: bytes, __: int) -> bytes:
        return cast("bytes", refusing(self.errno)()) if key in self.vanishes else self.entries[key]

    def update(self, _: object, key: bytes, value: bytes) -> None:
        if self.is_full:
            refusing(ENOMEM)()
        self.entries[key] = value

    def delete(self, _: object, key: bytes) -> None:
        if key not in self.entries:
            refusing(ENOENT)()
        del self.entries[key]


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> Map:
    one = Map()
    calls = SimpleNamespace(
        map_get_next_key=one.next_key,
        map_lookup_elem=one.lookup,
        map_update_elem=one.update,
        map_delete_elem=one.delete,
    )
    monkeypatch.setattr(module, "bpf_maps", calls)
    monkeypatch.setattr(module, "_open", lambda _: nullcontext(object()))
    monkeypatch.setattr(module, "remove_pin", one.removed.append)
    monkeypatch.setattr(module, "remove_if_empty", one.removed.append)
    return one


def test_names_are_cut_as_the_kernel_cuts_them() -> None:
    assert _text(VALUE.unpack(VALUE.pack(_name("t" * 20), b"", 0, 0))[0]) == "t" * 15
    assert _text(b"t\xff\0rest") == "t\ufffd"


def test_two_routes_of_one_prefix_are_two_entries(pinned: Map) -> None:
    store = StateStore(PATH)
    key = RouteKey(1, 2, 254, 0, b"\x0a\0\0\0", 8)
    keys = [
        key,
        key._replace(priority=1),
        key._replace(table=7),
        key._replace(family=10, destination=bytes(16)),
    ]
    for number, one in enumerate(keys):
        store.save_route(SavedRoute(one, f"t_{number}", locked=bool(number)))
    store.save_default(ONE)
    assert [*store.routes()] == keys
    assert [(one.name, one.locked) for one in store.routes().values()][:2] == [("t_0", False), ("t_1", True)]
    store.delete_route(keys[1])
    store.delete_namespace(2)
    assert ([*store.routes()], store.defaults()) == ([keys[0], *keys[2:]], {1: ONE})
    assert pinned.removed == []


def test_an_entry_that_another_process_deletes_is_no_error(pinned: Map) -> None:
    store = StateStore(PATH)
    store.save_default(ONE)
    store.save_default(ONE._replace(namespace=2))
    pinned.vanishes = {list(pinned.entries)[1]}
    assert store.defaults() == {1: ONE}
    pinned.errno = EINVAL
    with pytest.raises(KernelError):
        store.defaults()
    pinned.vanishes = set()
    store.delete_default(3)
    assert set(store.defaults()) == {1, 2}


@pytest.mark.parametrize(("path", "removed"), [(PATH, [PATH, "/bpf/structops"]), ("/bpf/m", ["/bpf/m"])])
def test_a_refused_first_entry_leaves_no_pin(pinned: Map, path: str, removed: list[str]) -> None:
    pinned.is_full = True
    with pytest.raises(KernelError, match=f"{path} takes no entry"):
        StateStore(path).save_default(ONE)
    assert pinned.removed == removed


@pytest.mark.parametrize(
    ("errno", "uid", "what"),
    [
        (ENOENT, 0, None),
        (ENOMEM, 0, "cannot be opened"),
        (EPERM, 1000, "cannot be opened"),
        (EPERM, 0, "is not what structops pins there"),
        (EINVAL, 1000, "is not what structops pins there"),
    ],
)
def test_a_pin_that_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, errno: int, uid: int, what: str | None
) -> None:
    monkeypatch.setattr(module, "is_mounted", lambda _: True)
    monkeypatch.setattr(module, "check_lasting", lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(module, "open_pin", refusing(errno))
    if what is None:
        assert _open(PATH) is None
        return
    with pytest.raises(StructopsError, match=f"{PATH} {what}"):
        _open(PATH)


def test_another_programs_map_is_refused_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = SimpleNamespace(
        id=7, map_type=BpfMapType.HASH, key_size=KEY.size, value_size=VALUE.size, name=MAP_NAME
    )
    info = SimpleNamespace(**vars(ours))
    monkeypatch.setattr(module, "object_type", lambda _: ObjectType.MAP)
    monkeypatch.setattr(module, "map_info", lambda _: info)
    _check_ours(PATH, cast("Fd", None))
    for field, value in {"map_type": BpfMapType.ARRAY, "key_size": 4, "value_size": 4, "name": "t"}.items():
        info = SimpleNamespace(**{**vars(ours), field: value})
        with pytest.raises(StructopsError, match="is not what structops pins there") as raised:
            _check_ours(PATH, cast("Fd", None))
        assert f"it is map 7 ({info.name}), with keys of {info.key_size} and" in raised.value.why
    opened: list[Fd] = []

    def open_pin(*_: object) -> Fd:
        opened.append(Fd(os.open(os.devnull, os.O_RDONLY)))
        return opened[0]

    monkeypatch.setattr(module, "is_mounted", lambda _: True)
    monkeypatch.setattr(module, "open_pin", open_pin)
    monkeypatch.setattr(module, "object_type", lambda _: ObjectType.LINK)
    with pytest.raises(StructopsError) as raised:
        _open(PATH)
    assert raised.value.why.endswith("it is a program or a link")
    assert opened[0].closed
