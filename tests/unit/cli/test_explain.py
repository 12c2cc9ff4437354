"""``structops explain``: its words become an operation and an errno; causes become numbered paragraphs."""

from __future__ import annotations

from structops_cli.cli.explain import _text
from structops_cli.struct_ops.rules.diagnose import Possible
from tests.cli_runner import done, done_json, refused
from tests.unit.cli.results import HOSTILE, SHOWN

ONE = Possible(
    "LINK_CREATE", 17, "a-rule", "", "the name is taken", "choose another", "structops list", "6.4"
)


def test_an_operation_that_is_none_lists_those_that_are() -> None:
    error = refused("explain", "plant", "EEXIST", exit_code=2)
    assert error["what"] == "plant names no operation"
    assert "register, unregister" in error["hint"]


def test_an_errno_that_is_none_is_a_usage_error() -> None:
    error = refused("explain", "register", "EWHATEVER", exit_code=2)
    assert error["what"] == "EWHATEVER is no errno"
    assert error["hint"] == "a name such as EINVAL, or a number such as 22"


def test_names_and_numbers_of_an_errno_mean_the_same() -> None:
    by_name, by_number = (done_json("explain", "register", word) for word in ("EEXIST", "17"))
    assert by_name == by_number
    assert (by_name["errno"], by_name["errno_number"], by_name["narrowed_by"]) == ("EEXIST", 17, "")
    assert {item["operation"] for item in by_name["causes"]} <= {"MAP_UPDATE_ELEM", "LINK_CREATE"}


def test_an_errno_without_a_known_cause_says_so() -> None:
    text = done("explain", "freeze", "EXDEV").stdout
    assert text.startswith("MAP_FREEZE: EXDEV (18)\n\n")
    assert done_json("explain", "freeze", "EXDEV")["causes"] == []


def test_causes_with_the_same_words_are_one_paragraph() -> None:
    other = ONE._replace(operation="MAP_UPDATE_ELEM", rule="b-rule")
    text = _text(("LINK_CREATE", "MAP_UPDATE_ELEM"), 17, (ONE, other, ONE._replace(why=HOSTILE)), "")
    head, first, second = text.split("\n\n")
    assert head == "LINK_CREATE or MAP_UPDATE_ELEM: EEXIST (17)"
    assert first.splitlines() == [
        " 1. the name is taken",
        "    fix:   choose another",
        "    tell:  structops list",
        "    on:    6.4",
        "    in:    LINK_CREATE, MAP_UPDATE_ELEM",
        "    rule:  a-rule, b-rule",
    ]
    assert second.startswith(f" 2. {SHOWN}\n")


def test_no_cause_that_applies_to_the_subject() -> None:
    text = _text(("LINK_CREATE",), 17, (), " for reno")
    assert text == "LINK_CREATE: EEXIST (17)\n\nno cause that is known applies for reno"
