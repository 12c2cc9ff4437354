"""The TCP sockets of every network namespace, with the processes that own them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from structops_cli.errors import NotFoundError, NotPermittedError
from structops_cli.net.namespace_entry import inside
from structops_cli.net.namespaces import NetNamespace, find_namespaces, own_namespace, select_namespaces
from structops_cli.net.netlink import NetlinkSocket
from structops_cli.net.sock_diag import add_records, open_sock_diag
from structops_cli.net.socket_owners import OwnerWalk
from structops_cli.syscall.sockets import SocketRecords

__all__ = ["SocketSurvey", "each_diag", "survey_sockets"]


class SocketSurvey(NamedTuple):
    """Sockets as records (``syscall.sockets``), one namespace after the other.

    ``namespaces`` has each with its number of records. ``owned`` has the inodes of
    all sockets of any sort that processes have, and the process of each. ``notes`` say what could not be seen.
    """

    records: bytearray
    namespaces: tuple[tuple[NetNamespace, int], ...]
    owned: tuple[list[int], list[int]]
    notes: tuple[str, ...]


def survey_sockets(
    walk: OwnerWalk | None, words: Sequence[str] = (), *, algorithm: str | None = None
) -> SocketSurvey:
    """Return the TCP sockets of the namespaces that words mean, of all in sight without words.

    ``walk`` was begun beforehand; without it no socket has an owner. Without CAP_SYS_ADMIN only those of the own namespace are seen, and a note says so.
    ``NotFoundError`` for a word that means no namespace.
    """
    records = SocketRecords(algorithm)
    counts = []
    diags, notes = each_diag(words)
    for namespace, diag in diags:
        with diag:
            counts.append((namespace, add_records(diag, records)))
    return SocketSurvey(records.data, tuple(counts), walk.result() if walk else ([], []), tuple(notes))


def each_diag(words: Sequence[str] = ()) -> tuple[list[tuple[NetNamespace, NetlinkSocket]], list[str]]:
    """Open inet_diag in each of the namespaces that words mean, or all in sight; with notes about what could not be.

    The sockets are the caller's to close.
    """
    found = find_namespaces()
    own = own_namespace()
    opened: list[tuple[NetNamespace, NetlinkSocket]] = []
    notes = []
    for namespace in select_namespaces(found, words) if words else found:
        try:
            diag = open_sock_diag() if namespace.inode == own.inode else inside(namespace, open_sock_diag)
        except NotPermittedError as error:
            if words:
                raise
            notes.append(f"the sockets of namespace {namespace.title} are not shown: {error.why}")
        except NotFoundError:
            notes.append(f"namespace {namespace.title} went away meanwhile")
        else:
            opened.append((namespace, diag))
    return opened, notes
