"""Check the rules of PROG_LOAD and PROG_TEST_RUN."""

from __future__ import annotations

from errno import EINVAL, EOPNOTSUPP

import pytest

from structops_cli.errors import ENOTSUPP
from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.rules.model import (
    LoadProgram,
    RunProgram,
)
from tests.unit.struct_ops.rules.cases import (
    TCP,
    answer,
)


def test_programs_may_not_sleep_before_6_3() -> None:
    load = LoadProgram(TCP, TCP.struct.id, 0, sleepable=True)
    assert answer(load, capabilities=Capabilities(sleepable=False)) == (EINVAL, "sleepable-here", "")
    assert answer(load) == (0, "", "")


def test_indexes_that_are_taken_for_attach_types() -> None:
    load = LoadProgram(TCP, TCP.struct.id, 2)
    assert answer(load, capabilities=Capabilities(confused_indexes=frozenset({2}))) == (
        EINVAL,
        "member-index-confused",
        "",
    )
    assert answer(load, capabilities=Capabilities(confused_indexes=frozenset({3}))) == (0, "", "")


def test_a_run_where_there_are_none() -> None:
    assert answer(RunProgram(TCP, 0, 1), capabilities=Capabilities(test_runs=False))[:2] == (
        ENOTSUPP,
        "no-test-runs",
    )
    assert answer(RunProgram(TCP, 0, 1))[:2] == (EOPNOTSUPP, "test-type")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, (0, "")),
        ({"licence": "Proprietary"}, (EINVAL, "licence")),
        ({"attach_btf_id": 1}, (ENOTSUPP, "type-registered")),
        ({"member_index": 99}, (EINVAL, "member-index")),
        ({"member_index": 5}, (EINVAL, "member-function")),
    ],
)
def test_loading(changes: dict[str, int], said: tuple[int, str]) -> None:
    load = LoadProgram(TCP, TCP.struct.id, 0)._replace(**changes)  # type: ignore[arg-type]  # numbers only
    assert answer(load)[:2] == said
