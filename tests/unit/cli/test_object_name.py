"""Completion of the argument OBJ."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from structops_cli.cli.object_name import ObjectName
from structops_cli.runtime.objects import bundled_objects

COMMAND = click.Command("t", params=[click.Argument(["object_name"], type=ObjectName())])


def offered(word: str) -> list[tuple[str, str, str | None]]:
    context = click.Context(COMMAND)
    return [
        (item.value, item.type, item.help)
        for item in ObjectName().shell_complete(context, COMMAND.params[0], word)
    ]


def test_names_of_bundled_objects_and_files_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reno_b.o").touch()
    (tmp_path / "reno.c").touch()
    monkeypatch.chdir(tmp_path)
    assert offered("reno") == [
        ("reno", "dir", None),
        ("reno", "plain", "bundled"),
        ("reno_b.o", "plain", "file"),
    ]
    assert len(offered("")) == len(bundled_objects()) + 2


def test_after_a_slash_the_shell_completes_files() -> None:
    assert offered("./re") == [("./re", "file", None)]


def test_a_folder_that_may_not_be_listed_leaves_the_bundled_names(monkeypatch: pytest.MonkeyPatch) -> None:
    listdir = os.listdir

    def refusing(*path: str) -> list[str]:
        if not path:
            raise PermissionError
        return listdir(*path)

    monkeypatch.setattr(os, "listdir", refusing)
    assert ("reno", "plain", "bundled") in offered("reno")


def test_the_word_itself_is_left_as_it_is() -> None:
    """Only opening the object decides whether there is one."""
    assert ObjectName().convert("no/such.o", None, None) == "no/such.o"
