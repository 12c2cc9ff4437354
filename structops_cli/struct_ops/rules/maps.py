"""The rules of lookup, next key, delete and freeze (kernel/bpf/bpf_struct_ops.c)."""

from __future__ import annotations

from errno import EBADF, EINPROGRESS, ENOENT, EOPNOTSUPP

from structops_cli.errors import ENOTSUPP
from structops_cli.struct_ops.rules.causes import MAP_NOT_OPEN, ONE_KEY
from structops_cli.struct_ops.rules.model import GetNextKey, Lookup
from structops_cli.struct_ops.rules.rule import Case, Facts, Rule, when
from structops_cli.syscall.uapi import StructOpsState


def _lookup_key(case: Case) -> Facts | None:
    assert isinstance(case.operation, Lookup)
    return when(case.operation.key != 0, key=case.operation.key)


def _last_key(case: Case) -> Facts | None:
    assert isinstance(case.operation, GetNextKey)
    return when(case.operation.key == 0)


def _is_in(case: Case, state: StructOpsState) -> Facts | None:
    assert case.map is not None
    return when(case.map.state == state)


def map_open(operation: str) -> Rule:
    """Return the first rule of every operation on a map."""
    return Rule("map-open", operation, EBADF, lambda case: when(case.map is None), *MAP_NOT_OPEN, rank=3)


LOOKUP_RULES = (
    map_open("MAP_LOOKUP_ELEM"),
    Rule("key-zero", "MAP_LOOKUP_ELEM", ENOENT, _lookup_key, *ONE_KEY, rank=1),
)

NEXT_KEY_RULES = (
    map_open("MAP_GET_NEXT_KEY"),
    Rule("last-key", "MAP_GET_NEXT_KEY", ENOENT, _last_key, "0 is the last key", ONE_KEY.hint, rank=1),
)

# bpf_struct_ops_map_delete_elem() never reads the key
DELETE_RULES = (
    map_open("MAP_DELETE_ELEM"),
    Rule(
        "link-map", "MAP_DELETE_ELEM", EOPNOTSUPP, lambda case: when(bool(case.map and case.map.is_link_map)),
        "a link map is unregistered through its link, not by deleting its value",
        "structops unregister SELECTOR does it", kernels="6.4 and later", rank=1,
    ),
    Rule(
        "unregistered-already", "MAP_DELETE_ELEM", EINPROGRESS, lambda case: _is_in(case, StructOpsState.TOBEFREE),
        "it is unregistered already, and a socket, a default, a pin or an open fd still holds it",
        "wait until they are closed: structops status SELECTOR names them", tell="structops status SELECTOR", rank=1,
    ),
    Rule(
        "never-registered", "MAP_DELETE_ELEM", ENOENT, lambda case: _is_in(case, StructOpsState.INIT),
        "nothing was ever registered through this map", "nothing to do", rank=1,
    ),
)  # fmt: skip

FREEZE_RULES = (
    map_open("MAP_FREEZE"),
    Rule(
        "never-frozen", "MAP_FREEZE", ENOTSUPP, lambda _: {},
        "a struct_ops map cannot be frozen", "leave it: a value that is set cannot be changed anyway", rank=1,
    ),
)  # fmt: skip
