"""The rules of registering, and of LINK_CREATE, LINK_UPDATE and LINK_DETACH.

``bpf_struct_ops_link_create``, ``bpf_struct_ops_map_link_update`` and
``_detach`` (kernel/bpf/bpf_struct_ops.c), ``link_update`` (kernel/bpf/syscall.c),
and for congestion controls tcp_register_ and tcp_update_congestion_control
(net/ipv4/tcp_cong.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from errno import EBADF, EBUSY, EEXIST, EINVAL, ENOLINK, EOPNOTSUPP, EPERM

from structops_cli.struct_ops.rules.facts import CreateLink, MapModel, Model, Operation, Update, UpdateLink
from structops_cli.struct_ops.rules.rule import Case, Facts, Rule
from structops_cli.struct_ops.rules.value import kernel_name, program_fd
from structops_cli.syscall.uapi import BPF_F_REPLACE, StructOpsState

__all__ = [
    "DETACH_RULES",
    "LINK_RULES",
    "RELINK_RULES",
    "another_registered",
    "harmful",
    "missing_to_register",
    "name_taken",
    "registered",
]


# Who is registered


def registered(model: Model) -> Iterator[MapModel]:
    """Go through the maps that are registered: in use, or behind a link."""
    linked = set(model.links.values())
    for handle, item in model.maps.items():
        if item.state == StructOpsState.INUSE or handle in linked:
            yield item


def _value(case: Case) -> bytes:
    """Return the value that is to be registered: an update's own, or the one that a link map holds."""
    if isinstance(case.operation, Update):
        return case.operation.value
    return case.map.value if case.map else b""


def name_taken(case: Case) -> Facts | None:
    """Find something that is registered under the name of the value; of a type whose instances have names."""
    name = kernel_name(case.type, _value(case))
    if not name:
        return None
    names = {(item.type.name, kernel_name(item.type, item.value)) for item in registered(case.model)}
    return {"name": name} if (case.type.name, name) in names | case.world.taken else None


def missing_to_register(case: Case) -> Facts | None:
    """Find a function that the subsystem misses only when it registers a value."""
    raw = _value(case)
    for member in case.type.members if raw else ():
        if member.name in case.kind.members.required_to_register and not program_fd(case.type, raw, member):
            return {"member": member.name}
    return None


def another_registered(case: Case) -> Facts | None:
    """Find another registration of a type that takes one at a time."""
    if not case.kind.registration.one_at_a_time:
        return None
    mine = any(item.type.name == case.type.name for item in registered(case.model))
    return {} if mine or any(name == case.type.name for name, _ in case.world.taken) else None


# LINK_CREATE


def _not_open(case: Case) -> Facts | None:
    return {} if case.map is None else None


def _not_link_map(case: Case) -> Facts | None:
    return {} if case.map and not case.map.is_link_map else None


def _not_ready(case: Case) -> Facts | None:
    return {} if case.map and case.map.is_link_map and case.map.state != StructOpsState.READY else None


def _no_links(case: Case) -> Facts | None:
    return None if case.capabilities.links else {}


def _ready_rules(operation: str, which: str) -> tuple[Rule, ...]:
    return (
        Rule(
            "map-open", operation, EBADF, _not_open,
            f"{which} is not open", "open it by id or pin", rank=1,
        ),
        Rule(
            "no-link-map", operation, EINVAL, _not_link_map,
            f"{which} is no link map: it was created without BPF_F_LINK",
            "create it with --link and update it, then link it", tell="structops show SELECTOR", rank=2,
        ),
        Rule(
            "not-ready", operation, EINVAL, _not_ready,
            f"{which} has no value yet", "update it first", tell="structops map lookup SELECTOR", rank=1,
        ),
    )  # fmt: skip


LINK_RULES = (
    _ready_rules("LINK_CREATE", "the map")[0],
    Rule(
        "no-links-here", "LINK_CREATE", EINVAL, _no_links,
        "this kernel has no struct_ops links, they came with 6.4", "register without one: --no-link",
        kernels="before 6.4", rank=3,
    ),
    *_ready_rules("LINK_CREATE", "the map")[1:],
    Rule(
        "required-to-register", "LINK_CREATE", EINVAL, missing_to_register,
        "the required member {member} has no program", "implement {member}",
        kernels="7.1 and later, for io_uring_bpf_ops", rank=3,
    ),
    Rule(
        "name-taken", "LINK_CREATE", EEXIST, name_taken,
        "the name is taken by something that is registered", "see structops list{ELSEWHERE}; choose another name "
        "with --set {NAME_MEMBER}=NAME", tell="structops list", rank=1,
    ),
    Rule(
        "one-at-a-time", "LINK_CREATE", EBUSY, another_registered,
        "the subsystem takes one at a time, and has one", "unregister that one first: structops list",
        tell="structops list", kernels="6.12 and later, for sched_ext_ops", rank=1,
    ),
)  # fmt: skip


# LINK_UPDATE


def _relink(case: Case) -> UpdateLink:
    assert isinstance(case.operation, UpdateLink)
    return case.operation


def _link(case: Case) -> str | None:
    """Return the handle of the map behind the link, "" for a detached link, None when there is no such link."""
    return case.model.links.get(getattr(case.operation, "link", ""))


def _now(case: Case) -> MapModel | None:
    return case.model.maps.get(_link(case) or "")


