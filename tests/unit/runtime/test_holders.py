"""Records of the iterators, joined by the address of a map."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.runtime import holders
from structops_cli.runtime.holders import FILE, NAMESPACE, OBJECT, SOCKET, AlgorithmReader, SocketReference
from tests.synthetic_kernels import kernel

MAP, BUILTIN, LINK = 0xFF00, 0xFF80, 0xFFC0


class Records:
    """The iterators of a kernel, whose records are given."""

    def __init__(self, records: Mapping[str, bytes]) -> None:
        self._records = {"maps": OBJECT.pack(MAP, 7), "links": OBJECT.pack(LINK, 3), **records}

    def read(self, function: str) -> bytes:
        if function not in self._records:
            raise UnsupportedError("no such iterator")
        return self._records[function]

    def close(self) -> None:
        self._records = {}


def reader(monkeypatch: pytest.MonkeyPatch, **records: bytes) -> AlgorithmReader:
    monkeypatch.setattr(holders, "Iterators", lambda *_: Records(records))
    return AlgorithmReader(kernel())


def test_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = SOCKET.pack(1, MAP, 11, 1, 100) + SOCKET.pack(2, BUILTIN, 12, 10, 100)
    with reader(monkeypatch, sockets=sockets) as found:
        first, second = found.socket_references()
        assert first == SocketReference(1, 11, 7, 1, 100)
        assert second.map_id == 0
        assert found.socket_references(of_maps=True) == (first,)
        assert found.sockets() == {11: 7, 12: 0}


def test_a_socket_without_a_cookie_is_in_no_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reader(monkeypatch, sockets=SOCKET.pack(1, MAP, 0, 1, 100)).sockets() == {}


def test_defaults_of_all_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    records = NAMESPACE.pack(MAP, 5, 100, 0, b"t_reno") + NAMESPACE.pack(BUILTIN, 6, 101, 1, b"cubic")
    found = reader(monkeypatch, namespaces=records).defaults()
    assert [(item.name, item.map_id, item.netns, item.cookie) for item in found.uses] == [
        ("t_reno", 7, 100, 5),
        ("cubic", 0, 101, 6),
    ]
    assert not found.complete


def test_an_older_kernel_shows_its_own_default_only(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reader(monkeypatch, own_namespace=NAMESPACE.pack(MAP, 5, 100, 0, b"t_reno")).defaults()
    assert ([item.map_id for item in found.uses], found.complete) == ([7], False)


def test_accept_queues_of_more_than_a_thousand_are_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    records = SOCKET.pack(1, MAP, 11, 7, 100) + SOCKET.pack(0, 0, 0, 0, 0)
    found = reader(monkeypatch, waiting=records).ended_in_queues()
    assert ([item.cookie for item in found.uses], found.complete) == ([11], False)


def test_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    files = (
        FILE.pack(1, BUILTIN, 11, 1, 100, 0, 55, 1000, 3)
        + FILE.pack(0, 0, 0, 0, 0, MAP, 0, 1000, 4)
        + FILE.pack(0, 0, 0, 0, 0, LINK, 0, 1000, 5)
        + FILE.pack(0, 0, 0, 0, 0, 0x1234, 0, 1000, 6)
    )
    found = reader(monkeypatch, files=files)
    assert [(item.fd, item.map_id, item.link_id) for item in found.open_files()] == [
        (3, 0, 0),
        (4, 7, 0),
        (5, 0, 3),
    ]
    assert [item.fd for item in found.open_files(of_maps=True)] == [4, 5]
