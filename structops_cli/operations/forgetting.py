"""What is remembered of network namespaces that are no more."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from structops_cli.errors import NotFoundError, StructopsError
from structops_cli.net.held_sysctl import namespace_identity, visit
from structops_cli.net.namespace_descriptors import namespaces_of_descriptors
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations.memory import Memory

__all__ = ["vanished_namespaces"]


def vanished_namespaces(memory: Memory, found: Iterable[NetNamespace]) -> tuple[int, ...]:
    """Return the remembered namespaces that are none of those found; nothing when one of these could not be looked at.

    One that only an open socket holds is not found either: its default is forgotten as well.
    """
    usual = tuple(found)
    vanished = _not_among(memory.namespaces(), usual)
    return (
        _not_among(vanished, namespaces_of_descriptors(known={item.inode for item in usual}))
        if vanished
        else ()
    )


def _not_among(remembered: Collection[int], found: Iterable[NetNamespace]) -> tuple[int, ...]:
    if not remembered:
        return ()
    alive: set[int] = set()
    for namespace in found:
        try:
            alive.add(visit(namespace, namespace_identity))
        except NotFoundError:
            continue
        except StructopsError:
            return ()
    return tuple(sorted({*remembered} - alive))
