"""``structops rollback``: the words of its result, of a dry run, and of nothing to do."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.operations.default_sysctls import NamespaceResult, OutdatedDefaults
from structops_cli.operations.replace import Replaced
from structops_cli.operations.rollback import RolledBack
from structops_cli.operations.transaction import Change
from structops_cli.operations.versions import Version
from tests.cli_runner import done, done_json, refused
from tests.unit.cli.results import HOSTILE, SHOWN
from tests.unit.operations.live_maps import live

LIVE = live(7, "registered", 2, name=HOSTILE)
OLD = Version(live(5, "ready", 0), "/kept/5", 9, 9, "abcd", ())
REPLACED = Replaced(3, None, "/kept/7", (), (), (), 0)
CHANGE = Change(f"map of {HOSTILE}", {"map_id": 7}, {"map_id": 5})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Roll back without a kernel: set ``result`` to what comes of it. Gets what was asked for."""
    found: dict[str, Any] = {"result": RolledBack(LIVE, OLD, REPLACED, (CHANGE,), (OLD,))}

    def rolling(selector: str, to: int | None, **more: Any) -> RolledBack:
        found.update(selector=selector, to=to, **more)
        result: RolledBack = found["result"]
        return result

    monkeypatch.setattr("structops_cli.cli.rollback.rollback", rolling)
    return found


def test_options_become_values(asked: dict[str, Any]) -> None:
    done("rollback", "t", "--to", "id:5", "--keep", "0", "--restart")
    assert (asked["selector"], asked["to"], asked["keep"], asked["restart"]) == ("t", 5, 0, True)


def test_an_id_that_is_none_is_a_usage_error() -> None:
    assert "--to" in refused("rollback", "t", "--to", "five", exit_code=2)["what"]


@pytest.mark.usefixtures("asked")
def test_a_dry_run_has_a_new_map_and_says_would() -> None:
    assert done("rollback", "t", "--dry-run").stdout.splitlines() == [
        "dry run: nothing was done",
        f"would roll back {SHOWN} (tcp_congestion_ops)",
        "  map   new (t_map), was 7",
        "  link  3",
        "  kept  /kept/7",
    ]
    data = done_json("rollback", "t")
    assert (data["changed"], data["newer"], data["link_id"]) == (True, [5], 3)


def test_nothing_to_do_names_the_newer_version(asked: dict[str, Any]) -> None:
    asked["result"] = RolledBack(LIVE, OLD._replace(live=LIVE), None, (), (OLD,))
    assert done("rollback", "t").stdout == (
        f"{SHOWN} (tcp_congestion_ops) is map 7 already, and was gone back to from id:5: nothing to do\n"
    )


def test_outdated_defaults_are_written_again(asked: dict[str, Any]) -> None:
    outdated = OutdatedDefaults(7, {2: 5}, (NamespaceResult(HOSTILE, 2),), ())
    asked["result"] = RolledBack(LIVE, OLD._replace(live=LIVE), None, tuple(outdated.changes), (), outdated)
    assert done("rollback", "t").stdout.endswith(f"already: its default is written again in {SHOWN}\n")
    assert done_json("rollback", "t")["changed"] is True
