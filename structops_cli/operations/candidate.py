"""A struct_ops that is ready to be registered: a loaded object's, one that was registered through a link before, or a copy of one that was without.

A map without a link is good for one registration. But its programs live as long
as it does, and its value names them: a new map with the same value does the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from errno import EBUSY, EEXIST
from typing import NamedTuple

from structops_cli.errors import KernelError, StateError
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.registration import set_ready
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.plan import MapPlan
from structops_cli.struct_ops.value import KEY, POINTER, read_state, state_name
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info, map_info
from structops_cli.syscall.uapi import StructOpsState

__all__ = ["Candidate", "candidate_of_live", "candidate_of_loaded", "copied", "let_go", "stand_up"]

RETRY_S = 2.0
"""How long the name may still be taken by what was just unregistered: a link of a dead process goes in its own time."""
PAUSE_S = 0.0002


class Candidate(NamedTuple):
    """A map, and the value that registers it; "" for a map whose value is set, and that a link registers."""

    type: StructOpsType
    map_fd: Fd
    value: bytes

    @property
    def value_set(self) -> bytes:
        """The value that it has, or is to get; asks the kernel for that which is set."""
        return self.value or bpf_maps.map_lookup_elem(self.map_fd, KEY, self.type.value.size_bytes)


def candidate_of_loaded(loaded: Loaded, plan: MapPlan) -> Candidate:
    """Return a loaded object's map: through a link when the plan has one."""
    if plan.link:
        return Candidate(plan.type, set_ready(loaded, plan), b"")
    return Candidate(plan.type, loaded.struct_ops[plan.variable], loaded.value_of(plan))


def candidate_of_live(live: LiveMap, owner: ExitStack) -> Candidate:
    """Return what registers a live map's struct_ops once more; ``owner`` closes what it opens."""
    if live.is_link_map:
        return Candidate(live.type, owner.enter_context(bpf.map_get_fd_by_id(live.info.id)), b"")
    return copied(live, owner, link=False)


def copied(live: LiveMap, owner: ExitStack, *, link: bool) -> Candidate:
    """Make a new map with the programs and the data of a live one; ``owner`` closes what it opens.

    With ``link`` its value is set, and a link can register it.
    """
    if live.type.unread:
        raise StateError(
            f"{live.name} (id:{live.info.id}) cannot be registered again",
            why=f"that takes a copy of it, and its type is not known: {live.type.unread}",
        )
    btf = owner.enter_context(bpf.btf_get_fd_by_id(live.info.btf_id) if live.info.btf_id else least_btf())
    new = owner.enter_context(create_struct_ops_map(live.type, live.info.name, btf, link=link))
    value = _value_again(live, owner)
    if not link:
        return Candidate(live.type, new, value)
    bpf_maps.map_update_elem(new, KEY, value)
    _check(live.type, new, StructOpsState.READY)
    return Candidate(live.type, new, b"")


def _value_again(live: LiveMap, owner: ExitStack) -> bytes:
    """Return the value for an update that a looked-up value came from: program ids become fds, the kernel's words zero."""
    kernel_type, start = live.type, live.type.data_offset
    value = bytearray(kernel_type.value.size_bytes)
    value[start : start + kernel_type.struct.size_bytes] = live.raw[
        start : start + kernel_type.struct.size_bytes
    ]
    fds: dict[int, Fd] = {}
    for member in kernel_type.members:
        at = start + member.offset_bytes
        program_id = POINTER.unpack_from(live.raw, at)[0] if member.proto is not None else 0
        if program_id:
            if program_id not in fds:
                fds[program_id] = owner.enter_context(bpf.prog_get_fd_by_id(program_id))
            POINTER.pack_into(value, at, fds[program_id].fileno())
    return bytes(value)


def stand_up(
    candidate: Candidate, owner: ExitStack, hopeless: Callable[[], bool] = lambda: False
) -> tuple[Fd | None, int]:
    """Register a candidate and read back that it is; return its link, which ``owner`` closes (None without one), and how long its name was free.

    While the name is taken by what is just being unregistered it is tried again,
    unless ``hopeless`` says that it stays taken. The time is in nanoseconds, from the
    last refusal to the answer: at most so long nobody had the name.
    """
    deadline = time.monotonic() + RETRY_S
    while True:
        begun = time.perf_counter_ns()
        try:
            return _stand_up(candidate, owner), time.perf_counter_ns() - begun
        except KernelError as error:
            if error.errno not in (EEXIST, EBUSY) or hopeless() or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)


def _stand_up(candidate: Candidate, owner: ExitStack) -> Fd | None:
    if candidate.value:
        bpf_maps.map_update_elem(candidate.map_fd, KEY, candidate.value)
        _check(candidate.type, candidate.map_fd, StructOpsState.INUSE)
        return None
    link = owner.enter_context(bpf.link_create(candidate.map_fd))
    try:
        named = link_info(link).map_id == map_info(candidate.map_fd).id
    except KernelError:
        let_go(link)  # it has the name, which whoever goes back needs
        raise
    if not named:
        raise StateError(
            "nothing is registered, though the kernel made a link",
            why="the link names no map: the subsystem ejected it at once",
            hint="the kernel log (dmesg) says why",
        )
    return link


def let_go(link: Fd) -> None:
    """Give the name back that a link has which was made and is not kept; without LINK_DETACH that takes the kernel a moment."""
    with suppress(KernelError):
        bpf.link_detach(link)
    link.close()


def _check(kernel_type: StructOpsType, map_fd: Fd, expected: StructOpsState) -> None:
    state, _ = read_state(kernel_type, bpf_maps.map_lookup_elem(map_fd, KEY, kernel_type.value.size_bytes))
    if state != expected:
        raise StateError(
            "nothing is registered, though the kernel reported success",
            why=f"the map's state is {state_name(state)} and not {state_name(expected)}",
        )
