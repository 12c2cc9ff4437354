"""What is remembered of network namespaces that are no more."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from structops_cli.errors import NotFoundError, NotPermittedError, StructopsError, UnsupportedError
from structops_cli.net.namespace_entry import inside, namespace_identity
from structops_cli.net.namespaces import NetNamespace, descriptor_namespaces, unreadable_processes
from structops_cli.operations.state_store import StateStore
from structops_cli.runtime.holders import AlgorithmReader
from structops_cli.syscall.processes import sees_all_processes

__all__ = ["vanished_namespaces"]


def vanished_namespaces(memory: StateStore, found: Iterable[NetNamespace]) -> tuple[int, ...]:
    """Return the remembered namespaces that are surely no more; ``found`` are those in sight.

    One look, without waiting. The kernel frees a namespace asynchronously and lists it for some 10 to 100 ms after its
    last user, and a look then cannot tell it from one that an open socket holds. Waiting would delay every command
    for the few that follow such a deletion; an entry that is kept harms nobody, for cookies are never given again, and the next
    change of a default or a route removes it.

    The kernel's own list of them decides. Where it cannot be had, it is who sees all processes that may say so: one that is none
    of those found then, nor open in a process, is no more. One that only an open socket holds is forgotten there as well.
    """
    usual = tuple(found)
    vanished = _not_among(memory.namespaces(), usual)
    if not vanished:
        return ()
    try:
        cookies = _cookies_of_all()
    except StructopsError:  # another time, then
        return ()
    if cookies:
        return tuple(one for one in vanished if one not in cookies)
    if not sees_all_processes() or unreadable_processes():
        return ()
    return _not_among(vanished, descriptor_namespaces(known={item.inode for item in usual}))


def _cookies_of_all() -> frozenset[int]:
    """Return the cookie of every namespace of the kernel, in sight or not; none where it does not tell all of them (before 5.17)."""
    try:
        with AlgorithmReader() as reader:
            seen = reader.defaults()
    except (UnsupportedError, NotPermittedError):
        return frozenset()
    cookies = frozenset(use.cookie for use in seen.uses)
    return cookies if seen.complete and 0 not in cookies else frozenset()


def _not_among(remembered: Collection[int], found: Iterable[NetNamespace]) -> tuple[int, ...]:
    if not remembered:
        return ()
    alive: set[int] = set()
    for namespace in found:
        try:
            alive.add(inside(namespace, namespace_identity))
        except NotFoundError:
            continue
        except StructopsError:
            return ()
    return tuple(sorted({*remembered} - alive))
