"""Read the struct_ops map of each socket, and of each namespace's default.

Two versions of an algorithm run under one name while sockets and defaults hold the old
one. The kernel tells them apart by address, and shows addresses only to BPF iterators
(``bpf_objects/iterators/holders.bpf.c``). The records
are joined by address: a name may be ambiguous.
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
    """The default of a namespace. ``map_id`` is 0 for an algorithm without a struct_ops map.

    ``cookie`` is never reused, unlike the inode ``netns``; 0 before Linux 5.12.
    """

    netns: int
    name: str
    map_id: int
    cookie: int = 0


class SocketReference(NamedTuple):
    """A TCP socket and the map of its algorithm, 0 without a struct_ops map.

    ``address`` is the kernel's. ``cookie`` is 0 until a process requests it, as a dump of
    inet_diag does. ``netns`` is the inode of its namespace, ``state`` one of ``TCP_*``.
    """

    address: int
    cookie: int
    map_id: int
    state: int
    netns: int


class OpenFile(NamedTuple):
    """A process's descriptor for a TCP socket, a struct_ops map or a link; one of them is set.

    An MPTCP socket appears once for each of its TCP sockets.
    """

    process: int
    fd: int
    inode: int
    socket: SocketReference | None
    map_id: int
    link_id: int


class Defaults(NamedTuple):
    """The defaults of all namespaces, the calling thread's first.

    ``complete`` is False beyond eight hundred namespaces.
    """

    uses: tuple[DefaultReference, ...]
    complete: bool


class EndedInQueues(NamedTuple):
    """Connections that ended before they were accepted.

    ``complete`` is False if a listener has more than a thousand.
    """

    uses: tuple[SocketReference, ...]
    complete: bool


class AlgorithmReader:
    """Reads references to struct_ops maps through the bundled iterators, loaded at first use.

    A context manager; nothing stays loaded after its block. Map ids are 0 for algorithms
    without a struct_ops map. Each method raises ``NotPermittedError`` without CAP_BPF and
    CAP_PERFMON. It raises ``UnsupportedError`` if the kernel lacks the iterator (Linux 5.8 and
    5.9 added them), or if lockdown forbids BPF to read kernel memory.
    """

    def __init__(self, kernel: KernelTypes | None = None) -> None:
        self._iterators = Iterators("holders", TARGETS, kernel or readable_kernel())
        self._seen: dict[int, int] = {}
        self._maps: dict[int, int] = {}

    def sockets(self) -> dict[int, int]:
        """Return map id by cookie of the TCP sockets in the calling thread's namespace.

        List the sockets by inet_diag first, which gives them cookies.
        """
        return {item.cookie: item.map_id for item in self.socket_references() if item.cookie}

    def default(self) -> int:
        """Return the map id of the default of the calling thread's namespace."""
        return self._defaults("own_namespace").uses[0].map_id

    def defaults(self) -> Defaults:
        """Return the default of each namespace; before 5.17 only the calling thread's."""
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
        """Return the TCP sockets with an address in the calling thread's namespace.

        ``of_maps`` leaves out sockets of built-in algorithms.
        """
        found = SOCKET.iter_unpack(self._read("sockets"))
        maps = self._maps
        return tuple([self._socket(fields) for fields in found if not of_maps or fields[1] in maps])

    def ended_in_queues(self) -> EndedInQueues:
        """Return ended struct_ops connections in accept queues of the thread's namespace.

        No table has them. Needs Linux 5.17.
        """
        found = list(SOCKET.iter_unpack(self._read("waiting")))
        uses = [self._socket(fields) for fields in found if fields[0] and fields[1] in self._maps]
        return EndedInQueues(tuple(uses), all(fields[0] for fields in found))

    def open_files(self, *, of_maps: bool = False) -> tuple[OpenFile, ...]:
        """Return the descriptors of all processes for TCP sockets, struct_ops maps and links.

        Unbound sockets without an address appear only here. ``of_maps`` leaves out sockets of
        built-in algorithms.
        """
        raw = self._read("files")
        return tuple(self._open_files(raw, self._links(), of_maps=of_maps))

    def _read(self, function: str) -> bytes:
        """Read the records. List the maps before and after, to know maps that are freed meanwhile."""
        self._look_at_maps()
        raw = self._iterators.read(function)
        self._look_at_maps()
        return raw

    def _look_at_maps(self) -> None:
        """List the maps; keep only this list and the last one: older addresses may be reused."""
        seen = dict(OBJECT.iter_unpack(self._iterators.read("maps")))
        self._maps = self._seen | seen
        self._seen = seen

    def _links(self) -> dict[int, int]:
        try:
            return dict(OBJECT.iter_unpack(self._iterators.read("links")))
        except UnsupportedError:  # before 5.19, without struct_ops links
            return {}

    def _socket(self, fields: tuple[int, ...]) -> SocketReference:
        address, ops, cookie, state, netns = fields
        return SocketReference(address, cookie, self._maps.get(ops, 0), state, netns)

    def _open_files(self, raw: bytes, links: Mapping[int, int], *, of_maps: bool) -> Iterator[OpenFile]:
        maps = self._maps
        for address, ops, cookie, state, netns, private, inode, process, fd in FILE.iter_unpack(raw):
            if address:
                if ops in maps or not of_maps:  # usually none of thousands has a map
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
