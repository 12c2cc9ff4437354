"""Hold namespaces during a drain: those that cannot be entered, and the target of their sockets."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from errno import EPERM
from typing import Any, TypeVar, cast

import pytest

from structops_cli.errors import NotFoundError, NotPermittedError, UsageError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.namespaces import FIRST_INODE, NetNamespace
from structops_cli.net.tcp_socket import RawSocket
from structops_cli.operations import drain_namespaces as module
from structops_cli.operations.drain_namespaces import HeldNamespaces
from structops_cli.operations.drain_source import Source
from structops_cli.syscall.fd import Fd

Result = TypeVar("Result")
TO_DEFAULT = Source("t_a", frozenset({7}), frozenset(), None)
TO_RENO = TO_DEFAULT._replace(target="reno")
ONE, TWO, GONE, REFUSED = (
    NetNamespace(number, f"/n/{number}", (name,))
    for number, name in enumerate(("t_one", "t_two", "t_gone", "t_refused"), FIRST_INODE)
)
TCP = cast("RawSocket", None)


class Machine:
    """The namespaces, the default in each, and whether sockets use the algorithm there."""

    def __init__(self) -> None:
        self.found = [ONE, GONE, TWO, REFUSED]
        self.default = "cubic"
        self.sockets: list[object] = []
        self.unreadable = 0

    def inside(
        self, namespace: NetNamespace, _: Callable[[], Result]
    ) -> tuple[object, CongestionControls, Fd]:
        if namespace is GONE:
            raise NotFoundError("gone")
        if namespace is REFUSED:
            raise NotPermittedError("no", why="no right", errno=EPERM, operation="setns")
        return ExitStack(), CongestionControls((), (), self.default), opened()


def opened(_: object = None) -> Fd:
    return Fd(os.open(os.devnull, os.O_RDONLY))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    one = Machine()
    monkeypatch.setattr(module, "find_namespaces", lambda: tuple(one.found))
    monkeypatch.setattr(module, "inside", one.inside)
    monkeypatch.setattr(module, "tcp_sockets", lambda *_, **__: one.sockets)
    monkeypatch.setattr(module, "has_capability", lambda _: False)
    monkeypatch.setattr(module, "unreadable_processes", lambda: one.unreadable)
    return one


def test_a_namespace_is_held_by_a_descriptor_until_the_end(machine: Machine) -> None:
    with ExitStack() as stack:
        held = HeldNamespaces(TO_RENO, (), stack)
        held.look()
        first = held.get(ONE.inode)
        machine.found = [TWO]
        held.look()
        assert [one.namespace.title for one in held] == ["t_one", "t_two"]
        assert first is not None
        assert held.get(ONE.inode) is not None
        assert os.path.samefile(first.namespace.path, os.devnull)
    assert not os.path.exists(first.namespace.path)


def test_where_sockets_may_hide_is_named_unless_namespaces_were_chosen(machine: Machine) -> None:
    machine.unreadable = 3
    with ExitStack() as stack:
        held = HeldNamespaces(TO_RENO, (), stack)
        held.look()
        held.look()
        assert [*held.not_inspected.values()] == [
            "the network namespaces of 3 processes",
            "the network namespace t_refused (no right)",
        ]
        chosen = HeldNamespaces(TO_RENO, ("t_two", "t_gone"), stack)
        chosen.look()
        assert (chosen.hidden, chosen.not_inspected, len([*chosen])) == (3, {}, 1)
        with pytest.raises(NotPermittedError):
            HeldNamespaces(TO_RENO, ("t_refused",), stack).look()


def test_a_namespace_needs_a_target_only_if_it_has_sockets(machine: Machine) -> None:
    """The first look raises before the first change; a later one leaves the error to the sockets."""
    machine.default = "t_a"
    machine.found = [ONE]
    with ExitStack() as stack:
        held = HeldNamespaces(TO_DEFAULT, (), stack)
        held.look()
        machine.sockets, machine.found = [object()], [TWO]
        held.look()
        assert [one.target for one in held] == [None, None]
        [first, _] = held
        with pytest.raises(UsageError, match="default of namespace t_one: where are"):
            held.target_of(first)
        with pytest.raises(UsageError):
            HeldNamespaces(TO_DEFAULT, (), stack).look()


def test_the_target_stays_the_default_that_was_read_first(machine: Machine) -> None:
    machine.found = [ONE]
    with ExitStack() as stack:
        held = HeldNamespaces(TO_DEFAULT, (), stack)
        held.look()
        [first] = held
        assert (first.target, held.target_of(first)) == (None, "cubic")
        machine.default = "reno"
        held.look()
        assert [one.target for one in held] == ["cubic"]


@pytest.mark.parametrize(("words", "is_held"), [((), True), (("t_one",), False)])
def test_a_socket_may_be_all_that_leads_to_its_namespace(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], *, is_held: bool
) -> None:
    fds: list[Fd] = []

    def namespace_of(_: object) -> Fd:
        fds.append(opened())
        return fds[-1]

    monkeypatch.setattr(module, "namespace_of", namespace_of)
    with ExitStack() as stack:
        held = HeldNamespaces(TO_RENO, words, stack)
        held.look()
        inode = os.stat(os.devnull).st_ino
        known = held.of_socket(ONE.inode, TCP)
        assert known is not None
        assert fds == []
        found = held.of_socket(None, TCP)
        assert (found is not None and found.namespace.inode == inode) is is_held
        assert fds[0].closed is not is_held

        def refused(_: object) -> Any:
            raise OSError(EPERM, "no")

        monkeypatch.setattr(module, "namespace_of", refused)
        assert held.of_socket(None, TCP) is None
