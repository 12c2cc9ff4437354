"""Drain sockets: the end of the passes, the choice of sockets to destroy, and the refusals."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from structops_cli.errors import NotPermittedError, UnsupportedError
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import TcpSocket, TcpState
from structops_cli.operations import drain as module
from structops_cli.operations.drain import ORPHANS_STAY, DrainOptions, _Drain, drain_sockets
from structops_cli.operations.drain_report import Drained, Left, LeftReason
from structops_cli.operations.drain_source import Source
from structops_cli.operations.transaction import Transaction

HERE = NetNamespace(1, "/nowhere")
SOURCE = Source("t_a", frozenset({7}), frozenset(), "reno")


def left(reason: LeftReason, cookie: int = 5) -> Left:
    tcp = TcpSocket(2, TcpState.ESTABLISHED, "", 80, "", 81, 0, cookie, 0, 50, "t_a", b"", "")
    return Left(HERE, tcp, reason, "")


NEW, LASTS = left(LeftReason.CAME_BACK), left(LeftReason.REFUSED)
ORPHAN, QUEUED = left(LeftReason.ORPHANED, 6), left(LeftReason.NOT_ACCEPTED, 7)


class Namespaces:
    """One namespace that is held."""

    def __init__(self, *_: object) -> None:
        self.notes: dict[str, None] = {}
        self.not_inspected: dict[str, str] = {}

    def __iter__(self) -> Any:
        return iter(())

    def look(self) -> None:
        pass

    def get(self, _: int) -> object:
        return SimpleNamespace(diag=None)


class Passes(_Drain):
    """A drain whose passes are written: the number of moves of each, and what it leaves."""

    def __init__(self, written: list[tuple[int, list[Left]]], options: DrainOptions, **words: bool) -> None:
        super().__init__(SOURCE, options, ExitStack(), dry_run=words.get("dry_run", False))
        self._written = written

    def _pass(self) -> list[Left]:
        self._passes += 1
        self._moves, found = self._written.pop(0) if len(self._written) > 1 else self._written[0]
        self._moved["t_one"] += self._moves
        return list(found)


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the cookies of the sockets that were destroyed. This kernel destroys no orphans."""
    killed: list[int] = []

    def destroy(_: object, tcp: TcpSocket) -> bool:
        killed.append(tcp.cookie)
        return True

    monkeypatch.setattr(module, "HeldNamespaces", Namespaces)
    monkeypatch.setattr(module, "choose_finder", lambda *_: SimpleNamespace(exact=False))
    monkeypatch.setattr(module, "PAUSE_S", 0)
    monkeypatch.setattr(module, "destroy", destroy)
    monkeypatch.setattr(module, "orphans_are_destroyed", lambda: False)
    return killed


@pytest.mark.parametrize(
    ("written", "timeout_s", "expected"),
    [
        ([(2, [NEW]), (0, [NEW]), (1, [])], 60, 3),
        ([(0, [NEW, LASTS]), (0, [LASTS])], 60, 2),
        ([(1, [LASTS]), (0, [LASTS])], 60, 2),
        ([(0, [NEW])], 0, 1),
        ([(0, [])], 60, 1),
    ],
)
def test_passes_are_made_until_waiting_would_not_change_what_is_left(
    written: list[tuple[int, list[Left]]], timeout_s: float, expected: int
) -> None:
    assert Passes(written, DrainOptions(timeout_s=timeout_s)).run(str).passes == expected


def test_progress_is_reported_only_when_sockets_were_moved() -> None:
    lines: list[str] = []
    Passes([(2, [NEW]), (0, [NEW]), (3, [NEW]), (0, [])], DrainOptions()).run(lines.append)
    assert lines == ["2 moved, 1 left", "5 moved, 1 left"]


def test_only_sockets_that_two_passes_left_are_destroyed(kernel: list[int]) -> None:
    """An orphan that this kernel would not destroy is spared, and a socket that is new is moved later."""
    other = left(LeftReason.NO_OWNER, 9)
    written = [(0, [LASTS, ORPHAN, QUEUED, NEW]), (0, [LASTS, ORPHAN, QUEUED, other]), (0, [ORPHAN])]
    done = Passes(written, DrainOptions(kill=True)).run(str)
    assert kernel == [5, 7]
    assert (done.destroyed, done.left) == (2, (ORPHAN,))
    assert ORPHANS_STAY in done.notes
    assert module.ENDED_IN_QUEUE in done.notes


def test_a_dry_run_counts_what_it_would_destroy_and_destroys_nothing(kernel: list[int]) -> None:
    written = [(0, [LASTS, ORPHAN, NEW])]
    done = Passes(written, DrainOptions(kill=True), dry_run=True).run(str)
    assert (done.destroyed, done.left, done.passes, kernel) == (1, (ORPHAN, NEW), 1, [])


def test_versions_that_cannot_be_told_apart_are_refused_before_the_first_change() -> None:
    """Sockets of the other versions may go to the same name: then nothing has to be told apart."""
    source = SOURCE._replace(others=frozenset({8}))
    with pytest.raises(UnsupportedError) as raised:
        _Drain(source, DrainOptions(), ExitStack(), dry_run=False)
    assert raised.value.hint == "select by name, structops drain t_a, to move the sockets of all of them"
    _Drain(source._replace(target="t_a"), DrainOptions(), ExitStack(), dry_run=False)


@pytest.mark.parametrize("moved", [0, 1])
def test_no_socket_in_sight_is_an_error_if_not_everything_was_inspected(
    monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    done = Drained(SOURCE, {}, {"t_one": 1} if moved else {}, (), 0, 1, (), (), True, ("t_two", "t_three"))
    monkeypatch.setattr(_Drain, "run", lambda *_: done)
    if moved:
        assert drain_sockets(Transaction(), SOURCE, DrainOptions()) is done
        return
    with pytest.raises(NotPermittedError, match="that use t_a could not be looked for") as raised:
        drain_sockets(Transaction(), SOURCE, DrainOptions())
    assert raised.value.why.endswith("this process may not inspect: t_two; t_three")
