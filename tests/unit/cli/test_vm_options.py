"""The options of commands that boot a guest become values."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.cli.vm_options import file_from, variable_from, wish_from
from structops_cli.errors import UsageError


def test_a_fetched_file_has_two_paths() -> None:
    assert wish_from("out:here:now") == ("out", "here:now")
    for text in ("out", ":here", "out:"):
        with pytest.raises(UsageError):
            wish_from(text)


def test_a_variable_has_a_name_and_any_value() -> None:
    assert variable_from("A_1=b=c") == ("A_1", "b=c")
    for text in ("A", "1A=b", "=b"):
        with pytest.raises(UsageError):
            variable_from(text)


def test_a_file_whose_name_has_a_colon(tmp_path: Path) -> None:
    path = tmp_path / "a:b"
    path.touch()
    assert file_from(str(path)) == (str(path), "a:b")
    assert file_from(f"{tmp_path}/c:d") == (f"{tmp_path}/c", "d")
