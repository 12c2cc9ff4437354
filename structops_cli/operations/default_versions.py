"""Which version of an algorithm a namespace's default really is: the name alone does not tell.

A link that is updated puts another map in the place of the old one; a namespace whose default was
the old one keeps it until its sysctl is written again.
"""

from __future__ import annotations

from collections.abc import Collection

from structops_cli.errors import NotPermittedError, UnsupportedError
from structops_cli.operations.references import DefaultsReader
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.runtime.live_map import MapState


def older_versions(names: Collection[str]) -> dict[int, int]:
    """Return the namespaces (by inode) whose default is a map that is not registered any more, while its name is; and that map's id.

    Only those whose default has one of ``names`` count. Nothing where it cannot be told: without CAP_BPF and
    CAP_SYS_ADMIN, and on a kernel without BPF iterators (5.9).
    """
    try:
        kernel = readable_kernel()
        registered = {
            item.info.id: item.name for item in list_maps(kernel) if item.state == MapState.REGISTERED
        }
        wanted = {*registered.values()} & {*names}
        if not wanted:
            return {}
        with DefaultsReader(kernel) as reader:
            uses = reader.read()
    except (UnsupportedError, NotPermittedError):
        return {}
    return {
        use.netns: use.map_id
        for use in uses
        if use.name in wanted and use.map_id and use.map_id not in registered
    }
