"""Find the references to struct_ops maps: sockets, defaults, routes and open files.

BPF iterators show the map of each reference by the kernel's addresses (``runtime.holders``).
Without them only names are known. Then ``exact`` is False, and a reference counts for every
map of its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from structops_cli.counted import counted
from structops_cli.errors import KernelError, NotFoundError, NotPermittedError, UnsupportedError
from structops_cli.net.congestion_controls import read_congestion_controls
from structops_cli.net.namespace_entry import inside, namespace_identity
from structops_cli.net.namespaces import NetNamespace, find_namespaces, own_inode
from structops_cli.net.qdiscs import DeviceQdisc, default_qdisc, read_device_qdiscs
from structops_cli.net.routes import read_routes
from structops_cli.runtime.holders import AlgorithmReader, DefaultReference, OpenFile, SocketReference
from structops_cli.syscall.processes import sees_all_processes

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes

Result = TypeVar("Result")


class RouteReference(NamedTuple):
    """A route that names an algorithm. ``netns`` is the inode of its namespace.

    A socket on a ``locked`` route cannot choose another algorithm.
    """

    netns: int
    destination: str
    algorithm: str
    locked: bool


class SocketHolder(NamedTuple):
    """A socket that uses a map. ``owners`` are its descriptors as (process, number).

    ``ended_in_queue``: the connection ended before it was accepted, and is still in the
    listener's queue.
    """

    use: SocketReference
    name: str
    owners: tuple[tuple[int, int], ...]
    ended_in_queue: bool = False


class EndedQueue(NamedTuple):
    """A listener with ``ended`` connections of any algorithm that ended in its queue."""

    netns: int
    listener: str
    ended: int


class References(NamedTuple):
    """The references, and the objects that could not be inspected.

    ``namespaces`` are all namespaces of the kernel by inode; an unreachable one has the path
    "". ``sockets`` are only those of struct_ops maps. ``not_inspected`` describes the objects
    that could not be inspected. ``queues`` have ended connections whose algorithm the kernel
    does not show.
    """

    namespaces: Mapping[int, NetNamespace]
    defaults: tuple[DefaultReference, ...]
    routes: tuple[RouteReference, ...]
    sockets: tuple[SocketHolder, ...]
    files: tuple[OpenFile, ...]
    not_inspected: tuple[str, ...]
    exact: bool
    queues: tuple[EndedQueue, ...] = ()

    def title(self, inode: int) -> str:
        """Return the title of a namespace."""
        known = self.namespaces.get(inode)
        return known.title if known else f"net:[{inode}]"


def find_references(kernel: KernelTypes, names: Iterable[str], *, closely: bool = False) -> References:
    """Search every namespace and process for references to the maps of these names.

    Enters each namespace in a thread of its own, and changes nothing. ``closely`` also
    searches listeners' queues for ended connections. Without names it searches nothing.
    """
    wanted = frozenset(names)
    namespaces = {item.inode: item for item in find_namespaces()}
    if not wanted:
        return References(namespaces, (), (), (), (), (), exact=True)
    with AlgorithmReader(kernel) as reader:
        try:
            return _by_address(reader, namespaces, closely=closely)
        except UnsupportedError as error:
            why = f"versions cannot be told apart here: {error.why}"
        except NotPermittedError:
            why = "versions cannot be told apart without CAP_BPF and CAP_PERFMON"
    return _by_name(namespaces, wanted, why)


def _by_address(reader: AlgorithmReader, namespaces: dict[int, NetNamespace], *, closely: bool) -> References:
    not_inspected: list[str] = []
    found = reader.defaults()
    defaults = {item.netns: item for item in found.uses}
    hidden = [inode for inode in defaults if inode not in namespaces]
    namespaces |= {inode: NetNamespace(inode, "") for inode in hidden}
    sockets: dict[int, SocketReference] = {}
    ended: set[int] = set()
    queues: list[EndedQueue] = []
    routes: list[RouteReference] = []
    for item in [item for item in namespaces.values() if item.path]:
        look_closer = not found.complete and item.inode not in defaults
        seen = _inside(item, partial(_look, reader, closer=look_closer, closely=closely), not_inspected)
        if seen is not None:
            sockets |= {use.address: use for use in seen.sockets}
            defaults |= {use.netns: use for use in seen.defaults}
            routes += seen.routes
            queues += seen.queues
            ended |= {use.address for use in seen.ended} - sockets.keys()
            sockets |= {use.address: use for use in seen.ended}
    files = reader.open_files(of_maps=True)
    owners: dict[int, list[tuple[int, int]]] = {}
    for one in files:
        if one.socket:
            sockets.setdefault(one.socket.address, one.socket)
            owners.setdefault(one.socket.address, []).append((one.process, one.fd))
    if hidden:
        not_inspected.append(_no_way_into(len(hidden)))
    not_inspected += _other_processes()
    return References(
        namespaces,
        tuple(defaults.values()),
        tuple(routes),
        tuple([SocketHolder(use, "", tuple(owners.get(at, ())), at in ended) for at, use in sockets.items()]),
        tuple([one for one in files if not one.socket]),
        tuple(not_inspected),
        exact=True,
        queues=tuple(queues),
    )


def _no_way_into(count: int) -> str:
    return (
        f"{counted(count, 'network namespace')} that no process and no mount leads to: "
        "of the sockets there, those that a process has open are counted, and no others"
    )


def _other_processes() -> list[str]:
    """Return a note if this process sees only the processes of its container."""
    if sees_all_processes():
        return []
    return ["processes outside of this one's PID namespace, and what only they hold"]


class _Look(NamedTuple):
    sockets: tuple[SocketReference, ...]
    defaults: tuple[DefaultReference, ...]
    routes: list[RouteReference]
    ended: tuple[SocketReference, ...]
    queues: tuple[EndedQueue, ...]


def _look(reader: AlgorithmReader, *, closer: bool, closely: bool) -> _Look:
    """Inspect the calling thread's namespace; with ``closely`` also its listeners' queues."""
    defaults = reader.defaults().uses[:1] if closer else ()
    ended, queues = _look_into_queues(reader) if closely else ((), ())
    return _Look(reader.socket_references(of_maps=True), defaults, _own_routes(), ended, queues)


def _look_into_queues(reader: AlgorithmReader) -> tuple[tuple[SocketReference, ...], tuple[EndedQueue, ...]]:
    """Return the ended connections in the queues of the calling thread's namespace.

    If their list is incomplete, also returns the queues that have ended connections.
    """
    from structops_cli.net.sock_diag import accept_queues, open_sock_diag

    uses: tuple[SocketReference, ...] = ()
    with suppress(UnsupportedError):
        uses, complete = reader.ended_in_queues()
        if complete:
            return uses, ()
    netns = own_inode()
    with open_sock_diag() as diag:
        return uses, tuple(
            EndedQueue(netns, one.title, one.ended) for one in accept_queues(diag) if one.ended
        )


def _own_routes() -> list[RouteReference]:
    """Return the routes of the calling thread's namespace that name an algorithm."""
    netns = own_inode()
    return [
        RouteReference(netns, route.destination, route.congctl, route.locked)
        for route in read_routes()
        if route.congctl
    ]


