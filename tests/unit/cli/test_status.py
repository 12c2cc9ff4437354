"""``structops status``: each sort of holder is a line, and names of processes and routes cannot forge one."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from structops_cli.cli import status
from structops_cli.cli.output import Output
from structops_cli.cli.status import _details, _why_unexplained
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.qdiscs import DeviceQdisc
from structops_cli.net.socket_owners import CommandNames
from structops_cli.operations.references import DeviceReference, References, RouteReference, SocketHolder
from structops_cli.operations.status import MapStatus, ReferenceCount, Status
from structops_cli.runtime.holders import DefaultReference, OpenFile, SocketReference
from structops_cli.runtime.live_map import LiveLink
from tests.cli_runner import done, done_json
from tests.unit.cli.results import HOSTILE, SHOWN
from tests.unit.operations.live_maps import live

BLUE = NetNamespace(2, "/run/netns/blue", ("blue",))
FOUND = References(MappingProxyType({2: BLUE}), (), (), (), (), ("red may not be entered",), exact=True)
COUNT = ReferenceCount(2, 0, 1, 0, 0, 0, 0)
ONE = MapStatus(live(7, "registered", 2, link=3), 0, (), (), (), (), COUNT)


def socket(state: int, owner: int = 0, *, ended: bool = False) -> SocketHolder:
    owners = ((owner, 5),) if owner else ()
    return SocketHolder(SocketReference(1, 0, 7, state, 2), "t_a", owners, ended)


def lines(one: MapStatus) -> list[str]:
    commands = CommandNames({12: HOSTILE, 13: ""})
    return [" ".join(line.split()) for line in _details(one, FOUND, commands).splitlines()]


def give(monkeypatch: pytest.MonkeyPatch, *maps: MapStatus, **changes: Any) -> None:
    result = Status(maps, FOUND._replace(**changes))
    monkeypatch.setattr(status, "find_status", lambda _: result)


def test_links_pins_defaults_and_routes() -> None:
    found = live(7, "registered", 2)._replace(
        links=(LiveLink(3, ("/a", "/b")), LiveLink(4, ())), pins=("/m",)
    )
    defaults = (DefaultReference(2, "t_a", 7), DefaultReference(9, "t_a", 7))
    route = RouteReference(2, HOSTILE, "t_a", True)
    assert lines(ONE._replace(live=found, defaults=defaults, routes=(route,))) == [
        "t_a id:7",
        "link 3, pinned at /a, /b",
        "link 4, not pinned",
        "pin /m",
        "default of blue",
        "default of net:[9]",
        f"route {SHOWN} in blue, locked",
    ]


def test_sockets_are_counted_by_process_and_state() -> None:
    sockets = (socket(1, 12), socket(10, 12), socket(1, 12), socket(1, 13), socket(6), socket(7, ended=True))
    assert [line for line in lines(ONE._replace(sockets=sockets)) if line.startswith("sockets")] == [
        f"sockets 3 of {SHOWN} (12) in blue: 2 ESTABLISHED, 1 LISTEN",
        "sockets 1 of process 13 in blue: 1 ESTABLISHED",
        "sockets 1 of no process in blue: 1 TIME_WAIT",
        f"sockets 1 in blue: {status.ENDED}, and their listeners' queues have still",
    ]


def test_devices_processes_and_the_version_that_is_registered() -> None:
    devices = tuple(DeviceReference(2, DeviceQdisc(name, "t_a", 1, 0)) for name in ("eth0", "eth0", "eth1"))
    files = tuple(OpenFile(12, fd, 0, None, 0 if link else 7, link) for fd, link in ((3, 0), (4, 9)))
    one = ONE._replace(live=live(7, "retired", 2), replaced_by=8, devices=devices, files=files)
    assert lines(one._replace(default_of_devices=True)) == [
        "t_a id:7: retired; under its name id:8 is registered",
        "devices eth0, eth1 in blue",
        "default of new network devices (net.core.default_qdisc)",
        f"process {SHOWN} (12) has the link and the map open",
    ]


def test_an_unexplained_reference_has_leaked_only_if_all_was_inspected() -> None:
    assert _why_unexplained(FOUND) == "something that could not be looked at"
    assert _why_unexplained(FOUND._replace(not_inspected=())) == status.LEAKED


def test_notes_name_what_was_not_seen_and_the_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, ONE)
    monkeypatch.setattr(status, "is_kernels_own", lambda name: name == "reno")
    notes = [
        "not seen: red may not be entered",
        "note: reno is one of the kernel's own algorithms, and is only the map name of t_a",
    ]
    assert done("status", "reno").stderr.splitlines() == notes
    assert done("status", "t_map").stderr.splitlines()[1:] == ["note: t_map is only the map name of t_a"]
    assert done("status", "t_a").stderr == done("status", "id:7").stderr == f"{notes[0]}\n"
    assert done("status", "reno", "-q").stderr == ""


def test_no_map_is_a_note_and_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, not_inspected=())
    assert done("status") == (0, "", "no struct_ops map on this kernel\n")
    data = done_json("status")
    assert (data["maps"], data["namespaces"][0]["default"]) == ([], None)
    assert status._text(Output(), Status((), FOUND)) == ""
