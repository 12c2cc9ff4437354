"""Find the saved namespaces that the kernel has freed, and delete their entries."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from structops_cli.errors import NotFoundError, NotPermittedError, StructopsError, UnsupportedError
from structops_cli.net.namespace_entry import inside, namespace_identity
from structops_cli.net.namespaces import NetNamespace, descriptor_namespaces, unreadable_processes
from structops_cli.operations.state_store import StateStore
from structops_cli.operations.transaction import Step
from structops_cli.runtime.holders import AlgorithmReader
from structops_cli.syscall.processes import sees_all_processes


def vanished_namespaces(store: StateStore, found: Iterable[NetNamespace]) -> tuple[int, ...]:
    """Return the saved namespaces that surely have vanished; ``found`` are the reachable ones.

    Looks once, without waiting. The kernel frees a namespace 10 to 100 ms after its last
    reference, and lists it until then. It also lists a namespace that an open socket holds.
    The next change looks again. An old entry does no harm: the kernel never reuses a cookie.

    The kernel's own list decides. Without the list, a process that sees all processes decides.
    A namespace that is neither found nor open in a process has vanished then, although a socket
    may hold it.
    """
    usual = tuple(found)
    vanished = _not_among(store.namespaces(), usual)
    if not vanished:
        return ()
    try:
        cookies = _cookies_of_all()
    except StructopsError:  # the next change looks again
        return ()
    if cookies:
        return tuple(one for one in vanished if one not in cookies)
    if not sees_all_processes() or unreadable_processes():
        return ()
    return _not_among(vanished, descriptor_namespaces(known={item.inode for item in usual}))


def delete_vanished_step(store: StateStore, found: Iterable[NetNamespace]) -> list[Step]:
    """Return the step that deletes the entries of vanished namespaces, if there are any."""
    vanished = vanished_namespaces(store, found)

    def do() -> None:
        for namespace in vanished:
            store.delete_namespace(namespace)

    return [Step(do)] if vanished else []


def _cookies_of_all() -> frozenset[int]:
    """Return the cookies of all namespaces of the kernel.

    Empty if the kernel does not list all of them (before 5.17).
    """
    try:
        with AlgorithmReader() as reader:
            seen = reader.defaults()
    except (UnsupportedError, NotPermittedError):
        return frozenset()
    cookies = frozenset(use.cookie for use in seen.uses)
    return cookies if seen.complete and 0 not in cookies else frozenset()


def _not_among(saved: Collection[int], found: Iterable[NetNamespace]) -> tuple[int, ...]:
    if not saved:
        return ()
    alive: set[int] = set()
    for namespace in found:
        try:
            alive.add(inside(namespace, namespace_identity))
        except NotFoundError:
            continue
        except StructopsError:
            return ()
    return tuple(sorted({*saved} - alive))