def _inside(
    namespace: NetNamespace, function: Callable[[], Result], not_inspected: list[str]
) -> Result | None:
    """Call a function in a namespace. Return None if it has vanished or cannot be entered.

    A namespace that cannot be entered is added to ``not_inspected``.
    """
    try:
        return inside(namespace, function)
    except NotFoundError:  # a vanished namespace has no references
        return None
    except KernelError as error:
        not_inspected.append(f"the network namespace {namespace.title}: {error.why or error.what}")
        return None


class DefaultsReader:
    """Reads the default of every namespace repeatedly; a context manager.

    ``map_id`` is 0 if the kernel does not show the address of a default.
    """

    def __init__(self, kernel: KernelTypes) -> None:
        self._reader = AlgorithmReader(kernel)

    def read(self) -> tuple[DefaultReference, ...]:
        """Return the default of each namespace that exists and can be entered."""
        try:
            found = self._reader.defaults()
        except (UnsupportedError, NotPermittedError):
            return self._entered(own_default, {})
        if found.complete:
            return found.uses
        return self._entered(lambda: self._reader.defaults().uses[0], {use.netns: use for use in found.uses})

    def _entered(
        self, ask: Callable[[], DefaultReference], known: dict[int, DefaultReference]
    ) -> tuple[DefaultReference, ...]:
        for item in find_namespaces():
            if item.inode not in known and (use := _inside(item, ask, [])):
                known[item.inode] = use
        return tuple(known.values())

    def close(self) -> None:
        """Unload the BPF programs."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def own_default() -> DefaultReference:
    """Return the default of the calling thread's namespace, without its map id."""
    return DefaultReference(own_inode(), read_congestion_controls().default, 0, namespace_identity())


