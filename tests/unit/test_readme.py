"""The README keeps up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from structops_cli.cli.main import COMMANDS, cli
from structops_cli.errors import ExitCode

README = (Path(__file__).parents[2] / "README.md").read_text()
CALLS = re.findall(r"^[#$] structops (.+?)(?:;.*)?$", README, flags=re.MULTILINE)


def test_every_command_is_shown() -> None:
    shown = {word for call in CALLS for word in call.split()} | set(
        re.findall(r"^### (\w+)", README, re.MULTILINE)
    )
    assert set(COMMANDS) <= shown


@pytest.mark.parametrize("call", sorted(set(CALLS)))
def test_every_call_is_one_that_the_command_takes(call: str) -> None:
    words = [word for word in call.partition(" -- ")[0].split() if word != "--json"]
    context = cli.make_context("structops", [words[0]], resilient_parsing=True)
    command = cli.get_command(context, words[0])
    assert command is not None
    known = {
        option
        for parameter in command.get_params(context)
        for option in parameter.opts + parameter.secondary_opts
    }
    subcommand = getattr(command, "commands", {}).get("".join(words[1:2]))
    if subcommand is not None:
        known |= {option for parameter in subcommand.get_params(context) for option in parameter.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= known


def test_the_exit_codes_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| .+ \|$", README, flags=re.MULTILINE)
    assert [int(row) for row in rows] == [int(code) for code in ExitCode]


def test_the_folders_exist() -> None:
    root = Path(__file__).parents[2]
    for folder in re.findall(r"^\| `((?:structops_cli|tests)/[\w./]*)` \|", README, flags=re.MULTILINE):
        assert (root / folder).exists(), folder
