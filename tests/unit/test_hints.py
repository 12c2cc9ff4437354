"""Every command line in a message exists, with its options and its arguments."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

import click
import pytest

import structops_cli
from structops_cli.cli.main import cli

PACKAGE = Path(structops_cli.__file__).parent
MENTION = re.compile(r"(?<![\w/.-])structops((?: [^\s;,()]+)+)")
ARGUMENT = re.compile(r"-.*|[A-Z][A-Z_]*|\S*[:=]\S+|\S*HOLE\S*")
"""Words of a command line: options, capitals, ids, assignments, and placeholders."""
HOLES = {"netns_options_of": "--netns NS", "where": "--netns NS", "ELSEWHERE": ""}
"""Text for a value by the value's name; HOLE stands for every other value."""
VERBS = frozenset(
    {"changes", "could", "did", "does", "ended", "had", "has", "is", "lifts", "loads", "makes", "pins", "set"}
)
"""Verbs after the program's name, in sentences about the program itself."""


class CommandLine(NamedTuple):
    """A command line in a message: its place, and its words after the program's name."""

    place: str
    words: tuple[str, ...]


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every string with its line, without docstrings; placeholders stand for values."""
    parts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or is_shell_words(node):
            yield node.lineno, text_of(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, re.sub(r"{(\w+)}", lambda match: HOLES.get(match[1], "HOLE"), node.value)


def is_shell_words(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "shell_words"


def text_of(node: ast.expr) -> str:
    """Return the text of an expression, with placeholders for values."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    if isinstance(node, ast.FormattedValue):
        return text_of(node.value)
    if is_shell_words(node):
        return " ".join(map(text_of, node.args))
    if isinstance(node, ast.Starred):
        return ""  # options, at the end
    return next((words for name, words in HOLES.items() if name in ast.unparse(node)), "HOLE")


def command_lines() -> Iterator[CommandLine]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for number, text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            for match in MENTION.finditer(text):
                words = tuple(word.rstrip(":") for word in match[1].split())
                if words[0] not in VERBS and not words[0].startswith("HOLE"):
                    yield CommandLine(f"{path.relative_to(PACKAGE)}:{number}", words)


def refusal(words: tuple[str, ...]) -> str:
    """Return why such a command cannot run, or "". Words after its arguments are ignored."""
    command: click.Command = cli
    context = click.Context(cli)
    place = 0
    while isinstance(command, click.Group) and place < len(words) and words[place][0] != "-":
        found = command.get_command(context, words[place])
        if found is None:
            return f"no command {words[place]}"
        command, place = found, place + 1
    end = place
    while end < len(words) and ARGUMENT.fullmatch(words[end]):
        end += 1
    try:
        command.make_context("structops", list(words[place:end]))
    except (click.NoSuchOption, click.MissingParameter, click.BadOptionUsage) as error:
        return error.format_message()
    except click.BadParameter:
        return ""  # a placeholder
    except click.UsageError as error:
        return error.format_message()
    except click.exceptions.Exit:
        return ""  # --help
    return ""


def test_every_command_line_in_a_message_can_be_run() -> None:
    found = list(command_lines())
    assert len(found) > 100
    assert [(*line, why) for line in found if (why := refusal(line.words))] == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("nosuch NAME", "no command nosuch"),
        ("list --nosuch", "No such option '--nosuch'."),
        ("unregister", "Missing argument 'SELECTOR...'."),
        ("route add", "Missing argument 'ROUTE...'."),
        ("doctor EXTRA", "Got unexpected extra argument (EXTRA)"),
        ("default NAME --netns", "Option '--netns' requires an argument."),
        ("list shows the maps", ""),
        ("default NAME --netns NS makes it so", ""),
    ],
)
def test_what_cannot_be_run_is_found(words: str, why: str) -> None:
    assert refusal(tuple(words.split())) == why
