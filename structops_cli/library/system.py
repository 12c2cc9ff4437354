"""Read the state of the system, and change the defaults and the sockets of network namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from structops_cli.net.namespaces import NetNamespace
    from structops_cli.net.sock_diag import TcpSocket
    from structops_cli.operations.default import DefaultsChanged, NamespaceDefault
    from structops_cli.operations.drain_report import Drained
    from structops_cli.operations.status import Status
    from structops_cli.operations.versions import Version
    from structops_cli.operations.watch import Event
    from structops_cli.runtime.live_map import LiveMap


class Defaults(NamedTuple):
    """The defaults of network namespaces. ``notes`` name those that could not be read."""

    namespaces: tuple[NamespaceDefault, ...]
    notes: tuple[str, ...]


class NamespaceSockets(NamedTuple):
    """The TCP sockets of one network namespace."""

    namespace: NetNamespace
    sockets: tuple[TcpSocket, ...]


class Sockets(NamedTuple):
    """The TCP sockets of network namespaces. ``notes`` name the namespaces that could not be read."""

    namespaces: tuple[NamespaceSockets, ...]
    notes: tuple[str, ...]


def list_maps() -> tuple[LiveMap, ...]:
    """Return every struct_ops map with its state, links and pins, read from the kernel.

    Needs CAP_SYS_ADMIN. Source: the ids, infos and values of bpf(2), and the bpffs mounts.

    Example::

        for one in structops.list_maps():
            print(one.info.id, one.name, one.state, one.refcnt)
    """
    from structops_cli.runtime.inventory import list_settled_maps
    from structops_cli.runtime.kernel import readable_kernel

    return list_settled_maps(readable_kernel())


def status(selector: str | None = None) -> Status:
    """Return maps with the links, pins, defaults, routes, sockets and files that hold them.

    ``None`` selects all maps. ``status.references.not_inspected`` names what could not be inspected.
    Raises ``NotFoundError`` if nothing matches.

    Example::

        with structops.hold("reno", only=["reno"], members={"reno.name": "t_library"}):
            [one] = structops.status("t_library").maps
            assert one.references.unexplained == 0
    """
    from structops_cli.operations.status import find_status
    from structops_cli.runtime.kernel import readable_kernel

    return find_status(readable_kernel(), selector)


def versions(name: str | None = None) -> tuple[Version, ...]:
    """Return the registered, kept and retired versions of one name, or of all.

    Times are in nanoseconds: ``kept_ns`` since 1970, ``loaded_ns`` since boot. Two versions
    with the same programs, data and constants have the same ``digest``.

    Example::

        assert all(one.live.name for one in structops.versions())
    """
    from structops_cli.operations.versions import all_versions
    from structops_cli.runtime.inventory import list_maps as read_maps
    from structops_cli.runtime.kernel import readable_kernel

    return all_versions(read_maps(readable_kernel()), name)


def watch(interval_s: float = 0.5, timeout_s: float | None = None) -> Iterator[Event]:
    """Yield changes of maps, links and defaults as they happen.

    ``kind`` is registered, replaced, detached, retired, ejected, freed or default. The
    kernel does not announce these changes. It is read every ``interval_s`` seconds, and a
    shorter state may be missed. Ends after ``timeout_s`` seconds.

    Example::

        for event in structops.watch(timeout_s=0.2):
            print(event.time, event.kind, event.name)
    """
    from structops_cli.operations.watch import Watcher
    from structops_cli.runtime.kernel import readable_kernel

    with Watcher(readable_kernel()) as watcher:
        yield from watcher.events(interval_s, timeout_s)


# The network: defaults and sockets


def defaults(*netns: str) -> Defaults:
    """Return the default congestion control of network namespaces, of all without ``netns``.

    ``netns`` are ``initial``, a name, a path, ``pid:N`` or ``net:[INODE]``. A namespace
    that this process may not enter is left out, and named in ``notes``.

    Example::

        for one in structops.defaults("initial").namespaces:
            print(one.namespace.title, one.default)
    """
    from structops_cli.net.namespaces import find_namespaces, select_namespaces
    from structops_cli.operations.default import read_defaults

    found = find_namespaces()
    return Defaults(*read_defaults(select_namespaces(found, netns) if netns else found))


def set_default(name: str, *netns: str, allow: bool = False, dry_run: bool = False) -> DefaultsChanged:
    """Make a congestion control the default of network namespaces, and save the old one.

    Writes ``net.ipv4.tcp_congestion_control`` in each. Open sockets keep their algorithm.
    ``allow`` adds the name to ``tcp_allowed_congestion_control`` if needed. All are checked
    before the first is changed, and a failure undoes the others.

    Example::

        planned = structops.set_default("reno", "initial", dry_run=True)
        assert [change.after["default"] for change in planned.changes] == ["reno"]
    """
    from structops_cli.operations.default import set_default as change
    from structops_cli.operations.target_namespaces import NamespaceChoice

    return change(name, NamespaceChoice(netns), allow=allow, dry_run=dry_run)


def restore_defaults(
    *netns: str, allow: bool = False, force: bool = False, dry_run: bool = False
) -> DefaultsChanged:
    """Put back the defaults that ``set_default`` saved.

    A default that another process changed since stays, unless ``force``; ``left`` names it.

    Example::

        structops.restore_defaults("initial", dry_run=True)
    """
    from structops_cli.operations.default import restore_defaults as restore
    from structops_cli.operations.target_namespaces import NamespaceChoice

    return restore(NamespaceChoice(netns), allow=allow, force=force, dry_run=dry_run)


def sockets(algorithm: str | None = None, *netns: str) -> Sockets:
    """Return the TCP sockets of network namespaces, those of one congestion control if named.

    A socket that never connected nor listens is not shown. Source: ``inet_diag``.

    Example::

        for one in structops.sockets(None, "initial").namespaces:
            print(one.namespace.title, len(one.sockets))
    """
    from structops_cli.net.sock_diag import sockets_of
    from structops_cli.operations.tcp_sockets import survey_sockets

    survey = survey_sockets(None, netns, algorithm=algorithm)
    every = iter(sockets_of(survey.records))
    namespaces = tuple(
        NamespaceSockets(namespace, tuple(next(every) for _ in range(count)))
        for namespace, count in survey.namespaces
    )
    return Sockets(namespaces, survey.notes)


def drain(
    selector: str,
    to: str | None = None,
    *netns: str,
    timeout_s: float = 10.0,
    kill: bool = False,
    dry_run: bool = False,
) -> Drained:
    """Move open sockets off a congestion control, in every namespace or in ``netns``.

    Without ``to`` they get the registered version of that name, else the default of their
    namespace. ``kill`` destroys connections that cannot be moved. ``left`` names each
    remaining socket with the reason. A moved socket stays moved if this is interrupted.

    Example::

        with structops.hold("reno", only=["reno"], members={"reno.name": "t_library"}):
            done = structops.drain("t_library", "reno", timeout_s=1)
            assert done.left == ()
    """
    from structops_cli.operations.drain import DrainOptions
    from structops_cli.operations.drain import drain as move
    from structops_cli.runtime.kernel import readable_kernel

    return move(readable_kernel(), selector, DrainOptions(to, timeout_s, kill, netns), dry_run=dry_run)
