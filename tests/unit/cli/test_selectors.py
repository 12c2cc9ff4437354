"""The argument SELECTOR and its completion."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from structops_cli.cli.selectors import complete_selector, optional_selector_argument, selectors_argument
from structops_cli.errors import NotPermittedError
from structops_cli.runtime import inventory
from tests.unit.cli.results import HOSTILE
from tests.unit.operations.live_maps import live


@pytest.fixture(autouse=True)
def maps(monkeypatch: pytest.MonkeyPatch) -> None:
    found = (live(7, "registered", 1), live(8, "retired", 1, name=HOSTILE))
    monkeypatch.setattr("structops_cli.runtime.kernel.readable_kernel", lambda: None)
    monkeypatch.setattr(inventory, "list_maps", lambda _: found)


def offered(word: str) -> list[tuple[str, str]]:
    found = complete_selector(None, None, word)  # type: ignore[arg-type]  # it reads neither
    return [(item.value, item.help or item.type) for item in found]


def test_names_and_ids_are_offered_but_no_unprintable_name() -> None:
    assert offered("") == [
        ("t_a", "tcp_congestion_ops, registered"),
        ("id:7", "t_a"),
        ("id:8", HOSTILE),
    ]
    assert offered("id:8") == [("id:8", HOSTILE)]
    assert offered("x") == []


def test_a_path_is_completed_by_the_shell() -> None:
    assert offered("/sys/fs/") == [("/sys/fs/", "file")]


def test_without_permission_nothing_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: None) -> None:
        raise NotPermittedError("no", errno=1, operation="MAP_GET_NEXT_ID")

    monkeypatch.setattr(inventory, "list_maps", refuse)
    assert offered("") == []


def test_how_many_selectors_a_command_takes() -> None:
    @click.command()
    @selectors_argument
    def several(selectors: tuple[str, ...]) -> None:
        click.echo(selectors)

    @click.command()
    @optional_selector_argument
    def perhaps(selector: str | None) -> None:
        click.echo(selector is None)

    run = CliRunner().invoke
    assert run(several, ["a", "id:7"]).output == "('a', 'id:7')\n"
    assert (run(several, []).exit_code, run(perhaps, ["a", "b"]).exit_code) == (2, 2)
    assert run(perhaps, []).output == "True\n"
