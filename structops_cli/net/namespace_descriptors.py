"""Network namespaces that nothing leads to but a descriptor of a process: their names are deleted, and nobody is in them.

The way into such a one is ``/proc/PID/fd/N``, as long as the process has it open. Looking for them reads
every descriptor of every process, so who only wants the usual ones does not look.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator

from structops_cli.net.namespaces import OWN_NAMESPACE, NetNamespace, is_namespace

__all__ = ["namespaces_of_descriptors", "with_descriptors"]

FIRST_INODE = 0xF0000000
"""``PROC_DYNAMIC_FIRST`` (fs/proc/generic.c): namespaces have numbers from there on."""


def namespaces_of_descriptors(
    wanted: Container[int] | None = None, *, known: Container[int] = ()
) -> tuple[NetNamespace, ...]:
    """Return the namespaces (all, or those of the ``wanted`` inodes) that a process has a descriptor of and that are not ``known``.

    Each once, by inode. What may not be looked at is left out.
    """
    found: dict[int, NetNamespace] = {}
    for process, number in _descriptors():
        inode = _namespace_of(process, number)
        if inode is None or inode in found or inode in known:
            continue
        if wanted is None or inode in wanted:
            found[inode] = NetNamespace(inode, f"/proc/{process}/fd/{number}")
    return tuple(found[inode] for inode in sorted(found))


def with_descriptors(found: Iterable[NetNamespace]) -> tuple[NetNamespace, ...]:
    """Return namespaces that were found, and those that only descriptors lead to."""
    usual = tuple(found)
    return (*usual, *namespaces_of_descriptors(known={item.inode for item in usual}))


def _descriptors() -> Iterator[tuple[str, str]]:
    for process in os.listdir("/proc"):
        if not process.isdecimal():
            continue
        try:
            numbers = os.listdir(f"/proc/{process}/fd")
        except OSError:  # it has ended, or is not ours to look at
            continue
        yield from ((process, number) for number in numbers)


def _namespace_of(process: str, number: str) -> int | None:
    """Return the inode of the namespace that a descriptor is of; one that was opened by a name is shown by its path."""
    path = f"/proc/{process}/fd/{number}"
    try:
        text = os.readlink(path)
        if text.startswith("/") and (inode := _inode_of(process, number, text)) >= FIRST_INODE:
            is_one = os.stat(path).st_dev == os.stat(OWN_NAMESPACE).st_dev and is_namespace(path)
            return inode if is_one else None
    except OSError:  # closed meanwhile
        return None
    return int(text[5:-1]) if text.startswith("net:[") else None


def _inode_of(process: str, number: str, text: str) -> int:
    """Return the inode that fdinfo tells (since 5.14): asking the file itself may wait for a server.

    Of what has no name any more the link says the root directory: before 5.14 that alone is asked.
    """
    with open(f"/proc/{process}/fdinfo/{number}", "rb") as file:
        lines = file.read().splitlines()
    told = next((int(line.split()[1]) for line in lines if line.startswith(b"ino:")), 0)
    return told or (os.stat(f"/proc/{process}/fd/{number}").st_ino if text == "/" else 0)
