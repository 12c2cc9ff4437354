"""Test numbers with their nouns."""

from __future__ import annotations

from structops_cli.counted import counted


def test_numbers_agree_with_their_nouns() -> None:
    assert [counted(n, "socket") for n in (0, 1, 2)] == ["0 sockets", "1 socket", "2 sockets"]
    assert counted(2, "process", "processes") == "2 processes"
