"""Choose the version that a rollback registers."""

from __future__ import annotations

import pytest

from structops_cli.errors import NotFoundError
from structops_cli.operations import rollback as module
from structops_cli.operations.rollback import find_version
from structops_cli.operations.versions import Version
from tests.unit.operations.live_maps import live

CURRENT = live(9, "registered", 1, link=3)


def version(map_id: int, loaded: int, *, pin: bool = True) -> Version:
    one = CURRENT if map_id == 9 else live(map_id, "retired", 1)
    path = f"/kept/t_a/{map_id}" if pin and one is not CURRENT else ""
    return Version(one, path, 100 + map_id, loaded, "", ())


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> list[Version]:
    """Return the versions in the order of ``versions_of``: map 8 was replaced last."""
    found = [version(9, 30), version(8, 20), version(7, 10), version(6, 5, pin=False)]
    monkeypatch.setattr(module, "versions_of", lambda *_: tuple(found))
    return found


def chosen(to: int | None = None) -> tuple[int, list[int]]:
    one, younger = find_version((), CURRENT, to)
    return one.live.info.id, [item.live.info.id for item in younger]


def test_the_version_that_was_replaced_last_comes_back(versions: list[Version]) -> None:
    assert versions
    assert chosen() == (8, [])


def test_a_second_rollback_changes_nothing(versions: list[Version]) -> None:
    versions[1] = version(8, 40)
    assert chosen() == (9, [8])


def test_a_version_can_be_named_whether_it_is_younger_or_registered(versions: list[Version]) -> None:
    versions[1] = version(8, 40)
    assert chosen(8) == (8, [8])
    assert chosen(7) == (7, [8])
    assert chosen(9) == (9, [8])


def test_a_version_without_a_pin_is_not_kept(versions: list[Version]) -> None:
    with pytest.raises(NotFoundError, match="version id:6 of t_a is not kept") as raised:
        chosen(6)
    assert raised.value.why == "kept are: id:8, id:7"
    assert raised.value.hint == "structops versions t_a"
    del versions[1:3]
    with pytest.raises(NotFoundError, match="no version of t_a is kept") as raised:
        chosen()
    assert "--keep dropped" in raised.value.why
