"""Survey sockets: a namespace that cannot be entered is a note, unless it was named."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from errno import EPERM
from typing import Any, cast

import pytest

from structops_cli.errors import NotFoundError, NotPermittedError
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.socket_owners import OwnerWalk
from structops_cli.operations import tcp_sockets as module
from structops_cli.operations.tcp_sockets import survey_sockets
from structops_cli.syscall.sockets import RECORD, SocketRecords
from tests.unit.socket_records import record

ONE, TWO, THREE, FOUR = (NetNamespace(number, "", (f"t_{number}",)) for number in range(1, 5))


class Diag(ExitStack):
    """The inet_diag of one namespace, which has as many sockets as its number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.closed = False
        self.callback(lambda: setattr(self, "closed", True))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Diag]:
    """Return the opened ones of four namespaces: the second ends, the third may not be entered."""
    diags: list[Diag] = []

    def inside(namespace: NetNamespace, _: Callable[[], object]) -> Diag:
        if namespace is TWO:
            raise NotFoundError("gone")
        if namespace is THREE:
            raise NotPermittedError("no", why="no right", errno=EPERM, operation="setns")
        diags.append(Diag(namespace.inode))
        return diags[-1]

    def add_records(diag: Diag, records: SocketRecords) -> int:
        records.data += record(inode=diag.number) * diag.number
        return diag.number

    monkeypatch.setattr(module, "find_namespaces", lambda: (ONE, TWO, THREE, FOUR))
    monkeypatch.setattr(module, "inside", inside)
    monkeypatch.setattr(module, "add_records", add_records)
    return diags


def test_the_others_are_surveyed_and_closed(opened: list[Diag]) -> None:
    found = survey_sockets(None)
    assert found.namespaces == ((ONE, 1), (FOUR, 4))
    assert len(found.records) == 5 * RECORD.size
    assert found.notes == (
        "namespace t_2 ended meanwhile",
        "the sockets of namespace t_3 are not shown: no right",
    )
    assert [diag.closed for diag in opened] == [True, True]


def test_a_named_namespace_that_may_not_be_entered_is_an_error(opened: list[Diag]) -> None:
    with pytest.raises(NotPermittedError):
        survey_sockets(None, ["t_3"])
    with pytest.raises(NotFoundError):
        survey_sockets(None, ["t_none"])
    assert survey_sockets(None, ["t_4", "t_2"]).namespaces == ((FOUR, 4),)
    assert [diag.number for diag in opened] == [4]


def test_only_a_walk_tells_owners(opened: list[Diag]) -> None:
    assert not opened
    owned = ([5, 6], [100, 100])
    walk = cast("OwnerWalk", cast("Any", type("Walk", (), {"result": lambda _: owned})()))
    assert survey_sockets(walk, ["t_1"]).owned == owned
    assert survey_sockets(None, ["t_1"]).owned == ([], [])
