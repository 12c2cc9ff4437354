"""Resolve a SELECTOR: ``id:N``, the path of a pin, a registered name, or a map's own name.

A map's own name selects it only for commands that change nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from errno import ENOENT, ENOTDIR

from structops_cli.errors import AmbiguousError, KernelError, NotFoundError, NotPermittedError, UsageError
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.runtime.pin_directory import Writers, open_pin
from structops_cli.shell_words import shell_words
from structops_cli.struct_ops.explain import explained
from structops_cli.syscall import bpf, bpffs
from structops_cli.syscall.fd import Fd
from structops_cli.syscall.info import ObjectType, link_info, map_info, object_type
from structops_cli.syscall.uapi import BpfLinkType, BpfMapType

ID = "id:"


def matching(stock: Sequence[LiveMap], selector: str) -> tuple[LiveMap, ...]:
    """Return the maps that a selector names for a command that changes nothing."""
    found = _selected(stock, selector, to_change=False)
    return found or tuple(item for item in stock if item.info.name == selector)


def maps_to_change(stock: Sequence[LiveMap], selector: str) -> tuple[LiveMap, ...]:
    """Return the maps that a selector names for a command that changes them.

    A map's own name is no selector here: it may equal a registered name that was just
    unregistered. Raises ``StructopsError`` for a pin that another user could have made.
    """
    return _selected(stock, selector, to_change=True)


def _selected(stock: Sequence[LiveMap], selector: str, *, to_change: bool) -> tuple[LiveMap, ...]:
    if is_path(selector):
        fd = map_of_pin(selector, to_change=to_change)
        if fd is None:
            return ()
        with fd:
            selector = f"{ID}{map_info(fd).id}"
    if selector.startswith(ID):
        return tuple(item for item in stock if f"{ID}{item.info.id}" == selector)
    return tuple(item for item in stock if item.name == selector and not item.type.unread)


def find_one(stock: Sequence[LiveMap], selector: str) -> LiveMap:
    """Return the one map that a selector names for a command that changes nothing."""
    found = matching(stock, selector)
    if not found:
        raise no_match(stock, selector)
    return choose_one(found, selector)


def find_each(stock: Sequence[LiveMap], selectors: Iterable[str]) -> tuple[LiveMap, ...]:
    """Return the map that each selector names, each map once."""
    found = {live.info.id: live for live in [find_one(stock, selector) for selector in selectors]}
    return tuple(found.values())


def find_to_change(stock: Sequence[LiveMap], selector: str) -> LiveMap:
    """Return the one map that a selector names for a command that changes it."""
    found = maps_to_change(stock, selector)
    if not found:
        raise none_to_change(stock, selector)
    return choose_one(found, selector)


def choose_one(found: Sequence[LiveMap], selector: str) -> LiveMap:
    """Return the best of the matching maps; raise ``AmbiguousError`` if several are best.

    A registered map is better than one in another state. Retired and ejected maps come
    last.
    """
    alive = tuple(item for item in found if item.state == MapState.REGISTERED) or tuple(
        item for item in found if item.state not in (MapState.RETIRED, MapState.EJECTED)
    )
    if len(alive or found) > 1:
        raise AmbiguousError(
            f"{selector} matches {len(found)} struct_ops maps",
            why="; ".join(f"id:{item.info.id} ({item.type.name}, {item.state})" for item in found),
            hint="select by id: id:N",
            candidates=[f"id:{item.info.id}" for item in found],
        )
    return (alive or found)[0]


def is_path(selector: str) -> bool:
    """Tell whether a selector is the path of a pin: names have no slash."""
    return os.sep in selector


def map_of_pin(path: str, *, to_change: bool) -> Fd | None:
    """Open the struct_ops map of a map's or a link's pin; None for a detached link.

    The caller owns the fd. Raises ``NotFoundError`` without a pin, ``UsageError`` for a
    pin of another object.
    """
    try:
        fd = open_trusted(path) if to_change else bpf.obj_get(path)
    except KernelError as error:
        raise _no_pin(path, error) from None
    with ExitStack() as closing:
        closing.enter_context(fd)
        pinned = object_type(fd)
        if pinned is ObjectType.MAP and map_info(fd).map_type == BpfMapType.STRUCT_OPS:
            closing.pop_all()
            return fd
        if pinned is ObjectType.LINK and (info := link_info(fd)).link_type == BpfLinkType.STRUCT_OPS:
            return bpf.map_get_fd_by_id(info.map_id) if info.map_id else None
    raise UsageError(
        f"{path} is no pin of a struct_ops map or link", hint="structops list shows the maps and their pins"
    )


def open_trusted(path: str) -> Fd:
    """Open a pin that a user named, and own its fd.

    Raises ``KernelError`` (ENOENT) for a missing path on any file system. Raises ``StructopsError``
    for a pin that a user other than root and the caller could have made.
    """
    try:
        os.lstat(path)
    except OSError as error:
        kind = NotPermittedError if error.errno in NotPermittedError.ERRNOS else KernelError
        raise kind(f"{path} cannot be opened", errno=error.errno or 0, operation="OBJ_GET") from None
    return open_pin(path, Writers.TRUSTED)


def _no_pin(path: str, error: KernelError) -> Exception:
    if error.errno in (ENOENT, ENOTDIR):
        return NotFoundError(
            f"no struct_ops map matches {path}",
            why="there is no such path, and a selector with a slash is the path of a pin",
            hint="structops list shows the maps and their pins",
        )
    if os.path.exists(path) and not bpffs.is_bpffs(path):
        return UsageError(f"{path} is not on a bpffs", hint="structops list shows the maps and their pins")
    return explained(error, f"{path} cannot be opened")


def no_match(stock: Sequence[LiveMap], selector: str) -> NotFoundError:
    """Return the error for a selector that matches no map, such as a link's dead pin."""
    from structops_cli.runtime.pins import dead_pins  # only a selector without a match needs it

    if dead := dead_pins(selector):
        return NotFoundError(
            f"{selector} is not registered",
            why=f"its link was detached, and only the pin is left: {', '.join(dead)}",
            hint=f"structops register OBJ replaces that pin; {shell_words('structops', 'unregister', selector)} takes it away",
        )
    return NotFoundError(
        f"no struct_ops map matches {selector}",
        why="no struct_ops map has that id"
        if selector.startswith(ID)
        else "it is neither the registered name nor the map name of one",
        hint=f"for the map with that id write {ID}{selector}"
        if any(selector == str(item.info.id) for item in stock)
        else "structops list shows the maps",
    )


