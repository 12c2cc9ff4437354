"""Check the demand that a subsystem makes on a member."""

from __future__ import annotations

import pytest

from structops_cli.struct_ops.kinds.kind import Kind, MemberRules, Need, words

RULES = MemberRules(
    required=words("init"),
    required_to_register=words("loop"),
    either=(words("left right"),),
    unsupported=words("dump"),
    reserved=words("owner"),
)


@pytest.mark.parametrize(
    ("member", "need"),
    [
        ("init", Need.REQUIRED),
        ("loop", Need.REQUIRED),
        ("left", Need.EITHER),
        ("dump", Need.UNSUPPORTED),
        ("owner", Need.RESERVED),
        ("other", Need.OPTIONAL),
    ],
)
def test_needs(member: str, need: Need) -> None:
    assert RULES.need(member) is need
    assert Kind("t_ops", RULES).need(member) is need


def test_words_are_a_set() -> None:
    assert words("one two\n one") == {"one", "two"}
