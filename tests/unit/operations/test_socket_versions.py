"""The map of a socket: by its name where that tells it, else by its cookie."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

import pytest

from structops_cli.errors import NotPermittedError, UnsupportedError
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations import socket_versions as module
from structops_cli.operations.socket_versions import (
    Versions,
    maps_by_name,
    only_of_map,
    read_versions,
    sockets_elsewhere,
)
from structops_cli.operations.tcp_sockets import SocketSurvey
from structops_cli.runtime import holders
from structops_cli.runtime.holders import OpenFile, SocketReference
from structops_cli.syscall.sockets import RECORD, column
from tests.unit.operations.live_maps import live
from tests.unit.socket_records import record

ONE, TWO, THREE = (NetNamespace(number, "", (f"t_{number}",)) for number in (1, 2, 3))
COOKIES = {1: {10: 7}, 3: {11: 8, 12: 7}}


def of_cookie(cookie: int, algorithm: bytes = b"t_a") -> bytes:
    return cookie.to_bytes(8, "little") + record(algorithm=algorithm)[8:]


RECORDS = [of_cookie(10), of_cookie(13, b"cubic"), of_cookie(11), of_cookie(12)]
SURVEY = SocketSurvey(bytearray(b"".join(RECORDS)), ((ONE, 2), (THREE, 2), (TWO, 0)), ([], []), ("a note",))


class Reader:
    """The map of each socket in the entered namespace, and two descriptors of one socket in namespace 9."""

    entered = 0
    error: Exception | None = None

    def __enter__(self) -> Self:
        if self.error:
            raise self.error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def sockets(self) -> dict[int, int]:
        return COOKIES[Reader.entered]

    def open_files(self, *, of_maps: bool) -> tuple[OpenFile, ...]:
        assert of_maps
        uses = [(50, 7, 9), (50, 7, 9), (51, 7, 3), (52, 8, 9)]
        found = [OpenFile(100, 3, 5, SocketReference(at, 0, *rest), 0, 0) for at, *rest in placed(uses)]
        return (*found, OpenFile(100, 4, 6, None, 7, 0))


def placed(uses: list[tuple[int, int, int]]) -> list[tuple[int, int, int, int]]:
    return [(address, map_id, 1, netns) for address, map_id, netns in uses]


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> type[Reader]:
    def inside(namespace: NetNamespace, function: Callable[[], object]) -> object:
        monkeypatch.setattr(Reader, "entered", namespace.inode)
        return function()

    monkeypatch.setattr(module, "inside", inside)
    monkeypatch.setattr(holders, "AlgorithmReader", Reader)
    monkeypatch.setattr(module, "maps_by_name", lambda: {"t_a": (7, 8), "t_b": (9,)})
    return Reader


def test_a_name_of_one_map_tells_the_map() -> None:
    versions = Versions({"t_a": (7, 8), "t_b": (9,)}, {10: 7, 11: 0})
    assert [versions.of("t_b", 99), versions.of("t_a", 10)] == [9, 7]
    unknown = [
        versions.of("t_a", 11),
        versions.of("t_a", 12),
        versions.of("cubic", 99),
        versions.of(None, 99),
    ]
    assert unknown == [None] * 4


def test_the_kernel_is_asked_only_for_a_name_of_several_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_versions(SURVEY, {"t_a": (7, 8)}).by_cookie == {10: 7, 11: 8, 12: 7}
    monkeypatch.setattr(Reader, "error", AssertionError("it loads programs"))
    assert read_versions(SURVEY, {"t_a": (7,), "t_b": (8, 9)}).by_cookie == {}


def test_the_sockets_of_one_map_stay_with_their_namespaces() -> None:
    found, note = only_of_map(SURVEY, "t_a", 7)
    assert note is None
    assert column(found.records, "cookie", "Q") == [10, 12]
    assert len(found.records) == 2 * RECORD.size
    assert found.namespaces == ((ONE, 1), (THREE, 1), (TWO, 0))
    assert found.notes == SURVEY.notes


@pytest.mark.parametrize(
    "error", [UnsupportedError("no iterator"), NotPermittedError("no right", errno=1, operation="PROG_LOAD")]
)
def test_sockets_that_cannot_be_told_apart_are_all_shown_with_a_note(
    monkeypatch: pytest.MonkeyPatch, error: UnsupportedError
) -> None:
    monkeypatch.setattr(Reader, "error", error)
    found, note = only_of_map(SURVEY, "t_a", 7)
    assert found is SURVEY
    assert note == f"these are the sockets of all maps named t_a (7, 8): {error.what}"
    assert sockets_elsewhere(SURVEY, "t_a", 7) == 0
    monkeypatch.setattr(module, "maps_by_name", lambda: {"t_a": (7,)})
    assert only_of_map(SURVEY, "t_a", 7) == (SURVEY, None)


def test_a_socket_of_a_namespace_that_was_not_surveyed_counts_once() -> None:
    assert sockets_elsewhere(SURVEY, "t_a", 7) == 1
    assert sockets_elsewhere(SURVEY, "t_a", None) == 2
    assert sockets_elsewhere(SURVEY, "cubic", None) == 0


def test_only_congestion_controls_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    maps = [
        live(7, "retired", 1),
        live(8, "registered", 1),
        live(9, "registered", 1, type_name="sched_ext_ops"),
    ]
    monkeypatch.setattr(module, "readable_kernel", lambda: None)
    monkeypatch.setattr(module, "list_maps", lambda _: maps)
    assert maps_by_name() == {"t_a": (7, 8)}
