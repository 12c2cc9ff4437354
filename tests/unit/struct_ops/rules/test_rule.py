"""Check how a broken rule becomes an answer in words."""

from __future__ import annotations

from errno import EINVAL

from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.rules.model import Lookup, Model, World
from structops_cli.struct_ops.rules.rule import Broken, Case, Rule, answer_of, broken, filled, when
from tests.synthetic_kernels import kernel

TCP = find_type(kernel(), "tcp_congestion_ops")
CASE = Case(Lookup("m"), TCP, None, Model(), World())
HOLDS = Rule("holds", "MAP_UPDATE_ELEM", EINVAL, lambda _: None, "never said")
BREAKS = Rule(
    "breaks",
    "MAP_UPDATE_ELEM",
    EINVAL,
    lambda _: {"member": "name", "size": 7},
    "{member} has {size}",
    "{NAME_MEMBER}",
)


def test_only_broken_rules_are_yielded_in_order() -> None:
    later = BREAKS._replace(name="later")
    assert [found.rule.name for found in broken((BREAKS, HOLDS, later), CASE)] == ["breaks", "later"]


def test_the_walked_member_is_the_member_of_the_answer() -> None:
    member = TCP.members[0]
    [found] = broken((BREAKS,), CASE._replace(member=member))
    assert (found.member, answer_of(found).why) == (member.name, f"{member.name} has 7")
    [plain] = broken((BREAKS,), CASE)
    assert plain.member == "name"


def test_an_answer_has_the_words_of_case_type_and_variable() -> None:
    [found] = broken((BREAKS,), CASE)
    answer = answer_of(found, "one")
    assert (answer.errno, answer.rule, answer.why, answer.hint) == (
        EINVAL,
        "breaks",
        "name has 7",
        "one.name",
    )


def test_words_of_an_object_are_not_filled_in_again() -> None:
    hostile = Broken(BREAKS, TCP.name, "{size}", {"size": "{__class__}"})
    assert answer_of(hostile).why == "{size} has {__class__}"


def test_the_result_counts_only_without_an_errno() -> None:
    quiet = BREAKS._replace(errno=0)
    assert answer_of(Broken(quiet, TCP.name, "", {"result": 1})).result == 1
    assert answer_of(Broken(BREAKS, TCP.name, "", {"result": 1})).result == 0


def test_missing_words_stand_for_themselves() -> None:
    assert filled("set {member} of {TYPE}") == "set MEMBER of TYPE"
    assert filled("{ELSEWHERE}") == ""
    assert filled("see{ELSEWHERE}", "sched_ext_ops") == "see and /sys/kernel/sched_ext/root/ops"


def test_when() -> None:
    assert when(True, size=1) == {"size": 1}
    assert when(True) == {}
    assert when(False, size=1) is None
