"""Whether the kernel destroys a connection that no process owns any more.

Linux before 6.11, and stable kernels without that change, answer SOCK_DESTROY of one
with success and do harm: ``tcp_abort`` throws away what it had still to send, its FIN
included, and leaves the socket. With nothing to send no timer ends it; it holds its
congestion control until its peer resets it. Nothing in BTF tells, and versions do not,
so one is made and destroyed in a namespace of its own.
"""

from __future__ import annotations

from functools import cache
from socket import IPPROTO_TCP, TCP_LINGER2

from structops_cli.errors import StructopsError
from structops_cli.net.namespace import ThrowawayNamespace
from structops_cli.net.netlink import NetlinkSocket
from structops_cli.net.sock_diag import TcpSocket, destroy, open_sock_diag, tcp_sockets

__all__ = ["orphans_are_destroyed"]

LINGER_S = 120
"""More than TIME_WAIT's 60 s: an orphan in FIN_WAIT2 is then a whole socket with a timer, and no time-wait one (``tcp_close``)."""


@cache
def orphans_are_destroyed() -> bool:
    """Destroy an orphan and tell whether it has gone; "no" where none can be made, as a wrong yes does the harm."""
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
