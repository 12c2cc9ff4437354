"""Namespaces whose default is an older version of a registered name."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import pytest

from structops_cli.errors import NotPermittedError, UnsupportedError
from structops_cli.operations import default_versions as module
from structops_cli.operations.default_versions import older_versions
from structops_cli.runtime.holders import DefaultReference
from tests.unit.operations.live_maps import live

MAPS = (
    live(7, "retired", 1),
    live(8, "registered", 1, link=3),
    live(9, "retired", 1, name="t_gone"),
    live(10, "registered", 1, name="t_b"),
    live(11, "retired", 1, name="t_b"),
)


class Reader:
    """The default of each namespace, by address."""

    def __init__(self, _: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def read(self) -> tuple[DefaultReference, ...]:
        names = [("t_a", 7), ("t_a", 8), ("t_gone", 9), ("t_b", 11), ("t_a", 0)]
        return tuple(DefaultReference(100 + at, *pair) for at, pair in enumerate(names))


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace what the kernel would list."""
    monkeypatch.setattr(module, "readable_kernel", lambda: None)
    monkeypatch.setattr(module, "list_maps", lambda _: MAPS)
    monkeypatch.setattr(module, "DefaultsReader", Reader)


def test_a_replaced_map_of_a_registered_name_is_older() -> None:
    """A retired name has no newer version, and a map id of 0 is unknown."""
    assert older_versions({"t_a", "t_gone", "t_b"}) == {100: 7, 103: 11}
    assert older_versions({"t_a"}) == {100: 7}


def test_a_name_that_no_map_registers_needs_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DefaultsReader", lambda _: pytest.fail("it loads programs"))
    assert older_versions({"cubic", "t_gone"}) == {}


@pytest.mark.parametrize(
    "error", [UnsupportedError("no iterator"), NotPermittedError("no", errno=1, operation="PROG_LOAD")]
)
def test_without_the_kernels_answer_no_version_is_older(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refused(_: object) -> None:
        raise error

    monkeypatch.setattr(module, "list_maps", refused)
    assert older_versions({"t_a"}) == {}
