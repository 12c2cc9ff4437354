"""Destroy TCP sockets with SOCK_DESTROY, and test whether this kernel destroys orphans.

Linux before 6.11 harms a connection that no process owns; so does a stable kernel without bac76cf89816
("tcp: fix forever orphan socket caused by tcp_abort"). ``tcp_abort`` drops the data that the connection
had to send, its FIN included, and leaves the socket. With nothing to send no timer ends the socket: it
uses its congestion control until its peer resets it. Neither BTF nor the version shows the fix, so
``orphans_are_destroyed`` destroys an orphan.
"""

from __future__ import annotations

from errno import ENOENT, EOPNOTSUPP
from functools import cache
from socket import IPPROTO_TCP, TCP_LINGER2, inet_pton

from structops_cli.errors import KernelError, StructopsError, UnsupportedError
from structops_cli.net.netlink import NetlinkSocket
from structops_cli.net.sock_diag import REQUEST, TcpSocket, open_sock_diag, tcp_sockets
from structops_cli.net.throwaway_namespace import ThrowawayNamespace

SOCK_DESTROY = 21
"""``include/uapi/linux/sock_diag.h``."""
LINGER_S = 120
"""Above TIME_WAIT (60 s), so that ``tcp_close`` keeps a full socket in FIN_WAIT2."""


def destroy(diag: NetlinkSocket, tcp: TcpSocket) -> bool:
    """Reset a connection or close a listener of any owner; return False if it was gone.

    The owner reads ECONNABORTED. Needs CAP_NET_ADMIN over the namespace. Raises ``UnsupportedError``
    without CONFIG_INET_DIAG_DESTROY. Follows ``tcp_diag_destroy`` and ``tcp_abort``.
    """
    ports = (port.to_bytes(2, "big") for port in (tcp.source_port, tcp.destination_port))
    addresses = (inet_pton(tcp.family, text) for text in (tcp.source, tcp.destination))
    request = REQUEST.pack(
        tcp.family, IPPROTO_TCP, 0, 1 << tcp.state, *ports, *addresses, tcp.interface, tcp.cookie
    )
    try:
        diag.request(SOCK_DESTROY, request, "SOCK_DESTROY")
    except KernelError as error:
        if error.errno == ENOENT:
            return False
        if error.errno == EOPNOTSUPP:
            raise UnsupportedError(
                "this kernel does not destroy this socket",
                why="it was built without CONFIG_INET_DIAG_DESTROY"
                if tcp.info
                else "older kernels do not destroy a socket in TIME_WAIT, or one that has become so (tcp_abort)",
                hint="end the processes that own them, or wait until TCP closes them",
            ) from None
        raise
    return True


@cache
def orphans_are_destroyed() -> bool:
    """Tell whether this kernel destroys an orphan; try it in a throwaway namespace.

    Returns False if no orphan can be made: a wrong True would do harm.
    """
    try:
        with ThrowawayNamespace() as namespace, namespace.run(open_sock_diag) as diag:
            listener, client = namespace.open_socket(), namespace.open_socket()
            client.setsockopt(IPPROTO_TCP, TCP_LINGER2, LINGER_S)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            client.connect(listener.getsockname())
            port = client.getsockname()[1]
            client.close()
            [orphan] = _orphans(diag, port)
            return destroy(diag, orphan) and not _orphans(diag, port)
    except (StructopsError, OSError, ValueError):
        return False


def _orphans(diag: NetlinkSocket, port: int) -> list[TcpSocket]:
    return [item for item in tcp_sockets(diag) if item.source_port == port and item.info]
