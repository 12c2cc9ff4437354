"""The command itself: its help, its version, and calls that make no sense."""

from __future__ import annotations

import click
import pytest

from structops_cli import __version__
from structops_cli.cli.main import COMMANDS, cli
from structops_cli.errors import ExitCode
from tests.cli_runner import run_cli, run_process
from tests.golden_files import Golden

GROUPS = {
    "map": ("create", "delete", "lookup", "next-key", "update"),
    "btf": ("header",),
    "route": ("add", "change", "clear", "del", "list"),
    "vm": ("kernels", "run"),
}
EVERY = [(), *((name,) for name in COMMANDS), *((name, inner) for name in GROUPS for inner in GROUPS[name])]


@pytest.mark.parametrize("words", EVERY, ids=lambda words: "_".join(words) or "structops")
def test_help(golden: Golden, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    result = run_cli(*words, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result == run_cli(*words, "-h")
    golden.check(f"help_{'_'.join(words) or 'structops'}.txt", result.stdout)


def test_help_names_every_command_and_exit_code() -> None:
    text = run_cli("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in text
    for code in ExitCode:
        assert f"\n    {code:d} " in text


def test_the_table_of_commands_says_what_the_commands_say() -> None:
    for name, (text, _) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.help, name
        assert text.endswith("."), name
    assert {name: tuple(sorted(_inner(name))) for name in GROUPS} == GROUPS


def _inner(name: str) -> list[str]:
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, click.Group)
    return list(command.commands)


def test_every_command_takes_the_common_options() -> None:
    common = {"--json", "--pretty", "--quiet", "--verbose", "--no-color"}
    for words in EVERY:
        command: click.Command = cli
        for word in words:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), word)
            assert found is not None
            command = found
        if words not in (("map",), ("btf",), ("vm",)):
            assert common <= {option for param in command.params for option in param.opts}, words


def test_version() -> None:
    assert run_cli("--version") == (0, f"structops {__version__}\n", "")


def test_without_a_command_the_help_and_exit_code_2() -> None:
    result = run_cli()
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: structops [OPTIONS] COMMAND")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing",), "No such command 'nothing'"),
        (("list", "--nothing"), "No such option '--nothing'"),
        (("list", "more"), "Got unexpected extra argument (more)"),
        (("show",), "Missing argument 'SELECTOR...'"),
        (("demo", "--bytes", "0"), "Invalid value for '--bytes'"),
        (("map", "nothing"), "No such command 'nothing'"),
        (("btf", "header"), "Missing argument 'TYPE...'"),
    ],
)
def test_calls_that_make_no_sense(words: tuple[str, ...], said: str) -> None:
    plain, structured = run_cli(*words), run_cli(*words, "--json")
    assert (plain.exit_code, plain.stdout, structured.exit_code, structured.stdout) == (2, "", 2, "")
    assert plain.stderr.startswith("Usage: structops")
    assert said in plain.stderr
    error = structured.error()
    assert error["kind"] == "UsageError"
    assert said in error["what"]
    assert error["hint"] == "structops --help"


@pytest.mark.parametrize(
    "words", [("register", "--set", "name"), ("register", "--set", "=x"), ("register", "--const", "x")]
)
def test_assignments_without_an_equals_sign(words: tuple[str, ...]) -> None:
    error = run_cli(*words, "-j").error()
    assert error["what"] == f"{words[1]} {words[2]} has no '='"
    assert error["hint"] == f"write {words[1]} NAME=VALUE"


def test_what_stands_behind_two_dashes_is_no_option() -> None:
    result = run_cli("inspect", "--", "--json")
    assert result.exit_code == 3
    assert result.stderr.startswith("error: there is no bundled object --json")


def test_as_a_module() -> None:
    assert run_process("--version").stdout == f"structops {__version__}\n"
    assert run_process("show").exit_code == 2


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("watch", "--interval", "nan"), "'nan' is not a valid number of seconds."),
        (("watch", "--interval", "inf"), "inf is not in the range"),
        (("watch", "--timeout", "inf"), "'inf' is not a valid number of seconds."),
        (("drain", "t_x", "--timeout", "nan"), "'nan' is not a valid number of seconds."),
        (("unregister", "t_x", "--wait", "inf"), "'inf' is not a valid number of seconds."),
        (("unregister", "t_x", "--wait", "soon"), "'soon' is not a valid number of seconds."),
        (("rollback", "t_x", "--keep", "x"), "'x' is not a valid whole number."),
    ],
)
def test_numbers_that_are_none(words: tuple[str, ...], what: str) -> None:
    result = run_cli(*words)
    assert (result.exit_code, what in result.stderr) == (2, True), result.stderr
