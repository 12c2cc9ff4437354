"""Numeric options refuse text that is no number, and numbers that nobody can wait for."""

from __future__ import annotations

import click
import pytest

from structops_cli.cli.numbers import MapId, Seconds


@pytest.mark.parametrize("text", ["7", "id:7"])
def test_the_id_of_a_map(text: str) -> None:
    assert MapId().convert(text, None, None) == 7


@pytest.mark.parametrize("text", ["", "id:", "-1", "x", "٣"])
def test_text_that_is_no_id(text: str) -> None:
    with pytest.raises(click.BadParameter):
        MapId().convert(text, None, None)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "x"])
def test_text_that_is_no_time(text: str) -> None:
    assert Seconds(min=0).convert("0.5", None, None) == 0.5
    with pytest.raises(click.BadParameter):
        Seconds(min=0).convert(text, None, None)
