"""Which struct_ops map each socket's congestion control is of, where a name is borne by one map or by several."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from structops_cli.errors import NotFoundError, NotPermittedError, UnsupportedError
from structops_cli.net.namespace_entry import inside
from structops_cli.net.sock_diag import sockets_of
from structops_cli.operations.tcp_sockets import SocketSurvey
from structops_cli.runtime.inventory import list_maps
from structops_cli.runtime.kernel import readable_kernel
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.syscall.sockets import RECORD, column

__all__ = ["Versions", "maps_by_name", "only_of_map", "out_of_sight", "read_versions"]


class Versions(NamedTuple):
    """Map ids by the name that the maps bear, and by the cookie of a socket where that name has several."""

    by_name: Mapping[str, tuple[int, ...]]
    by_cookie: Mapping[int, int]

    def of(self, name: str | None, cookie: int) -> int | None:
        """Return the map id of a socket's algorithm, None for the kernel's own and where it cannot be told."""
        ids = self.by_name.get(name, ()) if name else ()
        return ids[0] if len(ids) == 1 else self.by_cookie.get(cookie) or None


def maps_by_name() -> dict[str, tuple[int, ...]]:
    """Return the struct_ops maps of congestion controls by name; without CAP_SYS_ADMIN none can be seen."""
    found: dict[str, tuple[int, ...]] = {}
    with suppress(NotPermittedError):
        for item in list_maps(readable_kernel()):
            if kind_of(item.type.name).naming.chosen_by_name:
                found[item.name] = (*found.get(item.name, ()), item.info.id)
    return found


def read_versions(survey: SocketSurvey, by_name: Mapping[str, tuple[int, ...]]) -> Versions:
    """Tell apart the versions that run under one name.

    Raises ``UnsupportedError`` or ``NotPermittedError`` where that takes what this kernel lacks or this process may
    not do; for names that one map alone bears it takes nothing.
    """
    several = {name for name, ids in by_name.items() if len(ids) > 1}
    if not any(item.algorithm in several for item in sockets_of(survey.records)):
        return Versions(by_name, {})
    from structops_cli.runtime.holders import (
        AlgorithmReader,
    )  # loads programs into the kernel: only where it must

    by_cookie: dict[int, int] = {}
    with AlgorithmReader() as reader:
        for namespace, count in survey.namespaces:
            with suppress(NotFoundError):
                by_cookie |= inside(namespace, reader.sockets) if count else {}
    return Versions(by_name, by_cookie)


def only_of_map(survey: SocketSurvey, name: str, map_id: int) -> tuple[SocketSurvey, str]:
    """Return the sockets of one map out of those of its name, and "" or why they could not be told apart."""
    by_name = maps_by_name()
    if by_name.get(name) == (map_id,):
        return survey, ""
    try:
        versions = read_versions(survey, by_name)
    except (UnsupportedError, NotPermittedError) as error:
        ids = ", ".join(map(str, by_name.get(name, ())))
        return survey, f"these are the sockets of all maps named {name} ({ids}): {error.what}"
    cookies = column(survey.records, "cookie", "Q")
    wanted = [versions.of(name, cookie) == map_id for cookie in cookies]
    return _kept(survey, wanted), ""


def out_of_sight(survey: SocketSurvey, name: str, map_id: int | None) -> int:
    """Return how many sockets of a struct_ops are in namespaces that only descriptors hold, as far as the kernel tells.

    Counted are those that processes have open. 0 for one of the kernel's own algorithms.
    """
    ids = (map_id,) if map_id is not None else maps_by_name().get(name, ())
    if not ids:
        return 0
    from structops_cli.runtime.holders import AlgorithmReader  # no other name needs it

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
