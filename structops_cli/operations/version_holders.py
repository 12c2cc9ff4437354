"""Find the sockets, defaults and other references of each version of one name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from structops_cli.errors import NotFoundError
from structops_cli.operations.status import MapStatus, find_status, held_by
from structops_cli.operations.versions import Version
from structops_cli.struct_ops.kinds import kind_of

if TYPE_CHECKING:
    from structops_cli.btf.kernel_types import KernelTypes


class VersionHolders(NamedTuple):
    """The holders of each map by its id. ``exact``: versions of one name were distinguished.

    ``not_inspected`` names the parts of the system that could not be inspected.
    """

    by_id: dict[int, MapStatus]
    exact: bool
    not_inspected: tuple[str, ...] = ()

    def status_of(self, one: Version) -> MapStatus | None:
        """Return the holders of a version; None if they are unknown."""
        return self.by_id.get(one.live.info.id) if self.exact else None

    def sockets(self, one: Version) -> int | None:
        """Return the number of sockets of a version; None if unknown or never used by sockets."""
        held = self.status_of(one)
        return len(held.sockets) if held and kind_of(one.live.type.name).naming.chosen_by_name else None

    def words(self, one: Version) -> str:
        """Return the holders in words, "" for none."""
        held = self.status_of(one)
        return held_by(held) if held else ""


def find_holders(kernel: KernelTypes, name: str) -> VersionHolders:
    """Look for the holders of the maps of one name, in every namespace."""
    try:
        status = find_status(kernel, name)
    except NotFoundError:  # unregistered meanwhile
        return VersionHolders({}, exact=False)
    by_id = {one.live.info.id: one for one in status.maps}
    return VersionHolders(by_id, status.references.exact, status.references.not_inspected)
