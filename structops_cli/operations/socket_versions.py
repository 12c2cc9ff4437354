"""Find the struct_ops map of each socket, even if several maps have one name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from structops_cli.errors import NotFoundError, NotPermittedError, UnsupportedError
from structops_cli.net.namespace_entry import inside
from structops_cli.operations.tcp_sockets import SocketSurvey
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.syscall.sockets import RECORD, algorithm_column, column


class Versions(NamedTuple):
    """Map ids by name, and by socket cookie for names that several maps have."""

    by_name: Mapping[str, tuple[int, ...]]
    by_cookie: Mapping[int, int]

    def of(self, name: str | None, cookie: int) -> int | None:
        """Return the map id of a socket's algorithm, None for a built-in one or unknown map."""
        ids = self.by_name.get(name, ()) if name else ()
        return ids[0] if len(ids) == 1 else self.by_cookie.get(cookie) or None


def maps_by_name() -> dict[str, tuple[int, ...]]:
    """Return the ids of congestion control maps by name; none without CAP_SYS_ADMIN."""
    found: dict[str, tuple[int, ...]] = {}
    with suppress(NotPermittedError):
        for item in list_maps(readable_kernel()):
            if kind_of(item.type.name).naming.chosen_by_name:
                found[item.name] = (*found.get(item.name, ()), item.info.id)
    return found


def read_versions(survey: SocketSurvey, by_name: Mapping[str, tuple[int, ...]]) -> Versions:
    """Find the version that each socket uses.

    Asks the kernel only if several maps have a name. Raises ``UnsupportedError`` or
    ``NotPermittedError`` if the kernel or this process lacks the means.
    """
    several = {name for name, ids in by_name.items() if len(ids) > 1}
    if several.isdisjoint(algorithm_column(survey.records)):
        return Versions(by_name, {})
    from structops_cli.runtime.holders import AlgorithmReader  # rare, and it loads programs

    by_cookie: dict[int, int] = {}
    with AlgorithmReader() as reader:
        for namespace, count in survey.namespaces:
            with suppress(NotFoundError):
                by_cookie |= inside(namespace, reader.sockets) if count else {}
    return Versions(by_name, by_cookie)


def only_of_map(survey: SocketSurvey, name: str, map_id: int) -> tuple[SocketSurvey, str | None]:
    """Return the sockets of one map; all, and the reason, if versions are indistinguishable."""
    by_name = maps_by_name()
    if by_name.get(name) == (map_id,):
        return survey, None
    try:
        versions = read_versions(survey, by_name)
    except (UnsupportedError, NotPermittedError) as error:
        ids = ", ".join(map(str, by_name.get(name, ())))
        return survey, f"these are the sockets of all maps named {name} ({ids}): {error.what}"
    cookies = column(survey.records, "cookie", "Q")
    wanted = [versions.of(name, cookie) == map_id for cookie in cookies]
    return _kept(survey, wanted), None


def sockets_elsewhere(survey: SocketSurvey, name: str, map_id: int | None) -> int:
    """Count the sockets of a struct_ops in namespaces that only descriptors hold.

    Counts only sockets that a process has open. Returns 0 for a built-in algorithm, and if
    the kernel does not show the maps of sockets.
    """
    ids = (map_id,) if map_id is not None else maps_by_name().get(name, ())
    if not ids:
        return 0
    from structops_cli.runtime.holders import AlgorithmReader  # a built-in algorithm does not need it

    seen = {namespace.inode for namespace, _ in survey.namespaces}
    with suppress(UnsupportedError, NotPermittedError), AlgorithmReader() as reader:
        uses = {one.socket.address: one.socket for one in reader.open_files(of_maps=True) if one.socket}
        return sum(use.map_id in ids and use.netns not in seen for use in uses.values())
    return 0


def _kept(survey: SocketSurvey, wanted: list[bool]) -> SocketSurvey:
    size, begin = RECORD.size, 0
    counts = []
    for namespace, count in survey.namespaces:
        counts.append((namespace, sum(wanted[begin : begin + count])))
        begin += count
    records = bytearray().join(
        survey.records[index * size : (index + 1) * size] for index, keep in enumerate(wanted) if keep
    )
    return survey._replace(records=records, namespaces=tuple(counts))
