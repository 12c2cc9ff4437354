"""Find sockets by iterators, or by tables and descriptors."""

from __future__ import annotations

from contextlib import ExitStack
from typing import cast

import pytest

from structops_cli.errors import UnsupportedError
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import TcpSocket, TcpState
from structops_cli.net.socket_owners import Owner, SocketOwners
from structops_cli.operations import drain_finders as module
from structops_cli.operations.drain_finders import IteratorFinder, TableFinder, choose_finder
from structops_cli.operations.drain_namespaces import HeldNamespaces
from structops_cli.operations.drain_source import BUILT_IN, Source
from structops_cli.runtime.holders import AlgorithmReader, OpenFile, SocketReference

SOURCE = Source("t_a", frozenset({7}), frozenset({8}), "reno")
HERE = NetNamespace(1, "/nowhere")


class Reader:
    """Descriptors: inode 50 uses map 7, inode 51 map 8."""

    def open_files(self) -> tuple[OpenFile, ...]:
        return tuple(
            OpenFile(100, fd, 40 + fd, SocketReference(fd, fd, map_id, 1, 1), 0, 0)
            for fd, map_id in ((10, 7), (11, 8))
        )

    def sockets(self) -> dict[int, int]:
        return {10: 7, 11: 8}


@pytest.fixture
def namespaces(monkeypatch: pytest.MonkeyPatch) -> HeldNamespaces:
    """Return the namespaces of a process that may not inspect two others."""
    owners = {inode: [Owner(100, inode - 40, 100)] for inode in (50, 51, 52)}
    monkeypatch.setattr(module, "find_owners", lambda **_: SocketOwners(owners, (1, 2)))
    monkeypatch.setattr(module, "inside", lambda _, function: function())
    return HeldNamespaces(SOURCE, (), ExitStack())


def iterators(namespaces: HeldNamespaces, source: Source = SOURCE) -> IteratorFinder:
    return IteratorFinder(source, namespaces, cast("AlgorithmReader", Reader()))


def tcp(inode: int) -> TcpSocket:
    return TcpSocket(
        2, TcpState.LISTEN, "127.0.0.1", 80, "127.0.0.1", 0, 0, inode - 40, 0, inode, "t_a", b"", ""
    )


def test_the_iterator_comes_first_and_then_the_owners_of_what_it_missed(namespaces: HeldNamespaces) -> None:
    finder = iterators(namespaces)
    handled: set[int] = set()
    inodes = []
    for one in finder.open_sockets(lambda: {0, 50, 52}, handled):
        inodes.append(one.inode)
        handled.add(one.inode)
    assert inodes == [50, 52]
    assert finder.listed == {0, 50, 52}
    assert finder.hidden == 2


def test_the_iterator_tells_versions_apart(namespaces: HeldNamespaces) -> None:
    found = [tcp(50), tcp(51)]
    assert iterators(namespaces).of_versions(HERE, found, {50}) == found[:1]
    assert iterators(namespaces).exact


def test_the_map_of_an_ended_built_in_algorithm_is_unknown(namespaces: HeldNamespaces) -> None:
    source = SOURCE._replace(map_ids=frozenset({BUILT_IN}))
    assert iterators(namespaces, source).ended_in_queues(HERE) == 0


@pytest.mark.parametrize("capable", [True, False])
def test_tables_find_every_descriptor_and_name_what_they_could_not_see(
    namespaces: HeldNamespaces, monkeypatch: pytest.MonkeyPatch, *, capable: bool
) -> None:
    monkeypatch.setattr(module, "has_capability", lambda _: capable)
    finder = TableFinder(namespaces)
    finder.not_tcp(51)
    assert [one.inode for one in finder.open_sockets(lambda: {50}, ())] == [50, 52]
    assert finder.listed == {50}
    files = "the open files of 2 processes"
    assert list(namespaces.notes) == ([f"{files} cannot be looked at"] if capable else [])
    assert list(namespaces.not_inspected.values()) == ([] if capable else [files])


def test_tables_know_names_only(namespaces: HeldNamespaces) -> None:
    finder = TableFinder(namespaces)
    assert not finder.exact
    assert finder.of_versions(HERE, [tcp(50), tcp(51)], {50}) == [tcp(51)]
    assert (finder.ended_in_queues(HERE), finder.default_map(HERE)) == (0, None)


def test_without_iterators_tables_are_used(
    namespaces: HeldNamespaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported() -> AlgorithmReader:
        raise UnsupportedError("no iterator")

    monkeypatch.setattr(module, "AlgorithmReader", unsupported)
    assert isinstance(choose_finder(SOURCE, namespaces, ExitStack()), TableFinder)
