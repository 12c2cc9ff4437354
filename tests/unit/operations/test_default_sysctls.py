"""Defaults that follow a new version: what is in the way of one is said, and stops neither the others nor the caller."""

from __future__ import annotations

from errno import ENOMEM
from typing import Any, cast

import pytest

from structops_cli.errors import KernelError
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations.default_sysctls import DefaultSysctls
from tests.unit.operations.live_maps import live


class Default:
    """A default that is written."""

    def __init__(self, inode: int, *, is_initial: bool) -> None:
        self.namespace = NetNamespace(inode, f"/n/{inode}", is_initial=is_initial)
        self.written: list[str] = []

    def read(self) -> str:
        return "t_a"

    def write(self, name: str) -> None:
        self.written.append(name)


class Allowed:
    """An allowed list that refuses some times to be written."""

    def __init__(self, refusals: int) -> None:
        self.refusals, self.names = refusals, ["reno"]

    def read(self) -> list[str]:
        return self.names

    def add(self, name: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise KernelError("no", why="no memory", errno=ENOMEM, operation="write")
        self.names.append(name)


def sysctls(refusals: int) -> tuple[DefaultSysctls, list[Default]]:
    found = DefaultSysctls(live(7, "registered", 1, type_name="bpf_dummy_ops"), writable=False)
    defaults = [Default(1, is_initial=True), Default(2, is_initial=False)]
    found.defaults = cast("Any", defaults)
    found.allowed = cast("Any", Allowed(refusals))
    return found, defaults


def test_a_list_that_refuses_once_is_written_again() -> None:
    found, defaults = sysctls(1)
    assert [one.error for one in found.rewrite()] == [None, None]
    assert [one.written for one in defaults] == [["t_a"], ["t_a"]]


def test_a_list_that_refuses_is_the_reason_of_those_that_need_it() -> None:
    found, defaults = sysctls(9)
    initial, other = found.rewrite()
    assert initial.error is None
    assert other.error is not None
    assert other.error.why == "no memory"
    assert [one.written for one in defaults] == [["t_a"], []], "written without being allowed it would leak"


@pytest.mark.parametrize("refusals", [0, 1])
def test_the_name_is_on_the_list_afterwards(refusals: int) -> None:
    found, _ = sysctls(refusals)
    found.rewrite()
    assert found.allowed is not None
    assert "t_a" in found.allowed.read()
