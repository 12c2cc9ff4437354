"""Defaults of namespaces that no process, thread or mount leads to: the kernel's own list of namespaces has them."""

from __future__ import annotations

from collections.abc import Container

from structops_cli.errors import NotPermittedError, UnsupportedError
from structops_cli.net.namespaces import NetNamespace, descriptor_namespaces
from structops_cli.runtime.holders import AlgorithmReader

__all__ = ["hidden_defaults"]


def hidden_defaults(name: str, known: Container[int]) -> tuple[NetNamespace, ...]:
    """Return the namespaces whose default has this name and whose inodes are not ``known``; a path of "" where nothing leads into one.

    Such a one may be on its end. None where the kernel does not tell: without BPF iterators of namespaces (5.17), CAP_BPF and CAP_PERFMON.
    """
    try:
        with AlgorithmReader() as reader:
            hidden = {
                use.netns for use in reader.defaults().uses if use.name == name and use.netns not in known
            }
    except (UnsupportedError, NotPermittedError):
        return ()
    if not hidden:
        return ()
    open_ones = {item.inode: item for item in descriptor_namespaces(hidden)}
    return tuple(open_ones.get(inode, NetNamespace(inode, "")) for inode in sorted(hidden))
