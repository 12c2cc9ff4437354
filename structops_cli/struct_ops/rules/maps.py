"""The rules of looking up, going on, deleting and freezing (kernel/bpf/bpf_struct_ops.c, kernel/bpf/syscall.c)."""

from __future__ import annotations

from errno import EBADF, EINPROGRESS, ENOENT, EOPNOTSUPP

from structops_cli.errors import ENOTSUPP
from structops_cli.struct_ops.rules.facts import GetNextKey, Lookup
from structops_cli.struct_ops.rules.rule import Case, Facts, Rule
from structops_cli.syscall.uapi import StructOpsState

__all__ = ["DELETE_RULES", "FREEZE_RULES", "LOOKUP_RULES", "NEXT_KEY_RULES", "map_open"]


def _lookup_key(case: Case) -> Facts | None:
    assert isinstance(case.operation, Lookup)
    return {"key": case.operation.key} if case.operation.key else None


def _last_key(case: Case) -> Facts | None:
    assert isinstance(case.operation, GetNextKey)
    return {} if case.operation.key == 0 else None


def _link_map(case: Case) -> Facts | None:
    return {} if case.map and case.map.is_link_map else None


def _state(case: Case) -> int:
    assert case.map is not None
    return case.map.state


def map_open(operation: str) -> Rule:
    """Return the rule that comes before all others of an operation on a map."""
    return Rule(
        "map-open", operation, EBADF, lambda case: {} if case.map is None else None,
        "the map is not open", "open it by id or pin", rank=3,
    )  # fmt: skip


LOOKUP_RULES = (
    map_open("MAP_LOOKUP_ELEM"),
    Rule(
        "key-zero", "MAP_LOOKUP_ELEM", ENOENT, _lookup_key,
        "the key is not 0", "a struct_ops map has the one key 0", rank=1,
    ),
)  # fmt: skip

NEXT_KEY_RULES = (
    map_open("MAP_GET_NEXT_KEY"),
    Rule(
        "last-key", "MAP_GET_NEXT_KEY", ENOENT, _last_key,
        "0 is the last key", "a struct_ops map has the one key 0", rank=1,
    ),
)  # fmt: skip

# bpf_struct_ops_map_delete_elem() never looks at the key
DELETE_RULES = (
    map_open("MAP_DELETE_ELEM"),
    Rule(
        "link-map", "MAP_DELETE_ELEM", EOPNOTSUPP, _link_map,
        "a link map is unregistered through its link, not by deleting its value",
        "structops unregister SELECTOR does it", kernels="6.4 and later", rank=1,
    ),
    Rule(
        "unregistered-already", "MAP_DELETE_ELEM", EINPROGRESS,
        lambda case: {} if _state(case) == StructOpsState.TOBEFREE else None,
        "it is unregistered already, and a socket, a default, a pin or an open fd still holds it",
        "wait until they are closed: structops status SELECTOR names them", tell="structops status SELECTOR", rank=1,
    ),
    Rule(
        "never-registered", "MAP_DELETE_ELEM", ENOENT,
        lambda case: {} if _state(case) == StructOpsState.INIT else None,
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
