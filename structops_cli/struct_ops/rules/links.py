"""The rules of LINK_CREATE, LINK_UPDATE and LINK_DETACH.

They follow ``bpf_struct_ops_link_create``, ``bpf_struct_ops_map_link_update`` and ``_detach``
(kernel/bpf/bpf_struct_ops.c), ``link_update`` (kernel/bpf/syscall.c) and, for congestion controls,
``tcp_update_congestion_control`` (net/ipv4/tcp_cong.c). Links came with 68b04864ca42 (Linux 6.4).
"""

from __future__ import annotations

from errno import EBADF, EINVAL, ENOLINK, EOPNOTSUPP, EPERM

from structops_cli.struct_ops.rules.causes import LINK_NOT_OPEN, NO_LINKS
from structops_cli.struct_ops.rules.model import MapModel, UpdateLink
from structops_cli.struct_ops.rules.rule import Case, Facts, Rule, when
from structops_cli.struct_ops.rules.subsystem import registering_rules, value_of
from structops_cli.struct_ops.value import kernel_name
from structops_cli.syscall.uapi import BPF_F_REPLACE, StructOpsState

# LINK_CREATE


def _not_link_map(case: Case) -> Facts | None:
    return when(case.map is not None and not case.map.is_link_map)


def _not_ready(case: Case) -> Facts | None:
    held = case.map
    return when(held is not None and held.is_link_map and held.state != StructOpsState.READY)


def _ready_rules(operation: str, which: str) -> tuple[Rule, ...]:
    return (
        Rule(
            "map-open", operation, EBADF, lambda case: when(case.map is None),
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
        "no-links-here", "LINK_CREATE", EINVAL, lambda case: when(not case.capabilities.links),
        NO_LINKS.why, "register without one: --no-link", kernels="before 6.4", rank=3,
    ),
    *_ready_rules("LINK_CREATE", "the map")[1:],
    *registering_rules("LINK_CREATE"),
)  # fmt: skip


# LINK_UPDATE


def _relink(case: Case) -> UpdateLink:
    assert isinstance(case.operation, UpdateLink)
    return case.operation


def _link(case: Case) -> str | None:
    """Return the handle of the map behind the link; "": detached, None: no such link."""
    return case.model.links.get(getattr(case.operation, "link", ""))


def _now(case: Case) -> MapModel | None:
    return case.model.maps.get(_link(case) or "")


def _replaces(case: Case) -> bool:
    return bool(_relink(case).flags & BPF_F_REPLACE)


def _is_zero_open(case: Case) -> bool:
    return case.world.fds is None or 0 in case.world.fds


def _unknown_flags(case: Case) -> Facts | None:
    flags = _relink(case).flags
    return when(bool(flags & ~BPF_F_REPLACE), flags=f"{flags:#x}")


def _old_not_open(case: Case) -> Facts | None:
    old = _relink(case).old
    is_open = _is_zero_open(case) if old is None else old in case.model.maps
    return when(_replaces(case) and not is_open)


def _old_is_zero(case: Case) -> Facts | None:
    return when(_replaces(case) and _relink(case).old is None and _is_zero_open(case))


def _old_without_flag(case: Case) -> Facts | None:
    return when(_relink(case).old is not None and not _replaces(case))


def _other_map(case: Case) -> Facts | None:
    return when(_replaces(case) and _link(case) != _relink(case).old)


def _other_type(case: Case) -> Facts | None:
    now = _now(case)
    return when(now is not None and now.type.name != case.type.name)


def _other_name(case: Case) -> Facts | None:
    now = _now(case)
    if now is None or case.kind.naming.member is None:
        return None
    old, new = kernel_name(now.type, now.value), kernel_name(case.type, value_of(case))
    return when(old != new, old=old, new=new)


RELINK_RULES = (
    Rule(
        "known-flags", "LINK_UPDATE", EINVAL, _unknown_flags,
        "flags {flags} has a bit that LINK_UPDATE does not take", "BPF_F_REPLACE is the only one", rank=6,
    ),
    Rule("link-open", "LINK_UPDATE", EBADF, lambda case: when(_link(case) is None), *LINK_NOT_OPEN, rank=2),
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
        "replaceable", "LINK_UPDATE", EOPNOTSUPP, lambda case: when(not case.kind.registration.replaceable),
        "the subsystem has no way to replace a registered one",
        "structops update SELECTOR OBJ --restart unregisters it and registers the new one",
        kernels="6.11 and later, for sched_ext_ops, Qdisc_ops and hid_bpf_ops", rank=1,
    ),
    Rule(
        "detached", "LINK_UPDATE", ENOLINK, lambda case: when(_link(case) == ""),
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


# LINK_DETACH: a second detach answers 0 (bpf_struct_ops_map_link_detach)

DETACH_RULES = (
    Rule("link-open", "LINK_DETACH", EBADF, lambda case: when(_link(case) is None), *LINK_NOT_OPEN, rank=1),
    Rule(
        "detachable", "LINK_DETACH", EOPNOTSUPP, lambda case: when(not case.capabilities.link_detach),
        "this kernel cannot detach a struct_ops link (6.11 can)", "close or unpin the link", kernels="6.4 to 6.10",
        rank=1,
    ),
)  # fmt: skip
