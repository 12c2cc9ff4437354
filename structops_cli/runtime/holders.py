"""Which struct_ops map a socket, or a namespace's default, really uses.

Two versions of an algorithm run under one name while sockets and defaults hold
the old one. The kernel knows them apart by address and shows no address; BPF
iterators do (``bpf_objects/iterators/holders.bpf.c``). What is read here is
joined by address: exact, whatever the names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import NamedTuple, Self

from structops_cli.btf.kernel_types import KernelTypes
from structops_cli.errors import UnsupportedError
from structops_cli.runtime.iterators import Iterators
from structops_cli.runtime.kernel import readable_kernel

__all__ = ["AlgorithmReader", "DefaultReference", "Defaults", "EndedInQueues", "OpenFile", "SocketReference"]

TARGETS = {
    "maps": "bpf_map",
    "links": "bpf_link",
    "own_namespace": "netlink",
    "namespaces": "netlink",
    "sockets": "tcp",
    "waiting": "tcp",
    "files": "task_file",
}
"""Function of the bundled object to the kernel's iterator that calls it."""
# struct object_record, namespace_record, socket_record and file_record of holders.bpf.c
OBJECT = struct.Struct("=QQ")
NAMESPACE = struct.Struct("=QQII16s")
SOCKET = struct.Struct("=QQQII")
FILE = struct.Struct("=QQQIIQQiI")


class DefaultReference(NamedTuple):
    """The default of a namespace: ``map_id`` is 0 for an algorithm that is no struct_ops.

    ``cookie`` is never given twice, as the inode ``netns`` is; 0 where the kernel does not tell (before 5.12).
    """

    netns: int
    name: str
    map_id: int
    cookie: int = 0


class SocketReference(NamedTuple):
    """A TCP socket and the map that its algorithm is of, 0 for one that is no struct_ops.

    ``address`` is the kernel's, the same wherever this socket is seen.
    ``cookie`` is 0 until somebody has asked for it, as a dump of inet_diag does.
    ``netns`` is the inode of its namespace, ``state`` one of ``TCP_*``.
    """

    address: int
    cookie: int
    map_id: int
    state: int
    netns: int


class OpenFile(NamedTuple):
    """A descriptor of a process for a TCP socket, or for a struct_ops map or a link: one of the three is there.

    One of MPTCP is there once for each TCP socket below it.
    """

    process: int
    fd: int
    inode: int
    socket: SocketReference | None
    map_id: int
    link_id: int


class Defaults(NamedTuple):
    """The defaults of the kernel's namespaces, that of the calling thread's first; ``complete`` is false beyond eight hundred."""

    uses: tuple[DefaultReference, ...]
    complete: bool


class EndedInQueues(NamedTuple):
    """Connections that ended before they were accepted; ``complete`` is false when a listener has more than a thousand."""

    uses: tuple[SocketReference, ...]
    complete: bool


class AlgorithmReader:
    """Load the bundled iterators, each when it is first asked for, and read who uses what.

    A context manager; nothing stays loaded behind its block. Map ids are of
    struct_ops maps, 0 for what is none of them. Every reading raises
    ``UnsupportedError`` on a kernel without that iterator (they came with 5.8
    and 5.9) or where its lockdown forbids BPF to read its memory, and
    ``NotPermittedError`` without CAP_BPF and CAP_PERFMON.
    """

    def __init__(self, kernel: KernelTypes | None = None) -> None:
        self._iterators = Iterators("holders", TARGETS, kernel or readable_kernel())
        self._seen: dict[int, int] = {}
        self._maps: dict[int, int] = {}

    def sockets(self) -> dict[int, int]:
        """Return the map id of each TCP socket's algorithm by the socket's cookie, in the calling thread's namespace.

        List the sockets by inet_diag first: that is what gives them cookies.
        """
        return {item.cookie: item.map_id for item in self.socket_references() if item.cookie}

    def default(self) -> int:
        """Return the map id of the default of the calling thread's namespace."""
        return self._defaults("own_namespace").uses[0].map_id

    def defaults(self) -> Defaults:
        """Return the default of every namespace of the kernel, in sight or not; before 5.17 of the calling thread's alone."""
        try:
            return self._defaults("namespaces")
        except UnsupportedError:
            return self._defaults("own_namespace")._replace(complete=False)

    def _defaults(self, function: str) -> Defaults:
        found = list(NAMESPACE.iter_unpack(self._read(function)))
        uses = [
            DefaultReference(
                netns, name.partition(b"\0")[0].decode("ascii", "replace"), self._maps.get(ops, 0), cookie
            )
            for ops, cookie, netns, _, name in found
        ]
        return Defaults(tuple(uses), not any(more for _, _, _, more, _ in found))

    def socket_references(self, *, of_maps: bool = False) -> tuple[SocketReference, ...]:
        """Return every TCP socket of the calling thread's namespace that has an address, listening ones included.

        ``of_maps`` leaves out those of built-in algorithms.
        """
        found = SOCKET.iter_unpack(self._read("sockets"))
        maps = self._maps
        return tuple([self._socket(fields) for fields in found if not of_maps or fields[1] in maps])

    def ended_in_queues(self) -> EndedInQueues:
        """Return the connections of struct_ops that listeners of the calling thread's namespace keep, and no table has.

        Takes Linux 5.17.
        """
        found = list(SOCKET.iter_unpack(self._read("waiting")))
        uses = [self._socket(fields) for fields in found if fields[0] and fields[1] in self._maps]
        return EndedInQueues(tuple(uses), all(fields[0] for fields in found))

    def open_files(self, *, of_maps: bool = False) -> tuple[OpenFile, ...]:
        """Return the descriptors of all processes for TCP sockets, struct_ops maps and BPF links, of any namespace.

        Sockets that are not connected, and have no address, are here and nowhere else.
        ``of_maps`` leaves out those of built-in algorithms.
        """
        raw = self._read("files")
        return tuple(self._open_files(raw, self._links(), of_maps=of_maps))

    def _read(self, function: str) -> bytes:
        """Read what uses maps between two looks at which maps there are: what goes meanwhile is known all the same."""
        self._look_at_maps()
        raw = self._iterators.read(function)
        self._look_at_maps()
        return raw

    def _look_at_maps(self) -> None:
        """Know the maps of this look and of the one before: older addresses may be another's by now."""
        seen = dict(OBJECT.iter_unpack(self._iterators.read("maps")))
        self._maps = self._seen | seen
        self._seen = seen

    def _links(self) -> dict[int, int]:
        try:
            return dict(OBJECT.iter_unpack(self._iterators.read("links")))
        except UnsupportedError:  # before 5.19, and then there are no links of struct_ops either
            return {}

    def _socket(self, fields: tuple[int, ...]) -> SocketReference:
        address, ops, cookie, state, netns = fields
        return SocketReference(address, cookie, self._maps.get(ops, 0), state, netns)

    def _open_files(self, raw: bytes, links: Mapping[int, int], *, of_maps: bool) -> Iterator[OpenFile]:
        maps = self._maps
        for address, ops, cookie, state, netns, private, inode, process, fd in FILE.iter_unpack(raw):
            if address:
                if ops in maps or not of_maps:  # of thousands, mostly none is
                    use = self._socket((address, ops, cookie, state, netns))
                    yield OpenFile(process, fd, inode, use, 0, 0)
            elif private in maps or private in links:
                yield OpenFile(process, fd, inode, None, maps.get(private, 0), links.get(private, 0))

    def close(self) -> None:
        """Unload the iterators."""
        self._iterators.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