def none_to_change(stock: Sequence[LiveMap], selector: str) -> NotFoundError:
    """Return the error for a selector that matches no map that a command can change."""
    if any(item.type.unread for item in stock):
        return NotFoundError(
            f"no struct_ops map matches {selector}",
            why="the names of maps are not known: their types cannot be read",
            hint="select by id: structops list shows the ids",
        )
    called = [item for item in stock if item.info.name == selector]
    own = is_kernels_own(selector)
    if not called and not own:
        return no_match(stock, selector)
    why = [f"map id:{item.info.id} is called so, and is of {item.name} ({item.state})" for item in called]
    return NotFoundError(
        f"{selector} is one of the kernel's own algorithms, which stay as they are"
        if own
        else f"no struct_ops is registered as {selector}",
        why="; ".join(why) or "only a struct_ops can be changed",
        hint=f"name {called[0].name}, or select by id: {ID}{called[0].info.id}"
        if called
        else "structops list shows the maps",
        candidates=[f"{ID}{item.info.id}" for item in called],
    )


def is_kernels_own(name: str) -> bool:
    """Tell whether the kernel lists a name that no registered struct_ops map has."""
    from structops_cli.runtime.checking import taken_names  # only a selector without a match needs it

    return any(name == taken for _, taken in taken_names())
