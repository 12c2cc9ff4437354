"""The options that choose namespaces, and their completion."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from structops_cli.cli import netns
from structops_cli.errors import StructopsError
from structops_cli.net.namespaces import NetNamespace

FOUND = (NetNamespace(1, "/p", is_initial=True), NetNamespace(2, "/b", ("blue",)), NetNamespace(3, "/c"))


@click.command()
@netns.netns_options
def command(netns: tuple[str, ...], *, all_netns: bool) -> None:
    click.echo(f"{netns} {all_netns}")


def test_a_namespace_may_be_given_again_and_again() -> None:
    result = CliRunner().invoke(command, ["--netns", "b", "--all-netns", "--netns", "a"])
    assert result.output == "('b', 'a') True\n"
    assert CliRunner().invoke(command, []).output == "() False\n"
    assert CliRunner().invoke(command, ["--netns"]).exit_code == 2


@pytest.mark.parametrize(
    ("word", "offered"), [("", ["initial", "blue", "net:[3]"]), ("b", ["blue"]), ("x", [])]
)
def test_completion_offers_titles(monkeypatch: pytest.MonkeyPatch, word: str, offered: list[str]) -> None:
    monkeypatch.setattr(netns, "find_namespaces", lambda: FOUND)
    assert netns._complete(None, None, word) == offered  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [OSError("x"), StructopsError("x")])
def test_completion_keeps_silent_about_errors(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(netns, "find_namespaces", fail)
    assert netns._complete(None, None, "") == []  # type: ignore[arg-type]
