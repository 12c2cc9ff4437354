"""Prepare a struct_ops map of a loaded object, or a live one, for its registration.

A map without a link can be registered once. To register it again, a copy with the same
value takes its place. The copy shares the programs, which the value names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from errno import EBUSY, EEXIST
from typing import NamedTuple

from structops_cli.errors import KernelError, StateError, StructopsError
from structops_cli.runtime.live_map import LiveMap
from structops_cli.runtime.loaded import Loaded
from structops_cli.runtime.pin_directory import Writers, open_pin
from structops_cli.runtime.registration import set_ready
from structops_cli.runtime.struct_ops_map import create_struct_ops_map, least_btf
from structops_cli.struct_ops.catalogue import StructOpsType
from structops_cli.struct_ops.plan import MapPlan
from structops_cli.struct_ops.value import KEY, POINTER, read_state, state_name
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info, map_info
from structops_cli.syscall.uapi import StructOpsState

RETRY_S = 2.0
"""Time for the kernel to free the name of a map that is unregistered or lost its process."""
PAUSE_S = 0.0002


class ReadyMap(NamedTuple):
    """A map, and the value that registers it.

    ``value`` is empty if the map has its value already and a link registers it.
    """

    type: StructOpsType
    map_fd: Fd
    value: bytes

    def read_value(self) -> bytes:
        """Return the value that registers the map, from the kernel if it is set."""
        return self.value or bpf_maps.map_lookup_elem(self.map_fd, KEY, self.type.value.size_bytes)


def ready_loaded(loaded: Loaded, plan: MapPlan) -> ReadyMap:
    """Prepare a map of a loaded object, for a link if the plan has one."""
    if plan.link:
        return ReadyMap(plan.type, set_ready(loaded, plan), b"")
    return ReadyMap(plan.type, loaded.struct_ops[plan.variable], loaded.value_of(plan))


def ready_live(live: LiveMap, owner: ExitStack) -> ReadyMap:
    """Prepare a live map to be registered again; ``owner`` closes the descriptors."""
    if live.is_link_map:
        return ReadyMap(live.type, owner.enter_context(bpf.map_get_fd_by_id(live.info.id)), b"")
    return copy_map(live, owner, link=False)


def copy_map(live: LiveMap, owner: ExitStack, *, link: bool) -> ReadyMap:
    """Create a map with the programs and the data of a live one.

    ``owner`` closes the descriptors. With ``link`` its value is set, so that a link can
    register it.
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
        return ReadyMap(live.type, new, value)
    bpf_maps.map_update_elem(new, KEY, value)
    _check(live.type, new, StructOpsState.READY)
    return ReadyMap(live.type, new, b"")


def _value_again(live: LiveMap, owner: ExitStack) -> bytes:
    """Return a looked-up value in the form of an update.

    Program ids become fds, and the common value is zero.
    """
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


def register_ready(
    ready: ReadyMap, owner: ExitStack, hopeless: Callable[[], bool] = lambda: False
) -> tuple[Fd | None, int]:
    """Register a map; return its link (None without one) and the duration of the gap.

    ``owner`` closes the link. While the old map has the name it tries again, unless
    ``hopeless`` returns that the name stays taken. The duration, in nanoseconds, goes from the
    last refusal to the answer. The name was free for at most that time.
    """
    deadline = time.monotonic() + RETRY_S
    while True:
        start = time.perf_counter_ns()
        try:
            return _register(ready, owner), time.perf_counter_ns() - start
        except KernelError as error:
            if error.errno not in (EEXIST, EBUSY) or hopeless() or time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)


def _register(ready: ReadyMap, owner: ExitStack) -> Fd | None:
    if ready.value:
        bpf_maps.map_update_elem(ready.map_fd, KEY, ready.value)
        _check(ready.type, ready.map_fd, StructOpsState.INUSE)
        return None
    link = owner.enter_context(bpf.link_create(ready.map_fd))
    try:
        named = link_info(link).map_id == map_info(ready.map_fd).id
    except KernelError:
        detach(link)  # the old map needs the name
        raise
    if not named:
        raise StateError(
            "nothing is registered, though the kernel made a link",
            why="the link names no map: the subsystem ejected it at once",
            hint="the kernel log (dmesg) says why",
        )
    return link


def detach(link: Fd) -> None:
    """Free the name of a new link. Without LINK_DETACH it is free a moment after the close."""
    with suppress(KernelError):
        bpf.link_detach(link)
    link.close()


def is_registered(ready: ReadyMap, pins: Sequence[str]) -> bool:
    """Tell whether a map is registered and its link has all ``pins``.

    Then the registration outlives this process.
    """
    if ready.value:
        raw = bpf_maps.map_lookup_elem(ready.map_fd, KEY, ready.type.value.size_bytes)
        return read_state(ready.type, raw)[0] == StructOpsState.INUSE
    map_id = map_info(ready.map_fd).id
    return bool(pins) and all(is_link_pinned(map_id, pin) for pin in pins)


def is_link_pinned(map_id: int, pin: str) -> bool:
    """Tell whether the link that is pinned at a path registers a map."""
    with suppress(StructopsError), open_pin(pin, Writers.ANYBODY) as fd:
        return link_info(fd).map_id == map_id
    return False


def is_as_before(live: LiveMap) -> bool:
    """Tell whether a live map is registered as it was, with all pins of its links."""
    pins = [pin for link in live.links for pin in link.pins]
    if pins:
        return all(is_link_pinned(live.info.id, pin) for pin in pins)
    with bpf.map_get_fd_by_id(live.info.id) as fd:
        raw = bpf_maps.map_lookup_elem(fd, KEY, live.info.value_size)
    return not live.links and read_state(live.type, raw)[0] == StructOpsState.INUSE


def _check(kernel_type: StructOpsType, map_fd: Fd, expected: StructOpsState) -> None:
    state, _ = read_state(kernel_type, bpf_maps.map_lookup_elem(map_fd, KEY, kernel_type.value.size_bytes))
    if state != expected:
        raise StateError(
            "nothing is registered, though the kernel reported success",
            why=f"the map's state is {state_name(state)} and not {state_name(expected)}",
        )
