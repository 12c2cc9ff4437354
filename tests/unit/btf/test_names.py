"""Strings by offset, and names with a flavour."""

from __future__ import annotations

import pytest

from structops_cli.btf import names
from structops_cli.btf.btf import Btf
from structops_cli.btf.names import essential_name
from structops_cli.errors import BtfError
from tests.btf_writers import (
    int_,
    struct_,
    type_tag,
    write_btf,
)


def test_long_names_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MAX_TAG_BYTES", 1024)
    records = [type_tag(letter * 512, 0) for letter in "abc"]
    btf = Btf(write_btf(records), origin="x")
    assert [btf.name(1), btf.name(2), btf.name(1)] == ["a" * 512, "b" * 512, "a" * 512]
    with pytest.raises(BtfError, match="its names longer than 511 characters have more than"):
        btf.name(3)
    assert btf.string(1) == "a" * 512


def test_strings() -> None:
    btf = Btf(write_btf([int_("int")], more_strings=["tp->snd_cwnd = 1;"]), origin="x")
    assert (btf.string(0), btf.string(1), btf.string(2), btf.string(5)) == (
        "",
        "int",
        "nt",
        "tp->snd_cwnd = 1;",
    )
    for offset in (-1, 23, 1 << 32, 1 << 64):
        with pytest.raises(BtfError) as caught:
            btf.string(offset)
        assert str(caught.value) == f"x is damaged: a string is at offset {offset}, beyond the strings"


def test_bytes_that_are_no_text_are_shown() -> None:
    btf = Btf(write_btf([int_(1)], last_string=b"a\xff\xc3\xa9\0"))
    assert btf.name(1) == "a\\xff\u00e9"


@pytest.mark.parametrize(
    ("name", "essential"),
    [
        ("tcp_sock", "tcp_sock"),
        ("tcp_sock___old", "tcp_sock"),
        ("tcp_sock___a___b", "tcp_sock___a"),
        ("a___b", "a"),
        ("___b", "___b"),
        ("_a___b", "_a"),
        ("a____b", "a____b"),
        ("a___", "a___"),
        ("a____", "a____"),
        ("a___b____c", "a"),
        ("a___b___", "a"),
        ("a______b", "a______b"),
        ("__x___y", "__x"),
        ("", ""),
        ("___", "___"),
        ("a", "a"),
    ],
)
def test_essential_names_here_and_in_the_index(name: str, essential: str) -> None:
    assert essential_name(name) == essential
    if name:
        btf = Btf(write_btf([struct_(name, 0)]))
        assert btf.candidates(essential) == (1,)
        assert essential == name or btf.candidates(name) == ()
