"""Rewrite the defaults after an update, so that new sockets get the new version.

LINK_UPDATE changes the map behind a name. A namespace whose default has that name keeps
the old map until its sysctl is written again (``tcp_set_default_congestion_control``).
Outside the initial namespace the kernel takes only names on the allowed list.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import NamedTuple, Self

from structops_cli.errors import (
    KernelError,
    NotFoundError,
    NotPermittedError,
    StateError,
    StructopsError,
    UnsupportedError,
)
from structops_cli.net.namespaces import NetNamespace, find_namespaces
from structops_cli.net.sysctls import AllowedList, DefaultSysctl, open_allowed, open_default
from structops_cli.operations.transaction import Change, Recovery, Step, Transaction
from structops_cli.operations.versions import users_of
from structops_cli.runtime.live_map import LiveMap
from structops_cli.shell_words import netns_options_of
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.value import decode_value

TRIES = 2
"""Attempts for a write that may fail with ENOMEM after the commit point."""


class NamespaceResult(NamedTuple):
    """The result for one namespace; ``error`` is the reason why it keeps the old version."""

    title: str
    inode: int
    error: StructopsError | None = None


class DefaultNamespaces(NamedTuple):
    """The namespaces whose default has the name of a map.

    No process, mount or descriptor leads into the ``unreachable`` ones. The kernel may be
    about to free them.
    """

    namespaces: tuple[NetNamespace, ...]
    unreachable: tuple[NetNamespace, ...]


def namespaces_of_default(live: LiveMap) -> DefaultNamespaces:
    """Return the inspected namespaces whose default has the name of a live map."""
    with DefaultSysctls(live, writable=False) as found:
        return DefaultNamespaces(tuple(one.namespace for one in found.defaults), tuple(found.unreachable))


class DefaultSysctls:
    """The open default sysctls that have the name of a live map. A context manager.

    ``not_inspected`` are the namespaces that this process may not enter, ``unreachable``
    included, with the reason. ``only`` limits the search to namespaces by inode. The
    recovery process uses the same open files. Raises as ``open_default`` does if a
    namespace cannot be entered for a reason that may pass.
    """

    def __init__(self, live: LiveMap, *, writable: bool, only: Container[int] | None = None) -> None:
        self.name = live.name
        self._only = only
        self.defaults: list[DefaultSysctl] = []
        self.not_inspected: list[NamespaceResult] = []
        self.unreachable: list[NetNamespace] = []
        self.allowed: AllowedList | None = None
        """The allowed list if the name is on it only because a user wrote it there."""
        self._owned = ExitStack()
        if kind_of(live.type.name).naming.chosen_by_name:
            try:
                self._find(live, writable=writable)
            except BaseException:
                self._owned.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._owned.close()

    def _find(self, live: LiveMap, *, writable: bool) -> None:
        known: set[int] = set()
        for namespace in find_namespaces():
            try:
                inspected = self._inspect(namespace, writable=writable)
            except NotFoundError:  # the process that led there has ended: a socket may hold the namespace
                continue
            known.add(namespace.inode)
            if inspected and namespace.is_initial and _is_restricted(live.type, live.raw):
                self.allowed = self._owned.enter_context(open_allowed(namespace, writable=writable))
                if self.name not in self.allowed.read():
                    self.allowed = None
        # each default holds a reference: if those that were found account for all, none is missing
        if self._only is not None or users_of(live) > len(self.defaults):
            self._find_others(known, writable=writable)

    def _find_others(self, known: Container[int], *, writable: bool) -> None:
        for namespace in _other_namespaces(self.name, known):
            if namespace.path:
                with suppress(NotFoundError):  # the descriptor was closed meanwhile
                    self._inspect(namespace, writable=writable)
                    continue
            if self._only is None or namespace.inode in self._only:
                self.unreachable.append(namespace)
                self.not_inspected.append(
                    NamespaceResult(namespace.title, namespace.inode, _unreachable(namespace))
                )

    def _inspect(self, namespace: NetNamespace, *, writable: bool) -> bool:
        """Tell whether a namespace may be inspected; raise ``NotFoundError`` if it is unreachable."""
        try:
            self._open_if_named(namespace, writable=writable)
        except (NotPermittedError, UnsupportedError) as error:
            self.not_inspected.append(NamespaceResult(namespace.title, namespace.inode, error))
            return False
        return True

    def _open_if_named(self, namespace: NetNamespace, *, writable: bool) -> None:
        with open_default(namespace, writable=False) as default:
            named = default.read() == self.name and (self._only is None or namespace.inode in self._only)
        if named:
            self.defaults.append(self._owned.enter_context(open_default(namespace, writable=writable)))

    def rewrite(self) -> tuple[NamespaceResult, ...]:
        """Write the name again wherever it is the default, the initial namespace first.

        Idempotent. A name that was on the allowed list stays on it. Raises no
        ``StructopsError``: the update before it cannot be undone any more. A namespace
        that refuses the write is in the result with its error.
        """
        refused = _attempt(self._allow_again)
        return tuple(
            NamespaceResult(one.namespace.title, one.namespace.inode, refused)
            if refused and not one.namespace.is_initial
            else NamespaceResult(
                one.namespace.title, one.namespace.inode, _attempt(partial(_write_again, one, self.name))
            )
            for one in self.defaults
        )

    def _allow_again(self) -> None:
        if self.allowed is not None and self.name not in self.allowed.read():
            self.allowed.add(self.name)

    def refuse_restricted(self, live: LiveMap, new: bytes) -> None:
        """Raise ``StateError`` if a namespace refuses the new version, by its value, as default.

        Such a namespace would keep the old version beside the new one.
        """
        if self.allowed is not None or not _is_restricted(live.type, new):
            return
        if left := [one.namespace for one in self.defaults if not one.namespace.is_initial]:
            titles = [one.title for one in left]
            raise StateError(
                f"{live.name} (id:{live.info.id}) is not replaced",
                why=f"it is the default of {', '.join(titles)}, and the new version may not be: only the old one's flags have TCP_CONG_NON_RESTRICTED",
                hint="give the new one that flag (--set flags=non_restricted), or make another one the default there first "
                f"(structops default NAME {netns_options_of(*titles)})",
                type_name=live.type.name,
            )

    def planned(self) -> tuple[NamespaceResult, ...]:
        """Return the expected result of ``rewrite`` for a dry run."""
        return tuple(NamespaceResult(one.namespace.title, one.namespace.inode) for one in self.defaults)


def _other_namespaces(name: str, known: Container[int]) -> tuple[NetNamespace, ...]:
    """Return the namespaces with this default that no process, thread or mount leads to.

    The kernel lists them (BPF iterators). ``path`` is "" if no descriptor leads there
    either. Empty before 5.17, which has no such list, and without CAP_BPF and CAP_PERFMON.
    """
    from structops_cli.net.namespaces import descriptor_namespaces
    from structops_cli.runtime.holders import AlgorithmReader  # rare

    try:
        with AlgorithmReader() as reader:
            others = {
                use.netns for use in reader.defaults().uses if use.name == name and use.netns not in known
            }
    except (UnsupportedError, NotPermittedError):
        return ()
    if not others:
        return ()
    opened = {item.inode: item for item in descriptor_namespaces(others)}
    return tuple(opened.get(inode, NetNamespace(inode, "")) for inode in sorted(others))


def _unreachable(namespace: NetNamespace) -> NotFoundError:
    return NotFoundError(
        f"{namespace.title} cannot be reached",
        why="no process, mount or descriptor that this process can see leads into it: the kernel is freeing it, "
        "or a socket holds it",
        hint="structops status names who has sockets there",
    )


def _attempt(write: Callable[[], object]) -> StructopsError | None:
    """Write, again if the kernel refused; return the last error.

    A refusal before the write is not repeated.
    """
    refused: StructopsError | None = None
    for _ in range(TRIES):
        try:
            write()
        except KernelError as error:
            refused = error
        except StructopsError as error:
            return error
        else:
            return None
    return refused


def _write_again(default: DefaultSysctl, name: str) -> None:
    if default.read() == name:  # another process may have chosen another algorithm meanwhile
        default.write(name)


def _is_restricted(kernel_type: StructOpsType, raw: bytes) -> bool:
    """Tell whether a value lacks TCP_CONG_NON_RESTRICTED.

    Then only the sysctl puts its name on the allowed list.
    """
    flag = kind_of(kernel_type.name).naming.unrestricted_by
    if flag is None:
        return True
    name, bit = flag
    flags = next((one.value for one in decode_value(kernel_type, raw).members if one.member.name == name), 0)
    return not (isinstance(flags, int) and flags & bit)


# Defaults that an earlier update left behind


class OutdatedDefaults(NamedTuple):
    """The namespaces whose default was an older version of the map ``map_id``.

    ``older`` has the id of that version's map by inode. ``results`` tells which
    namespaces have the registered version now.
    """

    map_id: int
    older: Mapping[int, int]
    results: tuple[NamespaceResult, ...]
    not_inspected: tuple[NamespaceResult, ...]

    @property
    def changes(self) -> list[Change]:
        """The change of each default; one that could not be written is as it was."""
        return [
            Change(
                f"default of {one.title}",
                {"map_id": self.older[one.inode]},
                {"map_id": self.older[one.inode] if one.error else self.map_id},
            )
            for one in self.results
        ]


def rewrite_outdated(run: Transaction, maps: tuple[LiveMap, ...], live: LiveMap) -> OutdatedDefaults | None:
    """Rewrite the defaults that are an older version of a registered map; None without any.

    A default of unknown version (``older_versions``) is not written.
    """
    alike = [item for item in maps if (item.type.name, item.name) == (live.type.name, live.name)]
    if len(alike) < 2 or not kind_of(live.type.name).naming.chosen_by_name:
        return None  # there is no older version
    from structops_cli.operations.default_versions import (
        older_versions,  # only an update that was made before
    )

    if not (older := older_versions({live.name})):
        return None
    with DefaultSysctls(live, writable=not run.dry_run, only=older) as defaults:
        results = list(defaults.planned())

        def do() -> None:
            results[:] = defaults.rewrite()

        run.steps([Step(do)], recovery=Recovery.FORWARD)
        return OutdatedDefaults(live.info.id, older, tuple(results), tuple(defaults.not_inspected))
