"""``structops versions``: one line for each version, with its holders if they were looked for."""

from __future__ import annotations

import time

import pytest

from structops_cli.cli import versions
from structops_cli.operations import version_holders
from structops_cli.operations.status import MapStatus, ReferenceCount
from structops_cli.operations.version_holders import VersionHolders
from structops_cli.operations.versions import Version
from structops_cli.runtime.holders import DefaultReference
from structops_cli.runtime.live_map import LiveLink
from tests.cli_runner import done, done_json
from tests.unit.cli.results import HOSTILE, SHOWN
from tests.unit.operations.live_maps import live

CURRENT = Version(
    live(7, "registered", 2, name=HOSTILE)._replace(links=(LiveLink(3, ("/p",)),)), "", 0, 10**9, "abcd", ()
)
KEPT = Version(live(5, "ready", 0), "/kept/5", 1_700_000_000_500_000_000, 10**9, "ef01", ())
COUNT = ReferenceCount(2, 0, 1, 0, 1, 0, 0)
HELD = MapStatus(CURRENT.live, 0, (DefaultReference(2, "t_a", 7),), (), (), (), COUNT)


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "readable_kernel", lambda: None)
    monkeypatch.setattr(versions, "list_maps", lambda _: ())
    monkeypatch.setattr(versions, "all_versions", lambda *_: (CURRENT, KEPT))


def test_without_a_name_holders_are_not_looked_for() -> None:
    header, current, kept = done("versions").stdout.splitlines()
    assert header.split() == ["ID", "NAME", "VERSION", "HOLDERS", "PROGRAMS", "DIGEST", "LOADED", "PIN"]
    assert current.split()[:6] == ["7", SHOWN, "current", "2", "0", "abcd"]
    assert (current.split()[-1], kept.split()[-1], kept.split()[2]) == ("/p", "/kept/5", "kept")
    data = done_json("versions")
    assert (data["exact"], data["versions"][0]["sockets"]) == (False, None)
    assert [one["replaced_at"] for one in data["versions"]] == [None, 1_700_000_000.5]


def test_with_a_name_there_are_holders_and_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    holders = VersionHolders({7: HELD}, exact=True, not_inspected=("red is closed",))
    monkeypatch.setattr(version_holders, "find_holders", lambda *_: holders)
    result = done("versions", "t_a")
    assert result.stderr == "not seen: red is closed\n"
    assert done("versions", "t_a", "-q").stderr == ""
    current, kept = result.stdout.splitlines()[1:]
    assert current.split()[4:10] == ["0", "1", "link,", "1", "pin,", "1"]
    assert kept.split()[4:6] == ["-", "-"]
    data = done_json("versions", "t_a")["versions"]
    assert (data[0]["defaults"], data[1]["defaults"]) == ([2], None)


def test_the_time_of_loading_is_counted_from_the_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    monkeypatch.setattr(time, "clock_gettime", lambda _: 100.0)
    assert versions._loaded_at(CURRENT) == 901.0


def test_no_version_is_a_header_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "all_versions", lambda *_: ())
    assert done("versions").stdout.count("\n") == 1
    assert done_json("versions")["versions"] == []


def test_a_version_of_an_unread_type_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    unread = CURRENT.live._replace(type=CURRENT.live.type._replace(unread="its BTF is damaged"))
    monkeypatch.setattr(versions, "all_versions", lambda *_: (CURRENT._replace(live=unread),))
    assert done_json("versions")["versions"][0]["loaded_at"] is None
    assert done("versions").stdout.splitlines()[1].split()[-2] == "-"
    assert "warning: the type of id:7 is not known" in done("versions", "-q").stderr
