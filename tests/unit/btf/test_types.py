"""Values of types that decide something by themselves."""

from __future__ import annotations

import pytest

from structops_cli.btf.types import FuncProto, Param, UnknownKind


def test_a_prototype_gets_a_name_for_each_parameter() -> None:
    proto = FuncProto(4, 1, (Param("sk", 2), Param("", 3), Param("", 0)))
    assert proto.named() == FuncProto(4, 1, (Param("sk", 2), Param("arg2", 3), Param("", 0)))


def test_a_prototype_with_all_names_is_returned_itself() -> None:
    proto = FuncProto(4, 1, (Param("sk", 2), Param("", 0)))
    assert proto.named() is proto


@pytest.mark.parametrize(("name", "words"), [("later", "later"), ("", "a type")])
def test_an_unknown_kind_is_described(name: str, words: str) -> None:
    target = UnknownKind(3, name, 27, b"")
    assert target.describe() == f"{words} of BTF kind 27, which structops does not know"
