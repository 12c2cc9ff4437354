"""Library functions report what they could not read."""

from __future__ import annotations

import pytest

import structops_cli as structops
from structops_cli.net.namespaces import NetNamespace
from structops_cli.operations import default, tcp_sockets
from structops_cli.operations.tcp_sockets import SocketSurvey

BLUE = NetNamespace(5, "/run/netns/blue")


def test_defaults_name_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(default, "read_defaults", lambda _: ((), ("blue is left out",)))
    assert structops.defaults() == ((), ("blue is left out",))


def test_sockets_keep_namespaces_without_any_and_the_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    survey = SocketSurvey(bytearray(), ((BLUE, 0),), ([], []), ("red is not shown",))
    monkeypatch.setattr(tcp_sockets, "survey_sockets", lambda *_, **__: survey)
    found = structops.sockets()
    assert [(one.namespace, one.sockets) for one in found.namespaces] == [(BLUE, ())]
    assert found.notes == ("red is not shown",)
