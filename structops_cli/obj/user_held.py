"""Maps that need somebody in user space: what the kernel does when the last fd and pin of a map are gone.

A program keeps its maps, and that is enough for most of them. A program array
is emptied then (``prog_array_map_clear``), and timers and work queues in values
are cancelled and cannot be started again (``bpf_timer_init``, ``map_release_uref``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from structops_cli.btf.btf import Btf
from structops_cli.btf.layout import resolve
from structops_cli.btf.types import Array, Struct, Union
from structops_cli.obj.spec import ObjectSpec
from structops_cli.syscall.uapi import BtfKind

__all__ = ["UserHeld", "user_held"]

STOPPED = {
    "bpf_timer": "its timers stop",
    "bpf_wq": "its work queues stop",
    "bpf_task_work": "its task work stops",
}
"""Fields of a value that the kernel frees with the last user, by the name of their struct."""
DEEPEST = 8
"""How far into a value they are looked for: the kernel itself goes no further than 8 (``btf_find_struct_field``)."""


class UserHeld(NamedTuple):
    """A map, or a data section, and what happens to it without a user."""

    name: str
    loss: str


def user_held(spec: ObjectSpec) -> tuple[UserHeld, ...]:
    """Return the maps and data sections of an object that lose something with the last fd and pin."""
    arrays = [
        UserHeld(one.name, "its programs are taken out") for one in spec.maps if one.slots and not one.inner
    ]
    known = any(spec.btf.find(name, BtfKind.STRUCT) is not None for name in STOPPED)
    return (*arrays, *_with_fields(spec)) if known else tuple(arrays)


def _with_fields(spec: ObjectSpec) -> Iterator[UserHeld]:
    for one in spec.maps:
        if loss := _loss(spec.btf, one.value_type_id, DEEPEST):
            yield UserHeld(one.name, loss)
    for section in spec.data:
        losses = (_loss(spec.btf, variable.type_id, DEEPEST) for variable in section.variables)
        if loss := next(filter(None, losses), ""):
            yield UserHeld(section.name, loss)


def _loss(btf: Btf, type_id: int, depth: int) -> str:
    """Return what stops of a value of this type, "" for nothing."""
    kind = resolve(btf, type_id) if type_id and depth else None
    if isinstance(kind, Array):
        return _loss(btf, kind.element_type, depth - 1)
    if isinstance(kind, Struct) and kind.name in STOPPED:
        return STOPPED[kind.name]
    members = kind.members if isinstance(kind, Struct | Union) else ()
    return next(filter(None, (_loss(btf, member.type, depth - 1) for member in members)), "")
