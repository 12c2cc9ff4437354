"""Find the namespaces whose default is an older version of the registered algorithm.

LINK_UPDATE changes the map behind a name. A namespace whose default has that name keeps the
old map until its sysctl is written again.
"""

from __future__ import annotations

from collections.abc import Collection

from structops_cli.errors import NotPermittedError, UnsupportedError
from structops_cli.operations.references import DefaultsReader
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.runtime.live_map import MapState


def older_versions(names: Collection[str]) -> dict[int, int]:
    """Return the map id of each default that is an older version of a registered name.

    The keys are inodes of namespaces. Considers only the defaults ``names``. Returns an empty
    dict without CAP_BPF and CAP_SYS_ADMIN, and on a kernel without BPF iterators (5.9).
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
