"""The names that are taken are those that the kernel lists, wherever a kind says it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from structops_cli.runtime import checking
from structops_cli.struct_ops.kinds import kind_of
from structops_cli.struct_ops.kinds.kind import Naming


def test_congestion_controls_are_those_of_the_sysctl() -> None:
    with open("/proc/sys/net/ipv4/tcp_available_congestion_control", encoding="ascii") as file:
        listed = set(file.read().split())
    assert "reno" in listed
    assert checking.taken_names() == {("tcp_congestion_ops", name) for name in listed}


def test_a_kind_may_name_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = tmp_path / "names"
    place.write_text("one two\n", encoding="ascii")
    kind = kind_of("Qdisc_ops")._replace(naming=Naming(listed_in=str(place)))
    monkeypatch.setattr(checking, "REGISTRY", {kind.name: kind})
    assert checking.taken_names() == {("Qdisc_ops", "one"), ("Qdisc_ops", "two")}


def test_what_is_not_shown_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = kind_of("Qdisc_ops")._replace(naming=Naming(listed_in="net.nothing.of_the_kind"))
    monkeypatch.setattr(checking, "REGISTRY", {kind.name: kind})
    assert checking.taken_names() == frozenset()
