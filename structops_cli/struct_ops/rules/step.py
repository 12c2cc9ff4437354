"""Apply one operation to the model: the kernel's answer, and the model afterwards. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

from structops_cli.btf.types import Struct
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.rules.create import CREATE_RULES
from structops_cli.struct_ops.rules.links import DETACH_RULES, LINK_RULES, RELINK_RULES
from structops_cli.struct_ops.rules.maps import DELETE_RULES, FREEZE_RULES, LOOKUP_RULES, NEXT_KEY_RULES
from structops_cli.struct_ops.rules.model import (
    COMMANDS,
    CloseLink,
    CreateLink,
    CreateMap,
    Delete,
    DetachLink,
    Freeze,
    GetNextKey,
    LoadProgram,
    Lookup,
    MapModel,
    Model,
    Operation,
    ProgramFacts,
    RunProgram,
    Update,
    UpdateLink,
    World,
)
from structops_cli.struct_ops.rules.programs import LOAD_RULES, RUN_RULES
from structops_cli.struct_ops.rules.rule import Broken, Case, KernelAnswer, Rule, answer_of, broken
from structops_cli.struct_ops.rules.update import RULES as UPDATE_RULES
from structops_cli.struct_ops.rules.update import update_findings
from structops_cli.struct_ops.value import POINTER, WORD, program_fd
from structops_cli.syscall.uapi import BPF_F_LINK, StructOpsState

if TYPE_CHECKING:
    from structops_cli.btf.btf import Btf

NOTHING = Struct(0, "", 0, (), kind_flag=False)
NO_TYPE = StructOpsType("", "", cast("Btf", None), NOTHING, NOTHING, 0, 0, 0, ())
"""The type of a case without an open map; the first rules do not read it."""

RULES: Mapping[type, tuple[Rule, ...]] = {
    CreateMap: CREATE_RULES,
    GetNextKey: NEXT_KEY_RULES,
    Lookup: LOOKUP_RULES,
    Update: UPDATE_RULES,
    Delete: DELETE_RULES,
    Freeze: FREEZE_RULES,
    CreateLink: LINK_RULES,
    UpdateLink: RELINK_RULES,
    DetachLink: DETACH_RULES,
    CloseLink: (),
    LoadProgram: LOAD_RULES,
    RunProgram: RUN_RULES,
}
"""The rules of each operation, in the kernel's order; those of Update walk the members (``update_findings``)."""


def step(model: Model, operation: Operation, world: World) -> tuple[Model, KernelAnswer]:
    """Return the model after an operation and the answer; a refusal changes nothing."""
    first = next(broken_by(model, operation, world), None)
    if first is not None:
        return model, answer_of(first)
    answer = KernelAnswer(COMMANDS[type(operation)])
    if isinstance(operation, Lookup):
        answer = answer._replace(value=looked_up(model, operation.map))
    return _after(model, operation, world), answer


def broken_by(model: Model, operation: Operation, world: World) -> Iterator[Broken]:
    """Yield the rules that an operation breaks; the kernel answers with the first."""
    case = case_of(model, operation, world)
    return update_findings(case) if isinstance(operation, Update) else broken(RULES[type(operation)], case)


def case_of(model: Model, operation: Operation, world: World) -> Case:
    """Return the case of an operation: its type and its map."""
    held = model.maps.get(getattr(operation, "map", ""))
    kernel_type = getattr(operation, "type", None) or (held.type if held else _some_type(model, operation))
    return Case(operation, kernel_type, held, model, world)


def _some_type(model: Model, operation: Operation) -> StructOpsType:
    """Return a type for a case without an open map: that of the link's map, or of any map."""
    behind = model.links.get(getattr(operation, "link", ""), "")
    item = model.maps.get(behind) or next(iter(model.maps.values()), None)
    return item.type if item else NO_TYPE


def _after(model: Model, operation: Operation, world: World) -> Model:
    """Return the model after an accepted operation."""
    match operation:
        case CreateMap():
            model = _with_map(model, operation.map, MapModel(operation.type, operation.map_flags))
        case Update():
            model = _updated(model, operation, world)
        case Delete():
            retired = model.maps[operation.map]._replace(state=StructOpsState.TOBEFREE)
            model = _with_map(model, operation.map, retired)
        case CreateLink() | UpdateLink():
            model = model._replace(links={**model.links, operation.link: operation.map})
        case DetachLink():
            model = model._replace(links={**model.links, operation.link: ""})
        case CloseLink():
            left = {link: item for link, item in model.links.items() if link != operation.link}
            model = model._replace(links=left)
    return model


def _with_map(model: Model, handle: str, item: MapModel) -> Model:
    return model._replace(maps={**model.maps, handle: item})


def _updated(model: Model, operation: Update, world: World) -> Model:
    """Set the value, with program ids in place of fds, and the state after an update."""
    held = model.maps[operation.map]
    raw, fds = bytearray(operation.value), world.fds or {}
    for member in held.type.members:
        program = fds.get(program_fd(held.type, operation.value, member)) if member.proto else None
        if isinstance(program, ProgramFacts):
            POINTER.pack_into(raw, held.type.data_offset + member.offset_bytes, program.id)
    state = StructOpsState.READY if held.map_flags & BPF_F_LINK else StructOpsState.INUSE
    return _with_map(model, operation.map, held._replace(state=state, value=bytes(raw)))


def looked_up(model: Model, handle: str) -> bytes:
    """Return the value of a lookup: zeros before an update, then state, count and members.

    The count has registrations only; sockets hold a congestion control too.
    """
    held = model.maps[handle]
    size = held.type.value.size_bytes
    if held.state == StructOpsState.INIT:
        return bytes(size)
    raw = bytearray(held.value)
    holders = (held.state == StructOpsState.INUSE) + sum(behind == handle for behind in model.links.values())
    WORD.pack_into(raw, held.type.state_offset, held.state)
    WORD.pack_into(raw, held.type.refcnt_offset, holders)
    return bytes(raw)
