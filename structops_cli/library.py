"""The functions of the public library. ``import structops_cli as structops`` offers them.

Each function returns immutable values and raises ``StructopsError`` or a subclass. A
function that changes the system takes the lock file, makes all of its changes or none,
and completes or undoes them if this process dies. ``dry_run`` reports the same changes
without making them. Functions without a ``kernel`` argument ask the running kernel.

A SELECTOR is ``id:N``, the path of a pin, or a registered name. An object is a path, the
name of a bundled object, or the result of ``open_object``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes
    from structops_cli.net.namespaces import NetNamespace
    from structops_cli.net.sock_diag import TcpSocket
    from structops_cli.obj.spec import ObjectSpec
    from structops_cli.operations.default import DefaultsChanged, NamespaceDefault
    from structops_cli.operations.drain_report import Drained
    from structops_cli.operations.register import Registration
    from structops_cli.operations.rollback import RolledBack
    from structops_cli.operations.status import Status
    from structops_cli.operations.transaction import Caller
    from structops_cli.operations.unregister import Retired
    from structops_cli.operations.update import Updated
    from structops_cli.operations.versions import Version
    from structops_cli.operations.watch import Event
    from structops_cli.runtime.live_map import LiveMap
    from structops_cli.struct_ops.catalogue import StructOpsType
    from structops_cli.struct_ops.check import CheckReport
    from structops_cli.struct_ops.plan import Selection

__all__ = [
    "NamespaceSockets",
    "check",
    "defaults",
    "drain",
    "hold",
    "kernel_types",
    "list_maps",
    "open_object",
    "register",
    "restore_defaults",
    "rollback",
    "set_default",
    "sockets",
    "status",
    "struct_ops_types",
    "unregister",
    "update",
    "versions",
    "watch",
]

Object: TypeAlias = "str | ObjectSpec"


class NamespaceSockets(NamedTuple):
    """The TCP sockets of one network namespace."""

    namespace: NetNamespace
    sockets: tuple[TcpSocket, ...]


# Reading: no root needed


def kernel_types(path: str | None = None) -> KernelTypes:
    """Return the BTF of the running kernel and its modules, or of a file or folder.

    ``path`` is raw BTF, a vmlinux, a kernel image, or a folder like /sys/kernel/btf.
    Modules are read when they are first needed. Raises ``UnsupportedError`` for a kernel
    without BTF, ``InputError`` for a damaged file. Source: /sys/kernel/btf.

    Example::

        kernel = structops.kernel_types()
        assert kernel.vmlinux.find("tcp_congestion_ops")
    """
    if path is not None:
        from structops_cli.runtime.targets import kernel_from_path

        return kernel_from_path(path)
    from structops_cli.runtime.kernel import live_kernel

    return live_kernel()


def struct_ops_types(kernel: KernelTypes | None = None) -> tuple[StructOpsType, ...]:
    """Return the struct_ops types that BTF shows, sorted by name, with all members.

    Offsets and sizes are in bytes. BTF does not tell whether a subsystem has registered
    the type. Follows ``bpf_struct_ops_desc_init`` (kernel/bpf/bpf_struct_ops.c).

    Example::

        names = [one.name for one in structops.struct_ops_types()]
        assert "tcp_congestion_ops" in names
    """
    from structops_cli.struct_ops.catalogue import offered_types

    return offered_types(kernel or kernel_types())


def open_object(
    name: str,
    *,
    constants: Mapping[str, str] = {},
    map_attributes: Mapping[tuple[str, str], str] = {},
) -> ObjectSpec:
    """Read a compiled object. ``name`` is a path or the name of a bundled object.

    A name with a slash or ending in .o is a path. ``constants`` sets variables of
    .rodata. ``map_attributes`` sets ``(map, attribute)``: max_entries, map_flags,
    map_extra or numa_node. Raises ``NotFoundError`` or ``InputError``.

    Example::

        spec = structops.open_object("reno")
        assert {one.type_name for one in spec.struct_ops} == {"tcp_congestion_ops"}
    """
    from structops_cli.runtime.objects import open_object as read

    return read(name, constants=constants, map_attributes=map_attributes)


def check(
    obj: Object,
    kernel: KernelTypes | str | None = None,
    *,
    only: Sequence[str] = (),
    also: Sequence[str] = (),
    link: bool | None = None,
    members: Mapping[str, str] = {},
    verify: bool = False,
) -> CheckReport:
    """Predict whether an object would register, and why not. Registers nothing.

    ``kernel`` is a path as for ``kernel_types``, its result, or None for the running
    kernel. Only the running kernel is asked for names that are taken. ``verify`` loads
    the programs into it, which needs root. The other options are those of ``register``.

    Example::

        report = structops.check("reno")
        assert report.verdict is structops.Verdict.WOULD
        assert not [one for one in report.findings if one.severity is structops.Severity.ERROR]
    """
    from structops_cli.core.target import Target
    from structops_cli.operations.check import CheckOptions, check_one
    from structops_cli.runtime.checking import file_surroundings, live_surroundings
    from structops_cli.struct_ops.check import Surroundings

    around = Surroundings()
    if kernel is None:
        around = live_surroundings()
    elif isinstance(kernel, str):
        around = file_surroundings(kernel, {})
    types = kernel_types(kernel) if kernel is None or isinstance(kernel, str) else kernel
    options = CheckOptions(_selection(only, also, link, members), verify=verify)
    return check_one(_spec(obj), Target(types), around, options)


# Registering: root, or CAP_BPF with CAP_NET_ADMIN


def register(
    *objects: Object,
    only: Sequence[str] = (),
    also: Sequence[str] = (),
    link: bool | None = None,
    members: Mapping[str, str] = {},
    pin_dir: str | None = None,
    map_pin_dir: str | None = None,
    check: bool = True,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> Registration:
    """Register the struct_ops of objects, all or none. Their pins outlive this process.

    ``only`` names the variables to register, ``also`` optional ones to add. ``link``
    forces links on or off. ``members`` sets ``VAR.MEMBER`` or a global variable, as text.
    ``pin_dir`` is for links, ``map_pin_dir`` for maps that are shared by name; both are
    directories of a bpffs. ``check`` refuses what breaks a rule of this kernel before it
    is loaded. A map that is registered already, with the same content, stays as it is.
    Raises ``VerifierError``, ``FitError``, ``KernelError`` and others.

    Example::

        done = structops.register("reno", only=["reno"], members={"reno.name": "t_library"})
        assert done.changes[0].is_change
        [one] = done.objects[0].registered
        assert (one.name, one.state) == ("t_library", "registered")
        structops.unregister("t_library")
    """
    with ExitStack() as owner:
        return _register(
            objects,
            _selection(only, also, link, members),
            pin_dir,
            map_pin_dir,
            owner,
            check=check,
            dry_run=dry_run,
            caller=caller,
        )


@contextmanager
def hold(
    *objects: Object,
    only: Sequence[str] = (),
    also: Sequence[str] = (),
    link: bool | None = None,
    members: Mapping[str, str] = {},
    map_pin_dir: str | None = None,
    check: bool = True,
) -> Iterator[Registration]:
    """Register objects for a ``with`` block, and unregister them at its end.

    Nothing stays if this process dies. The arguments are those of ``register``. Raises
    ``StateError`` if a name is registered already.

    Example::

        with structops.hold("reno", only=["reno"], members={"reno.name": "t_library"}):
            assert "t_library" in [one.name for one in structops.list_maps()]
        assert "t_library" not in [one.name for one in structops.list_maps()]
    """
    with ExitStack() as owner:
        selection = _selection(only, also, link, members)
        yield _register(objects, selection, None, map_pin_dir, owner, check=check, held=True)


def _register(
    objects: Sequence[Object],
    selection: Selection,
    pin_dir: str | None,
    map_pin_dir: str | None,
    owner: ExitStack,
    *,
    check: bool,
    held: bool = False,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> Registration:
    from structops_cli.core.target import Target
    from structops_cli.operations.register import PinDirs
    from structops_cli.operations.register import register as register_all
    from structops_cli.runtime.pins import DEFAULT_PIN_DIR
    from structops_cli.syscall import bpffs

    specs = [_spec(obj) for obj in objects]
    links = None if held else os.path.abspath(pin_dir or DEFAULT_PIN_DIR)
    pin_dirs = PinDirs(links, os.path.abspath(map_pin_dir or bpffs.DEFAULT))
    target = Target(kernel_types())
    return register_all(
        specs, target, selection, pin_dirs, owner, check=check, dry_run=dry_run, caller=caller
    )


def update(
    selector: str,
    obj: Object,
    *,
    only: Sequence[str] = (),
    members: Mapping[str, str] = {},
    keep: int = 5,
    restart: bool = False,
    expect_map: int | None = None,
    map_pin_dir: str | None = None,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> Updated:
    """Replace a registered map by the version in an object, atomically behind its link.

    Open sockets stay with their version. Default sysctls are rewritten, so that new
    sockets get the new version. ``keep`` is the number of replaced versions that stay
    pinned. ``restart`` unregisters and registers a map that cannot be replaced in place.
    ``expect_map`` is the id of the map that must be registered now, else ``StateError``.
    Follows ``bpf_struct_ops_map_link_update`` (kernel/bpf/bpf_struct_ops.c).

    Example::

        names = {"only": ["aimd_link"], "members": {"aimd_link.name": "t_library"}}
        structops.register("aimd", **names)
        new = structops.open_object("aimd", constants={"increase_permille": "900"})
        done = structops.update("t_library", new, **names)
        assert done.replaced is not None
        back = structops.rollback("t_library")
        assert back.version.live.info.id == done.live.info.id
        structops.unregister("t_library")
    """
    from structops_cli.operations.update import UpdateOptions
    from structops_cli.operations.update import update as replace
    from structops_cli.syscall import bpffs

    options = UpdateOptions(keep, os.path.abspath(map_pin_dir or bpffs.DEFAULT), restart, expect_map)
    selection = _selection(only, (), None, members)
    return replace(kernel_types(), selector, _spec(obj), selection, options, dry_run=dry_run, caller=caller)


def rollback(
    selector: str,
    to: int | None = None,
    *,
    keep: int = 5,
    restart: bool = False,
    dry_run: bool = False,
    caller: Caller | None = None,
) -> RolledBack:
    """Go back to the kept version with the map id ``to``, or to the last one replaced.

    A second call without ``to`` changes nothing. Raises ``NotFoundError`` if no version is
    kept. The example of ``update`` shows it.
    """
    from structops_cli.operations.rollback import rollback as go_back
    from structops_cli.runtime.kernel import readable_kernel

    return go_back(
        readable_kernel(), selector, to, keep=keep, restart=restart, dry_run=dry_run, caller=caller
    )


def unregister(
    *selectors: str, every: bool = False, force: bool = False, dry_run: bool = False
) -> tuple[Retired, ...]:
    """Unregister maps, and remove their pins and kept versions.

    ``every`` takes each map that a selector matches; without it several matches raise
    ``AmbiguousError``. Raises ``StateError`` for a map that is a default, the choice of a
    route or held by another process, unless ``force``. The example of ``register`` shows it.
    """
    from structops_cli.operations.unregister import UnregisterOptions
    from structops_cli.operations.unregister import unregister as retire
    from structops_cli.runtime.kernel import readable_kernel

    options = UnregisterOptions(every=every, force=force)
    return retire(readable_kernel(), selectors, options, dry_run=dry_run).retired


# The state of the machine


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
    import time

    from structops_cli.operations.watch import Watcher
    from structops_cli.runtime.kernel import readable_kernel

    end = None if timeout_s is None else time.monotonic() + timeout_s
    with Watcher(readable_kernel()) as watcher:
        watcher.begin()
        while (left := interval_s if end is None else end - time.monotonic()) > 0:
            time.sleep(min(interval_s, left))
            yield from watcher.changes()


# The network: defaults and sockets


def defaults(*netns: str) -> tuple[NamespaceDefault, ...]:
    """Return the default congestion control of network namespaces, of all without ``netns``.

    ``netns`` are ``initial``, a name, a path, ``pid:N`` or ``net:[INODE]``. A namespace
    that this process may not enter is left out.

    Example::

        for one in structops.defaults("initial"):
            print(one.namespace.title, one.default)
    """
    from structops_cli.net.namespaces import find_namespaces, select_namespaces
    from structops_cli.operations.default import read_defaults

    found = find_namespaces()
    return read_defaults(select_namespaces(found, netns) if netns else found)[0]


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

    A default that somebody else changed since stays, unless ``force``; ``left`` names it.

    Example::

        structops.restore_defaults("initial", dry_run=True)
    """
    from structops_cli.operations.default import restore_defaults as restore
    from structops_cli.operations.target_namespaces import NamespaceChoice

    return restore(NamespaceChoice(netns), allow=allow, force=force, dry_run=dry_run)


def sockets(algorithm: str | None = None, *netns: str) -> tuple[NamespaceSockets, ...]:
    """Return the TCP sockets of network namespaces, those of one congestion control if named.

    A socket that never connected nor listens is not shown. Source: ``inet_diag``.

    Example::

        for one in structops.sockets(None, "initial"):
            print(one.namespace.title, len(one.sockets))
    """
    from structops_cli.net.sock_diag import sockets_of
    from structops_cli.operations.tcp_sockets import survey_sockets

    survey = survey_sockets(None, netns, algorithm=algorithm)
    every = iter(sockets_of(survey.records))
    return tuple(
        NamespaceSockets(namespace, tuple(next(every) for _ in range(count)))
        for namespace, count in survey.namespaces
    )


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


def _spec(obj: Object) -> ObjectSpec:
    return open_object(obj) if isinstance(obj, str) else obj


def _selection(
    only: Sequence[str], also: Sequence[str], link: bool | None, members: Mapping[str, str]
) -> Selection:
    from structops_cli.struct_ops.plan import Selection, member_overrides

    return Selection(tuple(only), link, member_overrides(members), tuple(also))
