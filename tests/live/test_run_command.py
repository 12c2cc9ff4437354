"""``structops run``: programs of bpf_dummy_ops, with arguments by prototype and the state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli_runner import done, done_json, refused
from tests.kernel_features import DUMMY_OPS, SLEEPABLE, needs
from tests.live.objects import live_ops_file

pytestmark = needs(DUMMY_OPS)


def run(*arguments: str) -> dict[str, Any]:
    data = done_json("run", "dummy_ops", *arguments)
    assert data["program"]["jited_bytes"] > 0
    assert data["duration_ns"] >= 0
    return data


@pytest.mark.parametrize("state", ["5", "val=5", "0x5"])
def test_the_state_goes_in_and_comes_out(state: str) -> None:
    data = run("test_1", state)
    assert (data["member"], data["return_value"]) == ("test_1", 5)
    assert [(item["before"], item["after"]) for item in data["arguments"]] == [({"val": 5}, {"val": 6})]


@pytest.mark.parametrize("word", ["null", "none", "NULL"])
def test_no_state(word: str) -> None:
    data = run("test_1", word)
    assert data["return_value"] == -1, "signed, as the prototype says"
    assert [(item["before"], item["after"]) for item in data["arguments"]] == [(None, None)]


@pytest.mark.parametrize(
    ("numbers", "seen", "total"),
    [
        (("2", "3", "4", "5"), (2, 3, 4, 5), 15),
        (("-2", "3", "4", "0x5"), (-2, 3, 4, 5), 11),
        (("-2147483648", "65535", "100", "0"), (-2147483648, 65535, 100, 0), -2147483648 + 65535 + 100 + 1),
        (("0", "0", "127", "18446744073709551615"), (0, 0, 127, 18446744073709551615), 127),
    ],
)
def test_numbers_of_every_width(numbers: tuple[str, ...], seen: tuple[int, ...], total: int) -> None:
    data = run("test_2", "1", *numbers)
    assert data["signature"].startswith("int test_2(struct bpf_dummy_ops_state *")
    state, *rest = data["arguments"]
    assert tuple(item["before"] for item in rest) == seen
    assert all(item["before"] == item["after"] for item in rest)
    wrapped = (total + (1 << 31)) % (1 << 32) - (1 << 31)
    assert (data["return_value"], state["after"]) == (wrapped, {"val": wrapped})


@needs(SLEEPABLE)
def test_a_sleepable_program() -> None:
    data = run("test_sleepable", "21")
    assert (data["return_value"], data["arguments"][0]["after"]) == (42, {"val": 42})


def test_runs_do_not_know_of_each_other() -> None:
    assert [run("test_1", "7")["return_value"] for _ in range(2)] == [7, 7]


def test_as_text() -> None:
    lines = done("run", "dummy_ops", "test_1", "5").stdout.splitlines()
    assert lines[0].startswith("program   test_1 (program ")
    assert lines[1] == "member    int test_1(struct bpf_dummy_ops_state *)"
    assert "{.val = 5} -> {.val = 6}" in lines[2]
    assert lines[3] == "returned  5"
    assert lines[4].endswith(" ns")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("test_1",), "test_1 takes 1 argument(s), and 0 are given"),
        (("test_1", "1", "2"), "test_1 takes 1 argument(s), and 2 are given"),
        (("test_1", "nothing=1"), "struct bpf_dummy_ops_state has no member nothing"),
        (("test_1", "val=many"), "bpf_dummy_ops_state.val cannot be set"),
        (("test_1", "val=2147483648"), "bpf_dummy_ops_state.val cannot be set"),
        (("test_2", "1", "two", "3", "4", "5"), "argument 2, 'two', is no number"),
        (("nothing", "1"), "dummy_ops.bpf.o has no program nothing that a member points at"),
    ],
)
def test_arguments_that_do_not_fit(words: tuple[str, ...], what: str) -> None:
    error = refused("run", "dummy_ops", *words, exit_code=2)
    assert (error["kind"], error["what"]) == ("UsageError", what)


def test_the_programs_are_named_when_one_is_not_found() -> None:
    programs = ["test_1", "test_2", *(["test_sleepable"] if SLEEPABLE.present() else [])]
    assert refused("run", "dummy_ops", "nothing", exit_code=2)["hint"] == f"it has: {', '.join(programs)}"


def test_a_program_of_another_type(tmp_path: Path) -> None:
    error = refused("run", live_ops_file(tmp_path), "live_ssthresh", "null")
    assert error["operation"] == "PROG_TEST_RUN"
    assert error["errno"] in ("ENOTSUPP", "EOPNOTSUPP")
    assert error["hint"] == "register it instead"


def test_an_object_that_is_not_there() -> None:
    assert (
        refused("run", "t_nothing", "test_1", exit_code=3)["what"] == "there is no bundled object t_nothing"
    )
