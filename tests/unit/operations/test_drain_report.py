"""Why a socket is left."""

from __future__ import annotations

import pytest

from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import AcceptQueue, TcpSocket, TcpState
from structops_cli.operations.drain import without_hope
from structops_cli.operations.drain_report import LASTING, Left, LeftReason, why_ended, why_left


def tcp(state: TcpState, inode: int) -> TcpSocket:
    return TcpSocket(2, state, "127.0.0.1", 80, "127.0.0.1", 81, 0, 7, 0, inode, "t_any", b"", "")


@pytest.mark.parametrize(
    ("state", "inode", "new", "reason"),
    [
        (TcpState.FIN_WAIT1, 0, False, "orphaned"),
        (TcpState.LAST_ACK, 0, False, "orphaned"),
        (TcpState.CLOSING, 0, False, "orphaned"),
        (TcpState.ESTABLISHED, 0, False, "not accepted"),
        (TcpState.CLOSE_WAIT, 0, False, "not accepted"),
        (TcpState.ESTABLISHED, 5, True, "came back"),
        (TcpState.ESTABLISHED, 5, False, "no owner in sight"),
    ],
)
def test_reasons(state: TcpState, inode: int, new: bool, reason: str) -> None:
    found = why_left(NetNamespace(1, "/nowhere"), tcp(state, inode), new=new)
    assert (found.reason, found.inode) == (reason, inode or None)
    assert found.why
    assert (reason in LASTING) == (reason == "no owner in sight")


HERE = NetNamespace(1, "/nowhere")


def test_what_may_not_be_looked_at_may_have_it() -> None:
    assert (
        "3 processes that this one may not inspect"
        in why_left(HERE, tcp(TcpState.LISTEN, 5), new=False, hidden=3).why
    )
    assert "may not inspect" not in why_left(HERE, tcp(TcpState.LISTEN, 5), new=False).why


def test_listeners_are_named() -> None:
    queues = [AcceptQueue(address, 80, 2, 1) for address in ("::1", "10.0.0.1", "10.0.0.2", "10.0.0.3")]
    assert why_ended(HERE, queues[:1]).why.endswith("([::1]:80)")
    assert why_ended(HERE, queues).why.endswith("([::1]:80, 10.0.0.1:80, 10.0.0.2:80, ...)")


def test_what_one_look_alone_found_without_an_owner_is_not_destroyed() -> None:
    def left(cookie: int, reason: LeftReason) -> Left:
        return Left(HERE, tcp(TcpState.ESTABLISHED, 5)._replace(cookie=cookie), reason, "")

    nobody, new = LeftReason.NO_OWNER, LeftReason.CAME_BACK
    before = [left(1, nobody), left(2, new), left(3, nobody), Left(HERE, None, LeftReason.REFUSED, "")]
    after = [
        left(1, nobody),
        left(2, nobody),
        left(3, new),
        left(4, nobody),
        Left(HERE, None, LeftReason.REFUSED, ""),
    ]
    assert [item.tcp.cookie for item in without_hope(after, before) if item.tcp] == [1]
