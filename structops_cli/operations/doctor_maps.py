"""Check for retired maps: report their references and the leaked ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from structops_cli.counted import counted
from structops_cli.operations.findings import NOTE, OK, PROBLEM, Finding
from structops_cli.operations.references import References
from structops_cli.operations.status import MapStatus, Status, held_by
from structops_cli.runtime.live_map import LiveMap, MapState
from structops_cli.syscall.uapi import StructOpsState


def retired_maps(stock: Sequence[LiveMap], look: Callable[[], Status]) -> Iterator[Finding]:
    """Check for maps that are unregistered and still referenced, and for ejected ones.

    ``look`` inspects every namespace and process. It is called only if a map is retired.
    """
    retired = {item.info.id for item in stock if item.state == MapState.RETIRED}
    status = look() if retired else None
    for one in status.maps if status else ():
        if status and one.live.info.id in retired and one.live.state == MapState.RETIRED:
            yield _held(one, status.references)
    for item in stock:
        if item.state == MapState.EJECTED:
            yield Finding(
                "retired maps",
                PROBLEM,
                f"{item.name} (map {item.info.id}) was ejected by the kernel",
                item.reason,
                f"structops unregister id:{item.info.id}",
            )
    if not retired:
        yield Finding("retired maps", OK, "none")


def _held(one: MapStatus, found: References) -> Finding:
    """Report the references of a retired map."""
    live = one.live
    state = "TOBEFREE" if live.kernel_state == StructOpsState.TOBEFREE else live.state
    what = f"map {live.info.id} ({live.name}): {state}"
    if left := one.references.unexplained:
        return _unexplained(f"{what}, {counted(left, 'reference')}", found)
    ended = [holder for holder in one.sockets if holder.ended_in_queue]
    drain = f"; structops drain id:{live.info.id} moves the sockets" if len(one.sockets) > len(ended) else ""
    queued = (
        f": {len(ended)} when a listener accepts what has ended in its queue, or is closed" if ended else ""
    )
    return Finding(
        "retired maps",
        NOTE,
        f"{what}, held by {held_by(one) or f'{live.refcnt} references'}",
        f"the kernel frees it when the last of them lets go{queued}",
        f"structops status id:{live.info.id} names them{drain}",
    )


def _unexplained(what: str, found: References) -> Finding:
    if found.not_inspected:
        return Finding(
            "retired maps",
            NOTE,
            f"{what} of what could not be looked at",
            "it may be anybody's out of sight, or have leaked",
            "structops status says what could not be looked at",
        )
    if found.queues:
        listeners = ", ".join(f"{queue.listener} in {found.title(queue.netns)}" for queue in found.queues)
        return Finding(
            "retired maps",
            NOTE,
            f"{what} that connections may have which ended before they were accepted",
            f"the queues of {listeners} have such; or they have leaked",
            "the kernel gives back the former when the listeners accept them, or are closed; the latter at a reboot",
        )
    return Finding(
        "retired maps",
        NOTE,
        f"{what} that nothing explains: until reboot",
        "a refused write of a default leaks one; a socket that no process has open, on its way to one in a message or in io_uring, has one as well",
        "only a reboot gives back what has leaked; it takes memory and does no other harm",
    )
