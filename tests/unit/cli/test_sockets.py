"""``structops sockets``: what SELECTOR means, and its notes and errors where no socket is found."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.cli import sockets
from structops_cli.errors import NotPermittedError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations import socket_versions, tcp_sockets
from structops_cli.operations.tcp_sockets import SocketSurvey
from structops_cli.runtime import inventory
from tests.cli_runner import done, done_json, refused
from tests.unit.operations.live_maps import live
from tests.unit.socket_records import record

INITIAL = NetNamespace(1, "/proc/1/ns/net", is_initial=True)
EMPTY = SocketSurvey(bytearray(), ((INITIAL, 0),), ([], []), ())
ONE = SocketSurvey(bytearray(record()), ((INITIAL, 1),), ([], []), ("red is unreachable",))


@pytest.fixture(autouse=True)
def without_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("structops_cli.runtime.kernel.readable_kernel", lambda: None)
    monkeypatch.setattr(inventory, "list_maps", lambda _: (live(7, "registered", 1, name="t_real"),))
    monkeypatch.setattr(socket_versions, "sockets_elsewhere", lambda *_: 0)
    monkeypatch.setattr(socket_versions, "maps_by_name", dict)
    monkeypatch.setattr(
        "structops_cli.net.congestion_controls.read_congestion_controls",
        lambda: CongestionControls(("cubic", "t_real"), ("cubic",), "cubic"),
    )


def give(monkeypatch: pytest.MonkeyPatch, result: SocketSurvey) -> list[Any]:
    asked: list[Any] = []

    def survey(walk: object, words: tuple[str, ...], *, algorithm: str | None) -> SocketSurvey:
        asked.append((walk, words, algorithm))
        return result

    monkeypatch.setattr(tcp_sockets, "survey_sockets", survey)
    return asked


def test_no_socket_is_a_note_and_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = give(monkeypatch, EMPTY)
    assert done("sockets", "cubic", "--netns", "a", "--no-processes") == (0, "", "no TCP socket\n")
    assert asked == [(None, ("a",), "cubic")]
    assert done("sockets", "cubic", "--no-processes", "-q") == (0, "", "")


def test_a_name_that_no_congestion_control_has_names_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, EMPTY)
    error = refused("sockets", "nothing", "--no-processes", exit_code=3)
    assert error["why"] == "there are: cubic t_real"
    assert error["hint"] == "structops sockets shows all sockets with their congestion control"
    by_map = refused("sockets", "t_map", "--no-processes", exit_code=3)
    assert by_map["hint"] == "a map of that name is registered under another: structops sockets t_real"


@pytest.mark.parametrize(("count", "words"), [(1, "1 socket is"), (3, "3 sockets are")])
def test_sockets_that_were_skipped_are_counted(
    monkeypatch: pytest.MonkeyPatch, count: int, words: str
) -> None:
    give(monkeypatch, EMPTY)
    monkeypatch.setattr(socket_versions, "sockets_elsewhere", lambda *_: count)
    assert done("sockets", "cubic", "--no-processes").stderr.startswith(
        f"note: {words} in network namespaces that only descriptors hold: structops status cubic\n"
    )


def test_an_id_means_the_sockets_of_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, of_map = give(monkeypatch, ONE), []

    def only(survey: SocketSurvey, name: str, map_id: int) -> tuple[SocketSurvey, str]:
        of_map.append((name, map_id))
        return survey, "one was not read"

    monkeypatch.setattr(socket_versions, "only_of_map", only)
    result = done("sockets", "id:7", "--no-processes")
    assert (asked[0][2], of_map) == ("t_real", [("t_real", 7)])
    assert result.stderr == "note: red is unreachable\nnote: one was not read\n"
    assert "127.0.0.1:80" in result.stdout
    assert sockets._meant("t_real") == ("t_real", None)


def test_json_says_that_versions_could_not_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NotPermittedError("no CAP_BPF", errno=1, operation="PROG_LOAD")

    give(monkeypatch, ONE)
    monkeypatch.setattr(socket_versions, "read_versions", refuse)
    data = done_json("sockets", "--no-processes")
    assert data["notes"] == [
        "red is unreachable",
        "cannot tell apart the versions of one name: no CAP_BPF",
    ]
    assert len(data["sockets"]) == 1
