"""The namespaces whose default is a congestion control that gets a new version, and what they need to follow it.

LINK_UPDATE changes what a name means, and no default: a namespace goes on with
the old version until its sysctl is written again. Outside the initial namespace
that needs the name on the allowed list, where the new version is only if its own
object, or the sysctl, says so.
"""

from __future__ import annotations

from collections.abc import Callable, Container
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
from structops_cli.operations.versions import users_of
from structops_cli.runtime.live_map import LiveMap
from structops_cli.shell_words import netns_options_of
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.value import decode_value

__all__ = ["Followed", "Followers", "OfDefault", "namespaces_of_default"]


TRIES = 2
"""Of a write that a moment's want of memory may refuse, where there is no way back."""


class Followed(NamedTuple):
    """What became of one namespace's default; ``error`` says why it stays with the old version."""

    title: str
    inode: int
    error: StructopsError | None = None


class OfDefault(NamedTuple):
    """The namespaces whose default has the name of a map; into the ``hidden`` ones nothing in sight leads, and they may be on their end."""

    namespaces: tuple[NetNamespace, ...]
    hidden: tuple[NetNamespace, ...]


def namespaces_of_default(live: LiveMap) -> OfDefault:
    """Return the namespaces whose default has the name of a live map; those that may not be looked into are left out."""
    with Followers(live, writable=False) as found:
        return OfDefault(tuple(one.namespace for one in found.defaults), tuple(found.hidden))


class Followers:
    """The defaults of a live map's name, held open in their namespaces; a context manager.

    ``unseen`` are the namespaces that may not be looked into, and why, those of ``hidden`` among them; what else is in the way
    that raises what ``open_default`` does; ``only`` are the inodes of those that are meant, None: all.
    Whoever forks may let the child do what is left: the files are open there as well.
    """

    def __init__(
        self,
        live: LiveMap,
        *,
        writable: bool,
        only: Container[int] | None = None,
    ) -> None:
        self.name = live.name
        self._only = only
        self.defaults: list[DefaultSysctl] = []
        self.unseen: list[Followed] = []
        self.hidden: list[NetNamespace] = []
        self.allowed: AllowedList | None = None
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
                seen = self._look_into(namespace, writable=writable)
            except (
                NotFoundError
            ):  # the process that led there has ended: an open socket may hold the namespace
                continue
            known.add(namespace.inode)
            if seen and namespace.is_initial and _is_restricted(live.type, live.raw):
                self.allowed = self._owned.enter_context(open_allowed(namespace, writable=writable))
                if self.name not in self.allowed.read():
                    self.allowed = None
        # every default is a user: with none beside those that were found the kernel need not be asked
        if self._only is not None or users_of(live) > len(self.defaults):
            self._find_hidden(known, writable=writable)

    def _find_hidden(self, known: Container[int], *, writable: bool) -> None:
        from structops_cli.operations.hidden_defaults import hidden_defaults  # only who has more users

        for namespace in hidden_defaults(self.name, known):
            if namespace.path:
                with suppress(NotFoundError):  # the descriptor was closed meanwhile
                    self._look_into(namespace, writable=writable)
                    continue
            if self._only is None or namespace.inode in self._only:
                self.hidden.append(namespace)
                self.unseen.append(Followed(namespace.title, namespace.inode, _no_way_into(namespace)))

    def _look_into(self, namespace: NetNamespace, *, writable: bool) -> bool:
        """Tell whether a namespace may be looked into; raises ``NotFoundError`` when nothing leads there any more."""
        try:
            self._take_if_it_follows(namespace, writable=writable)
        except (NotPermittedError, UnsupportedError) as error:  # all else will pass, and nothing is done yet
            self.unseen.append(Followed(namespace.title, namespace.inode, error))
            return False
        return True

    def _take_if_it_follows(self, namespace: NetNamespace, *, writable: bool) -> None:
        with open_default(namespace, writable=False) as default:
            follows = default.read() == self.name and (self._only is None or namespace.inode in self._only)
        if follows:
            self.defaults.append(self._owned.enter_context(open_default(namespace, writable=writable)))

    def follow(self) -> tuple[Followed, ...]:
        """Write the name again wherever it is the default, the initial namespace first; it may be done twice.

        What the sysctl had allowed stays allowed. A namespace that cannot follow is
        in the answer with the reason, and the others follow all the same: this
        raises no ``StructopsError``, for what it is called after is done.
        """
        refused = _refusal(self._allow_again)
        return tuple(
            Followed(one.namespace.title, one.namespace.inode, refused)
            if refused and not one.namespace.is_initial
            else Followed(
                one.namespace.title, one.namespace.inode, _refusal(partial(_write_again, one, self.name))
            )
            for one in self.defaults
        )

    def _allow_again(self) -> None:
        """Put the name on the allowed list once more if it was there."""
        if self.allowed is not None and self.name not in self.allowed.read():
            self.allowed.add(self.name)

    def refuse_restricted(self, live: LiveMap, new: bytes) -> None:
        """Raise ``StateError`` when the new version, by its value, may be no default of a namespace where the old one is.

        Nothing is done then: replaced, the old one would go on as the default there, beside the new one.
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

    def followed(self) -> tuple[Followed, ...]:
        """Return what ``follow`` would, without doing it."""
        return tuple(Followed(one.namespace.title, one.namespace.inode) for one in self.defaults)


def _no_way_into(namespace: NetNamespace) -> NotFoundError:
    return NotFoundError(
        f"nothing in sight leads into {namespace.title}",
        why="no process, mount or descriptor in sight leads into it: it is on its end, or a socket holds it",
        hint="structops status names who has sockets there",
    )


def _refusal(write: Callable[[], object]) -> StructopsError | None:
    """Write something, a second time when it is refused for what may pass, and return what is in the way even then.

    What is not allowed is no ``KernelError``, and never written.
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
    if default.read() == name:  # or somebody has chosen another one meanwhile
        default.write(name)


def _is_restricted(kernel_type: StructOpsType, raw: bytes) -> bool:
    """Tell whether a map's own value leaves it restricted: being on the allowed list is the sysctl's doing then."""
    opened_by = kind_of(kernel_type.name).naming.unrestricted_by
    if opened_by is None:
        return True
    name, bit = opened_by
    flags = next((one.value for one in decode_value(kernel_type, raw).members if one.member.name == name), 0)
    return not (isinstance(flags, int) and flags & bit)