# By name alone


def _by_name(namespaces: dict[int, NetNamespace], names: frozenset[str], why: str) -> References:
    """Find references by name in each namespace. Their map id is 0, because it is unknown."""
    from structops_cli.net.sock_diag import open_sock_diag, tcp_sockets
    from structops_cli.net.socket_owners import find_owners

    not_inspected = [why]
    defaults: list[DefaultReference] = []
    sockets: list[SocketHolder] = []
    routes: list[RouteReference] = []
    owners = find_owners()

    def look(inode: int) -> None:
        defaults.append(own_default())
        routes.extend(_own_routes())
        with open_sock_diag() as diag:
            for name in names:
                for tcp in tcp_sockets(diag, algorithm=name):
                    held = [(owner.process, owner.fd) for owner in owners.by_inode.get(tcp.inode, ())]
                    use = SocketReference(0, tcp.cookie, 0, tcp.state, inode)
                    sockets.append(SocketHolder(use, name, tuple(held)))

    for item in namespaces.values():
        _inside(item, partial(look, item.inode), not_inspected)
    not_inspected += _other_processes()
    if owners.unreadable:
        not_inspected.append(f"the open files of {len(owners.unreadable)} processes")
    not_inspected.append("sockets without an address, which inet_diag does not show")
    return References(
        namespaces, tuple(defaults), tuple(routes), tuple(sockets), (), tuple(not_inspected), exact=False
    )


# Network devices


class DeviceReference(NamedTuple):
    """A queueing discipline of a device. ``netns`` is the inode of its namespace."""

    netns: int
    qdisc: DeviceQdisc


class DeviceReferences(NamedTuple):
    """The devices that run one of the searched queueing disciplines.

    ``default`` is the name in net.core.default_qdisc if it was searched for, else None. The
    default holds a reference, too.
    """

    devices: tuple[DeviceReference, ...] = ()
    default: str | None = None
    not_inspected: tuple[str, ...] = ()


def find_device_references(
    namespaces: Mapping[int, NetNamespace], kinds: Collection[str]
) -> DeviceReferences:
    """Search the devices of every namespace for queueing disciplines of these names.

    Namespaces that cannot be inspected are in ``not_inspected``. Without names it searches
    nothing.
    """
    if not kinds:
        return DeviceReferences()
    found: list[DeviceReference] = []
    not_inspected = []
    for item in namespaces.values():
        try:
            here = inside(item, read_device_qdiscs) if item.path else ()
        except NotFoundError:  # a vanished namespace has no devices
            continue
        except KernelError as error:
            not_inspected.append(f"the network devices of namespace {item.title}: {error.why or error.what}")
            continue
        if not item.path:
            not_inspected.append(
                f"the network devices of namespace {item.title}, which this process cannot reach"
            )
        found += [DeviceReference(item.inode, qdisc) for qdisc in here if qdisc.kind in kinds]
    default = default_qdisc()
    return DeviceReferences(tuple(found), default if default in kinds else None, tuple(not_inspected))
