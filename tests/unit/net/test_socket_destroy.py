"""Destroy a socket: the request names exactly one, and each answer has its meaning."""

from __future__ import annotations

from errno import EINVAL, ENOENT, EOPNOTSUPP
from socket import AF_INET, AF_INET6, inet_pton
from typing import cast

import pytest

from structops_cli.errors import KernelError, StateError, UnsupportedError
from structops_cli.net import socket_destroy
from structops_cli.net.netlink import NetlinkSocket
from structops_cli.net.sock_diag import REQUEST, TcpSocket, TcpState
from structops_cli.net.socket_destroy import destroy, orphans_are_destroyed


class Diag:
    """Answer each request with an errno, 0 for an acknowledgement."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.sent: list[bytes] = []

    def request(self, message_type: int, payload: bytes, operation: str) -> None:
        assert (message_type, operation) == (21, "SOCK_DESTROY")
        self.sent.append(payload)
        if self.number:
            raise KernelError("refused", errno=self.number, operation=operation)


def tcp(*, info: bytes | None = b"numbers", family: int = AF_INET) -> TcpSocket:
    ends = ("127.0.0.1", 80, "127.0.0.2", 4711) if family == AF_INET else ("::1", 80, "::2", 4711)
    return TcpSocket(family, TcpState.ESTABLISHED, *ends, 3, 7, 1000, 99, "bbr", info, None)


def destroyed(diag: Diag, one: TcpSocket) -> bool:
    return destroy(cast("NetlinkSocket", diag), one)


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
def test_the_request_names_one_socket(family: int) -> None:
    diag, one = Diag(), tcp(family=family)
    assert destroyed(diag, one)
    [sent] = diag.sent
    asked, _, _, states, source_port, _, source, _, interface, cookie = REQUEST.unpack(sent)
    assert (asked, states, interface, cookie) == (family, 1 << TcpState.ESTABLISHED, 3, 7)
    assert source_port == (80).to_bytes(2, "big")
    assert source == inet_pton(family, one.source).ljust(16, b"\0")


def test_a_socket_that_is_gone() -> None:
    assert not destroyed(Diag(ENOENT), tcp())


@pytest.mark.parametrize(("info", "why"), [(b"numbers", "CONFIG_INET_DIAG_DESTROY"), (None, "TIME_WAIT")])
def test_a_kernel_that_does_not_destroy_it(info: bytes | None, why: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        destroyed(Diag(EOPNOTSUPP), tcp(info=info))
    assert why in caught.value.why


def test_any_other_answer_is_the_kernels_error() -> None:
    with pytest.raises(KernelError, match="refused"):
        destroyed(Diag(EINVAL), tcp())


def test_where_no_orphan_can_be_made_none_is_destroyed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        message = "no namespace"
        raise StateError(message)

    monkeypatch.setattr(socket_destroy, "ThrowawayNamespace", refuse)
    orphans_are_destroyed.cache_clear()
    try:
        assert orphans_are_destroyed() is False
    finally:
        orphans_are_destroyed.cache_clear()
