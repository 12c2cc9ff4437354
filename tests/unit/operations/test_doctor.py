"""The examination: values that several checks share, and the verdict."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from structops_cli.errors import StructopsError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations import doctor as module
from structops_cli.operations.doctor import _initial_default, _once, is_healthy
from structops_cli.operations.findings import NOTE, OK, PROBLEM, Finding


def test_only_a_problem_is_unhealthy() -> None:
    good = [Finding("pins", OK, "none"), Finding("pins", NOTE, "one")]
    assert is_healthy([])
    assert is_healthy(good)
    assert not is_healthy([*good, Finding("pins", PROBLEM, "one"), *good])


def test_a_shared_value_is_made_once_even_if_it_is_false() -> None:
    calls: list[int] = []
    get = _once(lambda: calls.append(1))
    assert calls == []
    assert (get(), get()) == (None, None)
    assert calls == [1]


def test_each_check_gets_the_same_error_of_a_shared_value() -> None:
    calls: list[int] = []

    def make() -> None:
        calls.append(1)
        raise StructopsError("no list")

    get = _once(make)
    errors = []
    for _ in range(2):
        with pytest.raises(StructopsError) as raised:
            get()
        errors.append(raised.value)
    assert errors[0] is errors[1]
    assert calls == [1]


def test_files_at_boot_are_compared_with_the_default_of_the_initial_namespace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def inside(namespace: NetNamespace, function: Callable[[], CongestionControls]) -> CongestionControls:
        return function()._replace(default=f"of {namespace.title}")

    monkeypatch.setattr(module, "inside", inside)
    monkeypatch.setattr(module, "read_congestion_controls", lambda: CongestionControls((), (), "own"))
    other = NetNamespace(2, "/run/netns/t_a", ("t_a",))
    assert _initial_default([other, NetNamespace(1, "/proc/1/ns/net", is_initial=True)]) == "of initial"
    assert _initial_default([other]) == "own"
