"""Why a socket is left."""

from __future__ import annotations

import pytest

from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sock_diag import TcpSocket, TcpState
from structops_cli.operations.drain_report import LASTING, why_left


def tcp(state: TcpState, inode: int) -> TcpSocket:
    return TcpSocket(2, state, "127.0.0.1", 80, "127.0.0.1", 81, 0, 7, 0, inode, "t_any", b"", "")


@pytest.mark.parametrize(
    ("state", "inode", "owned", "reason"),
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
def test_reasons(state: TcpState, inode: int, owned: bool, reason: str) -> None:
    found = why_left(NetNamespace(1, "/nowhere"), tcp(state, inode), owned=owned)
    assert (found.reason, found.inode) == (reason, inode)
    assert found.why
    assert (reason in LASTING) == (reason == "no owner in sight")
