"""Unregister a live struct_ops map by the method that fits: delete, detach or unpin."""

from __future__ import annotations

import os
import time
from collections.abc import Container, Mapping
from contextlib import ExitStack, suppress
from enum import StrEnum
from errno import EINPROGRESS, ENOENT, ENOLINK, EOPNOTSUPP
from typing import NamedTuple

from structops_cli.errors import KernelError, StateError, StructopsError
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.runtime.pin_directory import remove_if_empty
from structops_cli.runtime.pins import PIN_FOLDER, pin_again, remove_pin
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.value import KEY, read_state, state_name
from structops_cli.syscall import bpf, bpf_maps
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import link_info
from structops_cli.syscall.uapi import StructOpsState

SETTLE_SECONDS = 0.5
"""Seconds to wait for the kernel, which frees links and maps after an RCU grace period."""
POLL_SECONDS = 0.005


class UnregisterMethod(StrEnum):
    """The method that unregistered a map."""

    DELETE = "delete"
    DETACH = "detach"
    UNPIN = "unpin"
    NOTHING = "nothing to do"


class Unregistered(NamedTuple):
    """The result. ``refcnt`` counts the references of a map that is not ``gone`` (freed)."""

    map_id: int
    name: str
    type_name: str
    how: UnregisterMethod
    link_ids: tuple[int, ...]
    pins_removed: tuple[str, ...]
    changed: bool
    gone: bool
    refcnt: int


def unregister(live: LiveMap, *, settle: bool = True) -> Unregistered:
    """Unregister a live map; leave a map that is not registered unchanged.

    With ``settle`` wait for the kernel to free the map.
    """
    how = UnregisterMethod.NOTHING
    removed: tuple[str, ...] = ()
    if live.state in (MapState.REGISTERED, MapState.EJECTED):
        if live.links:
            how, removed = _through_links(live)
        else:
            how = _by_delete(live)
        if settle:
            _tidy(removed)
    gone, refcnt = _settle(live) if settle else (False, 0)
    return Unregistered(
        live.info.id,
        live.name,
        live.type.name,
        how,
        tuple(link.id for link in live.links),
        removed,
        how is not UnregisterMethod.NOTHING,
        gone,
        refcnt,
    )


def _by_delete(live: LiveMap) -> UnregisterMethod:
    try:
        with bpf.map_get_fd_by_id(live.info.id) as fd:
            bpf_maps.map_delete_elem(fd, KEY)
    except KernelError as error:
        if error.errno not in (EINPROGRESS, ENOENT):
            raise explained(error, f"{live.name} (id:{live.info.id}) could not be unregistered") from None
    return UnregisterMethod.DELETE


def _through_links(live: LiveMap) -> tuple[UnregisterMethod, tuple[str, ...]]:
    """Remove the pins of each link and detach it. Without LINK_DETACH unpinning unregisters.

    This process holds the links meanwhile: if it dies in between, the kernel frees them.
    If the kernel refuses, the pins are made again.
    """
    removed: list[str] = []
    with ExitStack() as held:
        links = {link.id: fd for link in live.links if (fd := _opened(link.id, held)) is not None}
        for fd in links.values():
            _refuse_another(live, fd)
        try:
            for link in live.links:
                removed += [pin for pin in link.pins if remove_pin(pin)]
            answers = [_detach(live, link_id, fd) for link_id, fd in links.items()]
        except BaseException:
            _pin_again(live, links, removed)
            raise
    if all(answers):
        return UnregisterMethod.DETACH, tuple(removed)
    holders = tuple(link.id for link in live.links if not _link_gone(link.id, live.info.id))
    if holders:
        with ExitStack() as again:
            links = {number: fd for number in holders if (fd := _opened(number, again)) is not None}
            _pin_again(live, links, removed)
        raise StateError(
            f"{live.name} (id:{live.info.id}) is still registered",
            why=f"link {', '.join(map(str, holders))} is held open by a process, and this kernel cannot detach it",
            hint="end the process that holds it",
        )
    return UnregisterMethod.UNPIN, tuple(removed)


def _refuse_another(live: LiveMap, link: Fd) -> None:
    """Raise ``StateError`` if a link got another map after the maps were listed."""
    info = link_info(link)
    if info.map_id not in (0, live.info.id):
        raise StateError(
            f"{live.name} (id:{live.info.id}) is not unregistered: it was replaced meanwhile",
            why=f"its link {info.id} has map {info.map_id} now",
            hint=f"look again: {shell_words('structops', 'status', live.name)}",
            candidates=[f"id:{info.map_id}"],
        )


def _opened(link_id: int, owner: ExitStack) -> Fd | None:
    """Open a link, which ``owner`` closes; None if it is gone."""
    try:
        return owner.enter_context(bpf.link_get_fd_by_id(link_id))
    except KernelError as error:
        if error.errno == ENOENT:
            return None
        raise explained(error, f"link {link_id} could not be opened") from None


def _pin_again(live: LiveMap, links: Mapping[int, Fd], removed: Container[str]) -> None:
    for link in live.links:
        for pin in link.pins:
            if pin in removed:
                with suppress(KeyError):
                    pin_again(links[link.id], pin)


def _detach(live: LiveMap, link_id: int, link: Fd) -> bool:
    try:
        bpf.link_detach(link)
    except KernelError as error:
        if error.errno == ENOLINK:
            return True
        if error.errno == EOPNOTSUPP:
            return False
        raise explained(error, f"link {link_id} of {live.name} could not be detached") from None
    return True


def _tidy(removed: tuple[str, ...]) -> None:
    """Remove this project's pin directory if it is empty."""
    for folder in {os.path.dirname(path) for path in removed}:
        if os.path.basename(folder) == PIN_FOLDER:
            remove_if_empty(folder)


def _link_gone(link_id: int, map_id: int) -> bool:
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        try:
            with bpf.link_get_fd_by_id(link_id) as fd:
                if link_info(fd).map_id != map_id:
                    return True
        except KernelError as error:
            if error.errno == ENOENT:
                return True
            raise
        time.sleep(POLL_SECONDS)
    return False


def _settle(live: LiveMap) -> tuple[bool, int]:
    """Wait for the kernel to free the map. Return whether it is gone, and its references.

    Returns no references if the kernel refuses to open the map.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            with bpf.map_get_fd_by_id(live.info.id) as fd:
                raw = bpf_maps.map_lookup_elem(fd, KEY, live.info.value_size)
        except KernelError as error:
            return error.errno == ENOENT, 0
        state, refcnt = read_state(live.type, raw)
        if state == StructOpsState.INUSE:
            raise StructopsError(f"{live.name} (id:{live.info.id}) is still {state_name(state)}")
        if live.state not in (MapState.REGISTERED, MapState.EJECTED) or refcnt or time.monotonic() > deadline:
            return False, refcnt
        time.sleep(POLL_SECONDS)