def _unknown_flags(case: Case) -> Facts | None:
    flags = _relink(case).flags
    return {"flags": f"{flags:#x}"} if flags & ~BPF_F_REPLACE else None


def _old_not_open(case: Case) -> Facts | None:
    old, wants = _relink(case).old, _relink(case).flags & BPF_F_REPLACE
    is_open = _is_zero_open(case) if old is None else old in case.model.maps
    return {} if wants and not is_open else None


def _old_is_zero(case: Case) -> Facts | None:
    wants = _relink(case).flags & BPF_F_REPLACE
    return {} if wants and _relink(case).old is None and _is_zero_open(case) else None


def _is_zero_open(case: Case) -> bool:
    return case.world.fds is None or 0 in case.world.fds


def _old_without_flag(case: Case) -> Facts | None:
    return {} if _relink(case).old is not None and not _relink(case).flags & BPF_F_REPLACE else None


def _other_map(case: Case) -> Facts | None:
    return {} if _relink(case).flags & BPF_F_REPLACE and _link(case) != _relink(case).old else None


def _other_type(case: Case) -> Facts | None:
    now = _now(case)
    return {} if now and now.type.name != case.type.name else None


def _other_name(case: Case) -> Facts | None:
    now = _now(case)
    if now is None or case.kind.naming.member is None:
        return None
    old, new = kernel_name(now.type, now.value), kernel_name(case.type, _value(case))
    return {"old": old, "new": new} if old != new else None


RELINK_RULES = (
    Rule(
        "known-flags", "LINK_UPDATE", EINVAL, _unknown_flags,
        "flags {flags} has a bit that LINK_UPDATE does not take", "BPF_F_REPLACE is the only one", rank=6,
    ),
    Rule(
        "link-open", "LINK_UPDATE", EBADF, lambda case: {} if _link(case) is None else None,
        "the link is not open", "open it by id or pin", rank=2,
    ),
    _ready_rules("LINK_UPDATE", "the new map")[0],
    Rule(
        "old-map-open", "LINK_UPDATE", EBADF, _old_not_open,
        "old_map_fd is not open, and BPF_F_REPLACE asks for it", "open the map that is behind the link now", rank=3,
    ),
    Rule(
        "old-map-given", "LINK_UPDATE", EINVAL, _old_is_zero,
        "BPF_F_REPLACE asks for old_map_fd, and 0 is the fd of something that is no map",
        "give the map that is behind the link now, or leave the flag out", rank=6,
    ),
    Rule(
        "replace-flag", "LINK_UPDATE", EINVAL, _old_without_flag,
        "old_map_fd is given without BPF_F_REPLACE", "set the flag, or leave old_map_fd 0", rank=5,
    ),
    *_ready_rules("LINK_UPDATE", "the new map")[1:],
    Rule(
        "replaceable", "LINK_UPDATE", EOPNOTSUPP, lambda case: None if case.kind.registration.replaceable else {},
        "the subsystem has no way to replace a registered one",
        "structops update SELECTOR OBJ --restart unregisters it and registers the new one",
        kernels="6.11 and later, for sched_ext_ops, Qdisc_ops and hid_bpf_ops", rank=1,
    ),
    Rule(
        "detached", "LINK_UPDATE", ENOLINK, lambda case: {} if _link(case) == "" else None,
        "the link is detached", "register it again: structops register OBJ", kernels="6.11 and later", rank=1,
    ),
    Rule(
        "expected-map", "LINK_UPDATE", EPERM, _other_map,
        "the map behind the link is not old_map_fd's", "look again who it is: structops list",
        tell="structops list", rank=1,
    ),
    Rule(
        "same-type", "LINK_UPDATE", EINVAL, _other_type,
        "the new map is of another struct_ops type", "a link keeps its type", rank=4,
    ),
    Rule(
        "same-name", "LINK_UPDATE", EINVAL, _other_name,
        "the new map is named {new}, and the registered one {old}", "update the new map first, with the same name",
        tell="structops map lookup SELECTOR", rank=3,
    ),
)  # fmt: skip


# LINK_DETACH: once more for a detached link answers 0 (bpf_struct_ops_map_link_detach)

DETACH_RULES = (
    Rule(
        "link-open", "LINK_DETACH", EBADF, lambda case: {} if _link(case) is None else None,
        "the link is not open", "open it by id or pin", rank=1,
    ),
    Rule(
        "detachable", "LINK_DETACH", EOPNOTSUPP, lambda case: None if case.capabilities.link_detach else {},
        "this kernel cannot detach a struct_ops link (6.11 can)", "close or unpin the link", kernels="6.4 to 6.10",
        rank=1,
    ),
)  # fmt: skip


def harmful(model: Model, operation: Operation) -> str:
    """Say why an operation must never be tried, whatever the kernel would answer; "" for nearly all.

    LINK_UPDATE with the map that the link already has: the kernel adds the same
    entry to the list of congestion controls a second time and then takes it out
    (tcp_update_congestion_control of 6.4 to 6.18 at least), which damages the list.
    """
    if (
        isinstance(operation, UpdateLink)
        and operation.map
        and operation.map == model.links.get(operation.link)
    ):
        return "the map is behind this link already, and replacing it by itself damages the kernel's list"
    if isinstance(operation, CreateLink) and operation.link in model.links:
        return "the handle of the link is taken"
    return ""
