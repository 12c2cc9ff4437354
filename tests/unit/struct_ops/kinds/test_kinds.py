"""Check the registry of subsystems: each file is in it, under its own name, with consistent fields."""

from __future__ import annotations

import pkgutil

import pytest

from structops_cli.struct_ops import kinds
from structops_cli.struct_ops.kinds import REGISTRY, kind_of
from structops_cli.struct_ops.kinds.kind import Kind


def test_every_file_is_registered() -> None:
    files = {item.name for item in pkgutil.iter_modules(kinds.__path__)} - {"kind"}
    assert files == {name.lower() for name in REGISTRY}


def test_an_unknown_type_has_the_defaults() -> None:
    assert kind_of("t_ops") == Kind("t_ops")
    assert kind_of("t_ops").registration.registers
    assert kind_of("tcp_congestion_ops") is REGISTRY["tcp_congestion_ops"]


@pytest.mark.parametrize("kind", REGISTRY.values(), ids=lambda kind: kind.name)
def test_the_fields_agree(kind: Kind) -> None:
    members, data = kind.members, kind.data
    required = members.required | members.required_to_register
    assert not required & members.unsupported
    assert not (data.settable or frozenset()) & members.reserved
    limited = {*data.at_most, *data.at_least, *data.beyond, *data.flags, *data.flag_mask}
    assert limited <= (data.settable or frozenset())
    assert data.beyond.keys() <= data.at_most.keys()
    if kind.naming.member is not None:
        assert data.settable is not None
        assert kind.naming.member in data.settable
    if kind.naming.unrestricted_by is not None:
        member, bit = kind.naming.unrestricted_by
        assert bit in [int(flag) for flag in data.flags[member]]
    for why, hint in kind.registration.refusals.values():
        assert why
        assert hint
