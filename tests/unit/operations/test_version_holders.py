"""The holders of a version are unknown where versions of one name are not told apart."""

from __future__ import annotations

from typing import Any, cast

import pytest

from structops_cli.errors import NotFoundError
from structops_cli.operations import version_holders
from structops_cli.operations.version_holders import VersionHolders, find_holders
from structops_cli.operations.versions import Version
from tests.unit.operations.live_maps import live


def version(map_id: int) -> Version:
    return Version(live(map_id, "registered", 1), "", 0, 0, "", ())


class Held:
    """Stands for the status of a map with two sockets."""

    sockets = (1, 2)


def test_exact_holders_are_counted_by_map() -> None:
    holders = VersionHolders({7: cast("Any", Held())}, exact=True)
    assert (holders.sockets(version(7)), holders.sockets(version(8))) == (2, None)


def test_without_a_way_to_tell_versions_apart_nothing_is_known() -> None:
    holders = VersionHolders({7: cast("Any", Held())}, exact=False)
    assert (holders.sockets(version(7)), holders.status_of(version(7)), holders.words(version(7))) == (
        None,
        None,
        "",
    )


def test_a_name_that_is_gone_meanwhile_has_no_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise NotFoundError("gone")

    monkeypatch.setattr(version_holders, "find_status", gone)
    assert find_holders(cast("Any", None), "t_a") == VersionHolders({}, exact=False)
