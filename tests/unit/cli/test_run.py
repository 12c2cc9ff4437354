"""``structops run``: words become an object, a program and its arguments; the answer is a list."""

from __future__ import annotations

from typing import Any

import pytest

from structops_cli.runtime.program_run import Argument, ProgramRun
from tests.cli_runner import done, done_json, refused
from tests.unit.cli.results import HOSTILE, SHOWN, program

ARGUMENTS = (
    Argument("state", {"val": 1}, {"val": 2}),
    Argument("number", -5, -5),
    Argument("nothing", None, None),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run without a kernel; return what was asked for."""
    found: dict[str, Any] = {}

    def running(spec: Any, name: str, texts: tuple[str, ...], _: None, members: Any) -> ProgramRun:
        found.update(object=spec.name, name=name, texts=texts, members=members)
        return ProgramRun(program(11), "test_2", "int test_2(state, int)", ARGUMENTS, -22, 40)

    monkeypatch.setattr("structops_cli.cli.run.live_kernel", lambda: None)
    monkeypatch.setattr("structops_cli.cli.run.run_program", running)
    return found


def test_an_argument_may_be_a_negative_number(asked: dict[str, Any]) -> None:
    done("run", "dummy_ops", "t", "val=1", "-5", "--set", "one.name=x")
    assert asked == {
        "object": "dummy_ops.bpf.o",
        "name": "t",
        "texts": ("val=1", "-5"),
        "members": {("one", "name"): "x"},
    }


@pytest.mark.usefixtures("asked")
def test_only_a_changed_argument_has_an_arrow() -> None:
    assert done("run", "dummy_ops", HOSTILE).stdout.splitlines() == [
        f"program   {SHOWN} (program 11)",
        "member    int test_2(state, int)",
        "state     {.val = 1} -> {.val = 2}",
        "number    -5",
        "nothing   null",
        "returned  -22",
        "took      40 ns",
    ]
    data = done_json("run", "dummy_ops", "t")
    assert (data["return_value"], data["arguments"][0]["after"]) == (-22, {"val": 2})


def test_a_setting_without_an_equals_sign() -> None:
    error = refused("run", "dummy_ops", "t", "--set", "x", exit_code=2)
    assert (error["what"], error["hint"]) == ("--set x has no '='", "write --set NAME=VALUE")
