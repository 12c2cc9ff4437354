"""Resolve which namespaces an operation changes: the initial one only if it is named."""

from __future__ import annotations

import pytest

from structops_cli.errors import NotFoundError, UsageError
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations import target_namespaces as module
from structops_cli.operations.target_namespaces import NamespaceChoice, target_namespaces

INITIAL = NetNamespace(1, "/proc/1/ns/net", (), (1,), is_initial=True)
ONE = NetNamespace(2, "/run/netns/t_one", ("t_one",))
TWO = NetNamespace(3, "/run/netns/t_two", ("t_two",))
FOUND = (INITIAL, ONE, TWO)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> list[NetNamespace]:
    """Return the list whose last element is the caller's own namespace."""
    places = [INITIAL]
    monkeypatch.setattr(module, "own_namespace", lambda: places[-1])
    return places


def test_names(own: list[NetNamespace]) -> None:
    assert own
    assert target_namespaces(FOUND, NamespaceChoice(("t_two", "initial"))) == (TWO, INITIAL)
    with pytest.raises(NotFoundError):
        target_namespaces(FOUND, NamespaceChoice(("t_three",)))


def test_all_are_all_but_the_initial_one(own: list[NetNamespace]) -> None:
    assert own
    assert target_namespaces(FOUND, NamespaceChoice(every=True)) == (ONE, TWO)
    assert set(target_namespaces(FOUND, NamespaceChoice(("initial",), every=True))) == {INITIAL, ONE, TWO}


def test_without_a_choice_it_is_the_callers_own(own: list[NetNamespace]) -> None:
    own.append(TWO._replace(path="/proc/self/ns/net"))
    assert target_namespaces(FOUND, NamespaceChoice()) == (TWO,)
    own.append(NetNamespace(9, "/proc/self/ns/net"))
    assert target_namespaces(FOUND, NamespaceChoice()) == (own[-1],)


@pytest.mark.parametrize("one", [True, False])
def test_the_initial_one_has_to_be_named(own: list[NetNamespace], *, one: bool) -> None:
    assert own
    with pytest.raises(UsageError) as raised:
        target_namespaces(FOUND, NamespaceChoice(one=one))
    assert ("--all-netns" in raised.value.hint) is not one
