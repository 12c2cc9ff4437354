"""Read the TCP sockets of every network namespace, and the processes that own them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from structops_cli.errors import NotFoundError, NotPermittedError
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace, find_namespaces, select_namespaces
from structops_cli.net.netlink import NetlinkSocket
from structops_cli.net.sock_diag import add_records, open_sock_diag
from structops_cli.net.socket_owners import OwnerWalk
from structops_cli.syscall.sockets import SocketRecords


class SocketSurvey(NamedTuple):
    """Sockets as records (``syscall.sockets``), one namespace after the other.

    ``namespaces`` has each namespace with its number of records. ``owned`` has the inode of
    every socket descriptor, TCP or not, and its process. ``notes`` name unreadable namespaces.
    """

    records: bytearray
    namespaces: tuple[tuple[NetNamespace, int], ...]
    owned: tuple[list[int], list[int]]
    notes: tuple[str, ...]


def survey_sockets(
    walk: OwnerWalk | None, words: Sequence[str] = (), *, algorithm: str | None = None
) -> SocketSurvey:
    """Return the TCP sockets of the namespaces that words name, or of all reachable ones.

    The caller has started ``walk``; without it no socket has an owner. Without CAP_SYS_ADMIN
    the survey has only the caller's namespace, and a note. Raises ``NotFoundError`` for a word
    that names no namespace.
    """
    records = SocketRecords(algorithm)
    counts = []
    diags, notes = _open_each(words)
    for namespace, diag in diags:
        with diag:
            counts.append((namespace, add_records(diag, records)))
    return SocketSurvey(records.data, tuple(counts), walk.result() if walk else ([], []), tuple(notes))


def _open_each(words: Sequence[str]) -> tuple[list[tuple[NetNamespace, NetlinkSocket]], list[str]]:
    """Open inet_diag in the named or in all reachable namespaces; note the failures.

    The caller closes the sockets.
    """
    found = find_namespaces()
    opened: list[tuple[NetNamespace, NetlinkSocket]] = []
    notes = []
    for namespace in select_namespaces(found, words) if words else found:
        try:
            diag = inside(namespace, open_sock_diag)
        except NotPermittedError as error:
            if words:
                raise
            notes.append(f"the sockets of namespace {namespace.title} are not shown: {error.why}")
        except NotFoundError:
            notes.append(f"namespace {namespace.title} ended meanwhile")
        else:
            opened.append((namespace, diag))
    return opened, notes
